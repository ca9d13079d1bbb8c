"""Prototypes calibrated by the nearest known classes."""

from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.methods.shared.known import by_cosine, class_means, messages


def known_calibration(
    support: Float[Tensor, "B N K D"],
    query: Float[Tensor, "B M D"],
    *,
    support_mask: Bool[Tensor, "B N K"] | None = None,
    class_mask: Bool[Tensor, "B N"] | None = None,
    known: Float[Tensor, "C D"] | None = None,
    relations: Tensor | None = None,
    own_share: float = 0.5,
    **_: object,
) -> Float[Tensor, "B M N"]:
    r"""Move each prototype towards its nearest known classes (TEEN's calibration; Wang et al., *Few-shot
    class-incremental learning via training-free prototype calibration*, NeurIPS 2023).

    .. math:: p_i = \alpha \, x_i + (1 - \alpha) \textstyle\sum_c A_{ic} \mu_c

    TEEN takes the softmax of cosines between prototypes for A; here A follows the relations that are given
    (see `fewshot.methods.shared.known.edges`). The weight ignores the number of supports, as in the paper.

    Called as all methods are, see `FewShotCall`.

    Args:
        support, query, support_mask, class_mask: see there.
        known, relations: known classes ``[C, D]``, and similarities to them ``[N, C]`` or ``[B, N, C]``.
        own_share: alpha; default 0.5, the paper's.

    >>> import torch
    >>> support = torch.tensor([[[[0.8, 0.6]], [[0.6, 0.8]]]])
    >>> logits = known_calibration(
    ...     support, torch.tensor([[[1.0, 0.0]]]), known=torch.eye(2), relations=torch.eye(2), own_share=0.0
    ... )
    >>> bool(logits[0, 0, 0] > 3 * logits[0, 0, 1])
    True
    """
    own, _count = class_means(support, support_mask, class_mask)
    heard = messages(known, relations, own)
    return by_cosine(query, own_share * own + (1 - own_share) * heard, class_mask)


def known_classes_alone(
    support: Float[Tensor, "B N K D"],
    query: Float[Tensor, "B M D"],
    *,
    class_mask: Bool[Tensor, "B N"] | None = None,
    known: Float[Tensor, "C D"] | None = None,
    relations: Tensor | None = None,
    **_: object,
) -> Float[Tensor, "B M N"]:
    r"""Zero-shot classification by relations alone: no support is looked at.

    Each class is the mixture of known classes that its relations say, :math:`p_i = \sum_c A_{ic} \mu_c`
    (in the manner of ConSE; Norouzi et al., *Zero-shot learning by convex combination of semantic
    embeddings*, ICLR 2014, with the roles of images and classes exchanged).

    Called as all methods are, see `FewShotCall`; the arguments are those of `known_calibration`.

    >>> import torch
    >>> query = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> logits = known_classes_alone(
    ...     torch.zeros(1, 2, 1, 2), query, known=torch.eye(2), relations=torch.eye(2)
    ... )
    >>> logits.argmax(-1)
    tensor([[0, 1]])
    """
    heard = messages(known, relations, support.new_zeros(support.shape[0], support.shape[1], query.shape[-1]))
    return by_cosine(query, heard, class_mask)
