"""Normal-Inverse-Wishart classes: textbook updates, scipy's t, and the evidence by the chain rule."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_t
from torch.nn.functional import normalize

from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet
from fewshot.methods.niw import NIW, log_evidence
from fewshot.methods.prototypes import prototypes

D = 5


def make_prior(nu=D + 2.5):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(D, D))
    scatter = (nu - D - 1) * (root @ root.T + np.eye(D))
    return NIW(torch.from_numpy(rng.normal(size=D) / 5), torch.from_numpy(scatter), kappa=0.7, nu=nu)


def predictive(prior, x):
    """The t density after seeing the rows of x: Murphy, *Machine learning*, 2012, section 4.6.3."""
    m0, s0, n = prior.mean.numpy(), prior.scatter.numpy(), len(x)
    kappa, nu = prior.kappa + n, prior.nu + n
    mean = (prior.kappa * m0 + x.sum(axis=0)) / kappa
    scatter = s0 + x.T @ x + prior.kappa * np.outer(m0, m0) - kappa * np.outer(mean, mean)
    degrees = nu - D + 1
    return multivariate_t(mean, scatter * (kappa + 1) / (kappa * degrees), df=degrees)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("shot", "nu"), [(1, 7.5), (3, 7.5), (9, 7.5), (3, 1e6)])
def test_equals_scipys_t_with_textbook_updates(shot, nu, dtype):
    generator = torch.Generator().manual_seed(shot)
    support = torch.randn(2, 3, shot, D, generator=generator, dtype=dtype)
    query = torch.randn(2, 4, D, generator=generator, dtype=dtype)
    prior = make_prior(nu)
    logits = prior(support, query)
    assert logits.dtype == dtype
    for b in range(2):
        for i in range(3):
            law = predictive(prior, normalize(support[b, i].double(), dim=-1).numpy())
            expected = torch.from_numpy(law.logpdf(normalize(query[b].double(), dim=-1).numpy()))
            torch.testing.assert_close(logits[b, :, i], expected.to(dtype))


def test_a_class_without_supports_is_the_prior():
    prior = make_prior()
    query = torch.randn(1, 4, D, dtype=torch.float64)
    there = torch.zeros(1, 1, 2, dtype=torch.bool)
    logits = prior(torch.full((1, 1, 2, D), torch.nan).double(), query, support_mask=there)
    expected = predictive(prior, np.zeros((0, D))).logpdf(normalize(query[0], dim=-1).numpy())
    torch.testing.assert_close(logits[0, :, 0], torch.from_numpy(expected))


def test_evidence_is_the_product_of_the_predictives():
    """p(x₁, x₂, …) = p(x₁) p(x₂ | x₁) …"""
    prior = make_prior()
    x = np.random.default_rng(1).normal(size=(6, D))
    expected = sum(predictive(prior, x[:n]).logpdf(x[n]) for n in range(6))
    about = x - x.mean(axis=0)
    evidence = log_evidence(
        torch.tensor([6.0], dtype=torch.float64),
        (torch.from_numpy(x.mean(axis=0)) - prior.mean)[None],
        torch.from_numpy(about.T @ about)[None],
        prior.scatter,
        torch.tensor(prior.kappa),
        torch.tensor(prior.nu),
    )
    torch.testing.assert_close(evidence, torch.tensor([expected], dtype=torch.float64))


def draw_features(classes, images, sizes, between=1.0, differing=0.0, seed=0):
    """Gaussian classes: features vary by `sizes` per dimension about means that vary by `between`.

    With `differing`, the sizes are not the same in every class.
    """
    rng = np.random.default_rng(seed)
    means = between * rng.normal(size=(classes, 1, len(sizes)))
    sizes = sizes * np.exp(differing * rng.normal(size=means.shape))
    items = means + rng.normal(size=(classes, images, sizes.shape[-1])) * sizes
    labels = torch.arange(classes).repeat_interleave(images)
    names = tuple(map(str, range(classes)))
    return FeatureSet(torch.from_numpy(items).float().flatten(0, 1), labels, names)


def statistics(base):
    """Count, mean and scatter of each class's normalised features, with numpy."""
    x = normalize(base.items.double(), dim=-1).numpy()
    parts = [x[base.labels.numpy() == c] for c in range(base.num_classes)]
    scatters = [np.cov(part.T, bias=True) * len(part) for part in parts]
    return np.array([len(p) for p in parts]), np.stack([p.mean(axis=0) for p in parts]), np.stack(scatters)


