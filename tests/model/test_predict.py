"""Prediction on image files: letters drawn to folders, and everything that can be wrong with them."""

import shutil
from collections import Counter

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from fewshot import backbones
from fewshot.core.errors import InputError
from fewshot.core.taxonomy import as_path, similarity
from fewshot.data.readers.benchmark import read_benchmark
from fewshot.data.readers.images import decode
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.known_classes import KnownClasses
from fewshot.model import image_files
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.image_files import encode_files, encode_support, query_files, support_files
from fewshot.model.predict import classify, predict
from fewshot.model.preprocess import Preprocess
from fewshot.report.example import class_picture

LETTERS = "AOT"


def draw(letter, path, shift=0, size=(48, 40)):
    """A letter, white on black, moved by some pixels, in an image of any size."""
    font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", 36)
    image = Image.new("L", size)
    ImageDraw.Draw(image).text((size[0] / 2 + shift, size[1] / 2), letter, font=font, anchor="mm", fill=255)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


@pytest.fixture
def folders(tmp_path):
    for shots, letter in enumerate(LETTERS, start=1):  # 1, 2 and 3 shots
        for shot in range(shots):
            draw(letter, tmp_path / "support" / letter / f"{shot}.png", shot, (40 + 8 * shots, 40))
        for number in range(2):
            draw(letter, tmp_path / "query" / f"{letter}{number}.png", 2 - number)
    return tmp_path


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    backbone = backbones.conv4(in_channels=1, width=16)
    # Features minus the mean of some letters, as after training.
    preprocess = Preprocess(size=32, channels=1)
    built = GraphFewShot(backbone, ClassGraph(), preprocess=preprocess, precision="32-true").eval()
    some = torch.randint(256, (64, 1, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        return GraphFewShot(
            backbone,
            ClassGraph(),
            preprocess=preprocess,
            base_mean=built.encode(some).mean(0),
            precision="32-true",
        ).eval()


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


def test_relations_of_a_table_go_to_the_graph(model, folders):
    size = model.base_mean.numel()
    prototypes = torch.randn(3, size, generator=torch.Generator().manual_seed(0))
    paths = ("sign/round", "sign/straight", "thing")
    knows = GraphFewShot(
        model.backbone,
        model.graph,
        preprocess=model.preprocess,
        base_mean=model.base_mean,
        precision="32-true",
        known=KnownClasses(prototypes, ("o", "t", "saw"), paths),
    ).eval()
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


def test_masks_of_classes_with_different_shots(model, folders):
    features, mask = encode_support(model, support_files(folders / "support"))
    assert features.shape[:3] == (1, 3, 3)
    assert mask[0].sum(-1).tolist() == [1, 2, 3]


def test_query_paths_are_files_and_folders_each_once(folders):
    query = folders / "query"
    draw("A", query / "more" / "deep.PNG")
    draw("A", query / ".hidden" / "not.png")
    (query / "notes.txt").write_text("no image")
    files = query_files([query / "T1.png", query])
    assert files[0].name == "T1.png"
    assert len(files) == len(set(files)) == 7
    assert files[-1].name == "deep.PNG"


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


def test_a_model_that_does_not_resize_needs_one_size(folders):
    plain = GraphFewShot(backbones.conv4(in_channels=1, width=4), ClassGraph()).eval()
    files = query_files(folders / "query")
    assert len(encode_files(plain, files)) == 6
    with pytest.raises(InputError, match=r"does not resize; expected \[40, 48\] pixels"):
        encode_files(plain, [*files, *query_files(folders / "support" / "T")])


def knowing(model, paths):
    """The model with known classes: made-up prototypes with these paths."""
    prototypes = torch.randn(len(paths), model.base_mean.numel(), generator=torch.Generator().manual_seed(0))
    return GraphFewShot(
        model.backbone,
        model.graph,
        preprocess=model.preprocess,
        base_mean=model.base_mean,
        precision="32-true",
        known=KnownClasses(prototypes, None, paths),
    ).eval()


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


def test_images_are_encoded_once(model, folders, monkeypatch):
    support, query = folders / "support", folders / "query"
    first = predict(model, support, query)
    monkeypatch.setattr(GraphFewShot, "features", lambda *_: pytest.fail("encoded again"))
    assert predict(model, support, query) == first


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


def test_a_folder_that_cannot_be_meant_is_refused(tmp_path, monkeypatch):
    for number in range(5):
        (tmp_path / f"{number}.txt").touch()
    monkeypatch.setattr(image_files, "MOST", 4)
    with pytest.raises(InputError, match="expected a folder of images, got more than 4 files"):
        query_files(tmp_path)
    monkeypatch.setattr(image_files, "MOST", 5)
    with pytest.raises(InputError, match="query: no image in"):
        query_files(tmp_path)


def test_a_folder_that_cannot_be_read_is_named(folders, monkeypatch):
    def unreadable(path, onerror):
        onerror(PermissionError(13, "Permission denied", f"{path}/inside"))
        return iter(())

    monkeypatch.setattr(image_files.os, "walk", unreadable)
    with pytest.raises(InputError, match=r"A/inside: cannot be read \(Permission denied\)"):
        support_files(folders / "support")
