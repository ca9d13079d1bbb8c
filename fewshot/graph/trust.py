"""How far the label of each support is trusted: messages between supports and classes."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import pad

from fewshot.graph.operator import Operator, scalar
from fewshot.graph.vectors import PIECE, class_nodes, exists, joined, masked_softmax, normalize, weighted_sums


def candidate_cosines(
    support: Float[Tensor, "B N K D"],
    prototypes: Float[Tensor, "B N D"],
    candidates: Int64[Tensor, "B N C"] | None,
) -> Float[Tensor, "B N K C"]:
    r"""Cosine of each support to each of its class's candidates.

    .. math:: c_{ikj} = \hat s_{ik} \cdot p_j

    Args:
        support: vectors of length 1, or zeros, **[B, N, K, D]**.
        prototypes: likewise **[B, N, D]**.
        candidates: int64 **[B, N, C]**, classes that the supports of a class may be of; None: all N.

    >>> support, prototypes = torch.eye(2).view(1, 2, 1, 2), torch.eye(2)[None]
    >>> candidate_cosines(support, prototypes, None).flatten()
    tensor([1., 0., 0., 1.])
    >>> candidate_cosines(support, prototypes, torch.tensor([[[0, 1], [1, 0]]])).flatten()
    tensor([1., 0., 1., 0.])
    """
    if candidates is None:
        return torch.einsum("bikd,bcd->bikc", support, prototypes)
    nodes, index = prototypes.flatten(0, 1), class_nodes(candidates)
    classes = max(1, PIECE // (index.shape[1] * nodes.shape[1]))  # at a time: no [B, N, C, D] is built
    pieces = zip(support.flatten(0, 1).split(classes), index.split(classes), strict=True)
    cosines = joined((own @ nodes[near].transpose(1, 2) for own, near in pieces), len(index))
    return cosines.unflatten(0, candidates.shape[:2])


def collect(
    assignments: Float[Tensor, "B N K C"],
    support: Float[Tensor, "B N K D"],
    candidates: Int64[Tensor, "B N C"] | None,
) -> Float[Tensor, "B N D"]:
    r"""Sum of the supports that each class is assigned: the messages from supports to classes.

    .. math:: t_j = \sum_{ik} r_{ikj} \hat s_{ik}

    Args:
        assignments: r, how far each support counts for each candidate **[B, N, K, C]**.
        support: **[B, N, K, D]**.
        candidates: int64 **[B, N, C]**; None: all N classes.

    >>> assignments = torch.tensor([[[[0.75, 0.25]], [[0.0, 1.0]]]])
    >>> collect(assignments, torch.eye(2).view(1, 2, 1, 2), None)
    tensor([[[0.7500, 0.0000],
             [0.2500, 1.0000]]])
    """
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
    """The entries that are of the support's own class: the first candidate, or with all N the diagonal.

    Args:
        x: numbers per support and candidate **[B, N, K, C]**.
        candidates: int64 **[B, N, C]**; None: all N classes.

    >>> own_class(torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]]), None)
    tensor([[[1.],
             [4.]]])
    """
    return x.diagonal(dim1=1, dim2=3).transpose(1, 2) if candidates is None else x[..., 0]


def leave_one_out_cosines(
    support: Float[Tensor, "B N K D"],
    assignments: Float[Tensor, "B N K C"],
    candidates: Int64[Tensor, "B N C"] | None,
    own: Bool[Tensor, "#B #N 1 C"],
    others: Float[Tensor, "B N D"] | None = None,
) -> Float[Tensor, "B N K C"]:
    r"""Cosine of each support to its candidates' means, itself left out of its own class's mean.

    .. math:: c_{ikj} = \hat s_{ik} \cdot \widehat{t_j}, \quad
              c_{iki} = \hat s_{ik} \cdot \widehat{(t_i - r_{iki} \hat s_{ik})}, \quad
              t_j = b_j + \textstyle\sum_{ik} r_{ikj} \hat s_{ik}

    Left in, a support would vouch for its own label.

    Args:
        support: vectors of length 1, or zeros, **[B, N, K, D]**.
        assignments: r **[B, N, K, C]**.
        candidates: int64 **[B, N, C]**; None: all N classes.
        own: bool, which candidate is the label's own class **[B, N, 1, C]**.
        others: b, what else speaks for a class **[B, N, D]**; default None is 0.

    >>> support, own = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 1, 2, 2), torch.ones(1, 1, 1, 1).bool()
    >>> leave_one_out_cosines(support, torch.ones(1, 1, 2, 1), None, own).abs().max() < 1e-6  # not 0.7071
    tensor(True)
    """
    totals = collect(assignments, support, candidates)
    if others is not None:
        totals = totals + others
    cosines = candidate_cosines(support, normalize(totals), candidates)
    # Of the mean without the support itself, from dot products alone: no [B, N, K, D] is built.
    weight = own_class(assignments, candidates)  # [B, N, K]
    length = totals.norm(dim=-1)[..., None]  # [B, N, 1]
    along = own_class(cosines, candidates) * length  # support times its class's sum
    square = support.norm(dim=-1) ** 2
    rest = length**2 - 2 * weight * along + weight**2 * square
    alone = (along - weight * square) / rest.clamp_min(1e-8).sqrt()
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

    Args:
        scores: log likelihoods **[B, N, K, C]**.
        doubt: rho, per episode **[B]**.
        own, rivals: bool, which candidate is the label's class, and which another one **[B, N, 1, C]**.

    >>> own = torch.tensor([True, False]).view(1, 1, 1, 2)
    >>> label_posterior(torch.zeros(1, 1, 1, 2), torch.tensor([0.2]), own, ~own).flatten()
    tensor([0.8000, 0.2000])
    """
    rho = doubt[:, None, None, None].clamp(1e-6, 1 - 1e-6)
    spread = rivals.sum(-1, keepdim=True).clamp_min(1)  # [B, N, 1, 1]
    log_prior = torch.where(own, (1 - rho).log(), (rho / spread).log())
    return masked_softmax(scores + log_prior, own | rivals)


