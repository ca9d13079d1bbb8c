"""TIM: the classifier that maximises the mutual information of queries and labels."""

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.graph.vectors import masked_softmax
from fewshot.methods.shared.ready import Ready, joint_method, mean


@joint_method
def tim(
    ready: Ready,
    *,
    temperature: float = 15.0,
    support_weight: float = 0.1,
    entropy_weight: float = 0.1,
    steps: int = 150,
) -> Float[Tensor, "B M N"]:
    r"""Maximise the mutual information of queries and labels (TIM-ADM, Boudiaf et al., NeurIPS 2020).

    With :math:`p_{ik} = \operatorname{softmax}_k(-\frac{\tau}{2} \lVert w_k - z_i \rVert^2)`, w from the
    class means on, and :math:`\hat p` the mean of :math:`p` over the queries, the loss is

    .. math:: \lambda \operatorname{CE}(S) + \operatorname{KL}(\hat p \,\Vert\, \pi) + \alpha H(Y_Q | X_Q)

    where, for equal shares :math:`\pi`, the KL is the paper's marginal entropy up to sign and a constant.
    Its alternating updates (the paper's Proposition 1, derived in the same way for other :math:`\pi`) are

    .. math::
        q_{ik} &\propto p_{ik}^{1 + \alpha} \sqrt{\pi_k \big/ \textstyle\sum_{i \in Q} p_{ik}^{1 + \alpha}} \\
        w_k &\leftarrow \frac{
            \frac{\lambda}{1 + \alpha} \sum_{i \in S} [y_{ik} z_i + p_{ik} (w_k - z_i)]
            + \frac{|S|}{|Q|} \sum_{i \in Q} [q_{ik} z_i + p_{ik} (w_k - z_i)]}{
            \frac{\lambda}{1 + \alpha} \sum_{i \in S} y_{ik} + \frac{|S|}{|Q|} \sum_{i \in Q} q_{ik}}

    Args:
        ready: the episodes; callers give ``support`` and ``query`` in its place, as `FewShotCall` has it.
            Without ``proportions`` the shares are equal, as in the paper; a class with a share of 0 has
            logits of -inf.
        temperature: tau; default 15.
        support_weight: lambda, of the supports' cross-entropy; default 0.1.
        entropy_weight: alpha, of the conditional entropy; default 0.1.
        steps: rounds of both updates; default 150.

    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    >>> tim(support, torch.tensor([[[4.0, 3.0], [3.0, 4.0]]])).argmax(-1)
    tensor([[0, 1]])
    """
    z_support, z = ready.support, ready.query
    classes, alive, tiny = ready.classes[:, None], (ready.shares > 0)[:, None], torch.finfo(z.dtype).tiny
    by_support = support_weight / (1 + entropy_weight)
    by_query = (ready.labelled.sum(1) / ready.seen.sum(1).clamp_min(1.0))[..., None]  # [B, 1, 1]

    w = mean(z_support, ready.labels)
    for _step in range(steps):
        p_support = masked_softmax(closeness(z_support, w, temperature), classes) * ready.labelled
        p = masked_softmax(closeness(z, w, temperature), alive) * ready.seen
        power = p ** (1 + entropy_weight)
        q = power * (ready.shares[:, None] / power.sum(1, keepdim=True).clamp_min(tiny)).sqrt()
        q = q / q.sum(-1, keepdim=True).clamp_min(tiny)
        total = by_support * pull(ready.labels, p_support, z_support, w) + by_query * pull(q, p, z, w)
        mass = by_support * ready.labels.sum(1) + by_query[..., 0] * q.sum(1)  # [B, N]
        w = total / mass[..., None].clamp_min(tiny)
    return closeness(z, w, temperature).masked_fill(~alive, -torch.inf)


def closeness(
    z: Float[Tensor, "B n D"], w: Float[Tensor, "B N D"], temperature: float
) -> Float[Tensor, "B n N"]:
    r""":math:`-\frac{\tau}{2} \lVert w_k - z_i \rVert^2`, up to a constant per row."""
    return temperature * (z @ w.mT - w.square().sum(-1)[:, None] / 2)


def pull(
    target: Float[Tensor, "B n N"],
    p: Float[Tensor, "B n N"],
    z: Float[Tensor, "B n D"],
    w: Float[Tensor, "B N D"],
) -> Float[Tensor, "B N D"]:
    r""":math:`\sum_i [t_{ik} z_i + p_{ik} (w_k - z_i)]`"""
    return (target - p).mT @ z + p.sum(1)[..., None] * w
