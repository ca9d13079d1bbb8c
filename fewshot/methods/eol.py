"""EOL: mutual information with a calibrated logit for outliers."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.graph.vectors import normalize
from fewshot.methods.shared.open_set import OpenSet, adam
from fewshot.methods.shared.ready import make_ready, mean


def eol(
    support: Float[Tensor, "B N K D"],
    query: Float[Tensor, "B M D"],
    *,
    support_mask: Bool[Tensor, "B N K"] | None = None,
    class_mask: Bool[Tensor, "B N"] | None = None,
    query_mask: Bool[Tensor, "B M"] | None = None,
    temperature: float = 10.0,
    outliers: float = 0.5,
    rate: float = 0.01,
    steps: int = 50,
    **_: object,
) -> OpenSet:
    r"""Enhanced outlier logits (EOL; Ochal et al., *EOL: Transductive few-shot open-set recognition by
    enhancing outlier logits*, arXiv:2408.02052, 2024). Joint.

    Logits are :math:`l_k = \tau (e^{\eta_k} \cos(z, w_k) + \delta_k)`, those of an outlier
    :math:`\log \frac Nb`, so that a query's log odds to be one are
    :math:`\log \frac Nb - \log \sum_k e^{l_k}`. With p the probabilities of the classes, outliers included,
    Adam minimises over :math:`w, \eta, \delta`

    .. math::
        \operatorname{CE}(S) - \frac{1}{N |Q|} \sum_{i \in Q} \sum_k p_{ik} \log p_{ik}
        + \frac 1N \sum_k u_k \log u_k + u_o \log u_o, \qquad
        u_k = \tfrac{K}{1 - b} \, \hat p_k, \quad u_o = \tfrac 1b \, \hat p_o

    with :math:`\hat p` the means over the queries. Queries are then compared with the means of all images,
    weighted by p.

    Called as all methods are, see `FewShotCall`.

    Args:
        support, query, support_mask, class_mask, query_mask: see there.
        temperature: tau; default 10.
        outliers: b, the expected share of outliers; default 0.5.
        rate: of Adam; default 0.01.
        steps: of Adam; default 50.

    >>> support = torch.tensor([[[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]]])
    >>> out = eol(support, torch.tensor([[[4.0, 3.0, 0.0], [3.0, 4.0, 0.0], [0.0, 0.0, 1.0]]]), steps=10)
    >>> out.logits[0, :2].argmax(-1), out.unknown.argmax(-1)
    (tensor([0, 1]), tensor([2]))
    """
    ready = make_ready(support, query, support_mask, class_mask, query_mask)
    images, s = torch.cat([ready.support, ready.query], 1), ready.support.shape[1]
    there, classes = torch.cat([ready.labelled, ready.seen], 1), ready.classes[:, None]
    n = ready.classes.sum(-1)[:, None].clamp_min(1).to(images.dtype)  # [B, 1]
    shot, queries = ready.labelled.sum((1, 2))[:, None] / n, ready.seen.sum(1).clamp_min(1)

    def class_logits(w: Tensor, eta: Tensor, delta: Tensor) -> Float[Tensor, "B _ N"]:
        logits = temperature * (eta.exp() * (images @ normalize(w).mT) + delta)
        return logits.masked_fill(~classes, -1e4)

    def odds(logits: Float[Tensor, "B _ N"]) -> Float[Tensor, "B _"]:
        return (n / outliers).log() - logits.logsumexp(-1)

    def loss(w: Tensor, eta: Tensor, delta: Tensor) -> Float[Tensor, ""]:
        logits = class_logits(w, eta, delta)
        logs = logits.log_softmax(-1) + torch.nn.functional.logsigmoid(-odds(logits))[..., None]
        given = (logs[:, :s] * ready.labels).sum((1, 2)) / ready.labelled.sum((1, 2)).clamp_min(1)
        p = logs[:, s:].exp() * ready.seen
        conditional = -(p * logs[:, s:]).sum((1, 2)) / queries[:, 0] / n[:, 0]
        inliers = p.sum(1) / queries  # [B, N]
        strangers = (1 - inliers.sum(-1)).clamp_min(0) / outliers
        inliers = inliers * shot / (1 - outliers)
        return (
            -given + conditional + _negative_entropy(inliers).sum(-1) / n[:, 0] + _negative_entropy(strangers)
        ).sum()

    start = torch.zeros_like(classes, dtype=images.dtype)
    w, eta, delta = adam(loss, [mean(ready.support, ready.labels), start, start], rate, steps)
    logits = class_logits(w, eta, delta)
    found = odds(logits)
    p = logits.softmax(-1) * (-found).sigmoid()[..., None] * there
    refined = class_logits(mean(images, p), eta, delta)[:, s:]
    return OpenSet(refined.masked_fill(~classes, -math.inf), found[:, s:])


def _negative_entropy(p: Tensor) -> Tensor:
    return p * (p + 1e-12).log()
