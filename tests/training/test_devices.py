"""Two processes on the CPU, over gloo as torchrun starts them, do what one process does."""

import json
import os
import socket
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric
from torch import nn

from fewshot import backbones
from fewshot.core.errors import InputError
from fewshot.core.loop import fit
from fewshot.data.packed import PackedDataset, Splits
from fewshot.graph.class_graph import ClassGraph
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess
from fewshot.training import run as training
from fewshot.training import validation
from fewshot.training.config import Augment, Backbone, Config, Evaluate, Graph, Images, Meta, Pretrain
from fewshot.training.final import final_evaluation
from fewshot.training.plan import planned
from fewshot.training.processes import Workers, launch, workers_of

STAGES = ("pretrain", "meta", "graph")
CONFIG = Config(
    name="two",
    images=Images(size=16),
    augment=Augment(crop=1, flip=True, brightness=0.2, noise=0.1, rotate=5.0),
    backbone=Backbone(width=4),
    pretrain=Pretrain(epochs=1, batch=8, images=16),
    meta=Meta(method="class-graph", steps=2, batch=4, way=3, query=2, hard=0.5, lr=1e-2, validate_every=2),
    graph=Graph(
        steps=2, batch=4, ways=(3,), shots=(2,), query=2, queries=("dirichlet:2",), noise=(0.5,), lr=1e-1
    ),
    evaluate=Evaluate(ways=(3,), shots=(1,), query=3, episodes=131),
    precision="32-true",
)


class Frozen(nn.BatchNorm2d):
    """Batch norm with the statistics that it has."""

    def train(self, mode=True):
        return super().train(False)


class Rows:
    """A recorder that keeps the rows of metrics."""

    def __init__(self):
        self.rows = []

    def log(self, row):
        self.rows.append(row)

    def progress(self, stage, step): ...

    def save(self, stage, state): ...


