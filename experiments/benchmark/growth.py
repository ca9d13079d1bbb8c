"""How the graph's time and memory grow with classes N, known classes C, queries M, features D, episodes B.

The graph, inductive and joint, listens to all classes (dense) or to ten (sparse), known ones likewise;
1-shot, without gradients, in single precision. Each point is measured in a process of its own. Finding the
neighbours is timed separately. Memory is the rise of the process's resident memory once the inputs are in
place, minus the bytes of the outputs (logits, prototypes, dependencies): what is needed beyond inputs and
outputs.

    python experiments/benchmark/growth.py [--picture]

writes ``growth.json`` and ``growth.png``; ``--picture`` draws the kept figures again.
"""

import ctypes
import gc
import json
import math
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import torch
from growth_picture import draw
from lines import table, verdict
from measure import machine, memory, peak_memory, race
from stages import parser, write
from torch import Tensor

from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.edges import nearest_classes
from fewshot.graph.vectors import normalize

NEIGHBOURS = 10
EXPONENT, SAME, ROOM = 1.2, 1e-5, 8.0  # targets: the largest exponent; difference of logits; GiB


class Size(NamedTuple):
    classes: int = 100
    queries: int = 1000
    features: int = 640
    episodes: int = 1
    known: int = 0


class Point(NamedTuple):
    size: Size
    joint: bool
    sparse: bool


# What grows in each column of the picture, and what does not.
CURVES = {
    "classes": [Size(classes=n) for n in (5, 20, 100, 300, 1000, 2000, 5000, 10_000)],
    "known": [Size(5, 75, 640, 16, c) for c in (16, 64, 250, 1000, 4000)],
    "queries": [Size(queries=m) for m in (1, 10, 100, 1000, 10_000)],
    "features": [Size(features=d) for d in (64, 128, 256, 512, 1024, 2048)],
    "episodes": [Size(5, 75, 640, b) for b in (1, 4, 16, 64, 256)],
}
MANY = [size for size in CURVES["classes"] if size.classes >= 1000]
FEW_KNOWN, MORE_TIME = 64, 1.5  # known classes, and how many times as long an episode may take with them
DENSE = 2000  # classes; beyond it the curves are of sparse edges only
MODES, SEARCH = {"inductive": False, "joint": True}, "finding the neighbours"
COSTS: dict[str, Callable[[dict[str, Any]], float]] = {
    "exponent of time": lambda point: point["seconds"]["median"],
    "exponent of memory": lambda point: max(point["bytes"], 4096),  # a page; less cannot be measured
}


def pretrained() -> ClassGraph:
    return ClassGraph.pretrained().requires_grad_(False)


def inputs(size: Size) -> tuple[Tensor, Tensor]:
    """Features of classes with a spread of their own: support [B, N, 1, D], query [B, M, D]."""
    generator = torch.Generator().manual_seed(0)
    n, m, d, b, _ = size
    support = torch.randn(b, n, 1, d, generator=generator)
    of = torch.randint(n, (m,), generator=generator)
    return support, torch.randn(b, m, d, generator=generator).add_(support[:, of, 0])


def knowledge(size: Size) -> dict[str, Tensor]:
    """Known classes [C, D] and relations to them [B, N, C], as the graph takes them; none without any."""
    generator = torch.Generator().manual_seed(1)
    if not size.known:
        return {}
    relations = torch.rand(size.episodes, size.classes, size.known, generator=generator)
    return {"known": torch.randn(size.known, size.features, generator=generator), "relations": relations}


def find(support: Tensor) -> Tensor:
    b, n = support.shape[:2]
    classes = torch.ones(b, n, dtype=torch.bool)
    return nearest_classes(normalize(support[:, :, 0]), classes, min(NEIGHBOURS, n - 1))


def measured(work: Callable[[], Any], least: int) -> dict[str, Any]:
    """Memory of the first call, and seconds of some calls after it, more if they are quick."""
    ctypes.CDLL(None).malloc_trim(0)  # or memory that was freed earlier would hide what is needed now
    start = time.perf_counter()
    rise = peak_memory(work)
    repetitions = math.ceil(0.3 / (time.perf_counter() - start))
    times = race({"": work}, max(least, min(15, repetitions)), warmup=0)[""]
    return {"seconds": times._asdict(), "bytes": rise}


