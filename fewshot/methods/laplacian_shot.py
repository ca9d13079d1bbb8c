"""LaplacianShot: nearest prototype, with neighbouring queries drawn to one label."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.graph.vectors import masked_softmax
from fewshot.methods.bd_cspn import rectified_prototypes
from fewshot.methods.shared.ready import make_ready, mean, neighbour_graph, squared_distances


def laplacian_shot(
    support: Float[Tensor, "B N K D"],
    query: Float[Tensor, "B M D"],
    *,
    support_mask: Bool[Tensor, "B N K"] | None = None,
    class_mask: Bool[Tensor, "B N"] | None = None,
    query_mask: Bool[Tensor, "B M"] | None = None,
    smoothness: float = 0.7,
    knn: int = 3,
    steps: int = 20,
    rectify: bool = True,
    **_: object,
) -> Float[Tensor, "B M N"]:
    r"""Smooth nearest-prototype labels along a graph of the queries (LaplacianShot, Ziko et al., ICML 2020).

    With prototypes :math:`p_c`, and :math:`w_{qr} = 1` where r is a nearest neighbour of q, bound updates of

    .. math::
        \min_Y \sum_q y_q^\top a_q + \frac{\lambda}{2} \sum_{q, r} w_{qr} \lVert y_q - y_r \rVert^2, \qquad
        a_{qc} = \lVert x_q - p_c \rVert^2

    are, from :math:`y_q = \operatorname{softmax}(-a_q)` on,

    .. math:: y_q \leftarrow \operatorname{softmax}\bigl(-a_q + \lambda \textstyle\sum_r w_{qr} y_r\bigr)

    Args:
        support: labelled features **[B, N, K, D]**.
        query: features to classify, together **[B, M, D]**.
        support_mask: bool **[B, N, K]**, False where a support is padding; None: all are there.
        class_mask: bool **[B, N]**, False where a class is padding; its logits are -inf.
        query_mask: bool **[B, M]**, False where a query is padding.
        smoothness: lambda. The paper tunes it on validation classes for each benchmark and shot; default 0.7,
            what Veilleux et al. (2021) have for one shot. 1 in the authors' code where it is not tuned.
        knn: size of a neighbourhood, with the query itself, as the authors' code counts; default 3.
        steps: bound updates; default 20.
        rectify: take `fewshot.methods.bd_cspn.rectified_prototypes` rather than class means; default True.
        **_: further options of the class graph's call (proportions, ...), which change nothing here.

    Raises:
        InputError: shapes or types that do not fit.

    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    >>> laplacian_shot(support, torch.tensor([[[4.0, 3.0], [3.0, 4.0]]]), knn=1).argmax(-1)
    tensor([[0, 1]])
    """
    ready = make_ready(support, query, support_mask, class_mask, query_mask)
    among = ready.classes[:, None]
    prototypes = rectified_prototypes(ready, 10.0) if rectify else mean(ready.support, ready.labels)
    near = neighbour_graph(squared_distances(ready.query, ready.query), ready.seen, knn - 1)
    alone = logits = -squared_distances(ready.query, prototypes)
    for _step in range(steps):
        logits = alone + smoothness * near @ masked_softmax(logits, among)
    return logits.masked_fill(~among, -torch.inf)
