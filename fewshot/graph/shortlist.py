"""Queries classified by the class graph on the classes nearest to each, among very many."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from fewshot.graph.gallery import Gallery

SHORTLIST = 64  # classes against which a query is classified
PIECE = 2**20  # numbers of supports that are gathered at a time: what a cache holds


@torch.no_grad()
def shortlisted(
    graph: nn.Module, gallery: Gallery, query: Float[Tensor, "M D"], k: int = SHORTLIST
) -> tuple[Int64[Tensor, "M k"], Float[Tensor, "M k"]]:
    """Classify each query by the class graph on the k classes that are nearest to it, inductively.

    Args:
        graph: a `ClassGraph`, or any module with its call.
        gallery: all classes.
        query: **[M, D]**.
        k: classes per query; default 64.

    Returns:
        The classes' indices in the gallery **[M, k]** and their logits, the largest first; -1 and -inf where
        there are fewer.

    >>> from fewshot import ClassGraph
    >>> gallery = Gallery(16)
    >>> gallery.add(torch.eye(16), list(range(16)))
    >>> index, logits = shortlisted(ClassGraph.pretrained(), gallery, torch.eye(16)[:3] + 0.1, 4)
    >>> index[:, 0].tolist(), logits.shape
    ([0, 1, 2], torch.Size([3, 4]))
    """
    found = gallery.nearest(query, min(k, len(gallery))).classes
    here = next((x.device for x in graph.parameters()), query.device)
    queries = max(1, PIECE // (k * gallery.shots * gallery.size))  # at a time
    logits = []
    for near, part in zip(found.split(queries), query[:, None].split(queries), strict=True):
        supports, mask = gallery.supports(near)
        out = graph(supports.to(here, query.dtype), part.to(here), support_mask=mask.to(here))
        logits.append(out.logits[:, 0].cpu())
    best = torch.cat(logits).sort(dim=1, descending=True, stable=True)
    return found.gather(1, best.indices), best.values
