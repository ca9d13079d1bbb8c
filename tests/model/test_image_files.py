"""The files of supports and queries: which are found, and how they are encoded."""

import pytest
from letters import draw

from fewshot import backbones
from fewshot.core.errors import InputError
from fewshot.graph.class_graph import ClassGraph
from fewshot.model import image_files
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.image_files import encode_files, encode_support, query_files, support_files
from fewshot.model.predict import predict


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


def test_a_model_that_does_not_resize_needs_one_size(folders):
    plain = GraphFewShot(backbones.conv4(in_channels=1, width=4), ClassGraph()).eval()
    files = query_files(folders / "query")
    assert len(encode_files(plain, files)) == 6
    with pytest.raises(InputError, match=r"does not resize; expected \[40, 48\] pixels"):
        encode_files(plain, [*files, *query_files(folders / "support" / "T")])


def test_images_are_encoded_once(model, folders, monkeypatch):
    support, query = folders / "support", folders / "query"
    first = predict(model, support, query)
    monkeypatch.setattr(GraphFewShot, "features", lambda *_: pytest.fail("encoded again"))
    assert predict(model, support, query) == first


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
