"""Encoding, statistics and validation that two or three processes share over gloo are those of one."""

from pathlib import Path

import pytest
import torch
from forked import together

from fewshot import backbones
from fewshot.data.packed import PackedDataset, Splits, evenly_spaced, first_of_each
from fewshot.evaluation.scores import as_predict
from fewshot.graph.class_graph import ClassGraph
from fewshot.methods.prototypes import prototypes
from fewshot.model import few_shot
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess
from fewshot.training import encoding, validation
from fewshot.training.base_classes import BaseClasses
from fewshot.training.config import Config, Evaluate, Graph, Images
from fewshot.training.plan import planned
from fewshot.training.processes import Workers, launch, workers_of
from fewshot.training.validation import ImageValidation, validation_samplers

CONFIG = Config(
    images=Images(size=16),
    graph=Graph(steps=2, batch=6, ways=(3,), shots=(1,), query=2),
    evaluate=Evaluate(ways=(3,), shots=(1,), query=3, episodes=31),
    precision="32-true",
)


def images(each: int) -> PackedDataset:
    generator = torch.Generator().manual_seed(each)
    patterns = torch.randint(60, 200, (6, 1, 1, 16, 16), generator=generator)
    noisy = patterns + torch.randint(-60, 55, (6, each, 1, 16, 16), generator=generator)
    labels = torch.arange(6).repeat_interleave(each)
    return PackedDataset(noisy.flatten(0, 1).to(torch.uint8), labels, tuple("abcdef"))


def everything(workers: Workers, folder: Path) -> None:
    """What is shared out, as each process has it in the end."""
    torch.manual_seed(0)
    model = GraphFewShot(
        backbones.conv4(1, 4), ClassGraph.pretrained(), preprocess=Preprocess(16, 1), precision="32-true"
    )
    splits = Splits(images(60), images(10), images(11), "images", "", Path())
    val = first_of_each(splits.val, 4000)
    samplers = validation_samplers(val, 0, workers)
    validated = ImageValidation(evenly_spaced(splits.train, 4000), val, samplers, workers)
    with validated.calibrated(model):
        found = {
            "statistics": {key: value.clone() for key, value in model.backbone.named_buffers()},
            "validation": validated.scores(model, [as_predict(prototypes)]),
            "features": encoding.encoded(model, splits.test, workers).items,
            "one image": encoding.encoded(model, first_of_each(images(1), 1), workers).items,
        }
    base = BaseClasses(splits.train, transform=True, workers=workers).learn(model)
    found["base"] = [base.items, model.base_mean, model.known.prototypes]
    plan = planned(CONFIG, splits, workers)
    found["graph validation"] = plan.graph.begin(model).validate()
    found["scores"] = [vars(scores) for scores in plan.final.scores(model.eval())]
    torch.save(found, folder / f"{workers.rank}-of-{workers.world}.pt")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """By one process, and by each of two and of three."""
    folder, threads = tmp_path_factory.mktemp("shared"), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "VAL_EPISODES", 13)
        for module in (encoding, few_shot):
            patch.setattr(module, "fitting_batch", lambda *_: 7)
        torch.set_num_threads(1)
        everything(Workers(), folder)
        for world in (2, 3):
            together(world, lambda: everything(workers_of(launch("auto")), folder))
        torch.set_num_threads(threads)
    return {file.stem: torch.load(file) for file in folder.iterdir()}


@pytest.mark.parametrize("who", ["0-of-2", "1-of-2", "0-of-3", "1-of-3", "2-of-3"])
def test_each_has_what_one_process_has(found: dict[str, dict], who: str) -> None:
    one, own = found["0-of-1"], found[who]
    for name in ("statistics", "features", "one image", "base"):
        torch.testing.assert_close(own[name], one[name], rtol=0, atol=0)
    for name in ("validation", "graph validation"):
        assert own[name] == one[name]
    for mine, theirs in zip(own["scores"], one["scores"], strict=True):
        assert mine["fingerprint"] == theirs["fingerprint"]
        assert torch.equal(mine["per_episode"], theirs["per_episode"])
        # Of probabilities that are rounded in batches of other episodes.
        assert mine["ece"] == pytest.approx(theirs["ece"], rel=1e-6)
        assert mine["nll"] == pytest.approx(theirs["nll"], rel=1e-6)


def test_blocks_are_whole_and_each_is_encoded_once() -> None:
    for world in (1, 2, 3, 9):
        rows = [encoding.own_blocks(23, 4, Workers(rank, world)) for rank in range(world)]
        assert [i for some in rows for i in range(23)[some]] == list(range(23))
        assert all(some.start % 4 == 0 or some.start == 23 for some in rows)
