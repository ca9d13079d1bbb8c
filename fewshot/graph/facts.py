"""What is known of an episode's query set."""

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor


class Facts(NamedTuple):
    """What is known of an episode's query set."""

    alive: Bool[Tensor, "B N"]  # classes that may occur
    present: Float[Tensor, "B N"]  # 1 where a class is known to occur
    shares: Float[Tensor, "B N"]  # of the queries; equal where unknown
    bias: Float[Tensor, "B N"]  # log odds before any query is looked at
    given: bool  # whether the shares are known
