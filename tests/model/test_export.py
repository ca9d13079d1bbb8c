"""Exported models give the model's own outputs in other runtimes, at any way and shot."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typed import fails

from fewshot import FewShotClassifier, backbones
from fewshot.cli.entry import main
from fewshot.core.errors import InputError
from fewshot.core.files import writing
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.known_classes import KnownClasses
from fewshot.model import runtimes
from fewshot.model.export import export_model
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.predict import predict
from fewshot.model.preprocess import Preprocess

EPISODES = [(1, 2, 1, 1), (3, 5, 1, 30), (1, 5, 5, 7), (2, 20, 3, 25)]  # B, N, K, M
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime", "onnxscript")),
    reason="onnx, onnxruntime and onnxscript are not installed",
)
needs_torch = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 10),
    reason="torch.export before 2.10 does not keep the sizes open",
)
EXPORTS = [  # of conv4 with known classes, of resnet12 without
    pytest.param(("conv4", "onnx", "joint"), marks=needs_onnx),
    pytest.param(("resnet12", "onnx", "inductive"), marks=needs_onnx),
    pytest.param(("conv4", "torch", "inductive"), marks=needs_torch),
]


def small_model(name: str) -> GraphFewShot:
    """A model with random weights, chosen so that every part has an effect."""
    torch.manual_seed(0)
    graph = ClassGraph(steps=4)  # the fewest that have each kind of round
    graph.load_state_dict(ClassGraph.pretrained().state_dict())
    if name == "conv4":
        backbone, preprocess = backbones.conv4(in_channels=1, width=8), Preprocess(32, 1)
    else:
        backbone = backbones.resnet12(widths=(4, 4, 8, 8))
        preprocess = Preprocess(32, 3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.2))
    size = backbone.out_features(32)
    model = GraphFewShot(
        backbone,
        graph,
        preprocess=preprocess,
        base_mean=torch.randn(size),
        mirror=name == "resnet12",
        precision="32-true",
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean, module.running_var = torch.randn(2, module.num_features).abs()
    model.transform.fit(torch.rand(100, size))
    if name == "conv4":
        model.known = KnownClasses(torch.randn(7, size), None, [("thing", f"kind {c}") for c in range(7)])
    return model.eval()


def images(*shape: int) -> Tensor:
    return torch.randint(256, shape, dtype=torch.uint8)


@cache
def load(file: Path) -> Callable[[dict[str, Tensor]], list[Tensor]]:
    """A function that runs an exported part in its runtime."""
    if file.suffix == ".pt2":
        program = torch.export.load(file).module()

        def call(inputs: dict[str, Tensor]) -> list[Tensor]:
            outputs = program(*inputs.values())
            return [outputs] if isinstance(outputs, Tensor) else list(outputs)

        return call
    import onnxruntime

    session = onnxruntime.InferenceSession(file)

    def call(inputs: dict[str, Tensor]) -> list[Tensor]:
        return [torch.from_numpy(x) for x in session.run(None, {k: x.numpy() for k, x in inputs.items()})]

    return call


def run(folder: Path, part: str, **inputs: Tensor) -> list[Tensor]:
    (file,) = folder.glob(f"{part}.*")
    return load(file)(inputs)


@pytest.fixture(scope="module", params=EXPORTS, ids=lambda names: "-".join(names))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A model, its export by the command line, and the mode."""
    name, format, mode = request.param
    model, folder = small_model(name), tmp_path_factory.mktemp("run")
    extra = {"config": {"name": "mine", "data": f"omniglot:{folder}/photos", "seed": 3}, "data": "0123abcd"}
    model.save(folder / "checkpoint.pt", extra)
    row = {"method": "class-graph", "mode": "joint", "way": 5, "shot": 1, "accuracy": 61.234, "ci95": 0.456}
    row |= {"ece": 0.031, "episodes": 2000, "fingerprint": "c145bccf"}
    (folder / "results.json").write_text(json.dumps([row]))
    status = main(["export", f"{folder}/checkpoint.pt", "--format", format, "--mode", mode])
    assert status == 0
    return model, folder / f"{format}-{mode}", format, mode


