"""How far the label of each support is believed."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import pad

from fewshot.graph.handicap import pairwise_cosine
from fewshot.graph.vectors import PIECE, class_nodes, masked_softmax, normalize, weighted_sums


def candidate_cosines(
    support: Float[Tensor, "B N K D"],
    prototypes: Float[Tensor, "B N D"],
    candidates: Int64[Tensor, "B N C"] | None,
) -> Float[Tensor, "B N K C"]:
    """Cosine of each support to each of its class's candidates; ``candidates`` None: to all N classes."""
    if candidates is None:
        return torch.einsum("bikd,bcd->bikc", support, prototypes)
    nodes, index = prototypes.flatten(0, 1), class_nodes(candidates)
    classes = max(1, PIECE // (index.shape[1] * nodes.shape[1]))  # at a time: no [B, N, C, D] is built
    pieces = zip(support.flatten(0, 1).split(classes), index.split(classes), strict=True)
    cosines = torch.cat([own @ nodes[near].transpose(1, 2) for own, near in pieces])
    return cosines.unflatten(0, candidates.shape[:2])


def collect(
    assignments: Float[Tensor, "B N K C"],
    support: Float[Tensor, "B N K D"],
    candidates: Int64[Tensor, "B N C"] | None,
) -> Float[Tensor, "B N D"]:
    """Sum of the supports that each class is assigned: the messages from supports to classes."""
    if candidates is None:
        return torch.einsum("bikc,bikd->bcd", assignments, support)
    b, n, k, c = assignments.shape
    target = class_nodes(candidates).flatten()
    order = target.argsort()  # of the pairs (class, candidate), so that a candidate's are side by side
    source = (order // c)[:, None] * k + torch.arange(k, device=order.device)  # the supports of the class
    weight = assignments.transpose(2, 3).reshape(-1, k)[order]
    bounds = k * pad(target.bincount(minlength=b * n).cumsum(0), (1, 0))
    sums = weighted_sums(support.flatten(0, 2), source.flatten(), bounds, weight.flatten())
    return sums.unflatten(0, (b, n))


def own_class(
    x: Float[Tensor, "B N K C"], candidates: Int64[Tensor, "B N C"] | None
) -> Float[Tensor, "B N K"]:
    """The entries that are of the support's own class: the first candidate, or with all N the diagonal."""
    return x.diagonal(dim1=1, dim2=3).transpose(1, 2) if candidates is None else x[..., 0]


def leave_one_out_cosines(
    support: Float[Tensor, "B N K D"],
    assignments: Float[Tensor, "B N K C"],
    candidates: Int64[Tensor, "B N C"] | None,
    own: Bool[Tensor, "#B #N 1 C"],
    beside: Float[Tensor, "B N D"] | None = None,
) -> Float[Tensor, "B N K C"]:
    r"""Cosine of each support to its candidates' means, itself left out of its own class's mean.

    .. math:: c_{ikj} = \hat s_{ik} \cdot \widehat{t_j}, \quad
              c_{iki} = \hat s_{ik} \cdot \widehat{(t_i - r_{iki} \hat s_{ik})}, \quad
              t_j = b_j + \textstyle\sum_{ik} r_{ikj} \hat s_{ik}

    Left in, a support would vouch for its own label. ``beside`` is b, what else speaks for a class (None: 0).
    """
    totals = collect(assignments, support, candidates)
    if beside is not None:
        totals = totals + beside
    cosines = candidate_cosines(support, normalize(totals), candidates)
    # Of the mean without the support itself, from dot products alone: no [B, N, K, D] is built.
    weight = own_class(assignments, candidates)  # [B, N, K]
    length = totals.norm(dim=-1)[..., None]  # [B, N, 1]
    along = own_class(cosines, candidates) * length  # support times its class's sum
    square = support.norm(dim=-1) ** 2
    others = length**2 - 2 * weight * along + weight**2 * square
    alone = (along - weight * square) / others.clamp_min(1e-8).sqrt()
    return torch.where(own, alone[..., None].clamp(-1, 1), cosines)


def label_posterior(
    scores: Float[Tensor, "B N K C"],
    doubt: Float[Tensor, " B"],
    own: Bool[Tensor, "#B #N 1 C"],
    rivals: Bool[Tensor, "B N 1 C"],
) -> Float[Tensor, "B N K C"]:
    r"""Posterior of each support's true class when a share ``doubt`` of the labels is wrong.

    .. math:: r_{ikc} \propto e^{\text{score}_{ikc}} \cdot
              \begin{cases} 1 - \rho & c = i \\ \rho / |\text{rivals}| & c \ne i \end{cases}
    """
    rho = doubt[:, None, None, None].clamp(1e-6, 1 - 1e-6)
    spread = rivals.sum(-1, keepdim=True).clamp_min(1)  # [B, N, 1, 1]
    log_prior = torch.where(own, (1 - rho).log(), (rho / spread).log())
    return masked_softmax(scores + log_prior, own | rivals)


class Supports(NamedTuple):
    """The supports of B episodes, and how far each label is believed."""

    vectors: Float[Tensor, "B N K D"]  # of length 1; zeros where there is none
    mask: Bool[Tensor, "B N K"]
    candidates: Int64[Tensor, "B N C"] | None  # classes that a support may be of; None: all N
    own: Bool[Tensor, "#B #N 1 C"]  # which of them is the label's
    rivals: Bool[Tensor, "B N 1 C"]  # which of them another one
    judged: Bool[Tensor, "B N K"]  # whose label others of its class can vouch for
    doubt: Float[Tensor, " B"] | None  # share of wrong labels to reckon with; None: no label can be judged
    assignments: Float[Tensor, "B N K C"] | None  # None: every label is believed

    def sums(self) -> Float[Tensor, "B N D"]:
        if self.assignments is None:
            return self.vectors.sum(2)
        return collect(self.assignments, self.vectors, self.candidates)

    def tightness(self) -> Float[Tensor, "B N"]:
        if self.assignments is None:
            return pairwise_cosine(self.vectors, self.mask.to(self.vectors.dtype))
        return pairwise_cosine(self.vectors, own_class(self.assignments, self.candidates))
