"""Relations: Wu and Palmer's formula by a loop, exchanged rows, texts by scikit-learn's own cosines."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

import fewshot
from fewshot.core import taxonomy
from fewshot.core.errors import InputError


def tree(n: int, seed: int, names: int = 4) -> list[tuple[str, ...]]:
    """Random paths of 1 to 9 names, few enough names that many paths share a prefix."""
    rng = np.random.default_rng(seed)
    return [("root", *map(str, rng.integers(0, names, rng.integers(0, 9)))) for _ in range(n)]


def wu_palmer(a: tuple[str, ...], b: tuple[str, ...]) -> float:
    common = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))))
    return 2 * common / (len(a) + len(b))


def test_similarity_is_the_formula() -> None:
    paths, known = tree(40, 0), tree(60, 1)
    expected = torch.tensor([[wu_palmer(a, b) for b in known] for a in paths])
    assert taxonomy.similarity(paths, known).dtype == torch.float32
    assert torch.equal(taxonomy.similarity(paths, known), expected)


def test_similarity_is_symmetric_and_one_on_the_diagonal() -> None:
    paths = tree(50, 2)
    found = taxonomy.similarity(paths, paths)
    assert torch.equal(found, found.T)
    assert torch.equal(found.diagonal(), torch.ones(50))


def test_a_name_counts_only_below_the_same_names() -> None:
    found = taxonomy.similarity(["a/x/y", "b/x/y"], ["a/x/y", "a/z/y"])
    torch.testing.assert_close(found, torch.tensor([[1, 1 / 3], [0, 0]]))


def test_texts_and_sequences_are_the_same_path() -> None:
    texts = ["/entity/ animal/bird/", "entity//thing"]
    names = [["entity", "animal", "bird"], ("entity", "thing")]
    assert [taxonomy.as_path(path) for path in texts] == [taxonomy.as_path(path) for path in names]
    assert torch.equal(taxonomy.similarity(texts, names), taxonomy.similarity(names, texts))


def test_unknown_classes_have_a_row_of_nan_and_a_column_of_zero() -> None:
    found = taxonomy.similarity(["", "a/b", None, []], ["a", "", "a/b"])
    assert found.isnan().all(1).tolist() == [True, False, True, True]
    torch.testing.assert_close(found[1], torch.tensor([2 / 3, 0, 1]))
    assert taxonomy.similarity([], ["a"]).shape == (0, 1)
    assert taxonomy.similarity(["a"], []).shape == (1, 0)


def test_coarse_paths_are_cut_and_short_ones_whole() -> None:
    assert taxonomy.cut(["a/b/c/d/e/f/g", "a/b", None]) == [tuple("abcdef"), ("a", "b"), ()]
    assert taxonomy.similarity(*[taxonomy.cut(["a/b/c", "a/b/d"], 2)] * 2).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    ("paths", "group"),
    [
        (["a/b/c", "a/b/d", "a/b/c/e"], "a/b"),
        (["a/b/c", "a/b/c/e"], "a/b/c"),
        (["a/b/c"], "a/b/c"),
        (["a", "b"], ""),
        (["a/b", None], ""),
        ([], ""),
    ],
)
def test_the_nearest_group_of_all(paths: list[str | None], group: str) -> None:
    assert taxonomy.nearest_group(paths) == taxonomy.as_path(group)


@pytest.mark.parametrize("n", [2, 3, 5, 20, 101])
def test_shuffled_leaves_no_row_in_its_place(n: int) -> None:
    order = taxonomy.shuffled(n, seed=n)
    assert sorted(order.tolist()) == list(range(n))
    assert (order != torch.arange(n)).all()
    assert torch.equal(order, taxonomy.shuffled(n, seed=n))


def test_shuffled_by_another_seed_is_another_order() -> None:
    assert len({tuple(taxonomy.shuffled(20, seed).tolist()) for seed in range(50)}) == 50
    assert taxonomy.shuffled(0).tolist() == []


@pytest.mark.parametrize(("share", "moved"), [(0.0, 0), (0.2, 4), (0.4, 8), (1.0, 20)])
def test_partly_wrong_moves_exactly_that_part(share: float, moved: int) -> None:
    order = taxonomy.partly_wrong(20, share, seed=3)
    assert sorted(order.tolist()) == list(range(20))
    assert int((order != torch.arange(20)).sum()) == moved


DESCRIPTIONS = [
    "a wading bird with long legs",
    "a bird of prey with a hooked bill",
    "a knife for the kitchen",
    "a tool with a blade, for cutting bread in the kitchen",
]


def test_texts_of_full_rank_are_cosines_of_tf_idf() -> None:
    """With as many singular vectors as the texts have dimensions, nothing is lost."""
    documents = [*DESCRIPTIONS, DESCRIPTIONS[0]]  # five texts of rank four
    vectors = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit_transform(documents)
    expected = torch.from_numpy(cosine_similarity(vectors)).float()
    new, known = taxonomy.text_similarity(documents[:2], documents[2:])
    torch.testing.assert_close(new, expected[:2, 2:], rtol=0, atol=1e-5)
    torch.testing.assert_close(known, expected[2:, 2:], rtol=0, atol=1e-5)


def test_texts_are_the_same_every_time_and_nearer_where_words_are_shared() -> None:
    new, known = taxonomy.text_similarity(DESCRIPTIONS[:1], DESCRIPTIONS[1:], dimensions=2)
    assert new[0].argmax() == 0
    assert known[1].topk(2).indices.sort().values.tolist() == [1, 2]
    assert torch.equal(new, taxonomy.text_similarity(DESCRIPTIONS[:1], DESCRIPTIONS[1:], dimensions=2)[0])


def test_classes_without_a_description_are_unknown() -> None:
    new, known = taxonomy.text_similarity(["", "the", None, "a bird"], ["a bird", ""])
    assert new.isnan().all(1).tolist() == [True, True, True, False]
    assert new[3].tolist() == pytest.approx([1, 0])
    assert known.isnan().all(1).tolist() == [False, True]


def test_embeddings_are_compared_by_cosine() -> None:
    x, y = torch.randn(4, 7), torch.randn(3, 7)
    expected = torch.nn.functional.cosine_similarity(x[:, None], y, dim=-1)
    torch.testing.assert_close(taxonomy.embedding_similarity(x, y), expected)
    torch.testing.assert_close(taxonomy.embedding_similarity(5 * x, y), expected)
    x[1], y[2] = torch.nan, 0
    found = taxonomy.embedding_similarity(x, y)
    assert found.isnan().all(1).tolist() == [False, True, False, False]
    assert found[[0, 2, 3], 2].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: taxonomy.as_path(3), r"path: expected names joined by '/', or a sequence of names, got 3"),
        (lambda: taxonomy.as_path(["a", 1.5]), r"path: expected names .*got \['a', 1\.5\]"),
        (
            lambda: taxonomy.similarity("a/b", ["a"]),
            "paths: expected a sequence of paths, got one text, 'a/b'",
        ),
        (lambda: taxonomy.similarity(["a"], [3]), "known_paths: expected names joined by '/'"),
        (
            lambda: taxonomy.similarity(["a/" * 10**6], ["a"]),
            "paths: expected at most 100 names from the root",
        ),
        (lambda: taxonomy.as_path(["a"] * 101), "path: expected at most 100 names from the root"),
        (lambda: taxonomy.cut(["a"], 0), "names: expected at least 1, got 0"),
        (lambda: taxonomy.shuffled(1), "n: expected at least 2 rows"),
        (lambda: taxonomy.shuffled(3, -1), "seed: expected at least 0, got -1"),
        (lambda: taxonomy.partly_wrong(20, 1.5), r"share: expected from 0 to 1, got 1\.5"),
        (lambda: taxonomy.partly_wrong(20, 0.05), r"share: expected no row or at least 2 of 20 .*got 0\.05"),
        (lambda: taxonomy.text_similarity(["", "the"], ["of"]), "texts: expected descriptions in words"),
        (lambda: taxonomy.text_similarity("bird", ["bird"]), "texts: expected one text per class"),
        (lambda: taxonomy.text_similarity(["bird"], ["bird"], 0), "dimensions: expected at least 1, got 0"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_it_is_found_as_an_attribute_and_by_import() -> None:
    import fewshot.taxonomy as by_import

    assert by_import is fewshot.taxonomy is taxonomy
    lean = "import fewshot, sys; assert 'torch' not in sys.modules; fewshot.taxonomy; "
    lean += "assert not any(name.startswith('sklearn') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", lean], check=True)
