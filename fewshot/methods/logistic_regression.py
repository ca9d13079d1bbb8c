"""Logistic regression on each episode's supports: scikit-learn's own."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import normalize

from fewshot.core.errors import InputError


def logistic_regression(
    support: Float[Tensor, "B N K D"],
    query: Float[Tensor, "B M D"],
    *,
    support_mask: Bool[Tensor, "B N K"] | None = None,
    class_mask: Bool[Tensor, "B N"] | None = None,
    C: float = 1.0,
    **_: object,
) -> Float[Tensor, "B M N"]:
    r"""Classify by scikit-learn's ``LogisticRegression``, fitted to each episode's normalised supports (after
    Tian et al., *Rethinking few-shot image classification: a good embedding is all you need?*, ECCV 2020).

    .. math::  \min_{W, b} \; \tfrac12 \lVert W \rVert^2
               - C \textstyle\sum_{ik} \log \operatorname{softmax}(W \hat s_{ik} + b)_i, \qquad
               \operatorname{logit}_m = \log \operatorname{softmax}(W \hat q_m + b)

    (For two classes scikit-learn fits and penalises one weight vector between them.) There is one fit per
    episode, one after the other on the CPU, each of a millisecond or more.

    Called as all methods are, see `FewShotCall`. The logits of a class without supports are -inf too.

    Args:
        C: inverse of the strength of the penalty, above 0; default 1, scikit-learn's.

    Raises:
        InputError: a C of 0 or below.

    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])
    >>> logistic_regression(support, torch.tensor([[[1.0, 1.0]]])).exp().round(decimals=3)
    tensor([[[0.5000, 0.5000]]])
    """
    if not C > 0:
        raise InputError(f"C: expected a number above 0, got {C}")
    there = torch.ones_like(support[..., 0], dtype=torch.bool) if support_mask is None else support_mask
    if class_mask is not None:
        there = there & class_mask.unsqueeze(-1)
    fits = [
        _fit(features, mask, C)
        for features, mask in zip(
            normalize(support, dim=-1).detach().cpu().numpy(), there.cpu().numpy(), strict=True
        )
    ]
    weights, bias = (torch.from_numpy(np.stack(part)).to(query) for part in zip(*fits, strict=True))
    logits = torch.einsum("bmd,bnd->bmn", normalize(query, dim=-1), weights) + bias.unsqueeze(1)
    return logits.log_softmax(dim=-1)


def _fit(
    support: Float[ndarray, "N K D"], there: Bool[ndarray, "N K"], C: float
) -> tuple[Float[ndarray, "N D"], Float[ndarray, " N"]]:
    """Weights and bias per class, fitted to one episode; the bias of classes without supports is -inf."""
    from sklearn.linear_model import LogisticRegression  # takes a second to import, for this method alone

    labels = np.nonzero(there)[0]  # in the order of support[there]
    classes = np.unique(labels)
    weights, bias = np.zeros((len(support), support.shape[-1])), np.full(len(support), -np.inf)
    bias[classes] = 0.0
    if len(classes) > 1:  # scikit-learn refuses to fit a single class
        classifier = LogisticRegression(C=C).fit(support[there].astype(np.float64), labels)
        fitted = classes[-len(classifier.coef_) :]  # of two classes the second has all the weights
        weights[fitted], bias[fitted] = classifier.coef_, classifier.intercept_
    return weights, bias
