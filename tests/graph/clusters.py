"""Episodes of clustered features, and helpers of the tests of the graph."""

import torch
from torch import Tensor

from fewshot.graph.edges import Edges

B, N, K, M, D = 3, 5, 4, 30, 24
MODES = {
    "inductive": {},
    "joint": {"joint": True},
    "known": {"joint": True, "proportions": torch.full((B, N), 1 / N)},
}


def episodes(
    b: int = B, n: int = N, k: int = K, m: int = M, d: int = D, spread: float = 1.0, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clustered features: support [b, n, k, d], query [b, m, d], labels [b, m]."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(b, n, d, generator=generator)
    support = centres[:, :, None] + spread * torch.randn(b, n, k, d, generator=generator)
    labels = torch.arange(m).remainder(n)[torch.rand(b, m, generator=generator).argsort(1)]
    query = centres.gather(1, labels[..., None].expand(-1, -1, d))
    return support, query + spread * torch.randn(b, m, d, generator=generator), labels


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-4) -> None:
    """Equal to an absolute tolerance, and to float32's rounding of logits in the tens."""
    torch.testing.assert_close(a, b, atol=tolerance, rtol=1e-5)


def dense(edges: Edges) -> torch.Tensor:
    weights = edges.weight.new_zeros(B, N, N)
    source, target = edges.edge_index
    weights[target // N, target % N, source % N] = edges.weight
    assert (source // N == target // N).all()  # no edge between episodes
    return weights


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def candidates(b: int, n: int, c: int) -> Tensor:
    """Each class, and c - 1 others [b, n, c]."""
    steps = torch.rand(b, n, n - 1, generator=torch.Generator().manual_seed(3)).argsort(-1)[..., : c - 1] + 1
    itself = torch.arange(n)[None, :, None]
    return torch.cat([itself.expand(b, n, 1), (itself + steps) % n], -1)


def relatives(
    support: Tensor, c: int = 12, known_relations: bool = True, noise: float = 0.3
) -> dict[str, Tensor]:
    """Known classes, most of them near the episode's classes, and relations that say which, with noise."""
    b, n, _, d = support.shape
    generator = torch.Generator().manual_seed(11)
    centres = support.mean(2).flatten(0, 1)[torch.arange(c) % (b * n)]
    known = centres + 0.5 * centres.std() * torch.randn(c, d, generator=generator)
    means = torch.nn.functional.normalize(support.mean(2), dim=-1)
    known = torch.nn.functional.normalize(known, dim=-1)
    relations = means @ known.T + noise * torch.randn(b, n, c, generator=generator)
    found = {"known": known, "relations": relations.detach()}
    if known_relations:
        found["known_relations"] = known @ known.T + noise * torch.randn(c, c, generator=generator)
    return {name: x.detach() for name, x in found.items()}
