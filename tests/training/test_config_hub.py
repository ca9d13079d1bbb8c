"""Every shipped config fits the true counts of its benchmark, and each of its stages makes a step.

The steps are made on small files in the benchmark's own format, with small networks and episodes.
"""

from pathlib import Path

import pytest
import torch
from on_disk import FILES
from test_omniglot import two_of_each  # noqa: F401 (a fixture)

from fewshot.core import shipped
from fewshot.data.loading import load
from fewshot.data.packed import PackedDataset, Splits
from fewshot.data.readers.benchmark import read_benchmark
from fewshot.training import config as configs
from fewshot.training.build import build
from fewshot.training.config import Config
from fewshot.training.plan import planned

SMALL = {
    "images": {"size": 32},
    "augment": {"crop": 2},
    "pretrain": {"epochs": 1, "batch": 4},
    "meta": {"steps": 1, "batch": 2, "way": 3, "query": 1},
    "graph": {"steps": 1, "batch": 1, "ways": [3], "shots": [1], "query": 1, "noise": [0.0]},
    "evaluate": {"ways": [2], "shots": [1], "query": 1, "episodes": 2},
}
SMALLER = {
    "resnet12": {"backbone": {"name": "resnet12", "widths": [4, 4, 8, 8]}},
    "torchvision:resnet18": {"backbone": {"pretrained": False}},  # not downloaded
}


def small(name: str, **overrides: object) -> Config:
    """A shipped config with its sections cut down."""
    whole = configs.to_dict(configs.read(name))
    changes = SMALL | SMALLER.get(whole["backbone"]["name"], {})
    cut = {section: whole[section] | values for section, values in changes.items() if whole[section]}
    return configs.from_dict(whole | cut | overrides)


@pytest.mark.usefixtures("two_of_each")
@pytest.mark.parametrize("name", shipped.names("configs"))
def test_each_stage_makes_a_step(name: str, tmp_path: Path) -> None:
    kind = configs.read(name).data.partition(":")[0]
    kind = {"glyphs": "omniglot", "folder": "miniimagenet"}.get(kind, kind)  # made in less time
    spec = f"{kind}:{FILES[kind](tmp_path)}"
    config = small(name, data=spec)
    splits = load(spec, size=32, channels=config.images.channels, progress=False)
    model = build(config, splits)
    stages = planned(config, splits).stages
    assert [stage.name for stage in stages] == [
        name for name in ("pretrain", "meta", "graph") if getattr(config, name)
    ]
    for stage in stages:
        current = stage.begin(model)
        before = [p.detach().clone() for p in current.module.parameters()]
        loss, _ = current.module(*next(current.batches(0)))
        assert loss.isfinite()
        loss.backward()
        current.optimizer.step()
        after = list(current.module.parameters())
        assert all(p.isfinite().all() for p in after)
        assert not all(torch.equal(p, b) for p, b in zip(after, before, strict=True))


@pytest.mark.parametrize(
    "name", [name for name in shipped.names("configs") if name not in ("glyphs", "photos", "frozen")]
)
def test_episodes_fit_the_benchmarks_true_counts(name: str) -> None:
    config = configs.read(name)
    kind = config.data.partition(":")[0]
    benchmark = read_benchmark(name if name in shipped.names("datasets") else kind)
    sets = {}
    for split, classes in benchmark.classes.items():
        each = benchmark.images_per_class or benchmark.images[split] // len(classes)
        labels = torch.arange(len(classes)).repeat_interleave(each)
        sets[split] = PackedDataset(
            torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(len(labels), -1, -1, -1), labels, classes
        )
    assert planned(config, Splits(**sets, name=kind, hash="", path=Path())).stages


@pytest.mark.parametrize("name", shipped.names("configs"))
def test_the_header_says_what_to_run_and_what_to_expect(name: str) -> None:
    text = shipped.find("configs", name).read_text()
    header = text[: text.index("\nname: ")]
    assert f"# Command: fewshot train --config {name}" in header
    for word in ("# Paper", "# Expected: "):
        assert word in header
    assert "experiments/results/" in header or "not measured here" in header
