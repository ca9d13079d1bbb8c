"""The classes nearest to each query, among very many: exactly, in blocks, or by an inverted index (FAISS)."""

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from fewshot.graph.vectors import normalize

BLOCK = 2**13  # classes that exact search compares with the queries at a time
MANY = 10_000  # classes; from here on an index pays
PER_LIST = 64  # classes per list that the clustering looks at
PAIRS, NEAR = 512, 64  # pairs of classes that measure the recall, among how many nearest
RECALL, SHARE = 0.995, 0.25  # the least recall, and the largest share of the lists that a search may read

Vectors = Callable[[Int64[Tensor, " c"]], Float[Tensor, "c D"]]  # of classes, of length 1


class Nearest(NamedTuple):
    """The k nearest classes of each of M queries, nearest first; -1 where there were fewer."""

    classes: Int64[Tensor, "M k"]
    cosine: Float[Tensor, "M k"]


def exact(
    query: Float[Tensor, "M D"], vectors: Vectors, classes: Int64[Tensor, " N"], k: int, block: int = BLOCK
) -> Nearest:
    """The k classes with the largest cosines; no [M, N] is built.

    Args:
        query: vectors of length 1 **[M, D]**.
        vectors: gives the vectors **[c, D]** of c classes.
        classes: int64 **[N]**, those to look at.
        k: how many.
        block: classes at a time; default 8,192.

    >>> exact(torch.eye(2), lambda classes: torch.eye(2)[classes], torch.arange(2), 3).classes
    tensor([[ 0,  1, -1],
            [ 1,  0, -1]])
    """
    index = torch.full((len(query), k), -1, dtype=torch.int64)
    cosine = torch.full((len(query), k), -torch.inf)
    for part in classes.split(block):
        near = (query @ vectors(part).T).topk(min(k, len(part)), dim=1)
        best = torch.cat([cosine, near.values], dim=1).topk(k, dim=1)
        index = torch.cat([index, part[near.indices]], dim=1).gather(1, best.indices)
        cosine = best.values
    return Nearest(index, cosine)


def faiss() -> Any:
    """The FAISS library; None where it is not installed, with a warning that says what it would do."""
    if importlib.util.find_spec("faiss") is None:
        warnings.warn(
            "searching all classes exactly; FAISS (pip install 'fewshot-graph[large]') would be faster",
            stacklevel=2,
        )
        return None
    import faiss as library

    return library


class InvertedIndex:
    """An inverted index of classes: a search reads the lists whose centres are nearest to the query.

    After Jégou et al., TPAMI 2011, by FAISS, in half precision: 4 √N lists from k-means. How many of them a
    search reads is measured: the number is doubled until queries halfway between two classes drawn at random
    find both among the 64 nearest, in 99.5 % of the cases. (The nearest others of a class would be too easy:
    they are often classes that are near to many, which any search finds.)

    Args:
        library: the module ``faiss``.
        vectors: gives the vectors **[c, D]** of c classes, of length 1.
        classes: int64 **[N]**, those to hold.
        centres: of the lists **[L, D]**, of an earlier index of about the same classes; default None: they
            are found by k-means, which takes most of the time.

    Attributes:
        centres: of the lists **[L, D]**.
        recall: the share that was found, from 0 to 1.
        read: the share of the lists that a search reads.
        useful: whether that took at most a quarter of the lists; if not, exact search is as fast.
    """

    def __init__(
        self,
        library: Any,
        vectors: Vectors,
        classes: Int64[Tensor, " N"],
        centres: Float32[np.ndarray, "L D"] | None = None,
    ) -> None:
        size, n = vectors(classes[:1]).shape[1], len(classes)
        lists, quantizer = max(1, int(4 * n**0.5)), library.IndexFlatL2(size)
        if centres is not None:
            lists = len(centres)
            quantizer.add(np.ascontiguousarray(centres))
        # Of vectors of length 1 the nearest are those with the largest cosine.
        self._index = library.IndexIVFScalarQuantizer(
            quantizer, size, lists, library.ScalarQuantizer.QT_fp16, library.METRIC_L2, False
        )
        self._index.cp.min_points_per_centroid, self._index.cp.max_points_per_centroid = 1, PER_LIST
        drawn = classes[torch.randperm(n, generator=torch.Generator().manual_seed(0))]
        pairs, others = drawn[: 2 * PAIRS], drawn[2 * PAIRS :]  # lists suit best what they are made of
        self._index.train(vectors(others[: PER_LIST * lists if centres is None else 1]).numpy())
        self.centres: Float32[np.ndarray, "L D"] = quantizer.reconstruct_n(0, lists)
        for part in classes.split(BLOCK):
            self.add(part, vectors(part))
        self.recall = self._probe(pairs, vectors(pairs), max(1, int(SHARE * lists)))
        self.read = self._index.nprobe / lists
        self.useful = self.recall >= RECALL

    def _probe(self, pairs: Int64[Tensor, " p"], vectors: Float[Tensor, "p D"], most: int) -> float:
        """Read as many lists as it takes, at most so many; returns the recall."""
        a, b = vectors.chunk(2)
        query, probes, recall = normalize(a + b), 1, 0.0
        while recall < RECALL and probes <= most:
            self._index.nprobe, probes = probes, 2 * probes
            found = self.search(query, NEAR).classes
            recall = (found == pairs.view(2, -1, 1)).any(-1).double().mean().item()
        return recall

    def add(self, classes: Int64[Tensor, " c"], vectors: Float[Tensor, "c D"]) -> None:
        """Hold further classes."""
        self._index.add_with_ids(vectors.numpy(), classes.numpy())

    def remove(self, classes: Int64[Tensor, " c"]) -> None:
        """Hold these no longer."""
        self._index.remove_ids(classes.numpy())

    def search(self, query: Float[Tensor, "M D"], k: int) -> Nearest:
        """As `exact`, but some of the nearest may be missed."""
        square, index = self._index.search(np.ascontiguousarray(query.numpy()), k)
        return Nearest(torch.from_numpy(index), 1 - torch.from_numpy(square) / 2)
