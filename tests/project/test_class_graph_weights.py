"""The script that finds the graph's weights: what it moves, what it counts, and a run on very little."""

import json
import sys
from pathlib import Path

import pytest
import torch

from fewshot.data.features_file import write_features
from fewshot.data.labelled import FeatureSet
from fewshot.graph.class_graph import WEIGHTS, ClassGraph

sys.path.append(str(Path(__file__).parents[2] / "experiments"))
script = pytest.importorskip("class_graph_weights")
from weights import conditions, search, sources  # noqa: E402


def test_each_scalar_is_moved_or_fitted_or_set_by_hand() -> None:
    for name, parameter in ClassGraph().named_parameters():
        kinds = (name in search.STEPS, name in search.BY_HAND, name.partition(".")[0] in search.FITTED)
        assert sum(kinds) == 1, name
        assert len(search.STEPS.get(name, [0.0] * parameter.numel())) == parameter.numel()
    assert set(search.STEPS) <= dict(ClassGraph().named_parameters()).keys()


def figure(**changes) -> search.Figure:
    plain = {"features": "photographs", "condition": "", "mode": "joint", "relations": "none"}
    plain |= {"belief": "judged", "known_relations": False, "weight": 1.0, "accuracy": 60.0}
    plain |= {"over_prototypes": 6.0, "over_inductive": 2.0, "over_none": None}
    return search.Figure(**plain | changes)


def test_objective_is_the_mean_gain_less_penalties() -> None:
    good, harmed = figure(), figure(over_prototypes=3.0, over_inductive=-1.0)
    assert search.objective([good, figure(over_prototypes=2.0, weight=3.0)]) == pytest.approx(3.0)
    assert search.objective([good, harmed]) == pytest.approx(4.5 - search.HARM / 2 - search.WORST)
    # True relations may bring less than none in one condition; false ones must not.
    assert figure(relations="true", over_none=-2.0).below == 0
    assert figure(relations="shuffled", over_none=-2.0).below == -2


def test_averaged_supports_are_means_of_images() -> None:
    made = sources.clusters(6, 8, apart=1.0, power=0.0, images=40)
    source = sources.Source("clusters", "made up", made, made)
    condition = conditions.Condition("means", {"shot": 1, "query": 2}, averaged=True)
    drawn = conditions.draw(source, condition, episodes=4, seed=0)
    episode = drawn.episodes[0]
    assert episode.support_index.shape[1:] == (5, conditions.AVERAGED)
    unit = torch.nn.functional.normalize(made.items[episode.support_index], dim=-1)
    torch.testing.assert_close(drawn.gathered(episode, made.items).support[:, :, 0], unit.mean(2))


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Folds, photographs and letters, all made up."""
    splits = {}
    for number, (split, count) in enumerate((("train", 10), ("val", 10))):
        made = sources.clusters(count, 8, apart=1.0, power=0.0, images=30, seed=number)
        names = tuple(f"{split} {c}" for c in range(count))
        paths = tuple(f"thing/{'ab'[c % 2]}/{name}" for c, name in enumerate(names))
        splits[split] = FeatureSet(made.items, made.labels, names, paths=paths)
    (tmp_path / "folds").mkdir()
    for name in ("folds/fold0.npz", "features.npz"):
        write_features(tmp_path / name, splits)
    named = (f"--{kind}={tmp_path}/features.npz" for kind in ("letters", "photographs"))
    return ["--folds", f"{tmp_path}/folds", *named]


def small(shot: int, **options) -> conditions.Condition:
    return conditions.Condition(f"{shot}-shot", {"shot": shot, "query": 3, **options}, given=conditions.FEW)


def test_run_on_very_little(files, monkeypatch, tmp_path) -> None:
    shipped = (WEIGHTS / "model.safetensors").read_bytes()
    monkeypatch.setattr(sources, "CLUSTERS", ((10, 8, 1.0, 0.0),))
    monkeypatch.setattr(search, "STEPS", {"head.log_scale": [0.5], "sharpness.by": [0.1, 0.2]})
    monkeypatch.setattr(script, "VAL", ((1, "balanced", 0.0),))
    plain = conditions.Condition("plain", {"shot": 1, "query": 3})
    for kind in conditions.CONDITIONS:
        monkeypatch.setitem(conditions.CONDITIONS, kind, (plain,))
    monkeypatch.setitem(conditions.CONDITIONS, "photographs", (small(1), small(2)))
    few = ["--rounds", "1", "--episodes", "4", "--steps", "5", "--val-episodes", "3"]
    out, results = tmp_path / "out", tmp_path / "results.json"
    script.main([*files, *few, f"--out={out}", f"--results={results}"])

    found, start = ClassGraph.from_pretrained(out), dict(ClassGraph().named_parameters())
    moved = {name for name, value in found.named_parameters() if not torch.equal(value, start[name])}
    assert any(name.startswith("temperature.") for name in moved)
    assert any(name.startswith("none_of_these.") for name in moved)
    assert {name.partition(".")[0] for name in moved} <= {*search.FITTED, "head", "sharpness"}
    assert (WEIGHTS / "model.safetensors").read_bytes() == shipped

    result = json.loads(results.read_text())
    objectives = [result["objective"]["constructor"], *(move["objective"] for move in result["moves"])]
    assert objectives == sorted(objectives)
    assert {row["relations"] for row in result["rows"]} == {"none", "taxonomy", "shuffled"}
    assert str(tmp_path) not in results.read_text()