def without_relations(model: GraphFewShot, episodes: int, way: int, size: int) -> dict[str, Tensor]:
    """What a graph with known classes is also given if nothing is known of the episode's classes."""
    if model.known is None:
        return {}
    return {"known": torch.randn(3, size), "relations": torch.full((episodes, way, 3), torch.nan)}


@torch.no_grad()
def test_outputs_are_the_models_own(exported) -> None:
    model, folder, _, mode = exported
    image = (model.preprocess.channels, 32, 32)
    for b, n, k, m in EPISODES:
        support, query = images(b, n, k, *image), images(b, m, *image)
        (support_features,) = run(folder, "backbone", images=support.flatten(0, 2))
        (query_features,) = run(folder, "backbone", images=query.flatten(0, 1))
        outputs = run(
            folder,
            "graph",
            support=support_features.unflatten(0, (b, n, k)),
            query=query_features.unflatten(0, (b, m)),
            **without_relations(model, b, n, support_features.shape[1]),
        )
        expected = model(support, query, joint=mode == "joint")
        for output, own in zip(outputs[:3], expected[:3], strict=True):
            torch.testing.assert_close(output, own, atol=1e-4, rtol=1e-5)
        assert all((output == 0).all() for output in outputs[3:])  # nothing is heard of known classes


@torch.no_grad()
def test_probabilities_are_those_of_predict_and_of_the_estimator(exported, tmp_path) -> None:
    model, folder, _, mode = exported
    channels, (n, k, m) = model.preprocess.channels, (3, 2, 9)
    support, query = images(n, k, channels, 32, 32), images(m, channels, 32, 32)
    for i, c in product(range(n), range(k)):
        save(support[i, c], tmp_path / "support" / f"class {i}" / f"{c}.png")
    for i in range(m):
        save(query[i], tmp_path / "query" / f"{i}.png")
    (known,) = run(folder, "backbone", images=support.flatten(0, 1))
    (asked,) = run(folder, "backbone", images=query)
    inputs = {"support": known.view(1, n, k, -1), "query": asked[None]}
    logits, *_ = run(folder, "graph", **inputs, **without_relations(model, 1, n, known.shape[1]))
    found = predict(model, tmp_path / "support", tmp_path / "query", mode=mode)
    labels = [f"class {i}" for i in range(n)]
    clf = FewShotClassifier(model, joint=mode == "joint")
    clf.fit(support.flatten(0, 1).numpy(), np.repeat(labels, k))
    close = {"atol": 1e-4, "rtol": 1e-3}
    expected = torch.tensor([[p.probabilities[label] for label in labels] for p in found])
    torch.testing.assert_close(logits[0].softmax(-1), expected, **close)
    np.testing.assert_allclose(clf.predict_proba(query.numpy()), expected, **close)
    for one, own in zip(
        predict(model, tmp_path / "support", tmp_path / "query", mode=mode, sure=0.8),
        clf.predict_sets(query.numpy(), 0.8),
        strict=True,
    ):
        assert list(one.sure_set) == own.tolist()


def save(image: Tensor, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy()).save(file)


