"""Kernel regression of a class from known classes, and the closed-form weight of what it predicts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet
from fewshot.graph.known import informative, standardise
from fewshot.graph.vectors import normalize
from fewshot.methods.shared.call import FewShotCall
from fewshot.methods.shared.known import by_cosine, class_means
from fewshot.methods.shared.material import Material

SHARPNESS = (0.25, 0.5, 1.0, 1.5, 2.0)
NOISE = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
Regression = tuple[Tensor, float]  # weights of the known classes [C, D], and the squared error of prediction


@dataclass(frozen=True, eq=False)
class KernelRegression:
    r"""The posterior mean of a class between its supports and what a Gaussian process predicts of it
    (Rasmussen and Williams, *Gaussian processes for machine learning*, 2006).

    The process runs over the classes, with the kernel :math:`k = e^{t (s - s_{max})}` of their relations. It
    predicts :math:`m_i = k_i^\top (K + \nu I)^{-1} \mu`. Against K supports with mean :math:`\bar x_i`,

    .. math:: p_i \propto K \bar x_i + \rho \, m_i, \qquad \rho = \sigma^2 / \tau^2

    with :math:`\sigma^2` the variance within a known class and :math:`\tau^2` that of what relations fail to
    predict, found by leaving one known class out at a time; so are t and :math:`\nu`.

    Args:
        known: the prototypes of the known classes that it was fitted to **[C, D]**.
        weights: :math:`(K + \nu I)^{-1} \mu` **[C, D]**.
        level: the mean of the relations among known classes, in units of their spread.
        top: their largest, likewise.
        sharpness: t.
        ratio: :math:`\rho`.
    """

    known: Float[Tensor, "C D"]
    weights: Float[Tensor, "C D"]
    level: float
    top: float
    sharpness: float
    ratio: float

    @classmethod
    def fit(
        cls, base: FeatureSet, known: Float[Tensor, "C D"], relations: Float[Tensor, "C C"]
    ) -> KernelRegression:
        """Find t, the noise and the weight by leaving one known class out at a time.

        Args:
            base: features of base classes, in the space of the known ones.
            known: prototypes of length 1.
            relations: among these, larger is nearer.

        >>> base = FeatureSet(torch.eye(4)[[0, 1, 2, 3]], torch.arange(4), ("a", "b", "c", "d"))
        >>> fitted = KernelRegression.fit(base, torch.eye(4), torch.eye(4))
        >>> fitted.ratio  # each class has one image: no variance within
        0.0
        """
        images = normalize(base.items)
        means = torch.zeros(base.num_classes, images.shape[1]).index_add_(0, base.labels, images)
        means = means / base.counts.clamp_min(1)[:, None]
        within = (images - means[base.labels]).square().sum(-1).mean().item()
        target = known * means.norm(dim=-1).mean()
        different = relations[~torch.eye(len(known), dtype=torch.bool)].view(len(known), -1)
        spread = (different - different.mean(-1, keepdim=True)).square().mean().sqrt().clamp_min(1e-12)
        scaled = relations / spread
        fits = {(t, noise): _leave_one_out(scaled, target, t, noise) for t in SHARPNESS for noise in NOISE}
        (t, _), (weights, error) = min(fits.items(), key=lambda fit: fit[1][1])
        level, top = (different.mean() / spread).item(), scaled.max().item()
        return cls(known, weights, level, top, t, within / max(error, 1e-12))

    def __call__(
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
        """Called as all methods are, see `FewShotCall`; the known classes may come in any order."""
        own, count = class_means(support, support_mask, class_mask)
        total = count * own
        if known is not None and relations is not None:
            total = total + self.ratio * self.predict(
                known, relations.to(own.dtype).expand(*own.shape[:2], -1)
            )
        return by_cosine(query, total, class_mask)

    def predict(
        self, known: Float[Tensor, "C D"], relations: Float[Tensor, "B N C"]
    ) -> Float[Tensor, "B N D"]:
        """The process's mean of each class; zero if nothing is known of it."""
        found = known.to(self.known.dtype) @ self.known.T
        if known.shape != self.known.shape or found.amax(-1).min() < 1 - 1e-3:
            raise InputError("known: expected the known classes that the method was fitted to, got others")
        plain = relations.nan_to_num(0.0)
        says = informative(plain) & ~relations.isnan().any(-1)
        scaled = standardise(plain, says) + self.level - self.top
        kernel = (self.sharpness * scaled).exp() * says[..., None]
        return kernel @ self.weights[found.argmax(-1)].to(relations.dtype)


def _leave_one_out(
    relations: Float[Tensor, "C C"], target: Float[Tensor, "C D"], sharpness: float, noise: float
) -> Regression:
    """The weights of all known classes, and how far each is on average from what the others predict."""
    kernel = (sharpness * (relations - relations.max())).exp().double()
    inverse = torch.linalg.inv(kernel + noise * torch.eye(len(kernel), dtype=torch.float64))
    weights = inverse @ target.double()
    error = (weights / inverse.diagonal()[:, None]).square().sum(-1).mean()
    return weights.to(target.dtype), error.item()


def make_kernel_regression(material: Material) -> FewShotCall:
    """Fitted to the known classes, after the transform before the graph.

    Raises:
        InputError: there are no known classes, or no features of base classes.
    """
    known, relations, train = material.known, material.known_relations, material.train
    if known is None or relations is None or train is None:
        raise InputError("methods: kernel-regression expected known classes and base features, got none")
    base = replace(train, items=material.transform(train.items))
    return material.transformed(KernelRegression.fit(base, known.prototypes, relations))
