"""LaplacianShot: nearest prototype, with neighbouring queries pulled towards one label."""

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.graph.vectors import masked_softmax
from fewshot.methods.bd_cspn import rectified_prototypes
from fewshot.methods.shared.ready import Ready, joint_method, mean, neighbour_graph, squared_distances


@joint_method
def laplacian_shot(
    ready: Ready,
    *,
    smoothness: float = 0.7,
    knn: int = 3,
    steps: int = 20,
    rectify: bool = True,
) -> Float[Tensor, "B M N"]:
    r"""Smooth nearest-prototype labels along a graph of the queries (LaplacianShot, Ziko et al., ICML 2020).

    With prototypes :math:`p_c`, and :math:`w_{qr} = 1` where r is a nearest neighbour of q, bound updates of

    .. math::
        \min_Y \sum_q y_q^\top a_q + \frac{\lambda}{2} \sum_{q, r} w_{qr} \lVert y_q - y_r \rVert^2, \qquad
        a_{qc} = \lVert x_q - p_c \rVert^2

    are, starting from :math:`y_q = \operatorname{softmax}(-a_q)`,

    .. math:: y_q \leftarrow \operatorname{softmax}\bigl(-a_q + \lambda \textstyle\sum_r w_{qr} y_r\bigr)

    Args:
        ready: the episodes; callers give ``support`` and ``query`` in its place, as `FewShotCall` has it.
        smoothness: lambda; default 0.7, the value of Veilleux et al. (2021) for one shot. The paper tunes it
            on validation classes for each benchmark and shot; the authors' code has 1 if it is not tuned.
        knn: size of a neighbourhood, including the query itself, as the authors' code counts; default 3.
        steps: bound updates; default 20.
        rectify: use `fewshot.methods.bd_cspn.rectified_prototypes` instead of class means; default True.

    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    >>> laplacian_shot(support, torch.tensor([[[4.0, 3.0], [3.0, 4.0]]]), knn=1).argmax(-1)
    tensor([[0, 1]])
    """
    among = ready.classes[:, None]
    prototypes = rectified_prototypes(ready, 10.0) if rectify else mean(ready.support, ready.labels)
    near = neighbour_graph(squared_distances(ready.query, ready.query), ready.seen, knn - 1)
    alone = logits = -squared_distances(ready.query, prototypes)
    for _step in range(steps):
        logits = alone + smoothness * near @ masked_softmax(logits, among)
    return logits.masked_fill(~among, -torch.inf)
