"""The call that every method has."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class FewShotCall(Protocol):
    """The call of all methods and of the class graph: B episodes' queries, classified by their supports.

    It takes

    - ``support``: labelled features **[B, N, K, D]**, minus the base classes' mean; for methods that work on
      images, uint8 **[B, N, K, C, H, W]**;
    - ``query``: features to classify **[B, M, D]**, or images **[B, M, C, H, W]**;
    - ``joint``: look at all queries of an episode together; default False;
    - ``support_mask``: bool **[B, N, K]**, False where a support is padding; None (default): none is;
    - ``class_mask``: bool **[B, N]**, False where a class is padding, whose logits are -inf; None (default):
      none is;
    - ``query_mask``: bool **[B, M]**, False where a query is padding; None (default): none is;
    - ``proportions``: the classes' shares of the query set **[B, N]**; None (default): unknown;
    - for methods with relations (the catalogue says which): ``known``, prototypes of known classes
      **[C, D]**, ``relations`` to them **[N, C]** or **[B, N, C]**, and ``belief``, see `ClassGraph`;
    - for rules for "none of these": ``unknown=True``; they return a score **[B, M]** as ``unknown``;
    - further options of some methods, such as the class graph's ``evidence``;

    and returns logits **[B, M, N]**, or an output that has them as ``logits``, such as the class graph's.

    A method that has no use for some of these still takes them, and they change nothing: one that looks at
    each query on its own ignores ``joint``, ``query_mask`` and ``proportions``.
    """

    def __call__(
        self,
        support: Tensor,
        query: Tensor,
        *,
        joint: bool = False,
        support_mask: Tensor | None = None,
        class_mask: Tensor | None = None,
        query_mask: Tensor | None = None,
        proportions: Tensor | None = None,
        **further: Any,
    ) -> Any: ...
