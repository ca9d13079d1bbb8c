"""Relations between classes: from their paths in a taxonomy, their descriptions or any embeddings.

A relation is a similarity from outside the images, ``[N, C]`` between N new classes and C known ones. A row
of NaN says that nothing is known of that class. A known class of which nothing is known has similarity 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fewshot.core.errors import InputError

__all__ = [
    "as_path",
    "cut",
    "embedding_similarity",
    "nearest_group",
    "partly_wrong",
    "shuffled",
    "similarity",
    "text_similarity",
]

Path = tuple[str, ...]
LONGEST = 100  # names of a path; WordNet's have about 20 at most


def as_path(path: Any) -> Path:
    """The names from the root to the class.

    Args:
        path: names joined by ``/``, or a sequence of names; empty or None: unknown.

    Raises:
        InputError: neither text nor a sequence of texts, or more than 100 names.

    >>> as_path("entity/animal/crane"), as_path(["entity", " animal ", "crane"]), as_path(None)
    (('entity', 'animal', 'crane'), ('entity', 'animal', 'crane'), ())
    """
    names = path.split("/", LONGEST + 1) if isinstance(path, str) else () if path is None else path
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise InputError(f"path: expected names joined by '/', or a sequence of names, got {path!r:.80}")
    if len(names) > LONGEST:
        raise InputError(f"path: expected at most {LONGEST} names from the root to the class, got more")
    return tuple(name.strip() for name in names if name.strip())


def similarity(paths: Iterable[Any], known_paths: Iterable[Any]) -> Float[Tensor, "N C"]:
    """Wu and Palmer's similarity of paths, 2·|common prefix| / (|a| + |b|), counting names, root included.

    Wu and Palmer, *Verb semantics and lexical selection*, 1994.

    Args:
        paths: N paths of new classes, each as `as_path` takes it.
        known_paths: C paths of known classes.

    Returns:
        float32 ``[N, C]``, from 0 (nothing in common) to 1 (the same path); NaN in an unknown path's row.

    Raises:
        InputError: an argument that is not a sequence of paths.

    >>> similarity(["animal/bird/crane", None], ["animal/bird", "animal/cat", "thing/crane/tower"])
    tensor([[0.8000, 0.4000, 0.0000],
            [   nan,    nan,    nan]])
    """
    new, known = _as_paths("paths", paths), _as_paths("known_paths", known_paths)
    codes = _codes([*new, *known])
    a, b = codes[: len(new)], codes[len(new) :]
    common = np.zeros((len(a), len(b)))
    for level in range(codes.shape[1]):
        common += (a[:, None, level] == b[:, level]) & (a[:, None, level] >= 0)
    names = (a >= 0).sum(1)[:, None] + (b >= 0).sum(1)
    return _blanked(torch.from_numpy(2 * common / np.maximum(names, 1)), [not path for path in new])


def cut(paths: Iterable[Any], names: int = 6) -> list[Path]:
    """Coarse paths: each path's first names.

    Args:
        paths: paths, each as `as_path` takes it.
        names: how many names from the root on are kept, root included (default 6: "organism" or
            "instrumentality" in WordNet's paths).

    Raises:
        InputError: not a sequence of paths, or fewer than 1 name.

    >>> cut(["entity/animal/bird/crane", "entity/thing"], names=2)
    [('entity', 'animal'), ('entity', 'thing')]
    """
    if names < 1:
        raise InputError(f"names: expected at least 1, got {names}")
    return [path[:names] for path in _as_paths("paths", paths)]


def nearest_group(paths: Iterable[Any]) -> Path:
    """The smallest group that holds all these classes: their paths' longest common prefix.

    Args:
        paths: paths, each as `as_path` takes it; an unknown one is in no group.

    >>> nearest_group(["animal/bird/crane", "animal/bird/wader/heron"])
    ('animal', 'bird')
    """
    found = _as_paths("paths", paths)
    if not found:
        return ()
    first, last = min(found), max(found)  # what these two have in common, all between them have
    same = [x == y for x, y in zip(first, last, strict=False)]
    return first[: [*same, False].index(False)]


def shuffled(n: int, seed: int = 0) -> Int64[Tensor, " n"]:
    """A seeded derangement of rows: no row keeps its place. ``relations[shuffled(n)]`` are false relations.

    Args:
        n: the number of rows.
        seed: at least 0 (default 0); the same order on every platform.

    Raises:
        InputError: a single row, which can go nowhere else.

    >>> shuffled(4).tolist()
    [2, 0, 3, 1]
    """
    if n == 1:
        raise InputError("n: expected at least 2 rows to shuffle, got 1")
    return _exchanged(n, n, seed)


def partly_wrong(n: int, share: float, seed: int = 0) -> Int64[Tensor, " n"]:
    """An order of rows in which a random part is exchanged among each other and the rest stay in place.

    Args:
        n: the number of rows.
        share: from 0 to 1; exactly round(share·n) rows change places.
        seed: at least 0 (default 0); the same order on every platform.

    Raises:
        InputError: a share out of range, or of a single row.

    >>> partly_wrong(5, 0.4).tolist()
    [0, 1, 4, 3, 2]
    """
    if not 0 <= share <= 1:
        raise InputError(f"share: expected from 0 to 1, got {share}")
    if (count := round(share * n)) == 1:
        raise InputError(f"share: expected no row or at least 2 of {n} to exchange, got {share} (1 row)")
    return _exchanged(n, count, seed)


def text_similarity(
    texts: Sequence[str | None], known_texts: Sequence[str | None], dimensions: int = 300
) -> tuple[Float[Tensor, "N C"], Float[Tensor, "C C"]]:
    """Similarity of descriptions by latent semantic analysis, fitted on all the descriptions given.

    Cosines of TF-IDF vectors (sublinear term frequency, without English stop words) after a truncated
    singular value decomposition (Deerwester et al., *Indexing by latent semantic analysis*, 1990).

    Args:
        texts: N descriptions of new classes; empty or None: unknown.
        known_texts: C descriptions of known classes.
        dimensions: at most this many singular vectors (default 300).

    Returns:
        The similarity of new and known classes ``[N, C]`` and of known classes ``[C, C]``, float32; NaN in
        the row of a class without a description, or with stop words alone.

    Raises:
        InputError: no description has a word, one text in place of several, or fewer than 1 dimension.

    >>> new, known = text_similarity(["a wading bird", ""], ["a bird of prey", "a kitchen knife"])
    >>> bool(new[0, 0] > new[0, 1]), bool(new[1].isnan().all()), tuple(known.shape)
    (True, True, (2, 2))
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    if dimensions < 1:
        raise InputError(f"dimensions: expected at least 1, got {dimensions}")
    if isinstance(texts, str) or isinstance(known_texts, str):
        raise InputError("texts: expected one text per class, got one text")
    documents = [text or "" for text in (*texts, *known_texts)]
    try:
        vectors = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit_transform(documents)
    except ValueError:  # an empty vocabulary
        raise InputError(f"texts: expected descriptions in words, got {len(documents)} without any") from None
    blank = np.asarray(vectors.getnnz(axis=1) == 0)
    if (kept := min(dimensions, min(vectors.shape) - 1)) > 0:
        dense = TruncatedSVD(kept, random_state=0).fit_transform(vectors)
    else:  # a single text or word
        dense = vectors.toarray()
    x = torch.from_numpy(dense)
    x[torch.from_numpy(blank)] = 0  # a text without words may be off by rounding
    new, known = x[: len(texts)], x[len(texts) :]
    return embedding_similarity(new, known), embedding_similarity(known, known)


def embedding_similarity(x: Float[Tensor, "N E"], y: Float[Tensor, "C E"]) -> Float[Tensor, "N C"]:
    """Cosines of embeddings of any origin.

    Args:
        x: ``[N, E]``, of new classes; a row that is zero or not finite: unknown.
        y: ``[C, E]``, of known classes.

    Returns:
        float32 ``[N, C]``; NaN in an unknown row, 0 in an unknown column.

    >>> embedding_similarity(torch.tensor([[3.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    tensor([[1., 0.],
            [nan, nan]])
    """
    units = []
    for embeddings in (x.double(), y.double()):
        usable = embeddings.isfinite().all(-1, keepdim=True)
        units.append(torch.nn.functional.normalize(embeddings.where(usable, 0.0), dim=-1))
    return _blanked(units[0] @ units[1].mT, (units[0] == 0).all(-1).tolist())


def _as_paths(name: str, paths: Iterable[Any]) -> list[Path]:
    if isinstance(paths, str):
        raise InputError(f"{name}: expected a sequence of paths, got one text, '{paths:.60}'")
    try:
        return [as_path(path) for path in paths]
    except InputError as error:
        raise InputError(f"{name}: {str(error).removeprefix('path: ')}") from None


def _codes(paths: Sequence[Path]) -> np.ndarray:
    """Each prefix of each path as a number, ``[paths, longest path]``; -1 after a path's end."""
    codes = np.full((len(paths), max(map(len, paths), default=0)), -1)
    numbers: dict[tuple[int, str], int] = {}
    for row, path in zip(codes, paths, strict=True):
        node = -1
        for level, name in enumerate(path):
            node = row[level] = numbers.setdefault((node, name), len(numbers))
    return codes


def _exchanged(n: int, count: int, seed: int) -> Int64[Tensor, " n"]:
    """0..n−1 with `count` random places passed on in one cycle."""
    if seed < 0:
        raise InputError(f"seed: expected at least 0, got {seed}")
    places = np.random.Generator(np.random.PCG64(seed)).permutation(np.arange(n, dtype=np.int64))[:count]
    order = np.arange(n, dtype=np.int64)
    order[places] = np.roll(places, 1)
    return torch.from_numpy(order)


def _blanked(relations: Float[Tensor, "N C"], unknown: Sequence[bool]) -> Float[Tensor, "N C"]:
    """As float32, with NaN in the rows of which nothing is known."""
    relations = relations.float()
    relations[torch.tensor(unknown, dtype=torch.bool)] = torch.nan
    return relations
