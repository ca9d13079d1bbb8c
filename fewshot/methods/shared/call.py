"""The call that every method has."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class FewShotCall(Protocol):
    """The call of all methods and of the class graph: B episodes' queries, classified by their supports.

    It is documented here once. A method that has no use for some of these takes them all the same, as
    ``**_``, and they change nothing: one that looks at each query on its own ignores `joint`, `query_mask`
    and `proportions`.

    Args:
        support: labelled features **[B, N, K, D]**, minus the base classes' mean; for methods that work on
            images, uint8 **[B, N, K, C, H, W]**.
        query: features to classify **[B, M, D]**, or images **[B, M, C, H, W]**.
        joint: look at all queries of an episode together; default False.
        support_mask: bool **[B, N, K]**, False where a support is padding; None (default): none is.
        class_mask: bool **[B, N]**, False where a class is padding, whose logits are -inf; None (default):
            none is.
        query_mask: bool **[B, M]**, False where a query is padding; None (default): none is.
        proportions: the classes' shares of the query set **[B, N]**; None (default): unknown.
        **further: options of some methods alone, such as the class graph's ``evidence``.

    Returns:
        Logits **[B, M, N]**, or an output that has them as ``logits``, such as the class graph's.

    Raises:
        InputError: shapes or types that do not fit.
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
