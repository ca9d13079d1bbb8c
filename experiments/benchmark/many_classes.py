"""Very many classes: queries against shortlists of a gallery, up to 100,000 classes; time, memory, accuracy.

Made-up features, 640 per image, one support per class, inductive. Class centres are Gaussian: *spread*, all
independent; *grouped*, 0.7 times such a vector plus the centre of one of √N groups; or *skewed*, independent,
and channel j of all vectors is scaled by 1 / √j. A support or a query is its class's centre plus Gaussian
noise of the given standard deviation. Each point is measured in a process
of its own, on a gallery that is mapped from its file; `resident` is all memory of that process at its peak.

    python experiments/benchmark/many_classes.py

writes ``many_classes.json``.
"""

import tempfile
import time
from typing import Any, NamedTuple

import torch
from growth import alone, exponent, pretrained, row
from lines import table
from measure import Times, machine, memory, race
from stages import parser, write
from torch import Tensor

from fewshot.graph.gallery import Gallery
from fewshot.graph.nearest import exact
from fewshot.graph.shortlist import SHORTLIST, shortlisted
from fewshot.graph.vectors import normalize

FEATURES, QUERIES = 640, 1000
SIZES = (1000, 10_000, 100_000)
KINDS = (("grouped", 1.5), ("grouped", 2.0), ("spread", 2.0), ("skewed", 1.0))
ALL = 10_000  # classes; up to these, or with an index, the graph on all of them is measured as well
NEIGHBOURS = 64  # that each class listens to there
EXPONENT, ROOM, POINTS = 0.6, 4.0, 0.2  # targets: the largest exponent, GiB, loss of accuracy
MILLION = 1_000_000


class Point(NamedTuple):
    classes: int
    kind: str
    noise: float
    queries: int = QUERIES
    features: int = FEATURES


def made_up(point: Point) -> tuple[Tensor, Tensor, Tensor]:
    """Supports [N, D], queries [M, D] and the queries' classes [M]."""
    generator = torch.Generator().manual_seed(0)
    n, kind, noise, m, d = point
    centres = torch.randn(n, d, generator=generator)
    if kind == "grouped":
        groups = torch.randn(max(1, int(n**0.5)), d, generator=generator)
        centres.mul_(0.7).add_(groups[torch.randint(len(groups), (n,), generator=generator)])
    labels = torch.randint(n, (m,), generator=generator)
    queries = centres[labels].add_(torch.randn(m, d, generator=generator), alpha=noise)
    centres.add_(torch.randn(n, d, generator=generator), alpha=noise)
    if kind == "skewed":
        scale = torch.arange(1, d + 1).rsqrt()
        centres.mul_(scale), queries.mul_(scale)
    return centres, queries, labels


def measure(point: Point) -> dict[str, Any]:
    """Figures of one point: seconds per query, memory in GiB, accuracies in percent."""
    supports, queries, labels = made_up(point)
    graph = pretrained()
    with tempfile.TemporaryDirectory() as folder:
        filled = Gallery(point.features)
        filled.add(supports, list(range(point.classes)))
        filled.save(folder)
        gallery = Gallery.open(folder)
        del filled
        start = time.perf_counter()
        gallery.nearest(queries[:1], 1)  # makes the index
        build = time.perf_counter() - start
        found, _ = shortlisted(graph, gallery, queries)
        works = {
            "all": lambda: shortlisted(graph, gallery, queries),
            "search": lambda: gallery.nearest(queries, SHORTLIST),
        }
        times = race(works, repetitions=3, warmup=0)
        seconds, search = (Times.of([x / len(queries) for x in times[name].all]) for name in works)
        resident = memory().peak / 2**30
        first = exact(normalize(queries), gallery.prototypes, gallery.indices(), SHORTLIST).classes[:, 0]
        index, recall = gallery._index, gallery.recall
        gallery._index = None  # the same by exact search
        best, _ = shortlisted(graph, gallery, queries)
        everything = None
        if point.classes <= ALL or index is not None:
            gallery._index = index
            near = neighbours(gallery)
            logits = graph(supports[None, :, None], queries[None], neighbours=near).logits
            everything = accuracy(logits[0].argmax(1), labels)
    return {
        **point._asdict(),
        "seconds": seconds._asdict(),
        "search": search.median,
        "build": build,
        "resident": resident,
        "recall": recall,
        "lists_read": index and index.read,
        "prototypes": accuracy(first, labels),
        "shortlist": accuracy(found[:, 0], labels),
        "exact": accuracy(best[:, 0], labels),
        "all": everything,
    }


def neighbours(gallery: Gallery) -> Tensor:
    """The classes nearest to each class [1, N, k], itself left out; all are in the order of their indices."""
    found = []
    for part in gallery.indices().split(5000):
        near = gallery.nearest(gallery.prototypes(part), NEIGHBOURS + 1).classes
        near = near.masked_fill(near == part[:, None], -1)
        found.append(near.sort(dim=1, descending=True).values[:, :NEIGHBOURS])
    return torch.cat(found)[None]


def accuracy(found: Tensor, labels: Tensor) -> float:
    return 100 * (found == labels).double().mean().item()


def verdicts(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for kind, noise in dict.fromkeys((p["kind"], p["noise"]) for p in points):
        own = [p for p in points if (p["kind"], p["noise"]) == (kind, noise)]
        name, last = f"{kind}, noise {noise:g}", own[-1]
        grown = exponent(own, "exponent of time")
        ends = f"{own[0]['classes']:,} to {last['classes']:,} classes"
        rows.append(row(f"{name}, {ends}: exponent of time per query", grown, EXPONENT))
        rows.append(row(f"{name}, {last['classes']:,} classes: resident", last["resident"], ROOM, "GiB"))
        for p in own:
            work = f"{name}, {p['classes']:,} classes: accuracy lost"
            rows.append(row(f"{work} by the index", p["exact"] - p["shortlist"], POINTS, "points"))
            if p["all"] is not None:
                rows.append(row(f"{work} to all classes", p["all"] - p["shortlist"], POINTS, "points"))
        # The search takes at most as many times as long as there are more classes; the graph takes as long.
        million = 1e3 * (last["seconds"]["median"] + last["search"] * (MILLION / last["classes"] - 1))
        slope = (last["resident"] - own[0]["resident"]) / (last["classes"] - own[0]["classes"])
        room = last["resident"] + slope * (MILLION - last["classes"])
        name = f"{name}, {MILLION:,} classes, at most"
        rows.append(row(f"{name}: time per query", million, unit="ms"))
        rows.append(row(f"{name}: resident", room, unit="GiB"))
    return rows


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of classes")
    arguments = options.parse_args(argv)
    points: list[dict[str, Any]] = []
    for kind, noise in KINDS:
        for classes in arguments.sizes:
            points.append(alone(measure, Point(classes, kind, noise)))
            print({k: v for k, v in points[-1].items() if k != "seconds"}, flush=True)
        rows = verdicts(points)
        content = {"stage": "many_classes", "machine": machine(), "shortlist": SHORTLIST, "rows": rows}
        write(arguments.results / "many_classes.json", {**content, "points": points})
    print(f"many_classes\n{table(rows)}\n", flush=True)


if __name__ == "__main__":
    main()
