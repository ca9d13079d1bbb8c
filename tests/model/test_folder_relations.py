"""Relations of a support folder's classes: from names, from tables, and what is wrong with these."""

import os
import shutil

import pytest
import torch

from fewshot.core.errors import InputError
from fewshot.core.taxonomy import similarity, text_similarity
from fewshot.graph.known_classes import KnownClasses
from fewshot.model.folder_relations import folder_relations

PATHS = ("animal/bird/heron", "animal/bird/gull", "thing/tool/saw")
KNOWN = KnownClasses(torch.eye(3), ("heron", "gull", "saw"), PATHS)
WITHOUT_PATHS = KnownClasses(torch.eye(3), ("heron", "gull", "saw"))
CLASSES = ["crane", "hammer"]


@pytest.fixture
def table(tmp_path):
    def write(text, name="relations.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def same(found, rows):
    torch.testing.assert_close(found.rows, rows, equal_nan=True)


def test_paths_of_a_table(table, tmp_path):
    file = table("class,path\nhammer,thing/tool/hammer\n")
    found = folder_relations(file, tmp_path, CLASSES, KNOWN)
    same(found, similarity([None, "thing/tool/hammer"], PATHS))
    assert found.among is None


def test_a_table_in_the_support_folder_is_found_by_itself(table, tmp_path):
    table("class,path\ncrane,animal/bird/crane\n", "names.csv")
    same(folder_relations("names", tmp_path, CLASSES, KNOWN), similarity(["animal/bird/crane", None], PATHS))
    assert folder_relations("none", tmp_path, CLASSES, KNOWN) is None
    assert folder_relations("names", tmp_path, CLASSES, WITHOUT_PATHS) is None
    assert folder_relations("names", tmp_path, CLASSES, None) is None


def test_identifiers_need_no_table(table, tmp_path):
    wordnet = KnownClasses(torch.eye(2), None, ("entity/physical_entity/object", "thing"))
    found = folder_relations("names", tmp_path, ["n02116738", "crane"], wordnet)
    file = table("class,wnid\nmine,n02116738\n")
    assert torch.equal(found.rows[0], folder_relations(file, tmp_path, ["mine", "crane"], wordnet).rows[0])
    assert found.rows[1].isnan().all()
    assert folder_relations("names", tmp_path, CLASSES, wordnet) is None


def test_texts_of_a_table_come_with_those_of_the_known_classes(table, tmp_path):
    texts = {"crane": "a wading bird", "heron": "a bird by the water", "gull": "a sea bird", "saw": "a blade"}
    file = table("class,text\n" + "".join(f"{name},{text}\n" for name, text in texts.items()))
    found = folder_relations(file, tmp_path, CLASSES, WITHOUT_PATHS)
    rows, among = text_similarity([texts["crane"], ""], [texts[name] for name in KNOWN.names])
    same(found, rows)
    torch.testing.assert_close(found.among, among)


@pytest.mark.parametrize(
    ("text", "known", "message"),
    [
        ("class,path\nowl,a/b\n", KNOWN, "line 2: expected .*got class 'owl'"),
        ("class,path\ncrane,a/b\n", None, "expected a model with known classes for a table"),
        ("class,path\ncrane,a/b\n", WITHOUT_PATHS, "it has paths, but the model's known classes have none"),
        ("class,text\ncrane,a bird\n", KNOWN, "expected the known classes' texts .*heron, gull, saw"),
    ],
)
def test_what_cannot_be_used_is_named(table, tmp_path, text, known, message):
    with pytest.raises(InputError, match=message):
        folder_relations(table(text), tmp_path, CLASSES, known)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without FIFOs")
def test_a_table_in_the_support_folder_that_is_no_file_is_named(tmp_path):
    file = tmp_path / "names.csv"
    file.symlink_to("names.csv")
    with pytest.raises(InputError, match=r"names\.csv: cannot be read \(Too many levels of symbolic links\)"):
        folder_relations("names", tmp_path, CLASSES, KNOWN)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(InputError, match=r"names\.csv: expected a plain file"):
        folder_relations("names", tmp_path, CLASSES, KNOWN)


def test_other_options_are_refused(tmp_path):
    with pytest.raises(InputError, match="expected names, none or a table"):
        folder_relations("taxonomy", tmp_path, CLASSES, KNOWN)
    shutil.rmtree(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        folder_relations(tmp_path / "no.csv", tmp_path, CLASSES, KNOWN)
