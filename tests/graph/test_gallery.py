"""Galleries of classes: what is added, removed and saved, the nearest of many, and shortlists of them."""

import json
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from fewshot import ClassGraph, InputError
from fewshot.graph import gallery as gallery_module
from fewshot.graph import nearest
from fewshot.graph.gallery import HEADER, LISTS, Gallery
from fewshot.graph.nearest import InvertedIndex, exact
from fewshot.graph.shortlist import shortlisted

D = 12


def vectors(n: int, seed: int = 0, d: int = D) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def filled(n: int = 30, shots: int = 2) -> tuple[Gallery, torch.Tensor]:
    """A gallery of the classes 0 to n - 1, and their supports [n, shots, D]."""
    gallery, supports = Gallery(D), vectors(n * shots).view(n, shots, D)
    gallery.add(supports.flatten(0, 1), np.repeat(np.arange(n), shots).tolist())
    return gallery, supports


def content(gallery: Gallery) -> dict:
    """The supports of each class, in any order of classes."""
    found = {}
    for place in gallery.indices():
        supports, mask = gallery.supports(place[None])
        found[gallery.labels[place]] = supports[mask].tolist()
    return found


def test_supports_are_kept_in_half_precision_and_length_1():
    gallery, supports = filled()
    found, mask = gallery.supports(torch.arange(30))
    assert mask.all()
    assert torch.equal(found, normalize(supports, dim=-1).half().float())
    assert repr(gallery) == f"Gallery(30 classes, 60 supports, D = {D})"
    torch.testing.assert_close(gallery.prototypes(torch.tensor([4]))[0], normalize(found[4].sum(0), dim=0))


def test_parts_in_any_order_are_as_one_addition():
    gallery, supports = filled()
    parts = Gallery(D)
    for label in reversed(range(30)):
        parts.add(supports[label, :1], [label])
    parts.add(supports[:, 1], list(range(30)))
    assert content(parts) == content(gallery)
    assert gallery.shots == parts.shots == 2
    with pytest.raises(InputError, match=r"^labels: expected 2, one per row of features, got 1$"):
        gallery.add(supports[0], ["one"])
    with pytest.raises(InputError, match=r"^features: expected floats \[n, 12\], got \[1, 9\]$"):
        gallery.add(torch.ones(1, 9), ["one"])


def test_a_class_that_is_removed_is_found_no_longer():
    gallery, supports = filled()
    query = supports[:, 0]
    gallery.remove([3, 7, 3])
    assert len(gallery) == 28
    assert 3 not in gallery
    assert not {3, 7} & set(gallery.nearest(query, 28).classes.flatten().tolist())
    assert gallery.nearest(query, 30).classes[:, 28:].eq(-1).all()
    with pytest.raises(InputError, match=r"^labels: expected classes of the gallery, got 7$"):
        gallery.remove([5, 7])
    assert 5 in gallery
    gallery.add(supports[3], [3, 3])
    assert len(gallery) == 29
    assert gallery.labels[gallery.nearest(query[3:4], 1).classes.item()] == 3


def test_what_is_saved_is_opened_again_and_appended_to(tmp_path: Path):
    gallery, _ = filled()
    gallery.save(tmp_path / "one")
    first = (tmp_path / "one" / "vectors-1.f16").read_bytes()
    assert content(Gallery.open(tmp_path / "one")) == content(gallery)
    gallery.add(vectors(2, seed=1), ["new", 4])
    gallery.remove([9])
    before = content(Gallery.open(tmp_path / "one"))
    assert "new" not in before
    assert 9 in before
    gallery.save()
    assert (tmp_path / "one" / "vectors-1.f16").read_bytes()[: len(first)] == first
    again = Gallery.open(tmp_path / "one")
    assert content(again) == content(gallery)
    assert isinstance(again._rows._saved, np.memmap)
    again.save(tmp_path / "two")
    assert content(Gallery.open(tmp_path / "two")) == content(gallery)
    assert content(pickle.loads(pickle.dumps(again))) == content(gallery)


def test_rows_of_no_class_go_once_they_are_more_than_half(tmp_path: Path):
    gallery, _ = filled()
    gallery.save(tmp_path)
    gallery.remove(range(20))
    kept = content(gallery)
    gallery.save()
    (file,) = tmp_path.glob("*.f16")
    assert file.stat().st_size == 20 * D * 2
    assert content(gallery) == content(Gallery.open(tmp_path)) == kept


def test_a_process_that_is_killed_leaves_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gallery, _ = filled()
    gallery.save(tmp_path)
    before, more = content(gallery), vectors(3, seed=2)

    def killed(*_):
        raise KeyboardInterrupt

    gallery.add(more, ["a", "b", "c"])
    with monkeypatch.context() as patch:
        patch.setattr(gallery_module, "replacing", killed)
        with pytest.raises(KeyboardInterrupt):
            gallery.save()
    again = Gallery.open(tmp_path)
    assert content(again) == before
    again.add(more[:1], ["d"])
    again.save()
    assert content(Gallery.open(tmp_path)) == content(again)
    assert (tmp_path / "vectors-1.f16").stat().st_size == 61 * D * 2


