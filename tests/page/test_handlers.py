"""The page's steps without a browser."""

import csv
import socket
from copy import deepcopy

import pytest
from coloured_pictures import COLOURS, picture

from fewshot.core.errors import InputError
from fewshot.model.image_files import encode_files
from fewshot.model.predict import predict
from fewshot.page import render
from fewshot.page.answers import Desk, Options
from fewshot.page.handlers import Handlers, View, Visit
from fewshot.page.support_folder import SupportFolder


@pytest.fixture
def do(small_model, photos):
    return Handlers(Desk(small_model, SupportFolder(photos / "photos")))


def test_answers_are_those_of_predict(do, small_model, photos):
    files = sorted((photos / "new").iterdir())
    for options, same in (
        (Options(), {}),
        (Options(joint=True, equal=True), {"mode": "joint", "proportions": "equal"}),
        (Options(names=False, absent=("crow",)), {"relations": "none", "absent": ["crow"]}),
        (Options(absent=("bird",)), {"absent": ["bird"]}),
    ):
        visit = Visit()
        do.take(visit, files)
        found = do.view(visit, 1, options).visit.answers
        expected = predict(small_model, photos / "photos", files, sure=0.9, **same)
        assert [row.name for row in found.rows] == [p.name for p in expected]
        for row, p in zip(found.rows, expected, strict=True):
            assert row.probabilities == pytest.approx(list(p.probabilities.values()), abs=1e-5)
            assert row.sure == p.sure_set