def classify(point: Point, least: int) -> dict[str, Any]:
    graph = pretrained()
    graph(*inputs(Size(5, 10)), joint=point.joint, neighbours=2)  # what any first call loads
    support, query = inputs(point.size)
    given = knowledge(point.size)
    # The nearest known classes are found in each call, so a number says how many.
    near = (NEIGHBOURS if given else find(support)) if point.sparse else None
    outputs = 0

    def work() -> None:
        nonlocal outputs
        out = graph(support, query, joint=point.joint, neighbours=near, **given)
        edges = []
        for dependencies in filter(lambda x: x is not None, (out.dependencies, out.known_dependencies)):
            edges += [dependencies] if isinstance(dependencies, Tensor) else list(dependencies)
        outputs = sum(x.nbytes for x in (out.logits, out.prototypes, *edges))

    figures = measured(work, least)
    return {**figures, "bytes": figures["bytes"] - outputs, "outputs": outputs}


def search(size: Size, least: int) -> dict[str, Any]:
    """Finding the neighbours alone."""
    support, _ = inputs(size)
    find(support[:, :20])
    return measured(lambda: find(support), least)


def resident(size: Size, joint: bool) -> float:
    """The peak memory in GiB of a whole process that finds neighbours and classifies queries."""
    logits = pretrained()(*inputs(size), joint=joint, neighbours=NEIGHBOURS).logits
    assert logits.isfinite().all()
    return memory().peak / 2**30


def difference(size: Size, joint: bool) -> float:
    """The largest difference of a logit between sparse edges to all other classes and dense edges.

    As a share of the largest logit, but at least of 1: beyond a hundred, 1e-5 is less than float32 can tell.
    """
    graph, (support, query) = pretrained(), inputs(size)
    dense, sparse = (graph(support, query, joint=joint, neighbours=k) for k in (None, size.classes - 1))
    return ((dense.logits - sparse.logits).abs().max() / dense.logits.abs().max().clamp_min(1)).item()


def beside_dense(size: Size, joint: bool) -> float:
    """How many times as long few classes take along sparse edges, including the search for neighbours."""
    graph, (support, query) = pretrained(), inputs(size)
    works = {
        k: lambda k=k: graph(support, query, joint=joint, neighbours=k) for k in (None, size.classes - 1)
    }
    dense, sparse = race(works, repetitions=30, warmup=3).values()
    return sparse.median / dense.median


