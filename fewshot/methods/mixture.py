"""Prototypes mixed with what known classes say, by a learned weight."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet
from fewshot.graph.vectors import normalize
from fewshot.methods.shared.call import FewShotCall
from fewshot.methods.shared.fitting import fit_on_features
from fewshot.methods.shared.known import SHARPNESS, by_cosine, class_means, messages
from fewshot.methods.shared.material import Material


class Mixture(nn.Module):
    r"""A convex mixture of prototype and message, weighted by what the relations say (in the manner of AM3;
    Xing et al., *Adaptive cross-modal few-shot learning*, NeurIPS 2019).

    .. math:: p_i = \lambda_i \hat x_i + (1 - \lambda_i) \hat m_i, \qquad
              \lambda_i = \operatorname{sigmoid}(a_0 + a_1 \lVert m_i \rVert), \qquad
              m_i = \textstyle\sum_c A_{ic} \mu_c

    AM3 makes both :math:`m` and :math:`\lambda` from word vectors, by networks. Here the known classes take
    the words' place, and :math:`\lambda` follows the length of the message: it is long if a class has
    relations to known classes that are alike. Like AM3's, it ignores the number of supports. Four scalars are
    learned on episodes of known classes, each of which is then hidden: a, the sharpness of the edges, and the
    scale of the logits.

    Called as all methods are, see `FewShotCall`: each query on its own.

    >>> mixture = Mixture()
    >>> known, relations = torch.eye(8), torch.rand(2, 5, 8)
    >>> mixture(torch.randn(2, 5, 1, 8), torch.randn(2, 9, 8), known=known, relations=relations).shape
    torch.Size([2, 9, 5])
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))  # a
        self.log_sharpness = nn.Parameter(torch.tensor(SHARPNESS).log())
        self.log_scale = nn.Parameter(torch.zeros(()))  # of the logits

    def forward(
        self,
        support: Float[Tensor, "B N K D"],
        query: Float[Tensor, "B M D"],
        *,
        support_mask: Bool[Tensor, "B N K"] | None = None,
        class_mask: Bool[Tensor, "B N"] | None = None,
        known: Float[Tensor, "C D"] | None = None,
        relations: Tensor | None = None,
        **_: object,
    ) -> Float[Tensor, "B M N"]:
        own, _count = class_means(support, support_mask, class_mask)
        heard = messages(known, relations, own, self.log_sharpness.exp())
        share = (self.weight[0] + self.weight[1] * heard.norm(dim=-1, keepdim=True)).sigmoid()
        mixed = share * normalize(own) + (1 - share) * normalize(heard)
        return self.log_scale.exp() * by_cosine(query, mixed, class_mask)


def make_mixture(material: Material) -> FewShotCall:
    """A mixture trained on the features of the known classes, after the transform before the graph.

    Raises:
        InputError: there are no known classes, or none of their features.
    """
    known, relations, train = material.known, material.known_relations, material.train
    if known is None or relations is None or train is None:
        raise InputError("methods: mixture expected known classes and their features, got none")
    places = {name: place for place, name in enumerate(known.names or ())}
    chosen = [c for c, name in enumerate(train.class_names) if name in places]
    if not chosen:
        raise InputError("methods: mixture expected features of the known classes, got those of others")
    base = _classes_of(replace(train, items=material.transform(train.items)), chosen)
    order = torch.tensor([places[name] for name in base.class_names])
    fitted = fit_on_features(
        replace(material, train=base, val=None),
        lambda _size: Mixture(),
        steps=300,
        lr=0.03,
        weight_decay=0.0,
        known=known.prototypes[order],
        relations=relations[order][:, order],
    )
    return material.transformed(fitted)


def _classes_of(data: FeatureSet, classes: list[int]) -> FeatureSet:
    """These classes of a set, in ascending order."""
    rows = torch.isin(data.labels, torch.tensor(classes))
    labels = torch.unique(data.labels[rows], return_inverse=True)[1]
    return FeatureSet(data.items[rows], labels, tuple(data.class_names[c] for c in classes))