def test_what_is_no_gallery_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="expected a gallery of classes"):
        Gallery.open(tmp_path)
    with pytest.raises(InputError, match="never saved"):
        Gallery(D).save()
    gallery, _ = filled()
    gallery.save(tmp_path)
    header = json.loads((tmp_path / HEADER).read_text())
    inf = float("inf")
    for change in (
        *({"rows": rows} for rows in (999, -1, 0, 2**60, 2**70, inf, "61", None)),
        *({"size": size} for size in (0, -8, 2**70, 8.5, True, inf, "8")),
        *({"start": [start] * 30} for start in (-1, 2**62, 2**70, 0.5, "0", True, None, [0])),
        *({"count": [count] * 30} for count in (-1, 0, 99, 2**63 - 1)),
        *({"labels": labels} for labels in (["a"] * 30, [0.5] * 30, [None] * 30, "a" * 30, {}, [["a"]] * 30)),
        *({"format": value} for value in (2, None)),
        *({"vectors": name} for name in ("", "\0", "../x", "a" * 5000, 5, HEADER)),
    ):
        (tmp_path / HEADER).write_text(json.dumps(header | change))
        with pytest.raises(InputError, match="expected a gallery of classes"):
            Gallery.open(tmp_path)
    (tmp_path / HEADER).write_text(json.dumps(header))
    size = (tmp_path / header["vectors"]).stat().st_size
    (tmp_path / header["vectors"]).write_bytes(b"\xff" * size)  # rows of NaN
    with pytest.raises(InputError, match=r"vectors-1\.f16: expected finite vectors, got nan or infinity"):
        Gallery.open(tmp_path).nearest(vectors(1), 2)
    gallery.add(vectors(1), [("a", "b")])
    with pytest.raises(InputError, match=r"^labels: expected texts or whole numbers only, to be saved$"):
        gallery.save()


@pytest.mark.parametrize("block", [1, 7, 100])
def test_exact_search_is_that_of_all_cosines(block: int):
    own, query = normalize(vectors(40), dim=1), normalize(vectors(5, seed=3), dim=1)
    found = exact(query, lambda classes: own[classes], torch.arange(40), 6, block)
    best = (query @ own.T).topk(6)
    assert torch.equal(found.classes, best.indices)
    torch.testing.assert_close(found.cosine, best.values)


def clustered(n: int = 2000) -> torch.Tensor:
    centres = normalize(vectors(100, seed=5, d=32), dim=1)
    return normalize(centres.repeat(n // 100, 1) + 0.05 * vectors(n, seed=6, d=32), dim=1)


def test_an_inverted_index_finds_what_exact_search_finds():
    library = pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    own, classes = clustered(), torch.arange(2000)
    index = InvertedIndex(library, lambda c: own[c], classes)
    assert index.useful
    true = exact(own[:50], lambda c: own[c], classes, 5)
    found = index.search(own[:50], 5)
    assert (found.classes == true.classes).double().mean() > 0.9
    torch.testing.assert_close(found.cosine[:, 0], torch.ones(50), atol=1e-3, rtol=0)
    index.remove(classes[:10])
    assert (index.search(own[:50], 5).classes >= 10).all()
    index.add(classes[:10], own[:10])
    assert index.search(own[:10], 1).classes.flatten().tolist() == list(range(10))


def test_a_gallery_of_many_classes_has_an_index_that_follows_it(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    monkeypatch.setattr(gallery_module, "MANY", 1900)
    own, gallery = clustered(), Gallery(32)
    gallery.add(own, list(range(2000)))
    assert gallery.recall is None
    gallery.nearest(own[:1], 1)
    assert gallery.recall >= nearest.RECALL
    gallery.remove(range(5))
    gallery.add(own[5:6].neg(), [2000])
    gallery.add(own[7:8], [7])
    assert (gallery.nearest(own[:5], 20).classes >= 5).all()
    assert gallery.nearest(own[5:8] * torch.tensor([[-2.0], [1.0], [1.0]]), 1).classes.flatten()[
        ::2
    ].tolist() == [2000, 7]


def test_the_lists_of_the_index_are_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    monkeypatch.setattr(gallery_module, "MANY", 1900)
    own, gallery = clustered(), Gallery(32)
    gallery.add(own, list(range(2000)))
    gallery.save(tmp_path)
    assert not (tmp_path / LISTS).exists()
    first = gallery.nearest(own[:50], 5)
    gallery.save()
    again = Gallery.open(tmp_path)
    monkeypatch.setattr(nearest, "PER_LIST", 0)  # there is nothing to train an index on
    found = again.nearest(own[:50], 5)
    assert again.recall == gallery.recall
    assert torch.equal(found.classes, first.classes)
    assert torch.equal(pickle.loads(pickle.dumps(again)).nearest(own[:50], 5).classes, first.classes)
    for wrong in (np.zeros((3, 32)), np.zeros((3, 31), np.float32), np.full((3, 32), np.nan, np.float32)):
        np.save(tmp_path / LISTS, wrong)
        with pytest.raises(InputError, match="expected a gallery of classes"):
            Gallery.open(tmp_path)


def test_without_faiss_one_line_says_what_would_be_faster(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gallery_module, "MANY", 10)
    monkeypatch.setitem(sys.modules, "faiss", None)
    gallery, supports = filled()
    with pytest.warns(UserWarning, match=r"FAISS \(pip install 'fewshot-graph\[large\]'\)") as warned:
        first = gallery.nearest(supports[:, 0], 3)
    assert len(warned) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(gallery.nearest(supports[:, 0], 3).classes, first.classes)


@pytest.mark.parametrize("shots", [1, 3])
def test_a_shortlist_of_all_classes_is_the_graph_on_all(shots: int):
    gallery, supports = filled(20, shots)
    graph, query = ClassGraph.pretrained().requires_grad_(False), supports[:, 0] + 0.5 * vectors(20, seed=4)
    logits = graph(supports[None], query[None]).logits[0]
    index, found = shortlisted(graph, gallery, query, 99)
    assert index.shape == (20, 20)
    torch.testing.assert_close(found, logits.gather(1, index), atol=2e-2, rtol=2e-3)  # half precision
    assert torch.equal(index[:, 0], logits.argmax(1))
