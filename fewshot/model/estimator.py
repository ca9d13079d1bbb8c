"""The class graph as a scikit-learn classifier: of features, or of images with a model that encodes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt64
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from fewshot.core.errors import InputError
from fewshot.core.modes import Mode
from fewshot.graph.known_classes import KnownClasses
from fewshot.model.assignment import given_shares, labels_of
from fewshot.model.calibration import Calibration
from fewshot.model.estimator_inputs import check_parameters, encoded, own_graph
from fewshot.model.estimator_large import NEAREST, ManyClasses, spread
from fewshot.model.relations import fitting, labels_in, rows
from fewshot.model.supports import check_labels, content_keys, dense, device_of, kept, named, padded
from fewshot.model.sure_sets import check_level

MANY = 1000  # classes; beyond this number, each listens to its nearest only
PIECE = 2**24  # the most numbers in an array of queries; inductive queries are classified in parts


class FewShotClassifier(ManyClasses, ClassifierMixin, BaseEstimator):
    """Few-shot classification by the class graph, as a scikit-learn estimator. Nothing is trained by ``fit``.

    ``fit`` keeps the supports; each prediction is one episode of these supports and the queries. The
    estimator works in pipelines and searches, and labels may be of any kind that scikit-learn takes.

    Only the directions of features matter, for lengths from 1e-10 to 1e18. If all point one way, subtract
    the mean of other rows, which need no labels; a ``StandardScaler`` subtracts that of the supports, which
    costs accuracy if these are few (docs/features.md). Features keep their precision, float32 or float64.

    Args:
        model: a `GraphFewShot` that encodes images, uint8 ``[n, C, H, W]``; default None: X holds features
            ``[n, D]``, which the graph gets as they are.
        graph: a `ClassGraph`, or any module with its call; default None: the model's own, or without a model
            the one that comes with the package.
        joint: let the queries of one call inform one another (transductive inference). A prediction then
            depends on the whole query set and may change if only a part of it is given. Default False: each
            query is classified on its own.
        shots: the most supports kept per class, chosen by a hash of their content: effectively at random, and
            independent of their order; default None: all. Classes are padded to the size of the largest, so
            set this if sizes are very unequal.
        known: `KnownClasses`, further nodes of the graph, in the space of the features after the model's
            transform; default None: the model's own.
        relations: a mapping from label to the class's path in the taxonomy of ``known`` (names joined by
            ``/``, or a sequence of names), or to a row of similarities to the known classes, larger is
            nearer. Nothing is known of labels that are missing, or whose value is None. A label in it without
            supports is a zero-shot class. Default None: no relations.
        belief: from 0 (ignore the relations) to 1 (take them as true); default None: judged.
        proportions: the classes' shares of the queries of a call, for joint inference: "equal", or a mapping
            from each label to a number from 0 up. ``predict`` then gives each class as many queries as its
            share says, by the best assignment of all queries together. Default None: unknown.

    Attributes:
        classes_: labels **[N]**, sorted: those with supports, and those in ``relations``.
        class_graph_: the dependencies **[N, N]**: row i, how much class i listens to each class j; rows sum
            to 1, diagonal 0. Computed when it is read; sparse (scipy) above 10,000 classes.
        supports_, support_labels_: the features that are kept **[n, D]**, and their labels **[n]**.
        graph_: a copy of the graph, in the features' precision.
        known_, relations_: the known classes and the relations **[N, C]**, in the order of ``classes_``, with
            rows of NaN for classes of which nothing is known; None without relations.
        n_features_in_: D; for images the number of channels.

    With more than 1,000 classes, each listens to its 64 nearest only. With more than 10,000, a query is
    classified against the 64 nearest to it (`fewshot.graph.shortlist`); all others have probability 0, unless
    inference is joint or relations are given. `predict_top` is then what to call.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=False)
    >>> clf = FewShotClassifier(shots=5).fit(X - X.mean(0), y)
    >>> clf.predict_proba(X[:2] - X.mean(0)).shape, clf.class_graph_.shape
    ((2, 3), (3, 3))
    >>> clf.partial_fit(X[:5] - 9, [3] * 5).classes_.tolist()
    [0, 1, 2, 3]
    """

    classes_: Shaped[np.ndarray, " N"]
    supports_: Float[np.ndarray, "n D"]
    support_labels_: Shaped[np.ndarray, " n"]
    support_keys_: UInt64[np.ndarray, " n"]
    graph_: nn.Module
    known_: KnownClasses | None
    relations_: Float[Tensor, "N C"] | None

    # Not typed: scikit-learn requires that only `fit` checks parameters.
    def __init__(
        self,
        model: Any = None,
        graph: Any = None,
        joint: Any = False,
        shots: Any = None,
        known: Any = None,
        relations: Any = None,
        belief: Any = None,
        proportions: Any = None,
    ) -> None:
        self.model = model
        self.graph = graph
        self.joint = joint
        self.shots = shots
        self.known = known
        self.relations = relations
        self.belief = belief
        self.proportions = proportions

    def fit(self, X: Any, y: Any) -> FewShotClassifier:
        """Keep these supports, and forget all earlier ones.

        Args:
            X: features **[n, D]**, dense or sparse, or with a model images uint8 **[n, C, H, W]**.
            y: labels **[n]**.

        Raises:
            ValueError: a parameter, X or y that is not as described.
        """
        return self._learn(X, y, [], restart=True)

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> FewShotClassifier:
        """Add supports of known or new classes: the result equals one ``fit`` on all supports so far.

        Args:
            X, y: as for ``fit``.
            classes: labels that get a column now, with probability 0 until they have supports; default None:
                those in y. Later calls may still add other labels.

        Raises:
            ValueError: as for ``fit``, or features of another size or labels of another kind than before.
        """
        check_labels("classes", classes)
        columns = [] if classes is None else [np.asarray(classes)]
        return self._learn(X, y, columns, restart=not hasattr(self, "classes_"))

    def predict(self, X: Any) -> Shaped[np.ndarray, " M"]:
        """The label of each query: features **[M, D]**, or with a model images **[M, C, H, W]**."""
        check_is_fitted(self, "classes_")
        if self._is_large():
            return self.predict_top(X, 1)[0][:, 0]
        shares = self._shares()
        return self.classes_[np.concatenate([labels_of(logits, shares) for logits in self._logits(X)])]

    def predict_proba(self, X: Any) -> Float[np.ndarray, "M N"]:
        """The probability of each class, in the order of ``classes_``; 0 without supports and relations."""
        return np.concatenate([torch.from_numpy(part).softmax(1).numpy() for part in self._logits(X)])

    def predict_log_proba(self, X: Any) -> Float[np.ndarray, "M N"]:
        """The logarithms of `predict_proba`; -inf where it is 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict_sets(self, X: Any, sure: float = 0.9) -> list[Shaped[np.ndarray, " size"]]:
        """For each query the smallest set of labels that holds the right one in a share of the cases.

        Split conformal sets, see `fewshot.model.sure_sets`: the thresholds are those of the model's
        checkpoint, or those that come with the package.

        Args:
            X: as for ``predict``.
            sure: that share, from 0.5 to 0.99; default 0.9.

        Returns:
            One array of labels per query, the most probable first; the label of ``predict`` is among them.
        """
        check_level(sure)
        logits, shares = np.concatenate(list(self._logits(X))), self._shares()
        chosen, found = labels_of(logits, shares), torch.from_numpy(logits).softmax(1).numpy()
        held = (Calibration() if self.model is None else self.model.calibration).sets(
            found,
            chosen,
            sure,
            mode=Mode.JOINT if self.joint else Mode.INDUCTIVE,
            shares=shares is not None,
            shots=np.bincount(np.searchsorted(self.classes_, self.support_labels_), minlength=found.shape[1]),
            related=self.relations_ is not None,
        )
        order = np.argsort(-found, axis=1, kind="stable")
        return [self.classes_[row[inside[row]]] for row, inside in zip(order, held, strict=True)]

    def decision_function(self, X: Any) -> Float[np.ndarray, "M ..."]:
        """The logits **[M, N]**; with two classes, the second's minus the first's **[M]**."""
        logits = np.concatenate(list(self._logits(X)))
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = tags.input_tags.sparse = self.model is None
        return tags

    def _learn(self, X: Any, y: Any, classes: list[np.ndarray], restart: bool) -> FewShotClassifier:
        """Fit; after an error, everything is as it was before."""
        before = dict(vars(self))
        try:
            return self._learned(X, y, classes, restart)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _learned(self, X: Any, y: Any, classes: list[np.ndarray], restart: bool) -> FewShotClassifier:
        check_parameters(self.get_params(deep=False), self._known_classes())
        check_labels("y", y)
        with named("X, y"):
            X, y = self._validated(X, y, reset=restart)
            check_classification_targets(y)
        keys, labels = content_keys(X), y
        if not restart:
            keys = np.concatenate([self.support_keys_, keys])
            labels = np.concatenate([self.support_labels_, labels])
            classes = [self.classes_, *classes]
        if self.relations:
            classes = [*classes, labels_in(self.relations, y)]
        with named("y"):
            columns = unique_labels(y, *classes)  # refuses a mix of text and numbers
        order = kept(np.searchsorted(columns, labels), keys, self.shots)
        # Only supports that are new and kept are encoded.
        fresh = order >= (old := 0 if restart else len(self.supports_))
        features = encoded(self.model, X[order[fresh] - old], None if restart else self.supports_.shape[1])
        supports = np.empty((len(order), features.shape[1]), features.dtype)
        supports[fresh] = features
        if not restart:
            supports[~fresh] = self.supports_[order[~fresh]]
        else:
            self.graph_ = own_graph(self.model, self.graph, torch.from_numpy(features).dtype)
            self.shortlists_ = None  # otherwise it follows when it is needed
        self.known_ = self.relations_ = None
        if self.relations is not None:
            self.known_ = fitting(self._known_classes(), supports.shape[1])
            self.relations_ = rows(self.relations, columns, self.known_)
        self.classes_, self.supports_ = columns, supports
        self.support_labels_, self.support_keys_ = labels[order], keys[order]
        return self

    def _shares(self) -> Float[np.ndarray, " N"] | None:
        return given_shares(self.proportions, self.classes_.tolist())

    def _known_classes(self) -> Any:
        return getattr(self.model, "known", None) if self.known is None else self.known

    def _validated(self, X: Any, *y: Any, reset: bool) -> Any:
        """X, or X and y, as arrays of the right kind; unless ``reset``, with as many features as before."""
        if self.model is None:
            X = dense(X)
            kinds = [np.float64, np.float32] if reset else self.supports_.dtype
            return validate_data(self, X, *y, reset=reset, dtype=kinds)
        X = np.asarray(X)
        if X.dtype != np.uint8 or X.ndim != 4 or 0 in X.shape[1:]:
            raise InputError(f"X: expected images uint8 [n, C, H, W], got {X.dtype} {list(X.shape)}")
        return validate_data(self, X, *y, reset=reset, dtype=None, allow_nd=True)

    def _support(self) -> tuple[Float[Tensor, "1 N K D"], Tensor]:
        """The episode's supports, padded to the most shots, and the mask of the actual ones."""
        index = np.searchsorted(self.classes_, self.support_labels_)
        support, mask = padded(self.supports_, index, len(self.classes_))
        here = device_of(self.graph_)
        return torch.from_numpy(support)[None].to(here), torch.from_numpy(mask)[None].to(here)

    def _queries(self, X: Any, width: int) -> Iterator[Float[np.ndarray, "m D"]]:
        """Features of the queries: all for joint inference, else some at a time, by the width of rows."""
        check_is_fitted(self, "classes_")
        with named("X"):
            X = self._validated(X, reset=False)
        size = self.supports_.shape[1]
        rows = len(X) if self.joint else max(1, PIECE // max(width, size))
        for start in range(0, len(X), rows):
            yield encoded(self.model, X[start : start + rows], size)

    def _logits(self, X: Any) -> Iterator[Float[np.ndarray, "m N"]]:
        check_is_fitted(self, "classes_")
        if self._is_large():
            yield from (
                spread(*found, len(self.classes_)) for found in self._shortlisted(X, 1, len(self.classes_))
            )
            return
        support, mask = self._support()
        options: dict[str, Any] = {"joint": bool(self.joint)}
        if (shares := self._shares()) is not None:
            options["proportions"] = torch.from_numpy(shares)[None].to(support)
        for query in self._queries(X, len(self.classes_)):
            yield self._classify(support, mask, query, **options).logits[0].cpu().numpy()

    @torch.no_grad()
    def _classify(self, support: Tensor, mask: Tensor, query: np.ndarray, **options: Any) -> Any:
        if len(self.classes_) > MANY:
            options.setdefault("neighbours", NEAREST)
        if self.known_ is not None and self.relations_ is not None:
            options["known"] = self.known_.prototypes.to(support.device)
            options["relations"] = self.relations_.to(support.device)
            options["belief"] = None if self.belief is None else float(self.belief)
        return self.graph_(
            support, torch.tensor(query)[None].to(support.device), support_mask=mask, **options
        )