@torch.no_grad()
def test_graph_takes_features_of_any_size_and_shots_that_differ(exported) -> None:
    model, folder, _, mode = exported
    support, query = torch.randn(2, 4, 3, 11), torch.randn(2, 9, 11)
    mask = torch.ones(2, 4, 3, dtype=torch.bool)
    mask[0, 1, 1:] = mask[1, 3, 2:] = False
    expected = model.graph(support, query, joint=mode == "joint", support_mask=mask)
    support[~mask] = torch.nan
    outputs = run(folder, "graph", support=support, query=query, **without_relations(model, 2, 4, 11))
    for output, own in zip(outputs[:3], expected[:3], strict=True):
        torch.testing.assert_close(output, own, atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_graph_takes_any_known_classes_and_relations(exported) -> None:
    model, folder, _, mode = exported
    if model.known is None:
        assert not (folder / "known.json").exists()
        assert "known_dependencies" not in (folder / "README.md").read_text()
        return
    own = KnownClasses.load(folder)
    torch.testing.assert_close(own.prototypes, model.known.prototypes)
    assert own.paths == model.known.paths
    for (b, n, k, m), c in zip(EPISODES, (1, 7, 40, 2), strict=True):
        support, query = torch.randn(b, n, k, 11), torch.randn(b, m, 11)
        known, relations = torch.randn(c, 11), torch.randn(b, n, c)
        relations[0, 0] = torch.nan  # nothing is known of this class
        mask = torch.ones(b, n, k, dtype=torch.bool)
        mask[0, 1] = False  # a zero-shot class
        options = {"known": known, "relations": relations}
        expected = model.graph(support, query, joint=mode == "joint", support_mask=mask, **options)
        support[~mask] = torch.nan
        outputs = run(folder, "graph", support=support, query=query, **options)
        for output, value in zip(outputs, expected[:5], strict=True):
            torch.testing.assert_close(output, value, atol=1e-4, rtol=1e-5)


def test_card_says_what_it_is_and_its_code_runs_without_the_package(exported) -> None:
    model, folder, _, mode = exported
    card = (folder / "README.md").read_text()
    shape = f"uint8 [n, {model.preprocess.channels}, 32, 32]"
    terms = "Those of omniglot: MIT."
    if model.known is not None:
        assert "the\n7 classes that the backbone was trained on" in card
    for fact in ("# mine", f"*{mode}*", "`omniglot:photos`", "`0123abcd`", "61.2 ± 0.5", shape, terms):
        assert fact in card
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    code = "import sys\nsys.modules['fewshot'] = None  # unavailable\n" + code + "\nprint(classes.shape)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout in ("(20,)\n", "torch.Size([20])\n")


def test_files_hold_no_path_of_this_machine(exported) -> None:
    _, folder, *_ = exported
    home = os.fsencode(Path(__file__).parents[2])
    assert not any(home in file.read_bytes() for file in folder.iterdir())


def test_nothing_is_overwritten(exported, capsys) -> None:
    _, folder, format, mode = exported
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    line = fails(capsys, "export", f"{folder.parent}/checkpoint.pt", "--format", format, "--mode", mode)
    reason = f"out: expected a new or an empty folder, got {folder}, which is neither"
    assert line == f"fewshot export: error: {reason}"
    assert before == {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}


def test_missing_packages_are_named(monkeypatch, tmp_path, capsys) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "onnx" else found(name, *a)
    )
    assert fails(capsys, "export", f"{tmp_path}/checkpoint.pt") == (
        "fewshot export: error: format: onnx needs onnx (pip install onnx); or use --format torch"
    )


@pytest.mark.parametrize("content", ["{", "3", "[1]", '[{"method": "class-graph"}]'])
def test_foreign_results_are_refused(tmp_path, content, capsys) -> None:
    small_model("conv4").save(tmp_path / "checkpoint.pt")
    (tmp_path / "results.json").write_text(content)
    line = fails(capsys, "export", f"{tmp_path}/checkpoint.pt", "--format", "torch")
    assert "results.json: expected the results of a run" in line
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoint.pt", "results.json"]


def test_model_that_cannot_be_traced_is_refused_and_leaves_nothing(tmp_path) -> None:
    class ByValue(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) if x.sum() > 0 else -x.flatten(1)

    model = GraphFewShot(ByValue(), ClassGraph(), preprocess=Preprocess(4, 3))
    with pytest.raises(InputError, match=r"^backbone: cannot be exported \("):
        export_model(model, tmp_path / "out", format="torch")
    assert not list(tmp_path.iterdir())


def test_model_without_a_size_is_refused(tmp_path) -> None:
    model = GraphFewShot(backbones.conv4(width=4), ClassGraph())
    with pytest.raises(InputError, match=r"^model: expected one whose preprocessing gives the images' size"):
        export_model(model, tmp_path / "out", format="torch")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a system without /dev/full")
def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(path, content):
        with writing(path):
            Path("/dev/full").write_bytes(content)

    monkeypatch.setattr(runtimes, "write_bytes", full)
    small = GraphFewShot(backbones.conv4(width=4), ClassGraph(), preprocess=Preprocess(16, 3)).eval()
    with pytest.raises(InputError, match=r"/out: cannot be written \(No space left on device\)"):
        export_model(small, tmp_path / "out", format="torch")
    assert list(tmp_path.iterdir()) == []
