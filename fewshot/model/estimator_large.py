"""Very many classes in the scikit-learn estimator: a gallery, shortlists of it, and a sparse class graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped, UInt64
from scipy.sparse import csr_array
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from fewshot.core.errors import InputError
from fewshot.graph.edges import Edges
from fewshot.graph.gallery import Gallery
from fewshot.graph.shortlist import SHORTLIST, shortlisted
from fewshot.graph.transform import Transformed
from fewshot.model.supports import Keyed, differing

NEAREST = 64  # classes that each listens to, where they are many
LARGE = 10_000  # classes; beyond this number, inductive queries are classified against shortlists


class Shortlists:
    """The classes of an estimator as a gallery, and its graph on shortlists of them.

    Args:
        graph: of the estimator; its transform, if it has one, goes before the gallery.
        size: D.
    """

    def __init__(self, graph: nn.Module, size: int) -> None:
        transformed = isinstance(graph, Transformed)
        self.transform: Any = graph.transform if transformed else nn.Identity()
        self.graph: Any = graph.method if transformed else graph
        self.gallery = Gallery(size)
        self._columns = np.zeros(0, np.int64)  # of the gallery's classes in the estimator
        self._held: Keyed | None = None

    def follow(
        self, classes: Shaped[np.ndarray, " N"], supports: Float[np.ndarray, "n D"], keyed: Keyed
    ) -> None:
        """Hold these supports and no others; classes that have the same as before are left as they are.

        Args:
            classes: the labels of all columns, sorted.
            supports: **[n, D]**.
            keyed: the label and the key of each support.
        """
        if self._held is not None and self._held[1] is keyed[1]:
            return
        changed = differing(self._held or (keyed[0][:0], keyed[1][:0]), keyed)
        self.gallery.remove(label for label in changed.tolist() if label in self.gallery)
        rows = np.isin(keyed[0], changed)
        self.gallery.add(self._prepared(supports[rows]), keyed[0][rows].tolist())
        live = self.gallery.indices().numpy()
        labels = np.array([self.gallery.labels[place] for place in live], classes.dtype)
        self._columns = np.zeros(len(self.gallery.labels), np.int64)
        self._columns[live] = np.searchsorted(classes, labels)
        self._held = keyed

    @torch.no_grad()
    def _prepared(self, x: Float[np.ndarray, "n D"]) -> Float[Tensor, "n d"]:
        here = next((buffer.device for buffer in self.transform.buffers()), None)
        found: Tensor = self.transform(torch.tensor(x, device=here))
        return found.cpu()

    def top(
        self, query: Float[np.ndarray, "M D"], k: int
    ) -> tuple[Int64[np.ndarray, "M k"], Float[np.ndarray, "M k"]]:
        """The k best classes of each query, the best first, and their logits."""
        index, logits = shortlisted(self.graph, self.gallery, self._prepared(query), max(k, SHORTLIST))
        return self._columns[index.numpy()], logits.numpy()

    def neighbours(self, k: int, classes: int) -> Int64[Tensor, "1 N k"]:
        """The classes nearest to each class, for the whole graph."""
        own, found = self.gallery.indices(), []
        columns = torch.from_numpy(self._columns)
        for part in own.split(2**12):
            near = self.gallery.nearest(self.gallery.prototypes(part), k + 1).classes
            others = torch.where(near == part[:, None], -1, near)
            order = (others < 0).to(torch.int8).sort(dim=1, stable=True).indices  # the class itself goes last
            found.append(others.gather(1, order)[:, :k])
        near = torch.cat(found)
        all_of = torch.full((1, classes, k), -1)
        all_of[0, columns[own]] = torch.where(near < 0, -1, columns[near])
        return all_of


def as_matrix(edges: Edges, classes: int) -> csr_array:
    """Edges of one episode as a sparse matrix **[N, N]**.

    >>> as_matrix(Edges(torch.tensor([[1], [0]]), torch.tensor([0.5])), 2).toarray()
    array([[0. , 0.5],
           [0. , 0. ]], dtype=float32)
    """
    source, target = edges.edge_index.cpu().numpy()
    return csr_array((edges.weight.cpu().numpy(), (target, source)), shape=(classes, classes))


def spread(
    index: Int64[np.ndarray, "M k"], logits: Float[np.ndarray, "M k"], classes: int
) -> Float[np.ndarray, "M N"]:
    """Logits of all classes, -inf outside the shortlists."""
    found = np.full((len(index), classes), -np.inf, logits.dtype)
    np.put_along_axis(found, index[:, ::-1], logits[:, ::-1], axis=1)  # the largest is written last
    return found


def best(
    logits: Float[np.ndarray, "M N"], k: int
) -> tuple[Int64[np.ndarray, "M k"], Float[np.ndarray, "M k"]]:
    """The k largest logits of each query, the largest first, as columns and probabilities among all N.

    >>> best(np.log(np.array([[1.0, 3.0, 4.0]])), 2)
    (array([[2, 1]]), array([[0.5  , 0.375]]))
    """
    top = torch.from_numpy(logits).softmax(1).topk(k, dim=1)
    return top.indices.numpy(), top.values.numpy()


def check_k(k: Any, classes: int) -> None:
    """Raise an InputError unless k is a number of classes.

    >>> check_k(9, 5)
    Traceback (most recent call last):
    ...
    fewshot.InputError: k: expected a whole number from 1 to 5, the classes, got 9
    """
    if not isinstance(k, int | np.integer) or isinstance(k, bool) or not 1 <= k <= classes:
        raise InputError(f"k: expected a whole number from 1 to {classes}, the classes, got {k!r}")


class ManyClasses:
    """What `FewShotClassifier` does differently with very many classes, and the k best classes of a query."""

    classes_: Shaped[np.ndarray, " N"]
    supports_: Float[np.ndarray, "n D"]
    support_labels_: Shaped[np.ndarray, " n"]
    support_keys_: UInt64[np.ndarray, " n"]
    graph_: nn.Module
    relations_: Any
    joint: Any
    shortlists_: Shortlists | None
    _classify: Any
    _logits: Any
    _queries: Any
    _support: Any

    def predict_top(self, X: Any, k: int = 5) -> tuple[Shaped[np.ndarray, "M k"], Float[np.ndarray, "M k"]]:
        """The k most probable classes of each query; with very many classes no array of all is built.

        Args:
            X: as for ``predict``.
            k: how many, from 1 to the number of classes; default 5.

        Returns:
            Labels **[M, k]**, the most probable first, and probabilities **[M, k]**.

        Raises:
            InputError: another k.
        """
        check_is_fitted(self, "classes_")
        check_k(k, len(self.classes_))
        index, found = zip(*self._best(X, k), strict=True)
        return self.classes_[np.concatenate(index)], np.concatenate(found)

    @property
    def class_graph_(self) -> Float[np.ndarray, "N N"] | csr_array:
        check_is_fitted(self, "classes_")
        options, classes = {}, len(self.classes_)
        if classes > LARGE and self.relations_ is None:
            options["neighbours"] = self._shortlists().neighbours(NEAREST, classes)
        # Dependencies are between classes, so any query will do.
        dependencies = self._classify(*self._support(), self.supports_[:1], **options).dependencies
        if not isinstance(dependencies, Edges):
            return dependencies[0].cpu().numpy()
        matrix = as_matrix(dependencies, classes)
        return matrix if classes > LARGE else matrix.toarray()

    def _best(self, X: Any, k: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The k best classes of some queries at a time, and their probabilities."""
        if not self._is_large():
            yield from (best(logits, k) for logits in self._logits(X))
            return
        for index, logits in self._shortlisted(X, k, k):
            yield index[:, :k], torch.from_numpy(logits).softmax(1).numpy()[:, :k]

    def _is_large(self) -> bool:
        return len(self.classes_) > LARGE and not self.joint and self.relations_ is None

    def _shortlisted(self, X: Any, k: int, width: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for query in self._queries(X, width):
            yield self._shortlists().top(query, k)

    def _shortlists(self) -> Shortlists:
        if self.shortlists_ is None:
            self.shortlists_ = Shortlists(self.graph_, self.supports_.shape[1])
        keyed = self.support_labels_, self.support_keys_
        self.shortlists_.follow(self.classes_, self.supports_, keyed)
        return self.shortlists_
