"""Checkpoints whose fields hold anything: refused by name in one line, before memory is taken."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from fewshot import backbones
from fewshot.core.errors import InputError
from fewshot.core.untrusted import tensors
from fewshot.data.labelled import LabelledSet
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.known_classes import KnownClasses
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess
from fewshot.training.build import load_weights

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    model = GraphFewShot(backbones.conv4(1, 4), ClassGraph(), preprocess=Preprocess(16, 1))
    model.base_mean = torch.zeros(4)
    path = tmp_path_factory.mktemp("whole") / "whole.pt"
    model.save(path, {"config": {"data": "glyphs"}})
    return torch.load(path, weights_only=True)


def changed(content: dict[str, Any], where: str, value: Any) -> dict[str, Any]:
    """The content with another value at a dotted key; keys of the state are one word."""
    head, _, rest = where.partition(".")
    if head == "state" and rest:
        return {**content, "state": {**content["state"], rest: value}}
    return {**content, head: changed(content[head], rest, value) if rest else value}


CASES = [
    *[("preprocess.size", size) for size in (0, -5, 1.5, "x", [32], True, 10**30, 60000)],
    *[("preprocess.channels", value) for value in (2, True, "1", [1])],
    *[("preprocess.mean", value) for value in ([], [0.5] * 5, [NAN], None, "x", [[0.5]])],
    *[("preprocess.std", value) for value in ([], [0.0], [INF], [-1.0], [NAN])],
    *[("backbone.width", value) for value in (-1, 0, 10**6, 1.5, "x", None)],
    *[("backbone.in_channels", value) for value in (0, 10**9)],
    ("backbone", {"name": "resnet12", "in_channels": 1, "widths": [10**5] * 4}),
    ("backbone", {"name": "resnet12", "in_channels": 1, "widths": []}),
    ("backbone", {"name": "resnet12", "in_channels": 1, "widths": [1] * 1000}),
    ("backbone", {"name": "conv4", "in_channels": 1, "width": 4096}),
    *[("backbone", value) for value in (5, [], "conv4", {"name": ["conv4"]}, {})],
    *[
        ("graph", value)
        for value in (5, None, {"steps": 10**9}, {"steps": True}, {"steps": "8"}, {"step": 8})
    ],
    *[("precision", value) for value in (None, 5, "x", "fp4")],
    *[("mirror", value) for value in (None, 1, "yes")],
    *[("extra", value) for value in (None, 5, {"config": 5}, {"config": None}, {"config": {"data": 5}})],
    *[("known", value) for value in (5, {}, {"prototypes": torch.eye(2)})],
    *[("state", value) for value in (None, 5, {}, {"a": 5})],
    ("state.base_mean", torch.zeros(2, 2)),
    ("state.base_mean", torch.zeros(4, dtype=torch.complex64)),
    ("state.base_mean", torch.zeros(4, dtype=torch.float64)),
    ("state.base_mean", torch.full((4,), NAN)),
    ("state.base_mean", torch.zeros(1).expand(1_500_000_000)),
    ("state.base_mean", torch.zeros(4).to_sparse()),
    ("state.base_mean", torch.zeros(4, device="meta")),
    ("state.base_mean", torch.zeros(4, dtype=torch.float8_e4m3fn)),
    ("state.transform.low", torch.zeros(7)),
    ("state.backbone.conv1.weight", torch.full((4, 1, 3, 3), INF)),
    ("state.backbone.conv1.weight", torch.zeros(4, 1, 3, 2)),
]


@pytest.mark.parametrize(("where", "value"), CASES, ids=lambda value: str(value)[:30])
def test_it_is_refused_by_name(content: dict[str, Any], tmp_path: Path, where: str, value: Any) -> None:
    path = tmp_path / "strange.pt"
    torch.save(changed(content, where, value), path)
    with pytest.raises(InputError, match=r"strange\.pt: ") as caught:
        GraphFewShot.load(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_weights_without_numbers_are_refused(content: dict[str, Any], tmp_path: Path) -> None:
    bits = torch.zeros(4, dtype=torch.uint8).view(torch.bits8)
    torch.save(changed(content, "state.base_mean", bits), tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"x\.pt: expected a checkpoint of fewshot \(it holds torch\.\w+"):
        GraphFewShot.load(tmp_path / "x.pt")


def test_a_base_mean_of_another_size_is_named(content: dict[str, Any], tmp_path: Path) -> None:
    for size in (1, 5):
        torch.save(changed(content, "state.base_mean", torch.zeros(size)), tmp_path / "x.pt")
        model = GraphFewShot.load(tmp_path / "x.pt")
        with pytest.raises(
            InputError, match=r"x\.pt: base_mean: expected \[4\], the size of the features, got "
        ):
            model.encode(torch.zeros(1, 1, 16, 16, dtype=torch.uint8))


def test_a_model_that_does_not_resize_is_named_when_sizes_differ(
    content: dict[str, Any], tmp_path: Path
) -> None:
    torch.save(changed(content, "preprocess.size", None), tmp_path / "x.pt")
    model = GraphFewShot.load(tmp_path / "x.pt")
    with pytest.raises(
        InputError, match=r"x\.pt: base_mean: expected \[16\], the size of the features, got "
    ):
        model.encode(torch.zeros(1, 1, 32, 32, dtype=torch.uint8))


@pytest.mark.parametrize("value", [3e38, -3e38])
def test_features_that_are_not_finite_are_the_checkpoints(
    content: dict[str, Any], tmp_path: Path, value: float
) -> None:
    floats = {key: x for key, x in content["state"].items() if "backbone" in key and x.is_floating_point()}
    huge = {key: torch.full_like(x, value) for key, x in floats.items()}
    torch.save(changed(content, "state", {**content["state"], **huge}), tmp_path / "x.pt")
    model = GraphFewShot.load(tmp_path / "x.pt")
    pictures = LabelledSet(
        torch.full((1, 1, 16, 16), 9, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), ("a",)
    )
    with pytest.raises(InputError, match=r"x\.pt: its backbone gives features that are not finite"):
        model.features(pictures)


def test_what_training_writes_is_read(content: dict[str, Any], tmp_path: Path) -> None:
    weight = content["state"]["backbone.conv2.weight"]
    wide = weight.contiguous(memory_format=torch.channels_last)  # as training has it
    torch.save(changed(content, "state.backbone.conv2.weight", wide), tmp_path / "x.pt")
    model = GraphFewShot.load(tmp_path / "x.pt")
    assert torch.equal(model.backbone.conv2.weight, weight)


def test_a_compressed_checkpoint_is_not_unpacked(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt") as source:
        members = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in members.items():
            target.writestr(name, data)
    with pytest.raises(InputError, match="it is compressed, which torch's files are not"):
        GraphFewShot.load(tmp_path / "x.pt")


def test_values_in_each_other_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "MOST", 1000)
    value: Any = [0]
    for _ in range(12):  # 2^12 values, of which there are 13
        value = [value, value]
    torch.save({"format": "fewshot", "version": 2, "extra": {"config": value}}, tmp_path / "x.pt")
    with pytest.raises(InputError, match="too many values, or too deep in each other"):
        GraphFewShot.load(tmp_path / "x.pt")


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    backbone = backbones.conv4(1, 4)
    torch.save({**backbone.state_dict(), "conv1.weight": torch.full((4, 1, 3, 3), NAN)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"w\.pt: weights: 'conv1.weight': expected finite numbers"):
        load_weights(backbone, tmp_path / "w.pt")


def test_weights_of_other_numbers_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    backbone = backbones.conv4(1, 4)
    weight = torch.zeros(4, 1, 3, 3, dtype=torch.uint8).view(torch.float8_e4m3fn)
    save_file({**backbone.state_dict(), "conv1.weight": weight}, tmp_path / "w.safetensors")
    with pytest.raises(
        InputError, match=r"'conv1.weight': expected a tensor of real numbers, got torch\.float8"
    ):
        load_weights(backbone, tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    "value", [torch.tensor(NAN), torch.tensor(1), torch.tensor(1.0, dtype=torch.float64)]
)
def test_graphs_with_other_weights_are_refused(tmp_path: Path, value: torch.Tensor) -> None:
    from safetensors.torch import save_file

    graph = ClassGraph()
    graph.save_pretrained(tmp_path)
    name = next(name for name, weight in graph.state_dict().items() if weight.dim() == 0)
    save_file({**graph.state_dict(), name: value}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"expected config\.json and model.safetensors of a class graph"):
        ClassGraph.from_pretrained(tmp_path)


def test_known_classes_of_a_file_that_is_too_short_are_refused(tmp_path: Path) -> None:
    KnownClasses(torch.eye(2)).save(tmp_path)
    file = tmp_path / "known.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"expected known\.json and known\.safetensors"):
        KnownClasses.load(tmp_path)


def test_weights_of_an_old_torch_are_read(tmp_path: Path) -> None:
    backbone, other = backbones.conv4(1, 4), backbones.conv4(1, 4)
    torch.save(other.state_dict(), tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    load_weights(backbone, tmp_path / "w.pt")
    assert torch.equal(backbone.conv1.weight, other.conv1.weight)


def test_what_is_no_checkpoint_is_one_short_line(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"

    def message() -> str:
        with pytest.raises(InputError) as caught:
            GraphFewShot.load(path)
        text = str(caught.value)
        assert text.startswith(f"{path}: expected a checkpoint of fewshot (")
        return text.removeprefix(f"{path}: expected a checkpoint of fewshot ")

    torch.save(torch.nn.Linear(2, 2), path)
    assert message() == "(it holds torch.nn.modules.linear.Linear)"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    assert message() == "(it holds something else)"
    whole = path.read_bytes()
    for content in (b"", b"a text\n", b"{}", b"\0" * 1000, pickle.dumps({"a": 1}), whole[: len(whole) // 2]):
        path.write_bytes(content)
        assert message() == "(it is not what torch.save writes, or its end is missing)"
    for members in ({}, {"a/b.png": b"x"}, {"a.npy": b"x"}, {"a/data.pkl": b"x", "a/version": b"3"}):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        assert message() == "(it is damaged)"
    torch.save({"format": "fewshot", "version": "3" * 10**6}, path)
    with pytest.raises(InputError, match=r"expected a checkpoint of format 3, got '333") as caught:
        GraphFewShot.load(path)
    assert len(str(caught.value)) < 300