class Supports(NamedTuple):
    """The supports of B episodes, and how far each label is trusted."""

    vectors: Float[Tensor, "B N K D"]  # of length 1; zeros if it is padding
    mask: Bool[Tensor, "B N K"]
    candidates: Int64[Tensor, "B N C"] | None  # classes that a support may be of; None: all N
    own: Bool[Tensor, "#B #N 1 C"]  # which of them is the label's
    rivals: Bool[Tensor, "B N 1 C"]  # which of them another one
    judged: Bool[Tensor, "B N K"]  # whose label others of its class can vouch for
    doubt: Float[Tensor, " B"] | None  # share of wrong labels to expect; None: no label can be judged
    assignments: Float[Tensor, "B N K C"] | None  # None: every label is trusted
    message: Float[Tensor, "B N D"] | None = None  # from known classes, in supports

    def sums(self) -> Float[Tensor, "B N D"]:
        """The supports of each class, by the trust in their labels, and the message of known classes."""
        if self.assignments is None:
            sums = self.vectors.sum(2)
        else:
            sums = collect(self.assignments, self.vectors, self.candidates)
        return sums if self.message is None else sums + self.message


class LabelTrust(Operator):
    r"""Judge the labels of the supports; a support whose label is doubtful also counts for other classes.

    Rounds of expectation-maximisation: by the classes as they are, the posterior of each support's true
    class (`label_posterior` of :math:`a` times `leave_one_out_cosines`); by the posteriors, the classes, and
    the share :math:`\rho` of wrong labels, which starts at :math:`\sigma(d_0 + d_1 \log(K / 5))`, K between
    2 and 5, and follows the judgements with the weight :math:`\sigma(w)`.

    Args:
        rounds: in which labels and classes are judged by one another; default 3.

    Shapes: support **[B, N, K, D]** of length 1, mask bool **[B, N, K]**, classes bool **[B, N]**, near int64
    **[B, N, k]** or None; `Supports`.

    >>> trust = LabelTrust()
    >>> tight = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # the last one is mislabelled
    >>> support = torch.stack([tight, tight.flip(-1)])[None]
    >>> supports = trust(support, torch.ones(1, 2, 4).bool(), torch.ones(1, 2).bool(), None)
    >>> own_class(supports.assignments, None)[0, 0].detach().round(decimals=1)
    tensor([1., 1., 1., 0.])
    """

    def __init__(self, rounds: int = 3) -> None:
        super().__init__()
        self.rounds = rounds
        self.log_scale = scalar(math.log(5.0))
        self.doubt = scalar([-1.0, 2.0])
        self.renewal = scalar(0.0)

    def forward(
        self,
        support: Float[Tensor, "B N K D"],
        mask: Bool[Tensor, "B N K"],
        classes: Bool[Tensor, "B N"],
        near: Int64[Tensor, "B N k"] | None,
        message: Float[Tensor, "B N D"] | None = None,
    ) -> Supports:
        """Judge by the class sums; with ``near``, a support may be of its class or of those near it."""
        supports = unjudged(support, mask, classes, near)._replace(message=message)
        if support.shape[2] == 1 or support.shape[1] == 1:
            return supports  # nothing can speak against the only support of a class, or the only class
        certain = (supports.own & mask[..., None]).to(support.dtype)  # [B, N, K, C]
        supports = supports._replace(doubt=self._prior(supports.judged), assignments=certain)
        for _ in range(self.rounds):
            supports = self.judge(supports, self.log_scale)
        return supports

    def judge(
        self, supports: Supports, log_scale: Tensor, others: Float[Tensor, "B N D"] | None = None
    ) -> Supports:
        """Judge the labels again, by the classes as they are now; ``others``: what else speaks for them."""
        vectors, mask, candidates, own, rivals, judged, doubt, assignments, message = supports
        if doubt is None or assignments is None:
            return supports
        if message is not None:
            others = message if others is None else message + others
        cosines = leave_one_out_cosines(vectors, assignments, candidates, own, others)
        posterior = label_posterior(log_scale.exp() * cosines, doubt, own, rivals)
        # The share of wrong labels according to the judgements: a step of expectation-maximisation.
        wrong = judged * (1 - (posterior * own).sum(-1))
        found = wrong.sum((1, 2)) / judged.sum((1, 2)).clamp_min(1)
        doubt = torch.lerp(doubt, found, self.renewal.sigmoid())
        certain = (own & mask[..., None]).to(posterior.dtype)
        assignments = torch.where(judged[..., None], posterior, certain)
        return supports._replace(doubt=doubt, assignments=assignments)

    def _prior(self, judged: Bool[Tensor, "B N K"]) -> Float[Tensor, " B"]:
        """The share of wrong labels to expect in each episode before any is judged."""
        shot = judged.sum((1, 2)).to(self.doubt.dtype) / judged.any(-1).sum(-1).clamp_min(1)
        # Few supports of a class cannot judge each other; five can.
        return (self.doubt[0] + self.doubt[1] * (shot.clamp(2, 5) / 5).log()).sigmoid()


def unjudged(
    support: Float[Tensor, "B N K D"],
    mask: Bool[Tensor, "B N K"],
    classes: Bool[Tensor, "B N"],
    near: Int64[Tensor, "B N k"] | None,
) -> Supports:
    """`Supports` whose labels are all trusted; each may be of any class, or of its own and those near it."""
    b, n, _, _ = support.shape
    if near is None:
        candidates = None
        own = torch.eye(n, dtype=torch.bool, device=support.device)[None, :, None]  # [1, N, 1, N]
        rivals = classes[:, None, None] & ~own  # [B, N, 1, N]
    else:
        itself = torch.arange(n, device=support.device).expand(b, n)[..., None]
        candidates = torch.cat([itself, near.clamp_min(0)], dim=-1)  # [B, N, 1 + k]
        own = (torch.arange(candidates.shape[-1], device=support.device) == 0)[None, None, None]
        there = exists(near, classes)
        rivals = torch.cat([torch.zeros_like(there[..., :1]), there], dim=-1)[:, :, None]
    judged = mask & (mask.sum(-1) > 1)[..., None]
    return Supports(support, mask, candidates, own, rivals, judged, None, None)
