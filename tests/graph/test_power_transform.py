"""The power transform before the class graph."""

import pytest
import torch
from scipy.stats import skew

from fewshot.core.errors import InputError
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.transform import PowerTransform, Transformed, signed_power, skewness
from fewshot.graph.vectors import normalize


def skewed(n: int, d: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).mul(1.5).exp()


def test_it_is_the_formula_in_double_precision():
    base, x = skewed(400), skewed(7, seed=1)
    low = base.double().quantile(0.01, 0, interpolation="lower")

    def root(z):
        y = (z.double() - low).sign() * (z.double() - low).abs().sqrt()
        return y / y.norm(dim=1, keepdim=True)

    expected = root(x) - root(base).mean(0)
    torch.testing.assert_close(PowerTransform().fit(base)(x).double(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_it_is_the_same_with_a_gradient_at_any_scale_and_at_the_floor(scale):
    base, x = scale * skewed(400), scale * skewed(7, seed=1)
    transform = PowerTransform().fit(base)
    x[0, 3], x[1] = transform.low[3], transform.low
    found = transform(x.clone().requires_grad_()).detach()
    torch.testing.assert_close(transform(x), found, atol=1e-6, rtol=0)
    torch.testing.assert_close(transform(x)[1], -transform.centre)


def test_the_base_classes_have_mean_zero_afterwards():
    base = skewed(400)
    torch.testing.assert_close(PowerTransform().fit(base)(base).mean(0), torch.zeros(12), atol=1e-6, rtol=0)


def test_a_constant_added_to_the_channels_and_a_scale_change_nothing():
    base, x, shift = skewed(400), skewed(7, seed=1), torch.linspace(-5, 5, 12)
    plain = PowerTransform().fit(base)(x)
    torch.testing.assert_close(PowerTransform().fit(base + shift)(x + shift), plain, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(PowerTransform().fit(3 * base)(3 * x), plain, atol=1e-5, rtol=1e-4)


def test_it_changes_nothing_until_it_is_fitted_or_where_features_are_not_skewed():
    x = skewed(7)
    normal = torch.randn(400, 12, generator=torch.Generator().manual_seed(2))
    assert PowerTransform()(x) is x
    assert PowerTransform().fit_if_skewed(normal)(x) is x
    again = PowerTransform().fit(skewed(400)).fit_if_skewed(normal)
    assert not again.fitted
    assert PowerTransform().fit_if_skewed(skewed(400)).fitted


def test_skewness_is_that_of_scipy():
    x = skewed(300)
    assert float(skewness(x)) == pytest.approx(skew(x.numpy(), axis=0).mean(), rel=1e-4)
    assert float(skewness(torch.ones(5, 2))) == 0.0


def test_a_state_carries_its_size_and_one_without_a_transform_is_the_identity():
    fitted = PowerTransform().fit(skewed(400))
    again = PowerTransform()
    again.load_state_dict(fitted.state_dict())
    x = skewed(7, seed=1)
    assert torch.equal(again(x), fitted(x))
    again.load_state_dict({})
    assert again(x) is x


def test_a_transformed_graph_is_the_graph_on_transformed_features():
    transform = PowerTransform().fit(skewed(400))
    support, query = skewed(30, seed=1).view(2, 5, 3, 12), skewed(14, seed=2).view(2, 7, 12)
    graph = ClassGraph.pretrained()
    whole = Transformed(transform, graph)(support, query, joint=True)
    assert torch.equal(whole.logits, graph(transform(support), transform(query), joint=True).logits)


def test_powers_multiply_and_roots_have_length_one_before_the_mean_is_taken_off():
    x = torch.tensor([-4.0, 0.0, 9.0])
    torch.testing.assert_close(signed_power(signed_power(x, 0.5), 0.8), signed_power(x, 0.4))
    transform = PowerTransform().fit(skewed(400))
    y = transform(skewed(7)) + transform.centre
    torch.testing.assert_close(y, normalize(y))


def test_features_of_another_form_are_named():
    with pytest.raises(InputError, match=r"base: expected features \[n, D\] with n >= 2, got \[1, 3\]"):
        PowerTransform().fit(torch.ones(1, 3))


def test_it_is_the_same_with_a_gradient_and_leaves_its_input_alone():
    transform, x = PowerTransform().fit(skewed(400)), skewed(7, seed=1)
    with_gradient = transform(x.clone().requires_grad_())
    torch.testing.assert_close(transform(x), with_gradient)
    assert torch.equal(x, skewed(7, seed=1))