def images():
    generator = torch.Generator().manual_seed(0)
    items = torch.randint(256, (60, 1, 16, 16), dtype=torch.uint8, generator=generator)
    halves = ("x", "x", "x", "y", "y", "y")
    return PackedDataset(items, torch.arange(60) // 10, tuple("abcdef"), superclasses=halves)


def splits(folder):
    return Splits(images(), images(), images(), "images", "hash", folder)


def model():
    torch.manual_seed(0)
    made = GraphFewShot(
        backbones.conv4(1, 4), ClassGraph(), preprocess=Preprocess(16, 1), precision="32-true"
    )
    for number in range(1, 5):
        setattr(made.backbone, f"bn{number}", Frozen(4))
    return made


def begun(name, made, workers):
    """A stage on a model."""
    only = replace(CONFIG, **{other: None for other in STAGES if other != name})
    (training,) = planned(only, splits(Path()), workers).stages
    return training.begin(made)


def trained(name, fabric):
    """The weights before and after a stage, and its rows of metrics."""
    made, recorder = model(), Rows()
    scores = iter(range(9))  # each time the weights are better than before
    stage = replace(
        begun(name, made, workers_of(fabric)),
        validate=lambda: {"val_accuracy": float(next(scores))},
        calibrated=nullcontext,
    )
    before = {key: value.clone() for key, value in made.state_dict().items()}
    # Adam makes whole steps of gradients that are 0 up to rounding, such as that of a bias before centring.
    sgd = torch.optim.SGD(stage.module.parameters(), lr=0.03)  # rounding is a share of the step
    fit(replace(stage, optimizer=sgd), fabric, recorder)
    return before, made.state_dict(), recorder.rows


def everything(fabric, folder):
    """What the test compares; each process writes its own."""
    found = {name: trained(name, fabric) for name in STAGES}
    made = model().eval()
    scores = final_evaluation(CONFIG, images(), workers_of(fabric)).scores(made)
    found["scores"] = [vars(s) for s in scores]
    torch.save(found, folder / f"{fabric.global_rank}-of-{fabric.world_size}.pt")


def process(rank, port, folder):
    os.environ |= {
        "CUDA_VISIBLE_DEVICES": "",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }
    torch.set_num_threads(1)
    fabric = launch("auto")
    everything(fabric, folder)
    validation.VAL_EPISODES = 5
    training.load = lambda *_, **__: splits(folder)
    training.train(CONFIG, out=folder / "run", loggers=())
    with pytest.raises(InputError, match="with other files"):  # on both, though only one looks
        training.train(CONFIG, out=folder, loggers=())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """By one process, and by each of two."""
    folder = tmp_path_factory.mktemp("devices")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    everything(Fabric(accelerator="cpu", devices=1), folder)
    torch.multiprocessing.spawn(process, (port, folder), nprocs=2)
    return folder, [torch.load(folder / f"{name}.pt") for name in ("0-of-1", "0-of-2", "1-of-2")]


@pytest.mark.parametrize("name", STAGES)
def test_training_is_that_of_one_process(found, name):
    (before, one, rows), *both = (own[name] for own in found[1])
    assert any(not torch.equal(value, before[key]) for key, value in one.items())
    for _, weights, logged in both:
        for key, value in one.items():
            assert weights[key].numpy() == pytest.approx(value.numpy(), rel=1e-5, abs=1e-5), key
        for mine, theirs in zip(logged, rows, strict=True):
            assert mine.pop("stage") == name
            assert mine == pytest.approx({key: theirs[key] for key in mine}, rel=1e-4)


def test_scores_are_those_of_one_process(found):
    one, *both = (own["scores"] for own in found[1])
    for scores in both:
        for mine, theirs in zip(scores, one, strict=True):
            assert mine.keys() == theirs.keys()
            for key, value in theirs.items():
                if torch.is_tensor(value):
                    torch.testing.assert_close(mine[key], value, rtol=0, atol=0, equal_nan=True)
                else:
                    assert mine[key] == value, key


def test_the_first_process_alone_writes_the_run(found):
    folder, results = found
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["run"]
    rows = json.loads((folder / "run" / "results.json").read_text())
    assert [row["fingerprint"] for row in rows] == [s["fingerprint"] for s in results[0]["scores"]]
    steps = [json.loads(line)["step"] for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [0, 1, 2, 2] * 3


def test_processes_get_equal_parts_of_a_batch(tmp_path):
    cases = {
        "pretrain.batch: expected a multiple of 3": replace(CONFIG, meta=None, graph=None),
        "meta.batch, uniform classes: expected a multiple of 3": replace(CONFIG, pretrain=None, graph=None),
        "graph.batch: expected a multiple of 3": replace(CONFIG, pretrain=None, meta=None),
    }
    for message, config in cases.items():
        with pytest.raises(InputError, match=rf"{message} \(processes\), got"):
            planned(config, splits(tmp_path), Workers(0, 3))


@pytest.mark.parametrize("name", ["pretrain", "meta"])
def test_images_are_augmented_as_in_the_whole_batch(name):
    def batches(workers):
        return (x for x, *_ in islice(begun(name, model(), workers).batches(0), 2))

    whole, first, second = (list(batches(Workers(*w))) for w in ((0, 1), (0, 2), (1, 2)))
    for all_images, *shares in zip(whole, first, second, strict=True):
        both = torch.cat(shares)
        assert len(both) == len(all_images)
        apart = (all_images.flatten(1)[:, None] - both.flatten(1)).abs().amax(2)  # [n, n]
        assert apart.min(1).values.max() < 1e-5


def test_synchronised_batch_norm_keeps_names_and_features():
    backbone = backbones.conv4(1, 4)
    x = torch.randn(6, 1, 16, 16)
    backbone(x)
    backbone.eval()
    before, state = backbone(x), backbone.state_dict()
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(backbone)
    assert synchronised.state_dict().keys() == state.keys()
    torch.testing.assert_close(backbones.for_inference(synchronised)(x), before)
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in backbones.for_inference(synchronised).modules())
