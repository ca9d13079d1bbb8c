"""Prediction on image files by a model that has known classes: names and tables as relations."""

import pytest
import torch
from letters import draw

from fewshot.core.errors import InputError
from fewshot.core.taxonomy import as_path, similarity
from fewshot.data.readers.benchmark import read_benchmark
from fewshot.graph.known_classes import KnownClasses
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.image_files import encode_files, encode_support, query_files, support_files
from fewshot.model.predict import classify, predict


def knowing(model, paths, names=None):
    """The model with known classes: made-up prototypes with these paths."""
    prototypes = torch.randn(len(paths), model.base_mean.numel(), generator=torch.Generator().manual_seed(0))
    return GraphFewShot(
        model.backbone,
        model.graph,
        preprocess=model.preprocess,
        base_mean=model.base_mean,
        precision="32-true",
        known=KnownClasses(prototypes, names, paths),
    ).eval()


def test_relations_of_a_table_go_to_the_graph(model, folders):
    paths = ("sign/round", "sign/straight", "thing")
    knows = knowing(model, paths, ("o", "t", "saw"))
    (folders / "own.csv").write_text("class,path\nO,sign/round/O\nT,sign/straight/T\n")
    support, query = folders / "support", folders / "query"
    found = predict(knows, support, query, relations=folders / "own.csv")
    features, mask = encode_support(knows, support_files(support))
    rows = similarity([None, "sign/round/O", "sign/straight/T"], paths)
    output = classify(knows, features, mask, encode_files(knows, query_files(query)), relations=rows)
    expected = output.logits[0].double().softmax(-1)
    assert torch.tensor([list(p.probabilities.values()) for p in found]).double().allclose(expected)
    plain = predict(knows, support, query, relations="none")
    assert plain == predict(model, support, query) == predict(knows, support, query)  # names say nothing here
    assert found[0].probabilities != plain[0].probabilities


def test_an_empty_folder_is_a_zero_shot_class_if_there_are_relations(model, folders):
    support, query = folders / "support", folders / "query"
    (support / "P").mkdir()
    (support / "P" / ".hidden").write_text("")
    (support / "names.csv").write_text("class,path\nO,sign/round/O\nP,sign/straight/P\n")
    knows = knowing(model, ("sign/round", "sign/straight", "thing"))
    found = predict(knows, support, query)
    assert list(found[0].probabilities) == ["A", "O", "P", "T"]
    assert all(0 < p.probabilities["P"] < 1 for p in found)
    with pytest.raises(InputError, match=r"class 'P' has no image in .*, and no relations"):
        predict(knows, support, query, relations="none")
    with pytest.raises(InputError, match=r"class 'P' has no image in .*, and no relations"):
        predict(model, support, query)
    (support / "P" / "broken.txt").write_text("no image")
    with pytest.raises(InputError, match="class 'P' has no image in"):
        predict(knows, support, query)


def test_zero_shot_classes_alone(model, folders):
    support = folders / "names"
    for name in ("O", "T"):
        (support / name).mkdir(parents=True)
    (support / "names.csv").write_text("class,path\nO,sign/round/O\nT,sign/straight/T\n")
    found = predict(knowing(model, ("sign/round", "sign/straight", "thing")), support, folders / "query")
    assert all(sum(p.probabilities.values()) == pytest.approx(1) for p in found)


def test_groups_of_classes_in_evidence(model, folders):
    support, query = folders / "support", folders / "query"
    (support / "names.csv").write_text("class,path\nO,sign/round/O\nT,sign/straight/T\nA,sign/straight/A\n")
    knows = knowing(model, ("sign/round", "sign/straight", "thing"))
    found = predict(knows, support, query, absent=["straight"])
    assert all(p.probabilities == {"A": 0, "O": 1, "T": 0} for p in found)
    plain, one = predict(knows, support, query), predict(knows, support, query, present=["straight"])
    likeliest = max("AT", key=lambda name: sum(p.probabilities[name] for p in plain))
    assert one == predict(knows, support, query, present=[likeliest])
    with pytest.raises(InputError, match="absent: expected one of A, O, T, or a group of them, got 'fish'"):
        predict(knows, support, query, absent=["fish"])


def test_what_names_were_taken_for_is_reported(model, folders):
    paths = [as_path(path) for path in list(read_benchmark("tieredimagenet").taxonomy.values())[::9]]
    lines = []
    for number, name in enumerate(("crane", "red_crow", "zzz")):
        draw("A", folders / "birds" / name / "0.png", number)
    predict(knowing(model, paths), folders / "birds", folders / "query", tell=lines.append)
    assert lines[:2] == [
        "names: 'zzz' was not found: no relations",
        "names: guesses: 'red_crow' as crow",
    ]
    assert lines[2].startswith("names: senses: 'crane' as ")
