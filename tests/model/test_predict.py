"""Prediction on image files: letters in folders, what is known of the queries, what is refused."""

import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from letters import LETTERS, draw

from fewshot.core.errors import InputError
from fewshot.data.readers.images import decode
from fewshot.model.image_files import query_files, support_files
from fewshot.model.predict import predict
from fewshot.report.example import class_picture


@pytest.mark.parametrize("mode", ["inductive", "joint"])
def test_letters_are_distinguished(model, folders, mode):
    found = predict(model, folders / "support", folders / "query", mode=mode)
    assert [p.file.name for p in found] == ["A0.png", "A1.png", "O0.png", "O1.png", "T0.png", "T1.png"]
    assert [p.name for p in found] == list("AAOOTT")
    for p in found:
        assert sum(p.probabilities.values()) == pytest.approx(1.0)
        assert p.probability == max(p.probabilities.values()) == p.probabilities[p.name]


def test_equals_the_model_on_the_decoded_images(model, folders):
    classes = support_files(folders / "support")
    files = query_files(folders / "query")

    def read(file):
        return torch.from_numpy(decode(file.read_bytes(), "", 1, 32).copy())

    support = torch.zeros(1, 3, 3, 1, 32, 32, dtype=torch.uint8)
    mask = torch.zeros(1, 3, 3, dtype=torch.bool)
    for i, images in enumerate(classes.values()):
        for k, file in enumerate(images):
            support[0, i, k], mask[0, i, k] = read(file), True
    with torch.no_grad():
        logits = model(support, torch.stack([read(f) for f in files])[None], support_mask=mask).logits
    expected = logits[0].double().softmax(-1)
    found = torch.tensor([list(p.probabilities.values()) for p in predict(model, folders / "support", files)])
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-4)


def test_a_query_alone_and_among_others_is_the_same_unless_joint(model, folders):
    alone = predict(model, folders / "support", folders / "query" / "A0.png")[0]
    among = predict(model, folders / "support", folders / "query")[0]
    assert alone.probabilities == pytest.approx(among.probabilities, abs=1e-5)


def test_evidence(model, folders):
    support, query = folders / "support", folders / "query" / "A0.png"
    plain = predict(model, support, query)[0]
    without = predict(model, support, query, absent=["A"])[0]
    assert without.probabilities["A"] == 0
    assert without.name != "A"
    with_t = predict(model, support, query, present=["T"])[0]
    assert with_t.probabilities != plain.probabilities


def test_given_shares_are_those_of_the_labels(model, folders):
    support, query = folders / "support", folders / "query"
    options = {"mode": "joint"}
    equal = predict(model, support, query, proportions="equal", **options)
    assert Counter(p.name for p in equal) == {"A": 2, "O": 2, "T": 2}
    for name in LETTERS:
        assert sum(p.probabilities[name] for p in equal) == pytest.approx(2, abs=1e-3)
    table = folders / "shares.csv"
    table.write_text("class,share\nA,3\nO,1\nT,0\n")
    found = predict(model, support, query, proportions=table, **options)
    assert Counter(p.name for p in found) == {"A": 5, "O": 1}  # of 4.5 and 1.5
    assert all(p.probabilities["T"] == 0 for p in found)
    assert predict(model, support, query, proportions={"A": 6.0, "O": 2.0, "T": 0.0}, **options) == found
    assert predict(model, support, query, **options) == predict(
        model, support, query, proportions="unknown", **options
    )


def test_none_of_these_and_sets(model, folders):
    support, query = folders / "support", folders / "query"
    plain = predict(model, support, query)
    found = predict(model, support, query, none=True, sure=0.9)
    sizes = {}
    for before, after in zip(plain, found, strict=True):
        assert before.none_of_these is None
        assert before.sure_set == ()
        assert 0 < after.none_of_these < 1
        assert after.name in after.sure_set
        ranks = [after.probabilities[name] for name in after.sure_set]
        assert ranks == sorted(ranks, reverse=True)
        assert after.probabilities == pytest.approx(before.probabilities, abs=1e-6)  # rounded otherwise
        assert after.group == ""
    for sure in (0.5, 0.9, 0.99):
        sizes[sure] = sum(len(p.sure_set) for p in predict(model, support, query, sure=sure))
    assert sizes[0.5] <= sizes[0.9] <= sizes[0.99]
    paths = {"A": "letter/vowel", "O": "letter/vowel", "T": "letter/consonant"}
    (support / "classes.csv").write_text(
        "class,path\n" + "".join(f"{name},{path}\n" for name, path in paths.items())
    )
    for p in predict(model, support, query, sure=0.99):
        expected = "letter" if "T" in p.sure_set and len(p.sure_set) > 1 else paths[p.sure_set[0]]
        assert p.group == expected


def test_class_picture(model, folders):
    picture = class_picture(model, folders / "support")
    assert picture.names == list(LETTERS)
    np.testing.assert_allclose(picture.dependencies.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(np.diag(picture.dependencies), 0)
    assert all(image.shape == (1, 96, 96) for image in picture.images)


def test_refusals(model, folders):
    support, query = folders / "support", folders / "query"
    (query / "bad.png").write_bytes(b"no image at all")
    with pytest.raises(InputError, match=r"bad\.png: cannot be decoded"):
        predict(model, support, query)
    (folders / "empty").mkdir()
    a = query / "A0.png"
    for arguments, options, message in [
        ((support, a), {"mode": "both"}, "mode: expected one of inductive, joint, got 'both'"),
        ((support, a), {"absent": ["Z"]}, "absent: expected one of A, O, T, got 'Z'"),
        ((support, a), {"absent": ["A"], "present": ["A"]}, "class 'A' is given as both"),
        ((support, a), {"absent": list(LETTERS)}, "at least one class to remain"),
        ((support, folders / "empty"), {}, "query: no image in"),
        ((support, query / "none.png"), {}, "query: no such file or folder"),
        ((support, []), {}, "query: expected at least one file or folder"),
        ((support, a), {"proportions": "equal"}, "proportions: expected them with mode joint, got mode ind"),
        ((support, a), {"proportions": "no.csv", "mode": "joint"}, "no.csv"),
        ((support, a), {"sure": 1.0}, "sure: expected a share from 0.5 to 0.99, got 1.0"),
        ((folders / "none", a), {}, "support: no such file or folder"),
        ((a, a), {}, "support: expected a folder with one folder per class, got the file"),
        ((query, a), {}, "support: expected at least 2 folders, one per class"),
    ]:
        with pytest.raises(InputError, match=message):
            predict(model, *arguments, **options)
    (support / "group").mkdir()
    draw("A", support / "group" / "1.png")
    with pytest.raises(InputError, match=r"other names than the columns of a table .* got 'group'"):
        predict(model, support, a)
    shutil.rmtree(support / "group")
    shutil.rmtree(support / "O")
    (support / "O").mkdir()
    with pytest.raises(InputError, match="support: class 'O' has no image in"):
        predict(model, support, a)
