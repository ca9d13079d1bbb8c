"""The mathematics of the class graph as pure functions.

Letters: B episodes, N way, K shot, M queries, D feature size; C candidate classes of a support (all N, or
its own class and its k neighbours).
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

Linear = Callable[[Tensor], Tensor]
EPSILON = 1e-12
FEW = 16  # numbers in a row
PIECE = 2**20  # numbers that work on many classes holds at a time, instead of all


def normalize(x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
    """Scale vectors to length 1; vectors of zeros stay zeros.

    >>> normalize(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    return x / x.norm(dim=-1, keepdim=True).clamp_min(EPSILON)


def shrink(
    support: Float[Tensor, "B N K D"], query: Float[Tensor, "B M D"]
) -> tuple[Float[Tensor, "B N K d"], Float[Tensor, "B M d"], Linear]:
    r"""The images of each episode in coordinates of their own span, where these are fewer than the features.

    What depends on inner products alone stays as it is when all is rotated. The rows of Cholesky's factor
    have the images' inner products, in d = N K + M coordinates:

    .. math:: X X^\top = L L^\top

    Off the processor, in half precision, where a gradient is wanted or sizes are traced, or where the images
    are many beside the features, nothing changes.

    Args:
        support: vectors of length 1, or zeros, **[B, N, K, D]**.
        query: likewise **[B, M, D]**.

    Returns:
        Both in coordinates, and what takes sums of them **[B, *, d]** back to features **[B, *, D]**.

    >>> support, query = normalize(torch.randn(1, 2, 1, 64)), normalize(torch.randn(1, 3, 64))
    >>> a, b, back = shrink(support, query)
    >>> b.shape, torch.allclose(back(b), query, atol=1e-5)
    (torch.Size([1, 3, 5]), True)
    """
    (_, n, k, d), images = support.shape, support.shape[1] * support.shape[2] + query.shape[1]
    wanted = support.requires_grad or query.requires_grad
    here = support.device.type == "cpu" and support.dtype in (torch.float32, torch.float64)
    if not here or torch.compiler.is_compiling() or wanted or 2 * images > d:
        return support, query, lambda x: x
    x = torch.cat([support.flatten(1, 2), query], dim=1)
    gram = x @ x.transpose(1, 2)
    there = gram.diagonal(dim1=1, dim2=2) > 0.5
    # So much more than rounding takes away where images are alike.
    gram.diagonal(dim1=1, dim2=2).add_(16 * torch.finfo(x.dtype).eps)
    factor, failed = torch.linalg.cholesky_ex(gram, upper=True)  # which lies in memory as L does row by row
    if failed.any():
        return support, query, lambda x: x

    def back(sums: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(factor, sums.transpose(1, 2), upper=True).transpose(1, 2) @ x

    rows = factor.transpose(1, 2) * there[..., None]  # zeros stay zeros
    return rows[:, : n * k].unflatten(1, (n, k)), rows[:, n * k :], back


def masked_softmax(
    scores: Float[Tensor, "*batch n"], mask: Bool[Tensor, "*#batch n"]
) -> Float[Tensor, "*batch n"]:
    """Softmax over the last dimension where ``mask`` is True; 0 elsewhere, and in rows without any True.

    >>> masked_softmax(torch.zeros(2, 3), torch.tensor([[True, True, False], [False, False, False]]))
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.0000, 0.0000]])
    """
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    # Over few numbers that lie side by side, torch's softmax is slow.
    if scores.dim() > 1 and not torch.compiler.is_compiling() and scores.shape[-1] <= FEW:
        return scores.transpose(-1, -2).contiguous().softmax(-2).transpose(-1, -2) * mask
    return scores.softmax(-1) * mask


@torch.no_grad()
def nearest_classes(
    prototypes: Float[Tensor, "B N D"],
    mask: Bool[Tensor, "B N"],
    k: int,
    prior: Float[Tensor, "B N N"] | None = None,
) -> Int64[Tensor, "B N k"]:
    """Find the k nearest other classes of each class, by cosine plus ``prior``; exact, some rows at a time.

    Args:
        prototypes: unit vectors **[B, N, D]**.
        mask: **[B, N]**, the classes that may be neighbours.
        k: neighbours a class; at most N - 1.
        prior: similarity from outside **[B, N, N]**, added to the cosine; default None.

    Returns:
        Class indices **[B, N, k]**, nearest first; -1 where there were fewer than k.

    >>> nearest_classes(torch.eye(3)[None, [0, 0, 1]], torch.tensor([[True, True, False]]), 2)
    tensor([[[ 1, -1],
             [ 0, -1],
             [ 0,  1]]])
    """
    b, n, _ = prototypes.shape
    columns, found = torch.arange(n, device=prototypes.device), []
    rows = max(1, PIECE // (b * n))
    for part in columns.split(rows):
        scores = prototypes[:, part] @ prototypes.transpose(1, 2)  # [B, rows, N]
        if prior is not None:
            scores += prior[:, part]
        scores.masked_fill_((part[:, None] == columns) | ~mask[:, None, :], -torch.inf)
        best = scores.topk(k, dim=-1)
        found.append(best.indices.masked_fill_(best.values == -torch.inf, -1))
    return torch.cat(found, dim=1)


def edge_cosines(unit: Float[Tensor, "n D"], edge_index: Int64[Tensor, "2 E"]) -> Float[Tensor, " E"]:
    """Dot products along edges, some of them at a time: no [E, D] is built."""
    edges = max(1, PIECE // unit.shape[1])
    return torch.cat([(unit[i] * unit[j]).sum(-1) for i, j in edge_index.split(edges, dim=1)])


def candidate_cosines(
    support: Float[Tensor, "B N K D"],
    prototypes: Float[Tensor, "B N D"],
    candidates: Int64[Tensor, "B N C"] | None,
) -> Float[Tensor, "B N K C"]:
    """Cosine of each support to each of its class's candidates; ``candidates`` None: to all N classes."""
    if candidates is None:
        return torch.einsum("bikd,bcd->bikc", support, prototypes)
    nodes, index = prototypes.flatten(0, 1), class_nodes(candidates)
    classes = max(1, PIECE // (index.shape[1] * nodes.shape[1]))  # at a time: no [B, N, C, D] is built
    pieces = zip(support.flatten(0, 1).split(classes), index.split(classes), strict=True)
    cosines = torch.cat([own @ nodes[near].transpose(1, 2) for own, near in pieces])
    return cosines.unflatten(0, candidates.shape[:2])


def collect(
    assignments: Float[Tensor, "B N K C"],
    support: Float[Tensor, "B N K D"],
    candidates: Int64[Tensor, "B N C"] | None,
) -> Float[Tensor, "B N D"]:
    """Sum of the supports that each class is assigned: the messages from supports to classes."""
    if candidates is None:
        return torch.einsum("bikc,bikd->bcd", assignments, support)
    b, n, k, c = assignments.shape
    target = class_nodes(candidates).flatten()
    order = target.argsort()  # of the pairs (class, candidate), so that a candidate's are side by side
    source = (order // c)[:, None] * k + torch.arange(k, device=order.device)  # the supports of the class
    weight = assignments.transpose(2, 3).reshape(-1, k)[order]
    bounds = k * pad(target.bincount(minlength=b * n).cumsum(0), (1, 0))
    sums = weighted_sums(support.flatten(0, 2), source.flatten(), bounds, weight.flatten())
    return sums.unflatten(0, (b, n))


def weighted_sums(
    x: Float[Tensor, "n D"],
    index: Int64[Tensor, " E"],
    bounds: Int64[Tensor, " targets_and_one"],
    weight: Float[Tensor, " E"],
) -> Float[Tensor, "targets D"]:
    """Weighted sums of rows: of ``x[index[bounds[i] : bounds[i + 1]]]`` for target i. No [E, D] is built.

    >>> index, bounds = torch.tensor([0, 1, 2]), torch.tensor([0, 2, 2, 3])
    >>> weighted_sums(torch.eye(3), index, bounds, torch.tensor([1.0, 2.0, 3.0]))
    tensor([[1., 2., 0.],
            [0., 0., 0.],
            [0., 0., 3.]])
    """
    return embedding_bag(index, x, bounds, mode="sum", per_sample_weights=weight, include_last_offset=True)


def class_nodes(index: Int64[Tensor, "B N C"]) -> Int64[Tensor, "BN C"]:
    """Class indices of B episodes as indices of their B·N classes in one row.

    >>> class_nodes(torch.tensor([[[1], [0]], [[1], [0]]])).tolist()
    [[1], [0], [3], [2]]
    """
    b, n, _ = index.shape
    return (index + n * torch.arange(b, device=index.device)[:, None, None]).flatten(0, 1)


def own_class(
    x: Float[Tensor, "B N K C"], candidates: Int64[Tensor, "B N C"] | None
) -> Float[Tensor, "B N K"]:
    """The entries that are of the support's own class: the first candidate, or with all N the diagonal."""
    return x.diagonal(dim1=1, dim2=3).transpose(1, 2) if candidates is None else x[..., 0]


def leave_one_out_cosines(
    support: Float[Tensor, "B N K D"],
    assignments: Float[Tensor, "B N K C"],
    candidates: Int64[Tensor, "B N C"] | None,
    own: Bool[Tensor, "#B #N 1 C"],
    beside: Float[Tensor, "B N D"] | None = None,
) -> Float[Tensor, "B N K C"]:
    r"""Cosine of each support to its candidates' means, itself left out of its own class's mean.

    .. math:: c_{ikj} = \hat s_{ik} \cdot \widehat{t_j}, \quad
              c_{iki} = \hat s_{ik} \cdot \widehat{(t_i - r_{iki} \hat s_{ik})}, \quad
              t_j = b_j + \textstyle\sum_{ik} r_{ikj} \hat s_{ik}

    Left in, a support would vouch for its own label. ``beside`` is b, what else speaks for a class (None: 0).
    """
    totals = collect(assignments, support, candidates)
    if beside is not None:
        totals = totals + beside
    cosines = candidate_cosines(support, normalize(totals), candidates)
    # Of the mean without the support itself, from dot products alone: no [B, N, K, D] is built.
    weight = own_class(assignments, candidates)  # [B, N, K]
    length = totals.norm(dim=-1)[..., None]  # [B, N, 1]
    along = own_class(cosines, candidates) * length  # support times its class's sum
    square = support.norm(dim=-1) ** 2
    others = length**2 - 2 * weight * along + weight**2 * square
    alone = (along - weight * square) / others.clamp_min(1e-8).sqrt()
    return torch.where(own, alone[..., None].clamp(-1, 1), cosines)


def label_posterior(
    scores: Float[Tensor, "B N K C"],
    doubt: Float[Tensor, " B"],
    own: Bool[Tensor, "#B #N 1 C"],
    rivals: Bool[Tensor, "B N 1 C"],
) -> Float[Tensor, "B N K C"]:
    r"""Posterior of each support's true class when a share ``doubt`` of the labels is wrong.

    .. math:: r_{ikc} \propto e^{\text{score}_{ikc}} \cdot
              \begin{cases} 1 - \rho & c = i \\ \rho / |\text{rivals}| & c \ne i \end{cases}
    """
    rho = doubt[:, None, None, None].clamp(1e-6, 1 - 1e-6)
    spread = rivals.sum(-1, keepdim=True).clamp_min(1)  # [B, N, 1, 1]
    log_prior = torch.where(own, (1 - rho).log(), (rho / spread).log())
    return masked_softmax(scores + log_prior, own | rivals)


def pairwise_cosine(
    support: Float[Tensor, "B N K D"], weight: Float[Tensor, "B N K"]
) -> Float[Tensor, "B N"]:
    r"""Mean cosine between two supports of a class, weighted: how tight the class is.

    .. math:: c_i = \frac{\lVert \sum_k w_{ik} \hat s_{ik} \rVert^2 - \sum_k w_{ik}^2}
                         {(\sum_k w_{ik})^2 - \sum_k w_{ik}^2}

    Unlike the length of the mean it does not depend on how many supports there are. Classes with a single
    support get the mean of the others (0 where there are none).

    >>> support = torch.tensor([[[[1.0, 0.0], [0.6, 0.8]], [[0.0, 1.0], [0.0, 1.0]]]])
    >>> pairwise_cosine(support, torch.tensor([[[1.0, 1.0], [1.0, 0.0]]]))
    tensor([[0.6000, 0.6000]])
    """
    squares = (weight**2).sum(-1)
    pairs = weight.sum(-1) ** 2 - squares
    total = torch.einsum("bik,bikd->bid", weight, support)
    several = pairs > 1e-3
    cosine = ((total**2).sum(-1) - squares) / pairs.clamp_min(1e-3) * several
    mean = cosine.sum(-1, keepdim=True) / several.sum(-1, keepdim=True).clamp_min(1)
    return torch.where(several, cosine, mean)


def suppress(
    nodes: Float[Tensor, "B N D"], spread: Linear, strength: Float[Tensor, ""], steps: int = 2
) -> Float[Tensor, "B N D"]:
    r"""Turn class vectors away from the directions in which classes spread out, as linear discriminants do.

    .. math:: w_i = (I + \gamma \Sigma)^{-1} x_i

    by a fixed number of steps of conjugate gradients (Hestenes and Stiefel 1952).

    Args:
        nodes: class vectors x **[B, N, D]**.
        spread: the product of such vectors with :math:`\Sigma`, the covariance of images about their class's
            mean: **[B, N, D]** to **[B, N, D]**.
        strength: gamma.
        steps: of conjugate gradients; default 2.

    >>> suppress(torch.ones(1, 1, 2), lambda x: x * torch.tensor([1.0, 0.0]), torch.tensor(3.0))
    tensor([[[0.2500, 1.0000]]])
    """

    def apply(x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return x + strength * spread(x)

    # From the nodes themselves, which is where no spread leads.
    solution, rest = nodes, nodes - apply(nodes)
    direction, square = rest, (rest**2).sum(-1, keepdim=True)
    for step in range(steps):
        image = apply(direction)
        length = square / (direction * image).sum(-1, keepdim=True).clamp_min(EPSILON)
        solution = solution + length * direction
        if step + 1 < steps:
            rest = rest - length * image
            before, square = square, (rest**2).sum(-1, keepdim=True)
            direction = rest + square / before.clamp_min(EPSILON) * direction
    return solution


def coupling(
    mass: Float[Tensor, "B N"],
    expected: Float[Tensor, "B N"],
    floor: Float[Tensor, ""],
) -> Float[Tensor, "B N"]:
    r"""How far each class's soft mass of queries exceeds the expected one, in logits, damped for few queries.

    .. math:: \log \frac{n_c + \epsilon}{e_c + \epsilon}

    Taking it off a class's logits moves its mass towards ``expected``; repeated with full strength this is
    Sinkhorn's algorithm (Cuturi 2013).

    >>> coupling(torch.tensor([[3.0, 1.0]]), torch.tensor([[2.0, 2.0]]), torch.tensor(0.0))
    tensor([[ 0.4055, -0.6931]])
    """
    return ((mass + floor) / (expected + floor)).clamp_min(1e-6).log()


def check_episodes(
    support: Tensor,
    query: Tensor,
    support_mask: Tensor | None,
    class_mask: Tensor | None,
    query_mask: Tensor | None,
    evidence: Tensor | None,
    proportions: Tensor | None,
    prior: Tensor | None,
    neighbours: int | Tensor | None,
) -> None:
    """Raise a ValueError that names the argument, what was expected and what came."""
    if support.dim() != 4 or not support.is_floating_point():
        raise ValueError(f"support: expected floats [B, N, K, D], got {_kind(support)}")
    b, n, k, d = support.shape
    if 0 in (n, k, d):
        raise ValueError(f"support: expected at least one class, shot and feature, got {_kind(support)}")
    if query.dim() != 3 or not query.is_floating_point() or (query.shape[0], query.shape[2]) != (b, d):
        raise ValueError(f"query: expected floats [B, M, D] with B = {b} and D = {d}, got {_kind(query)}")
    m = query.shape[1]
    for name, mask, shape in (
        ("support_mask", support_mask, (b, n, k)),
        ("class_mask", class_mask, (b, n)),
        ("query_mask", query_mask, (b, m)),
    ):
        if mask is not None and (mask.dtype != torch.bool or tuple(mask.shape) != shape):
            raise ValueError(f"{name}: expected bool {list(shape)}, got {_kind(mask)}")
    for name, known in (("evidence", evidence), ("proportions", proportions)):
        if known is not None and (not known.is_floating_point() or tuple(known.shape) != (b, n)):
            raise ValueError(f"{name}: expected floats {[b, n]}, got {_kind(known)}")
    if proportions is not None and not _are_shares(proportions):
        raise ValueError("proportions: expected shares from 0 up and not all 0, got others or nan")
    if prior is not None and tuple(prior.shape) not in ((n, n), (b, n, n)):
        raise ValueError(f"prior: expected {[n, n]} or {[b, n, n]}, got {_kind(prior)}")
    if isinstance(neighbours, Tensor):
        if neighbours.dtype != torch.int64 or neighbours.dim() != 3 or tuple(neighbours.shape[:2]) != (b, n):
            raise ValueError(
                f"neighbours: expected int64 [B, N, k] with B = {b} and N = {n}, got {_kind(neighbours)}"
            )
        if not _are_others(neighbours):
            raise ValueError(f"neighbours: expected other classes from 0 to {n - 1}, or -1 for none")
    elif neighbours is not None and neighbours < 1:
        raise ValueError(f"neighbours: expected at least 1, or None for all classes, got {neighbours}")


def _are_shares(proportions: Tensor) -> bool:
    """False where that can be seen: not on a GPU, where one would wait for it, nor while being traced."""
    if proportions.device.type != "cpu" or torch.compiler.is_compiling():
        return True
    return bool((proportions >= 0).all() and (proportions > 0).any(-1).all())


def _are_others(neighbours: Int64[Tensor, "B N k"]) -> bool:
    """False where a class is its own neighbour, or there is no such class; as far as that can be seen."""
    if neighbours.device.type != "cpu" or torch.compiler.is_compiling():
        return True
    n = neighbours.shape[1]
    itself = torch.arange(n)[:, None]
    return bool(((neighbours >= -1) & (neighbours < n) & (neighbours != itself)).all())


def _kind(x: Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)}"
