"""Label propagation over a graph of all supports and queries."""

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.methods.shared.ready import Ready, joint_method, neighbour_graph, squared_distances


@joint_method
def label_propagation(
    ready: Ready,
    *,
    alpha: float = 0.99,
    knn: int = 20,
    width: float = 0.3,
) -> Float[Tensor, "B M N"]:
    r"""Propagate the labels from supports to queries, in closed form (after TPN, Liu et al., ICLR 2019).

    Nodes are all supports and queries of an episode, as unit vectors. An edge is kept if i is among the
    nearest neighbours of j, or j among those of i; with Y the one-hot labels of the supports, else 0,

    .. math::
        W_{ij} = e^{-\lVert x_i - x_j \rVert^2 / 2 \sigma_i \sigma_j}, \qquad
        S = D^{-1/2} W D^{-1/2}, \qquad F = (I - \alpha S)^{-1} Y

    and the logits are the logarithms of F, with rows scaled to sum to 1. TPN trains a network on base
    episodes to give each node its own :math:`\sigma_i`. Here, without training, :math:`\sigma_i` is ``width``
    times the root mean square distance to the node's nearest neighbours (local scaling, after Zelnik-Manor
    and Perona, NIPS 2004).

    Args:
        ready: the episodes; callers give ``support`` and ``query`` in its place, as `FewShotCall` has it.
        alpha: how far labels spread, from 0 to under 1; default 0.99.
        knn: neighbours per node, counting the node itself; default 20.
        width: of the kernel, in neighbour distances; default 0.3, chosen on validation classes.

    Raises:
        InputError: alpha out of range.

    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    >>> label_propagation(support, torch.tensor([[[4.0, 3.0], [3.0, 4.0]]])).argmax(-1)
    tensor([[0, 1]])
    """
    if not 0 <= alpha < 1:
        raise InputError(f"alpha: expected from 0 to under 1, got {alpha}")
    nodes = torch.cat([ready.support, ready.query], dim=1)
    distances = squared_distances(nodes, nodes)
    near = neighbour_graph(distances, torch.cat([ready.labelled, ready.seen], dim=1), knn - 1)
    tiny = torch.finfo(nodes.dtype).tiny
    scale = width * ((distances * near).sum(-1) / near.sum(-1).clamp_min(1.0)).sqrt()  # [B, S + M]

    loop = torch.eye(nodes.shape[1], dtype=nodes.dtype, device=nodes.device)
    kernel = (-distances / (2 * scale[:, :, None] * scale[:, None]).clamp_min(tiny)).exp()
    affinity = kernel * torch.maximum(near, near.mT) + loop
    degree = affinity.sum(-1).rsqrt()
    steps = degree[:, :, None] * affinity * degree[:, None]

    unlabelled = ready.labels.new_zeros(*ready.query.shape[:2], ready.labels.shape[-1])
    known = torch.cat([ready.labels, unlabelled], dim=1)
    reached = torch.linalg.solve(loop - alpha * steps, known)[:, ready.support.shape[1] :]
    shares = reached / reached.sum(-1, keepdim=True).clamp_min(tiny)
    return shares.clamp_min(1e-12).log().masked_fill(~ready.classes[:, None], -torch.inf)
