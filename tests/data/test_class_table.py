"""Tables of classes: columns by name, and one line for whatever is amiss."""

from pathlib import Path

import pytest

from fewshot.core.errors import InputError
from fewshot.data.class_table import LARGEST, ClassRow, parse_class_table, read_class_table


def parse(text: str | bytes, **options: object) -> dict[str, ClassRow]:
    content = text if isinstance(text, bytes) else text.encode()
    return parse_class_table(content, "t.csv", **options)


def test_columns_are_found_by_name_in_any_order() -> None:
    table = parse(
        "colour,text,share,class,path,wnid,name\n"
        'grey," long legs, long neck ",0.5, heron ,animal/bird/heron,n02007558,Grey heron\n'
        "\n"
        "white,,,owl,,,\n"
        ",,,,,,\n"
    )
    assert list(table) == ["heron", "owl"]
    assert table["heron"] == ClassRow(
        "Grey heron", "n02007558", "animal/bird/heron", "long legs, long neck", 0.5
    )
    assert table["owl"] == ClassRow()


def test_wnids_are_the_classes_where_no_column_is_called_class() -> None:
    table = parse("wnid,name,superclass,split,path\r\nn2,boa,reptile,train,entity/boa\r\n")
    assert table == {"n2": ClassRow(name="boa", wnid="n2", path="entity/boa")}
    assert set(parse("wnid,class\nn2,boa\n")) == {"boa"}


def test_a_byte_order_mark_and_quoted_lines_are_read() -> None:
    table = parse('\ufeffclass,text\nheron,"two\nlines"\nowl,one\n')
    assert table["heron"].text == "two\nlines"
    with pytest.raises(InputError, match=r"t\.csv: line 4: a second row for class 'heron'"):
        parse('class,text\nheron,"two\nlines"\nheron,x\n')


@pytest.mark.parametrize(("cell", "share"), [("0", 0.0), (" 2.5 ", 2.5), ("1e-3", 0.001), ("", None)])
def test_shares_are_numbers_from_zero(cell: str, share: float | None) -> None:
    assert parse(f"class,share\na,{cell}\n")["a"].share == share


@pytest.mark.parametrize("cell", ["-1", "nan", "inf", "1e999", "half", "50 %", "-0", "1_0", "٣", "+1"])
def test_other_shares_are_refused(cell: str) -> None:
    with pytest.raises(InputError, match=r"t\.csv: line 2: share: expected a number from 0 up, got '"):
        parse(f"class,share\na,{cell}\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: expected a column 'class', got none"),
        ("name;path\na;b\n", "line 1: expected a column 'class', got name;path"),
        ("class,path,class\n", "line 1: expected one column 'class', got 2"),
        ("class,path\na,x\nb,y\na,z\n", "line 4: a second row for class 'a'"),
        ("class,path\na\n", "line 2: expected 2 cells, got 1"),
        ("class,path\na,x,y\n", "line 2: expected 2 cells, got 3"),
        ("class,path\n,x\n", "line 2: expected a class, got none"),
        ('class,path\na,"x\n', "line 2: not a CSV table"),
        ('class\n"c\nd"\n', r"line 3: expected one of a, b, cat, dog, got class 'c\\nd'"),
        ('"a\nb"\nc\n', "line 1: expected a column 'class', got a b"),
        (b"class,name\na,h\xe9ron\n", "expected a CSV table in UTF-8"),
        ("class\nowl\n", "line 2: expected one of cat, dog, got class 'owl'"),
        (b"class\n" + b"x" * LARGEST, "expected a table of at most 16 MiB"),
    ],
)
def test_what_is_amiss_is_one_line_with_file_and_row(content: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=rf"^t\.csv: {message}") as caught:
        parse(content, known=("cat", "dog", "a", "b") if "owl" not in str(content) else ("cat", "dog"))
    assert "\n" not in str(caught.value)


def test_columns_that_are_needed_are_asked_for() -> None:
    assert parse("class,share\na,1\n", needs=("share",))["a"].share == 1
    with pytest.raises(InputError, match="expected a column 'share', got class, path"):
        parse("class,path\na,b\n", needs=("share",))


def test_files_are_read_up_to_the_largest_size(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("class,text\na," + "x" * LARGEST)
    with pytest.raises(InputError, match=r"t\.csv: expected at most 16 MiB, got more"):
        read_class_table(tmp_path / "t.csv")
    with pytest.raises(InputError, match=r"none\.csv: cannot be read \(No such file or directory\)"):
        read_class_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        read_class_table(tmp_path)
    with pytest.raises(InputError, match="/dev/zero: expected a plain file"):
        read_class_table("/dev/zero")
