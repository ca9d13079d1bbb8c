"""OSTIM: prototypes that maximise mutual information, with an implicit class of outliers."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.graph.vectors import normalize
from fewshot.methods.shared.open_set import OpenSet, adam
from fewshot.methods.shared.ready import make_ready, mean


def ostim(
    support: Float[Tensor, "B N K D"],
    query: Float[Tensor, "B M D"],
    *,
    support_mask: Bool[Tensor, "B N K"] | None = None,
    class_mask: Bool[Tensor, "B N"] | None = None,
    query_mask: Bool[Tensor, "B M"] | None = None,
    temperature: float = 10.0,
    entropy_weight: float = 0.1,
    rate: float = 1e-3,
    steps: int = 200,
    **_: object,
) -> OpenSet:
    r"""Open-set transductive information maximisation (OSTIM; Boudiaf et al., *Model-agnostic few-shot
    open-set recognition*, arXiv:2206.09236, 2022). Joint.

    With all features minus the mean of the episode's supports and queries, logits are
    :math:`l_k = \tau \cos(z, w_k)` for the classes and, for an outlier class that is opposite to all of
    them, :math:`l_{N+1} = -\frac 1N \sum_k l_k`. Adam minimises over w

    .. math:: \operatorname{CE}(S) + \lambda H(Y_Q | X_Q) - H(\hat p)

    with :math:`\hat p` the mean probabilities of the queries, outlier class included.

    Called as all methods are, see `FewShotCall`.

    Args:
        support, query, support_mask, class_mask, query_mask: see there.
        temperature: tau; default 10.
        entropy_weight: lambda; default 0.1.
        rate: of Adam; default 0.001.
        steps: of Adam; default 200, the paper's for one shot (50 for five).

    >>> support = torch.tensor([[[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]]])
    >>> out = ostim(support, torch.tensor([[[4.0, 3.0, 0.0], [3.0, 4.0, 0.0], [0.0, 0.0, 1.0]]]), steps=10)
    >>> out.logits[0, :2].argmax(-1), out.unknown.argmax(-1)
    (tensor([0, 1]), tensor([2]))
    """
    ready = make_ready(support, query, support_mask, class_mask, query_mask)
    everything = torch.cat([ready.support, ready.query], 1)
    there = torch.cat([ready.labelled, ready.seen], 1)
    centre = mean(everything, there)  # [B, 1, D]
    images, queries = normalize(everything - centre), ready.seen.sum(1).clamp_min(1)
    s, n = ready.support.shape[1], ready.classes.sum(-1)[:, None, None]

    def log_odds(w: Float[Tensor, "B N D"]) -> Float[Tensor, "B _ N_and_one"]:
        logits = temperature * images @ normalize(w - centre).mT
        logits = logits.masked_fill(~ready.classes[:, None], 0.0)
        outlier = -logits.sum(-1, keepdim=True) / n.clamp_min(1)
        return torch.cat([logits.masked_fill(~ready.classes[:, None], -1e4), outlier], -1)

    def loss(w: Float[Tensor, "B N D"]) -> Float[Tensor, ""]:
        logs = log_odds(w).log_softmax(-1)
        given = (logs[:, :s, :-1] * ready.labels).sum((1, 2)) / ready.labelled.sum((1, 2)).clamp_min(1)
        p = logs[:, s:].exp() * ready.seen
        conditional = -(p * logs[:, s:]).sum((1, 2)) / queries[:, 0]
        marginal = p.sum(1) / queries
        return (-given + entropy_weight * conditional + (marginal * (marginal + 1e-12).log()).sum(-1)).sum()

    [w] = adam(loss, [mean(ready.support, ready.labels)], rate, steps)
    found = log_odds(w)[:, s:]
    logits = found[..., :-1].masked_fill(~ready.classes[:, None], -torch.inf)
    return OpenSet(logits, found[..., -1] - logits.logsumexp(-1))
