"""The power transform that goes before the class graph where features are skewed, fitted on base classes."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.core.errors import InputError
from fewshot.graph.vectors import EPSILON, normalize

SKEWED = 2.5  # mean skewness of the channels, above which features are transformed
LOW = 0.01  # the quantile of a channel that becomes its zero
SAMPLE = 20_000  # features that a fit looks at, at most


class PowerTransform(nn.Module):
    r"""Square roots of features above a floor, on the unit sphere, minus the base classes' mean.

    After the power transform of Hu et al. (ICANN 2021) and the Hellinger kernel of Arandjelović and Zisserman
    (CVPR 2012), whose features are from 0 up; here each channel :math:`d` has a floor of its own, so that a
    constant added to it changes nothing:

    .. math:: y_d = \operatorname{sign}(x_d - l_d) \sqrt{|x_d - l_d|}, \qquad
              f(x) = \frac{y}{\lVert y \rVert} - \mu

    with :math:`l` the channels' 1 % quantile over base images, and :math:`\mu` the mean of the first term
    over them. Channels of a network that ends in rectified maps are skewed: a few images excite them
    strongly, and these few would rule cosines. The transform goes by channels, so a rotation matters to it,
    as it does not to the class graph: that is why it stands before the graph.

    Until it is fitted it changes nothing.

    Shapes: ``[*, D]`` to ``[*, D]``.

    >>> base = torch.randn(500, 8, generator=torch.Generator().manual_seed(0)).exp() ** 2
    >>> transform = PowerTransform().fit(base)
    >>> bool(skewness(transform(base)) < skewness(base) / 2)
    True
    """

    low: Tensor
    centre: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Without elements until they are known.
        self.register_buffer("low", torch.zeros(0))
        self.register_buffer("centre", torch.zeros(0))

    @property
    def fitted(self) -> bool:
        return self.low.numel() > 0

    @torch.no_grad()
    def fit(self, base: Float[Tensor, "n D"]) -> PowerTransform:
        """Take the floors and the mean from features of base classes; returns itself.

        Args:
            base: ``[n, D]``, in the form in which features will come (minus the base mean, or not).

        Raises:
            InputError: not ``[n, D]`` with at least 2 features.
        """
        if base.dim() != 2 or len(base) < 2:
            raise InputError(f"base: expected features [n, D] with n >= 2, got {list(base.shape)}")
        spread = _spread(base.float())
        rank = 1 + int(LOW * (len(spread) - 1))  # torch.quantile takes no more than 16 million numbers
        self.low = spread.kthvalue(rank, 0).values.to(self.low.device)
        self.centre = self._root(spread.to(self.low.device)).mean(0)
        return self

    def fit_if_skewed(self, base: Float[Tensor, "n D"]) -> PowerTransform:
        """Fit on features whose channels are skewed by more than 2.5 on average, else become the identity.

        An exponential distribution has a skewness of 2, a normal one of 0, which a root would only distort.
        """
        if skewness(_spread(base.float())) > SKEWED:
            return self.fit(base)
        self.low = self.centre = self.low.new_zeros(0)
        return self

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        if not self.fitted:
            return x
        if torch.compiler.is_compiling() or (torch.is_grad_enabled() and x.requires_grad):
            return self._root(x) - self.centre
        # The same with few arrays, as y / (sqrt(|y|) length), where the length is sqrt(sum |y|).
        y = x - self.low
        size = y.abs()
        square = size.sum(-1, keepdim=True).clamp_min_(EPSILON**2)
        size.mul_(square).clamp_min_(torch.finfo(size.dtype).tiny).rsqrt_()
        return torch.addcmul(-self.centre, y, size, out=y)

    def _root(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        return normalize(signed_power(x - self.low, 0.5))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # The buffers have the size of the features, which only the state knows.
        for name in ("low", "centre"):
            incoming = state_dict.setdefault(f"{prefix}{name}", torch.zeros(0))
            setattr(self, name, getattr(self, name).new_empty(incoming.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


class Transformed(nn.Module):
    """A class graph, or any module with its call, on transformed features.

    Args:
        transform: of features ``[*, D]``.
        method: called as a `ClassGraph`.

    >>> from fewshot import ClassGraph
    >>> classify = Transformed(PowerTransform().fit(torch.rand(100, 16)), ClassGraph.pretrained())
    >>> classify(torch.rand(1, 5, 1, 16), torch.rand(1, 9, 16), joint=True).logits.shape
    torch.Size([1, 9, 5])
    """

    def __init__(self, transform: nn.Module, method: nn.Module) -> None:
        super().__init__()
        self.transform, self.method = transform, method

    def forward(self, support: Tensor, query: Tensor, **options: Any) -> Any:
        return self.method(self.transform(support), self.transform(query), **options)


def signed_power(x: Float[Tensor, "*batch D"], power: float) -> Float[Tensor, "*batch D"]:
    """``sign(x) |x|^power``.

    >>> signed_power(torch.tensor([4.0, -9.0]), 0.5)
    tensor([ 2., -3.])
    """
    return x.sign() * x.abs().pow(power)  # not copysign, which ONNX does not have


def skewness(x: Float[Tensor, "n D"]) -> Float[Tensor, ""]:
    r"""Mean over channels of the skewness :math:`E[(x - \mu)^3] / \sigma^3`; constant channels count as 0.

    >>> skewness(torch.tensor([[0.0, 1.0], [0.0, 2.0], [3.0, 3.0]])).round(decimals=4)
    tensor(0.3536)
    """
    centred = x - x.mean(0)
    variance = centred.square().mean(0)
    return ((centred**3).mean(0) / variance.clamp_min(1e-12) ** 1.5).mean()


def _spread(x: Tensor) -> Tensor:
    """At most `SAMPLE` rows, spread over all of them."""
    return x[:: -(-len(x) // SAMPLE)]
