"""What a GPU computes is what the processor computes; training on it works, compiled too."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import fewshot
from fewshot import backbones
from fewshot.core.fastest import fastest
from fewshot.data.packed import PackedDataset
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import as_predict, evaluate
from fewshot.graph.class_graph import ClassGraph
from fewshot.methods.prototypes import prototypes
from fewshot.model import precision
from fewshot.model.few_shot import GraphFewShot
from fewshot.training.config import from_dict, write

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module")
def graph():
    return ClassGraph.pretrained().requires_grad_(False)


def episodes(shot=1, known=12):
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(3, 6, 1, 32, generator=generator)
    support = centres + torch.randn(3, 6, shot, 32, generator=generator)
    query = (centres + torch.randn(3, 6, 4, 32, generator=generator)).flatten(1, 2)
    more = {
        "known": torch.randn(known, 32, generator=generator),
        "relations": torch.rand(3, 6, known, generator=generator),
        "known_relations": torch.rand(known, known, generator=generator),
    }
    return support, query, more


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("neighbours", [None, 3])
@pytest.mark.parametrize("shot", [1, 4])
@pytest.mark.parametrize("knows", [False, True])
def test_the_graph_on_a_gpu(graph, joint, neighbours, shot, knows):
    support, query, more = episodes(shot)
    more = more if knows else {}
    options = {"joint": joint, "neighbours": neighbours, "unknown": knows}
    there = ClassGraph.pretrained().requires_grad_(False).cuda()
    near = {name: value.cuda() for name, value in more.items()}
    expected = graph(support, query, **options, **more)
    got = there(support.cuda(), query.cuda(), **options, **near)
    torch.testing.assert_close(got.logits.cpu(), expected.logits, atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(got.prototypes.cpu(), expected.prototypes, atol=1e-3, rtol=1e-3)


def test_masks_and_shares_on_a_gpu(graph):
    support, query, _ = episodes(2)
    masks = {
        "support_mask": torch.ones(3, 6, 2, dtype=torch.bool),
        "class_mask": torch.ones(3, 6, dtype=torch.bool),
        "query_mask": torch.ones(3, 24, dtype=torch.bool),
    }
    masks["support_mask"][0, :, 1] = False
    masks["class_mask"][1, 4:] = False
    masks["query_mask"][2, 20:] = False
    shares = torch.full((3, 6), 1 / 6)
    shares[1] = torch.tensor([0.25, 0.25, 0.25, 0.25, 0, 0])
    near = {name: mask.cuda() for name, mask in masks.items()}
    there = ClassGraph.pretrained().requires_grad_(False).cuda()
    expected = graph(support, query, joint=True, proportions=shares, **masks).logits
    got = there(support.cuda(), query.cuda(), joint=True, proportions=shares.cuda(), **near).logits.cpu()
    kept = masks["query_mask"]
    torch.testing.assert_close(got[kept], expected[kept], atol=2e-3, rtol=1e-3)


def test_a_score_on_a_gpu(graph):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(10).repeat_interleave(30)
    items = torch.randn(10, 16, generator=generator)[labels] + torch.randn(300, 16, generator=generator)
    data = fewshot.FeatureSet(items, labels, tuple(map(str, range(10))))
    there = fewshot.FeatureSet(items.cuda(), labels, data.class_names)
    shape = {"way": 5, "shot": 1, "query": 5, "episodes": 200, "batch": 50}
    for here, near in ((prototypes, prototypes), (graph, ClassGraph.pretrained().cuda())):
        expected = evaluate(as_predict(here), EpisodeSampler(data, **shape), method="a method")
        got = evaluate(as_predict(near), EpisodeSampler(there, **shape), method="a method")
        assert got.accuracy == pytest.approx(expected.accuracy, abs=0.05)
        assert got.fingerprint == expected.fingerprint


@pytest.mark.parametrize(("precision", "apart"), [("32-true", 1e-3), ("bf16-mixed", 0.1)])
def test_features_on_a_gpu(precision, apart):
    torch.manual_seed(0)
    images = torch.randint(256, (12, 3, 32, 32), dtype=torch.uint8)
    data = PackedDataset(images, torch.arange(12) // 6, ("a", "b"))
    model = GraphFewShot(backbones.conv4(width=8), ClassGraph(), precision="32-true").eval()
    expected = model.features(data).items
    model.precision = precision
    got = model.features(data, device="cuda").items
    assert torch.cosine_similarity(got, expected).min() > 1 - apart
    assert got.device.type == "cpu"


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("backbone", ["conv4", "resnet12"])
def test_training_on_a_gpu(tmp_path, compiled, backbone):
    width = {"width": 8} if backbone == "conv4" else {"widths": [8, 8, 8, 8]}
    config = from_dict(
        {
            **{"name": "gpu", "data": "glyphs", "compile": compiled},
            **{"images": {"size": 28, "channels": 1}, "backbone": {"name": backbone, **width}},
            "pretrain": {"epochs": 1, "batch": 64, "images": 640},
            "meta": {"steps": 3, "batch": 2, "way": 5, "shot": 1, "query": 5},
            "graph": {"steps": 3, "ways": [5], "shots": [1]},
            "evaluate": {"ways": [5], "shots": [1], "query": 5, "episodes": 50},
        }
    )
    write(config, tmp_path / "gpu.yaml")
    # In a process of its own: older versions of torch cannot compile the checks of shapes that pytest adds.
    words = [
        sys.executable,
        "-m",
        "fewshot",
        "train",
        "--config",
        tmp_path / "gpu.yaml",
        "--out",
        tmp_path / "run",
    ]
    subprocess.run(list(map(str, words)), check=True)
    assert json.loads((tmp_path / "run" / "results.json").read_text())
    model = GraphFewShot.load(tmp_path / "run" / "checkpoint.pt")
    assert np.isfinite(model.features(fewshot.load("glyphs").test).items[:50].numpy()).all()


def test_precision_and_layout_are_measured_on_a_gpu(tmp_path):
    slow, quick = (precision._convolution("cuda", dtype) for dtype in (torch.float64, torch.float32))
    ways = {"float64": slow, "float32": quick}
    assert fastest("a convolution", ways, margin=1.2, device="cuda", cache=tmp_path) == "float32"
    assert torch.cuda.get_device_name() in (tmp_path / "fastest.json").read_text()
    assert precision.resolve("auto", "cuda") in ("32-true", "bf16-mixed")
    assert precision.layout("cuda") in (torch.channels_last, torch.contiguous_format)