def test_fit_has_the_documented_form_and_the_highest_evidence():
    base = draw_features(20, 12, sizes=np.array([0.5, 1.0, 1.5, 2.0, 2.5]), differing=0.3, seed=1)
    prior = NIW.fit(base)
    counts, means, scatters = statistics(base)
    mean, within = means.mean(axis=0), scatters.sum(axis=0) / (counts.sum() - len(counts))
    np.testing.assert_allclose(prior.mean.numpy(), mean)

    shape = prior.scatter.numpy() / (prior.nu - D - 1)  # (1 - alpha) within + alpha trace/D
    alpha = 1 - shape[0, 1] / within[0, 1]
    assert 0 < alpha < 1

    def evidence(alpha, kappa, extra):
        scatter = extra * ((1 - alpha) * within + alpha * np.trace(within) / D * np.eye(D))
        arguments = counts.astype(float), means - mean, scatters, scatter, kappa, extra + D + 1
        return log_evidence(*(torch.as_tensor(x, dtype=torch.float64) for x in arguments)).sum().item()

    best = np.array([alpha, prior.kappa, prior.nu - D - 1])
    np.testing.assert_allclose(
        shape, (1 - alpha) * within + alpha * np.trace(within) / D * np.eye(D), rtol=1e-9
    )
    for which in range(3):
        for factor in (0.9, 1.1):
            other = best.copy()
            other[which] *= factor
            assert evidence(*other) < evidence(*best)


def test_kappa_is_small_where_the_classes_are_far_apart():
    sizes = np.ones(D)
    near, far = (NIW.fit(draw_features(20, 12, sizes, between)).kappa for between in (0.5, 5.0))
    assert far < 0.5 < 2 < near


def test_learns_which_directions_are_noise():
    sizes = np.array([0.5, 0.5, 0.5, 5.0, 5.0])
    prior = NIW.fit(draw_features(40, 30, sizes))
    novel = draw_features(30, 12, sizes, seed=1).items.view(10, 3, 12, D)
    support, query, labels = (
        novel[:, :, :2],
        novel[:, :, 2:].flatten(1, 2),
        torch.arange(3).repeat_interleave(10),
    )
    right = [
        (method(support, query).argmax(dim=-1) == labels).float().mean() for method in (prior, prototypes)
    ]
    assert right[0] > right[1] + 0.1


def test_fits_fewer_features_than_dimensions():
    prior = NIW.fit(draw_features(3, 4, sizes=np.ones(20)))
    assert torch.linalg.eigvalsh(prior.scatter).min() > 0


def test_refuses_what_it_cannot_use():
    with pytest.raises(InputError, match=r"^base: expected 2 or more classes.*got 12 features of 1 classes"):
        NIW.fit(draw_features(1, 12, sizes=np.ones(D)))
    with pytest.raises(InputError, match=r"^base: .*got 9 features of 9 classes"):
        NIW.fit(draw_features(9, 1, sizes=np.ones(D)))
    with pytest.raises(InputError, match=r"^kappa: expected a number above 0, got 0"):
        NIW(torch.zeros(D), torch.eye(D), kappa=0.0, nu=9.0)
    with pytest.raises(InputError, match=r"^nu: expected a number above D - 1 = 4, got 4"):
        NIW(torch.zeros(D), torch.eye(D), kappa=1.0, nu=4.0)
    with pytest.raises(InputError, match=r"^support: expected D = 5 as the prior has, got 3"):
        make_prior()(torch.zeros(1, 2, 1, 3), torch.zeros(1, 4, 3))
