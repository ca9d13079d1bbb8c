"""Bayesian quadratic discriminant analysis with a prior learned from the base classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet

CHUNK = 16  # classes at a time in the fit, which limits its memory
FARTHEST = 14.0  # logarithms of fitted values stay within ±14, beyond which the evidence is flat


@dataclass(frozen=True, eq=False)
class NIW:
    r"""Posterior predictive of Gaussian classes under a Normal-Inverse-Wishart prior (after MetaQDA, Zhang et
    al., *Shallow Bayesian meta learning for real-world few-shot recognition*, ICCV 2021).

    Each class has a mean and a covariance of its own, drawn from the prior

    .. math::  \Sigma_i \sim \mathcal{W}^{-1}(S, \nu), \qquad \mu_i \sim \mathcal{N}(m, \Sigma_i / \kappa)

    Its K supports turn this into a posterior of the same form, where the prior's mean counts as
    :math:`\kappa` further supports. A query's density, averaged over the posterior, is Student's t:

    .. math::
        m_i = \frac{\kappa m + \sum_k \hat s_{ik}}{\kappa_i}, \qquad
        S_i = S + \kappa (m - m_i)(m - m_i)^\top + \sum_k (\hat s_{ik} - m_i)(\hat s_{ik} - m_i)^\top

        \operatorname{logit}_{mi} = \log t_{d_i} \! \left( \hat q_m \,\middle|\, m_i,\,
        \frac{\kappa_i + 1}{\kappa_i d_i} S_i \right), \qquad
        \kappa_i = \kappa + K, \quad d_i = \nu + K - D + 1

    MetaQDA learns its prior by gradient descent on episodes; `fit` maximises the evidence of the base
    classes. (NIW-Meta of Kim and Hospedales, ICLR 2024, puts such a prior on a network's weights instead.)

    Args:
        mean: m **[D]**.
        scatter: S **[D, D]**, positive definite.
        kappa: the number of supports that the prior's mean counts as, above 0.
        nu: degrees of freedom, above D - 1.

    Raises:
        InputError: kappa or nu out of range.

    >>> prior = NIW(torch.zeros(2), torch.eye(2), kappa=1.0, nu=4.0)
    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])
    >>> prior(support, torch.tensor([[[3.0, 4.0]]])).round(decimals=3)
    tensor([[[-2.1350, -1.8000]]])
    """

    mean: Float[Tensor, " D"]
    scatter: Float[Tensor, "D D"]
    kappa: float
    nu: float

    def __post_init__(self) -> None:
        if not self.kappa > 0:
            raise InputError(f"kappa: expected a number above 0, got {self.kappa}")
        if not self.nu > len(self.mean) - 1:
            raise InputError(f"nu: expected a number above D - 1 = {len(self.mean) - 1}, got {self.nu}")

    @staticmethod
    def fit(base: FeatureSet) -> NIW:
        r"""Learn the prior from base classes; nothing is set by hand.

        m is the mean of the class means. S is such that the prior expects the covariance W within the
        classes, shrunk towards a multiple of the identity:

        .. math::  S = (\nu - D - 1) \left( (1 - \alpha) W + \alpha \tfrac{\operatorname{tr} W}{D} I \right)

        :math:`\kappa, \nu, \alpha` maximise the evidence of the base features (`log_evidence`), by L-BFGS.

        Args:
            base: features of base classes, minus their mean; they are normalised here.

        Raises:
            InputError: fewer than 2 classes with features, or none with features that differ.
        """
        size = base.items.shape[1]
        counts, means, scatters = _moments(base)
        within = scatters.sum(dim=0) / (counts.sum() - len(counts)).clamp_min(1)
        if len(counts) < 2 or within.trace() <= 0:
            raise InputError(
                "base: expected 2 or more classes, with features that differ within a class, "
                f"got {len(base)} features of {len(counts)} classes"
            )
        mean = means.mean(dim=0)
        sphere = within.trace() / size * torch.eye(size).to(within)

        def prior(free: Float[Tensor, "3"]) -> tuple[Tensor, Tensor, Tensor]:
            odds, kappa, extra = free.clamp(-FARTHEST, FARTHEST).exp()  # of alpha; nu - D - 1
            alpha = odds / (1 + odds)
            return extra * ((1 - alpha) * within + alpha * sphere), kappa, extra + size + 1

        free = torch.tensor([-2.0, 0.0, math.log(size)]).to(within).requires_grad_()
        optimizer = torch.optim.LBFGS([free], max_iter=100, line_search_fn="strong_wolfe")

        def loss() -> float:
            optimizer.zero_grad()
            total = 0.0
            chunks = (x.split(CHUNK) for x in (counts, means - mean, scatters))
            for count, offset, scatter in zip(*chunks, strict=True):
                part = -log_evidence(count, offset, scatter, *prior(free)).sum() / len(base)
                part.backward()
                total += part.item()
            return total

        optimizer.step(loss)
        scatter, kappa, nu = prior(free.detach())
        return NIW(mean, scatter, kappa.item(), nu.item())

    def __call__(
        self,
        support: Float[Tensor, "B N K D"],
        query: Float[Tensor, "B M D"],
        *,
        support_mask: Bool[Tensor, "B N K"] | None = None,
        class_mask: Bool[Tensor, "B N"] | None = None,
        **_: object,
    ) -> Float[Tensor, "B M N"]:
        """Classify each query by its log-density under each class's posterior predictive.

        Called as all methods are, see `FewShotCall`; it has no options of its own.

        Raises:
            InputError: features of another size than the prior's.
        """
        if support.shape[-1] != len(self.mean):
            raise InputError(
                f"support: expected D = {len(self.mean)} as the prior has, got {support.shape[-1]}"
            )
        there = torch.ones_like(support[..., 0], dtype=torch.bool) if support_mask is None else support_mask
        if class_mask is not None:
            there = there & class_mask.unsqueeze(-1)
        there = there.unsqueeze(-1)

        # In coordinates where m = 0 and S = I.
        root = torch.linalg.cholesky(self.scatter)
        inverse = torch.linalg.solve_triangular(root, torch.eye(len(root)).to(root), upper=False).to(query)
        mean = self.mean.to(query)
        x = (normalize(support, dim=-1) - mean).masked_fill(~there, 0.0) @ inverse.T
        q = (normalize(query, dim=-1) - mean) @ inverse.T

        count = there.sum(dim=2).to(q)  # [B, N, 1]
        kappa = self.kappa + count
        centre = x.sum(dim=2) / kappa
        rows = torch.cat(
            [-math.sqrt(self.kappa) * centre.unsqueeze(2), (x - centre.unsqueeze(2)) * there], dim=2
        )
        distance, log_det = _mahalanobis(q, centre, rows)

        size = x.shape[-1]
        degrees = (self.nu + count - size + 1).transpose(1, 2)  # [B, 1, N]
        kappa = kappa.transpose(1, 2)
        log_det = log_det + 2 * root.diagonal().log().sum().to(q) + size * torch.log((kappa + 1) / kappa)
        half = degrees.double() / 2  # for a large nu nothing of the difference would be left in float32
        gammas = torch.lgamma(half + size / 2) - torch.lgamma(half)
        logits = (
            gammas.to(q)
            - (size * math.log(math.pi) + log_det) / 2
            - (degrees + size) / 2 * torch.log1p(kappa / (kappa + 1) * distance)
        )
        return logits if class_mask is None else logits.masked_fill(~class_mask.unsqueeze(1), -torch.inf)


def log_evidence(
    count: Float[Tensor, " C"],
    offset: Float[Tensor, "C D"],
    scatters: Float[Tensor, "C D D"],
    scatter: Float[Tensor, "D D"],
    kappa: Float[Tensor, ""],
    nu: Float[Tensor, ""],
) -> Float[Tensor, " C"]:
    r"""Log-probability of each class's n features, with its mean and covariance integrated out.

    .. math::
        -\tfrac{nD}{2} \log \pi + \log \frac{\Gamma_D(\frac{\nu + n}{2})}{\Gamma_D(\frac{\nu}{2})}
        + \tfrac{\nu}{2} \log |S|
        - \tfrac{\nu + n}{2} \log \left| S + A + \tfrac{\kappa n}{\kappa + n} u u^\top \right|
        + \tfrac{D}{2} \log \tfrac{\kappa}{\kappa + n}

    (Murphy, *Conjugate Bayesian analysis of the Gaussian distribution*, 2007.)

    Args:
        count: n **[C]**.
        offset: u **[C, D]**, the class's mean minus the prior's.
        scatters: A **[C, D, D]**, of the features about their class's mean.
        scatter, kappa, nu: of the prior.
    """
    size = offset.shape[1]
    weight = kappa * count / (kappa + count)
    posterior = scatter + scatters + (weight.unsqueeze(1) * offset).unsqueeze(2) * offset.unsqueeze(1)
    return (
        -count * size / 2 * math.log(math.pi)
        + torch.special.multigammaln((nu + count) / 2, size)
        - torch.special.multigammaln(nu / 2, size)
        + nu / 2 * torch.logdet(scatter)
        - (nu + count) / 2 * torch.linalg.slogdet(posterior).logabsdet
        + size / 2 * torch.log(kappa / (kappa + count))
    )


def _moments(base: FeatureSet) -> tuple[Float[Tensor, " C"], Float[Tensor, "C D"], Float[Tensor, "C D D"]]:
    """Count, mean and scatter of the normalised features of each class that has any, in float64."""
    parts = normalize(base.items.double(), dim=-1).split(base.counts[base.counts > 0].tolist())
    means = torch.stack([part.mean(dim=0) for part in parts])
    scatters = torch.stack([(part - part.mean(dim=0)).T @ (part - part.mean(dim=0)) for part in parts])
    return means.new_tensor([len(part) for part in parts]), means, scatters


def _mahalanobis(
    query: Float[Tensor, "B M D"], centre: Float[Tensor, "B N D"], rows: Float[Tensor, "B N R D"]
) -> tuple[Float[Tensor, "B M N"], Float[Tensor, "B 1 N"]]:
    r"""Squared distances :math:`d^\top (I + V^\top V)^{-1} d` of d = query - centre; log-determinants.

    By Woodbury's identity, with V the R rows: only R × R matrices are decomposed, never D × D ones.
    """
    root = torch.linalg.cholesky(torch.eye(rows.shape[2]).to(rows) + rows @ rows.transpose(2, 3))
    along = torch.einsum("bnrd,bmd->bnrm", rows, query) - rows @ centre.unsqueeze(-1)
    explained = torch.linalg.solve_triangular(root, along, upper=False).square().sum(dim=2)  # [B, N, M]
    log_det = 2 * root.diagonal(dim1=2, dim2=3).log().sum(dim=-1)
    return torch.cdist(query, centre).square() - explained.transpose(1, 2), log_det.unsqueeze(1)