def with_known(size: Size, joint: bool) -> float:
    """How many times as long episodes take with known classes."""
    graph, (support, query) = pretrained(), inputs(size)
    works = {
        c: lambda given=given: graph(support, query, joint=joint, **given)
        for c, given in ((0, {}), (size.known, knowledge(size)))
    }
    without, given = race(works, repetitions=30, warmup=3).values()
    return given.median / without.median


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """The result of work in a process of its own; the libraries are loaded once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fewshot.graph.class_graph", "fewshot.report.comparison_chart"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_unburdened, work, *arguments).result()


def _unburdened(work: Callable[..., Any], *arguments: Any) -> Any:
    gc.freeze()  # or every `race` scans all that the libraries hold
    return work(*arguments)


def curves(least: int) -> list[dict[str, Any]]:
    """All points, by what grows: for each kind of edges and mode, and for finding the neighbours."""
    kept: dict[Point, dict[str, Any]] = {}  # some points lie on several curves
    found = []
    for along, sizes in CURVES.items():
        for mode, joint in MODES.items():
            for sparse in (False, True):
                some = [size for size in sizes if sparse or size.classes <= DENSE]
                for point in (Point(size, joint, sparse) for size in some):
                    if point not in kept:
                        kept[point] = alone(classify, point, least)
                points = [{**size._asdict(), **kept[Point(size, joint, sparse)]} for size in some]
                name = {"along": along, "mode": mode, "edges": "sparse" if sparse else "dense"}
                found.append({**name, "points": points})
                print(f"{along}, {mode}, {name['edges']}: {_ends(points)}", flush=True)
    points = [{**size._asdict(), **alone(search, size, least)} for size in MANY]
    print(f"classes, {SEARCH}: {_ends(points)}", flush=True)
    return [*found, {"along": "classes", "mode": SEARCH, "edges": "sparse", "points": points}]


def _ends(points: list[dict[str, Any]]) -> str:
    ends = points[0], points[-1]
    return " to ".join(f"{p['seconds']['median']:.3g} s, {p['bytes'] / 2**20:.0f} MiB" for p in ends)


def exponent(points: list[dict[str, Any]], cost: str, along: str = "classes") -> float:
    """The slope of a line through the logarithms: cost grows as the number of classes to this power."""
    x, y = (
        torch.tensor([math.log(of(p)) for p in points], dtype=torch.float64)
        for of in (lambda p: p[along], COSTS[cost])
    )
    x = x - x.mean()
    return ((x * y).sum() / (x * x).sum()).item()


def row(work: str, figure: float, most: float | None = None, unit: str = "") -> dict[str, Any]:
    """A row of `lines.table`, for a figure with an upper limit."""
    ours = {"ours_each": figure, "unit": unit, "target": most, "at_most": True}
    nobody = {"against": "", "theirs_each": None, "ratio": None, "limit": None, "note": ""}
    return {"work": work, **ours, **nobody, "verdict": verdict(figure, most, at_most=True)}


def verdicts(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The table: exponents, and the other targets."""
    rows, few, many = [], MANY[0], MANY[-1]
    for curve in found:
        if curve["along"] == "classes" and curve["edges"] == "sparse":
            points = [p for p in curve["points"] if p["classes"] >= few.classes]
            most = None if curve["mode"] == SEARCH else EXPONENT
            work = f"{curve['mode']}, {few.classes:,} to {many.classes:,} classes"
            rows += [row(f"{work}: {cost}", exponent(points, cost), most) for cost in COSTS]
        if curve["along"] == "known" and curve["edges"] == "sparse":
            points = [p for p in curve["points"] if p["known"] >= FEW_KNOWN]
            work = f"{curve['mode']}, {FEW_KNOWN} to {points[-1]['known']:,} known classes"
            rows += [row(f"{work}: {cost}", exponent(points, cost, "known"), EXPONENT) for cost in COSTS]
    for mode, joint in MODES.items():
        of_many, of_few = f"{mode}, {many.classes:,} classes", f"{mode}, {few.classes:,} classes"
        rows.append(row(f"{of_many}: resident", alone(resident, many, joint), ROOM, "GiB"))
        rows.append(row(f"{of_few}: sparse minus dense", alone(difference, few, joint), SAME))
        for b in (1, 64):
            ratio = alone(beside_dense, Size(12, 180, 640, b), joint)
            rows.append(row(f"{mode}, 12 classes, batch of {b}: sparse", ratio, unit="of dense's time"))
        for n in (5, 20):
            ratio = alone(with_known, Size(n, 15 * n, 640, 16, FEW_KNOWN), joint)
            work = f"{mode}, {n} classes: {FEW_KNOWN} known classes"
            rows.append(row(work, ratio, MORE_TIME, "of the time without"))
    return rows


def notes(rows: list[dict[str, Any]]) -> list[str]:
    """The exponents as text, next to the curves of time and of memory."""
    said = []
    for cost in COSTS:
        left_out = (SEARCH, "known")
        found = [
            row for row in rows if row["work"].endswith(cost) and not any(x in row["work"] for x in left_out)
        ]
        words = (f"{row['work'].split(',')[0]}, sparse: $N^{{{row['ours_each']:.2f}}}$" for row in found)
        said.append("\n".join(words))
    return said


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--repetitions", type=int, default=3, help="the fewest per point")
    options.add_argument("--picture", action="store_true", help="only draw the kept figures again")
    arguments = options.parse_args(argv)
    file = arguments.results / "growth.json"
    if not arguments.picture:
        found = curves(arguments.repetitions)
        content = {"stage": "growth", "machine": machine(), "neighbours": NEIGHBOURS, "rows": verdicts(found)}
        write(file, {**content, "curves": found})
    content = json.loads(file.read_text())
    draw(file.with_suffix(".png"), content["curves"], notes(content["rows"]))
    print(f"growth\n{table(content['rows'])}\n", flush=True)


if __name__ == "__main__":
    main()
