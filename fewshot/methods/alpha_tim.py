"""alpha-TIM: TIM with entropies that do not force equal class sizes."""

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.graph.vectors import masked_softmax
from fewshot.methods.shared.ready import Ready, joint_method, mean
from fewshot.methods.tim import closeness


@joint_method
def alpha_tim(
    ready: Ready,
    *,
    alpha: float = 2.0,
    temperature: float = 15.0,
    rate: float = 1e-4,
    steps: int = 1000,
) -> Float[Tensor, "B M N"]:
    r"""Maximise an alpha mutual information of queries and labels (alpha-TIM, Veilleux et al., NeurIPS 2021).

    With :math:`p` as in `fewshot.methods.tim`, :math:`\hat p` its mean over the queries, and Tsallis' entropy
    of order alpha, the loss

    .. math::
        \operatorname{CE}(S) - H_\alpha(\hat p) + \frac{1}{|Q|} \sum_{i \in Q} H_\alpha(p_i), \qquad
        H_\alpha(p) = \frac{1 - \sum_k p_k^\alpha}{\alpha - 1}

    is minimised over w by Adam (Kingma and Ba, ICLR 2015), with the gradient written out:

    .. math::
        \nabla_{w_k} = \tau \sum_i g_{ik} (z_i - w_k), \qquad
        g_{ik} = \begin{cases}
            (p_{ik} - y_{ik}) / |S| & i \in S \\
            p_{ik} (h_{ik} - \sum_j p_{ij} h_{ij}) / |Q| & i \in Q \end{cases}, \qquad
        h_{ik} = \tfrac{\alpha}{\alpha - 1} (\hat p_k^{\alpha - 1} - p_{ik}^{\alpha - 1})

    Args:
        ready: the episodes; callers give ``support`` and ``query`` in its place, as `FewShotCall` has it.
        alpha: order of both entropies, above 1; default 2, the paper's for one shot (7 from five shots on).
        temperature: tau; default 15.
        rate: of Adam; default 1e-4.
        steps: of Adam; default 1000.

    Raises:
        InputError: alpha not above 1.

    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    >>> alpha_tim(support, torch.tensor([[[4.0, 3.0], [3.0, 4.0]]]), steps=10).argmax(-1)
    tensor([[0, 1]])
    """
    if not alpha > 1:
        raise InputError(f"alpha: expected above 1 (towards 1 it is TIM), got {alpha}")
    z, classes = torch.cat([ready.support, ready.query], dim=1), ready.classes[:, None]
    there = torch.cat([ready.labelled, ready.seen], dim=1)
    sizes = [ready.support.shape[1], ready.query.shape[1]]
    supports, queries = (x.sum(1, keepdim=True).clamp_min(1.0) for x in (ready.labelled, ready.seen))

    w = mean(ready.support, ready.labels)
    first = second = torch.zeros_like(w)  # moments of the gradient
    for step in range(1, steps + 1):
        p_support, p = (masked_softmax(closeness(z, w, temperature), classes) * there).split(sizes, dim=1)
        h = alpha / (alpha - 1) * ((p.sum(1, keepdim=True) / queries) ** (alpha - 1) - p ** (alpha - 1))
        g_query = p * (h - (p * h).sum(-1, keepdim=True)) / queries
        g = torch.cat([(p_support - ready.labels) / supports, g_query], dim=1)
        gradient = temperature * (g.mT @ z - g.sum(1)[..., None] * w)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient.square()
        w = w - rate * first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    return closeness(ready.query, w, temperature).masked_fill(~classes, -torch.inf)
