"""PT-MAP: class centres from an optimal transport of the queries to the classes."""

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.graph.transform import signed_power
from fewshot.graph.vectors import masked_softmax, normalize
from fewshot.methods.shared.ready import Ready, joint_method, mean, squared_distances


@joint_method
def pt_map(
    ready: Ready,
    *,
    power: float = 0.5,
    sharpness: float = 10.0,
    rate: float = 0.2,
    epochs: int = 20,
    tolerance: float = 1e-6,
    iterations: int = 1000,
) -> Float[Tensor, "B M N"]:
    r"""Estimate class centres by transporting the queries to them (PT-MAP, Hu et al., ICANN 2021).

    The features are power-transformed, normalised, centred (supports and queries each on their own mean) and
    normalised again. With centres :math:`c` that start from the class means, each epoch computes

    .. math::
        P = \operatorname{argmin}_{P \ge 0} \sum_{mi} P_{mi} \Bigl( \lVert q_m - c_i \rVert^2
            + \frac{1}{\lambda} \log P_{mi} \Bigr), \quad
            \sum_i P_{mi} = 1, \quad \sum_m P_{mi} = M \pi_i

        c_i \leftarrow c_i + \alpha \left(
            \frac{\sum_k s_{ik} + \sum_m P_{mi} q_m}{K + \sum_m P_{mi}} - c_i \right)

    and the logits are the logarithms of the last P. As P must have the class sizes :math:`M \pi`, wrong sizes
    cost much accuracy; a single query with equal shares stays undecided.

    Args:
        ready: the episodes; callers give ``support`` and ``query`` in its place, as `FewShotCall` has it.
            Without ``proportions`` the shares are equal, as in the paper; a class with a share of 0 has
            logits of -inf.
        power: exponent of the power transform; default 0.5. The paper's features are not negative; centred
            ones have both signs and keep them: sign(x)·|x|^power.
        sharpness: lambda; default 10.
        rate: alpha; default 0.2.
        epochs: default 20.
        tolerance: Sinkhorn's iterations stop when no row sum of P changes by more than this; default 1e-6.
        iterations: of Sinkhorn per epoch, at most; default 1000.

    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    >>> pt_map(support, torch.tensor([[[4.0, 3.0], [3.0, 4.0]]])).argmax(-1)
    tensor([[0, 1]])
    """
    supports = power_transform(ready.support, ready.labelled, power)
    queries = power_transform(ready.query, ready.seen, power)
    everything = torch.cat([supports, queries], dim=1)
    sizes = ready.shares * ready.seen.sum(1).clamp_min(1.0)  # [B, N]
    centres = mean(supports, ready.labels)

    def transport(centres: Float[Tensor, "B N D"]) -> Float[Tensor, "B M N"]:
        scores = -sharpness * squared_distances(queries, centres)
        return log_transport(scores, ready.seen, sizes, tolerance, iterations)

    for _epoch in range(epochs):
        assigned = torch.cat([ready.labels, transport(centres).exp() * ready.seen], dim=1)
        centres = centres + rate * (mean(everything, assigned) - centres)
    return transport(centres)


def power_transform(
    x: Float[Tensor, "B n D"], there: Float[Tensor, "B n 1"], power: float
) -> Float[Tensor, "B n D"]:
    """Signed power, scaled to length 1, minus the mean of those that are there, to length 1 again."""
    x = normalize(signed_power(x, power))
    return normalize((x - mean(x, there)) * there)


def log_transport(
    scores: Float[Tensor, "B M N"],
    seen: Float[Tensor, "B M 1"],
    sizes: Float[Tensor, "B N"],
    tolerance: float,
    iterations: int,
) -> Float[Tensor, "B M N"]:
    """Logarithm of softmax(scores) with columns scaled so that they sum to ``sizes`` (Sinkhorn's algorithm).

    >>> scores = torch.tensor([[[3.0, 0.0], [2.0, 0.0]]])
    >>> log_transport(scores, torch.ones(1, 2, 1), torch.ones(1, 2), 1e-6, 1000).exp()
    tensor([[[0.6225, 0.3775],
             [0.3775, 0.6225]]])
    """
    # Sinkhorn converges slowly, so rounding in float32 would decide where it stops; and each episode stops
    # by itself, so that the others in the batch do not matter.
    kernel = masked_softmax(scores, (sizes > 0)[:, None]).double() * seen
    tiny = torch.finfo(kernel.dtype).tiny
    sizes = sizes.double()[..., None]  # [B, N, 1]
    columns, sums = torch.ones_like(sizes), seen  # scaling of the columns; row sums of the plan
    weighted = kernel @ columns  # [B, M, 1]
    moving = torch.ones_like(sizes[:, :1], dtype=torch.bool)
    for _iteration in range(iterations):
        rows = seen / weighted.clamp_min(tiny)
        columns = torch.where(moving, sizes / (kernel.mT @ rows).clamp_min(tiny), columns)
        weighted = kernel @ columns
        before, sums = sums, rows * weighted
        moving = moving & ((sums - before).abs().amax(1, keepdim=True) > tolerance)
        if not moving.any():
            break
    scaled = scores + columns.mT.log().to(scores.dtype)
    return scaled.masked_fill((sizes <= 0).mT, -torch.inf).log_softmax(-1)