def test_what_changed_is_marked_and_the_csv_says_the_same(do, photos):
    visit = Visit()
    do.take(visit, sorted((photos / "new").iterdir()))
    before = do.view(visit, 1, Options())
    first = before.visit.answers.rows[0].name
    after = do.view(before.visit, 1, Options(absent=(first,)))
    assert after.visit.answers.rows[0].changed
    assert "changed" in after.answers
    with open(do.save(after.visit), encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == [row.name for row in after.visit.answers.rows]
    assert float(rows[0][first]) == 0
    assert set(rows[0]) == {"file", "class", "probability", *COLOURS, "none_of_these", "sure_set", "group"}


def test_a_class_by_name_a_picture_and_undoing(do, photos):
    seen = do.attempt(do.new_class, Visit(), 1, Options(), "heron")
    assert isinstance(seen, View)
    assert seen.classes == ["crow", "gull", "heron", "saw"]
    assert "wading_bird/heron" in seen.table
    assert "New class" in seen.said
    new = picture(photos / "heron.png", (90, 90, 160))
    assert "1 pictures to" in do.attempt(do.give, Visit(), 1, Options(), "heron", [str(new)]).said
    assert (photos / "photos" / "heron" / "heron.png").exists()
    assert "Undone: picture" in do.attempt(do.back, Visit(), 1, Options()).said
    assert do.attempt(do.back, Visit(), 1, Options()).classes == list(COLOURS)


def test_errors_are_a_line_on_the_page(do, photos):
    (photos / "broken.png").write_bytes(b"nothing")
    good = str(photos / "new" / "0.png")
    seen = do.attempt(do.take, Visit(), 1, Options(), [str(photos / "broken.png"), good])
    assert "1 pictures; broken.png: cannot be decoded" in seen.said
    assert "is there already" in do.attempt(do.new_class, Visit(), 1, Options(), "crow")
    assert "no image" in do.attempt(do.new_class, Visit(), 1, Options(), "zzzz")  # a name that is not found
    for thing in (photos / "photos").iterdir():
        thing.rename(photos / thing.name)
    (photos / "photos").rmdir()
    do.desk.folder.changes += 1
    assert "no such file or folder" in do.attempt(do.look, Visit(), 1, Options())


def test_hostile_names_are_shown_as_text(do):
    seen = do.attempt(do.new_class, Visit(), 1, Options(), "owl <img src=x onerror=alert(1)>")
    assert "<img src=x" not in seen.table
    assert "&lt;img src=x onerror=alert(1)&gt;" in seen.table


def test_suggestions_and_giving_a_picture_to_a_class(do, photos):
    visit = Visit()
    assert "pictures: expected at least one" in do.attempt(do.suggest, visit, 1, Options())
    do.take(visit, sorted((photos / "new").iterdir()))
    seen = do.attempt(do.suggest, visit, 1, Options())
    assert "No label looks wrong" in seen.advice
    assert sorted(visit.files[place].name for _, place in seen.candidates) == ["0.png", "1.png", "2.png"]
    assert "'1.png' to 'gull'" in do.attempt(do.label, visit, 1, Options(), "gull", 1).said.replace(
        "&#x27;", "'"
    )
    assert (photos / "photos" / "gull" / "1.png").exists()
    assert "expected one of the pictures" in do.attempt(do.label, visit, 1, Options(), "gull", None)


def test_a_picture_that_was_given_is_not_proposed_again_unless_undone(do, photos):
    visit = Visit()
    do.take(visit, sorted((photos / "new").iterdir()))
    visit = do.attempt(do.suggest, visit, 1, Options()).visit
    seen = do.attempt(do.label, visit, 1, Options(), "gull", 1)
    assert sorted(place for _, place in seen.candidates) == [0, 2]
    assert sorted(place for _, place in do.attempt(do.back, seen.visit, 1, Options()).candidates) == [0, 1, 2]


@pytest.fixture
def mixed(small_model, photos):
    """Handlers, and a visit with suggestions, where a picture of a saw is among the crows."""
    for name, colour in COLOURS.items():
        for number in range(1, 5):
            picture(photos / "photos" / name / f"{number}.png", colour, seed=number)
    wrong = picture(photos / "photos" / "crow" / "wrong.png", COLOURS["saw"], seed=9)
    files = sorted((photos / "new").iterdir())
    model = deepcopy(small_model)  # that of noise does not tell colours apart
    model.base_mean += encode_files(model, files).mean(0)
    do, visit = Handlers(Desk(model, SupportFolder(photos / "photos"))), Visit()
    do.take(visit, files)
    return do, do.attempt(do.suggest, visit, 1, Options()).visit, wrong


def suspects(seen):
    return [value for _, value in seen.suspects]


def test_a_suspected_label_is_accepted_and_undone(mixed, photos):
    do, visit, wrong = mixed
    seen = do.attempt(do.look, visit, 1, Options())
    assert suspects(seen) == [str(wrong)]
    assert seen.suspects[0][0] == "crow/wrong.png: saw?"
    seen = do.attempt(do.accept, visit, 1, Options(), str(wrong))
    assert suspects(seen) == []
    assert "No label looks wrong" in seen.advice
    assert (photos / "photos" / "saw" / "wrong.png").exists()
    assert not wrong.exists()
    assert "expected one of the labels to check" in do.attempt(do.accept, visit, 1, Options(), str(wrong))
    seen = do.attempt(do.back, seen.visit, 1, Options())
    assert wrong.exists()
    assert "moved to" in seen.said
    assert suspects(seen) == [str(wrong)]


def test_a_refused_suspect_is_not_shown_again_unless_undone(mixed, photos):
    do, visit, wrong = mixed
    supports = do.desk.supports()
    seen = do.attempt(do.refuse, visit, 1, Options(), str(wrong))
    assert wrong.exists()
    assert suspects(seen) == []
    assert suspects(do.attempt(do.suggest, seen.visit, 1, Options())) == []  # nor if asked again
    assert do.desk.supports() is supports  # nothing is computed again
    other = Visit()
    do.take(other, visit.files)
    assert suspects(do.attempt(do.suggest, other, 1, Options())) == []  # nor on another page
    assert "is right" in do.attempt(do.back, seen.visit, 1, Options()).said
    assert suspects(do.attempt(do.look, seen.visit, 1, Options())) == [str(wrong)]
    do.attempt(do.refuse, visit, 1, Options(), str(wrong))
    wrong.rename(photos / "elsewhere.png")
    picture(wrong, COLOURS["gull"], seed=10)  # another picture in the same place
    do.desk.folder.changes += 1
    assert suspects(do.attempt(do.suggest, visit, 1, Options())) == [str(wrong)]


def test_answers_are_computed_once_per_change(do, photos, monkeypatch):
    visit, asked = Visit(), []
    answer = do.desk.answer
    monkeypatch.setattr(Desk, "answer", lambda self, *given: (asked.append(given), answer(*given))[1])
    do.take(visit, sorted((photos / "new").iterdir()))
    for step in ((do.look,), (do.look,), (do.turn, 2), (do.suggest,)):
        visit = do.attempt(step[0], visit, 1, Options(), *step[1:]).visit
    assert len(asked) == 1
    visit = do.attempt(do.look, visit, 1, Options(joint=True)).visit
    visit = do.attempt(do.new_class, visit, 1, Options(joint=True), "heron").visit
    assert len(asked) == 3


def test_only_a_page_of_classes_and_of_answers_is_shown(do, photos, monkeypatch):
    monkeypatch.setattr(render, "PER_PAGE", 2)
    monkeypatch.setattr(render, "CLASSES_PER_PAGE", 2)
    visit = Visit()
    do.take(visit, sorted((photos / "new").iterdir()))
    first, last = (do.attempt(do.turn, visit, page, Options(), page) for page in (1, 2))
    assert [place for _, place in first.asked] == [0, 1]
    assert [place for _, place in last.asked] == [2]
    assert ("crow" in first.table, "saw" in first.table) == (True, False)
    assert ("crow" in last.table, "saw" in last.table) == (False, True)
    assert "classes 3 to 3 of 3" in last.table
    assert last.answers.count("<img") == 1


def test_why_names_every_class(do, photos):
    visit = Visit()
    do.take(visit, sorted((photos / "new").iterdir()))
    text = do.explain(visit, 0, True)
    assert all(name in text for name in COLOURS)
    assert do.explain(visit, None, True) == ""
    assert "iframe" in do.graph(True)


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", 99999, "port: expected a number from 1 to 65535, got 99999"),
        ("127.0.0.1", 0, "port: expected a number from 1 to 65535, got 0"),
        ("a" * 70, 7860, "host: expected an address of this machine, got 'aaa"),
        ("192.0.2.1", 7860, r"host: expected an address of this machine, got '192\.0\.2\.1'"),  # an example's
    ],
)
def test_where_nothing_can_listen(small_model, tmp_path, host, port, message) -> None:
    pytest.importorskip("gradio", reason="the extra `page` is not installed")
    from fewshot.page import app

    with pytest.raises(InputError, match=message):
        app.serve(small_model, tmp_path / "photos", "imagenet", host=host, port=port, wait=False)
    assert not (tmp_path / "photos").exists()


@pytest.mark.skipif(not socket.has_ipv6, reason="a machine without IPv6")
def test_the_page_is_reached_at_an_address_of_ipv6(small_model, tmp_path):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("a machine whose IPv6 is off")
    pytest.importorskip("gradio", reason="the extra `page` is not installed")
    from fewshot.page import app

    page, address = app.serve(small_model, tmp_path / "photos", "x", host="::1", port=None, wait=False)
    page.close()
    assert address.startswith("http://[::1]:")
