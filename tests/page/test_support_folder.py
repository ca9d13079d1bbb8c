"""Changes of a support folder: names, places, and undoing."""

import pytest

from fewshot.core.errors import InputError
from fewshot.page.support_folder import TRASH, SupportFolder, safe_name


def everything(folder):
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if TRASH not in path.parts and path.name != TRASH
    )


def test_each_step_can_be_undone(tmp_path):
    (tmp_path / "new.PNG").write_bytes(b"picture")
    folder = SupportFolder(tmp_path / "photos")
    states = [everything(folder.folder)]
    folder.add_class("crow")
    states.append(everything(folder.folder))
    first = folder.add_picture("crow", tmp_path / "new.PNG")
    states.append(everything(folder.folder))
    assert folder.add_picture("crow", tmp_path / "new.PNG") != first  # nothing is overwritten
    states.append(everything(folder.folder))
    folder.take_out(first)
    assert folder.classes() == ["crow"]
    for state in reversed(states):
        assert folder.undo() is not None
        assert everything(folder.folder) == state
    assert folder.undo() is None


def test_moving_into_another_class_is_one_step(tmp_path):
    folder = SupportFolder(tmp_path)
    for name in ("crow", "gull"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(name.encode())
    before = everything(tmp_path)
    moved = folder.move(tmp_path / "crow" / "1.png", "gull")
    assert moved == tmp_path / "gull" / "1-2.png"  # nothing is overwritten
    assert moved.read_bytes() == b"crow"
    with pytest.raises(InputError, match="class: expected one of crow, gull, got 'owl'"):
        folder.move(moved, "owl")
    with pytest.raises(InputError, match="picture: expected one of a class here"):
        folder.confirm(tmp_path / "crow" / "1.png")
    assert folder.undo() == "'1.png' moved to 'gull'"
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("typed", "safe"),
    [
        ("../../x", "x"),
        ("/etc/passwd", "etc passwd"),
        ("..\\..\\x", "x"),
        ("a\x00b\nc", "a b c"),
        (".hidden", "hidden"),
        ("~", "~"),
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("é" * 200, "é" * 80),
        ("\N{BIRD}" * 200, "\N{BIRD}" * 50),  # of four bytes each
        ("CON.", "CON"),
    ],
)
def test_names_are_safe_whatever_is_typed(tmp_path, typed, safe):
    folder = SupportFolder(tmp_path / "photos")
    assert safe_name(typed) == folder.add_class(typed) == safe
    assert [path.parent for path in tmp_path.rglob("*") if path.is_dir()] == [tmp_path, tmp_path / "photos"]


@pytest.mark.parametrize("typed", ["", "..", "/", "\x00", " . "])
def test_names_of_which_nothing_is_left(tmp_path, typed):
    with pytest.raises(InputError, match="name: expected letters or digits"):
        SupportFolder(tmp_path).add_class(typed)


def test_what_is_refused(tmp_path):
    outside = tmp_path / "secret.png"
    outside.write_bytes(b"")
    folder = SupportFolder(tmp_path / "photos")
    folder.add_class("crow")
    with pytest.raises(InputError, match="class: 'crow' is there already"):
        folder.add_class("crow")
    with pytest.raises(InputError, match=r"class: expected one of crow, got '../crow'"):
        folder.add_picture("../crow", outside)
    with pytest.raises(InputError, match=r"picture: expected .*, got 'a.exe'"):
        folder.add_picture("crow", "a.exe")
    for path in (outside, folder.folder / "crow" / ".." / ".." / "secret.png", folder.folder / "crow"):
        with pytest.raises(InputError, match="picture: expected one of a class here"):
            folder.take_out(path)
    assert outside.exists()


def test_what_links_lead_to_stays(tmp_path):
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "own.png").write_bytes(b"own")
    folder = SupportFolder(tmp_path / "photos")
    (folder.folder / "crow").symlink_to(outside)
    (folder.folder / "owl").mkdir()
    (folder.folder / "owl" / "inner").symlink_to(outside)
    (folder.folder / "owl" / "own.png").symlink_to(tmp_path / "later.png")  # to what is not there
    (folder.folder / "names.csv").write_text("class\n")
    with pytest.raises(InputError, match="class: expected a folder of its own, got the link 'crow'"):
        folder.add_picture("crow", outside / "own.png")
    for path in ("crow/own.png", "owl/inner/own.png", "names.csv"):
        with pytest.raises(InputError, match="picture: expected one of a class here"):
            folder.take_out(folder.folder / path)
    assert folder.add_picture("owl", outside / "own.png").name == "own-2.png"
    (folder.folder / TRASH).symlink_to(outside)
    with pytest.raises(InputError, match="to be a folder, got a link"):
        folder.take_out(folder.folder / "owl" / "own-2.png")
    assert [path.name for path in outside.iterdir()] == ["own.png"]
    assert not (tmp_path / "later.png").exists()


def test_a_picture_with_a_name_as_long_as_names_can_be(tmp_path):
    folder = SupportFolder(tmp_path)
    folder.add_class("crow")
    picture = tmp_path / "crow" / ("c" * 251 + ".png")
    picture.write_bytes(b"picture")
    folder.take_out(picture)
    assert not picture.exists()
    folder.undo()
    assert picture.read_bytes() == b"picture"
