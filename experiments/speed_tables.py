"""The tables of time and memory."""

import sys
from pathlib import Path

from result_files import markdown, result

sys.path.append(str(Path(__file__).parent / "benchmark"))
import summary
from lines import number


def speed() -> str:
    """All stages of the benchmark."""
    return summary.markdown()


def growth() -> str:
    """How time and memory of the sparse graph grow with the number of classes."""
    rows = {row["work"]: row["ours_each"] for row in result("benchmark/growth")["rows"]}
    lines = [["mode", "time", "memory", "10,000 classes, 1,000 queries"], ["---"] * 4]
    for mode in ("inductive", "joint", "finding the neighbours"):
        time, memory = (
            f"N<sup>{rows[f'{mode}, 1,000 to 10,000 classes: exponent of {cost}']:.1f}</sup>"
            for cost in ("time", "memory")
        )
        resident = rows.get(f"{mode}, 10,000 classes: resident")
        lines.append([mode, time, memory, "" if resident is None else f"{resident:.1f} GiB"])
    return markdown(lines)


def many_classes() -> str:
    """Queries against shortlists of very many classes: time, memory and accuracy."""
    heads = ["classes", "made-up features", "search", "recall", "ms per query", "GiB", "nearest prototype"]
    heads += ["shortlist", "of an exact search", "all classes"]
    lines = [heads, ["---"] * len(heads)]
    for point in result("benchmark/many_classes")["points"]:
        cells = [f"{point['classes']:,}", f"{point['kind']}, noise {point['noise']:g}"]
        cells += ["exact", ""] if point["recall"] is None else ["index", f"{100 * point['recall']:.1f} %"]
        cells += [f"{1e3 * point['seconds']['median']:.1f}", f"{point['resident']:.1f}"]
        accuracies = (point[name] for name in ("prototypes", "shortlist", "exact", "all"))
        lines.append(cells + ["" if x is None else f"{x:.1f}" for x in accuracies])
    return markdown(lines)


def rehearsal() -> str:
    """A training at miniImageNet's size, on processors and on a GPU."""
    files = [result(f"benchmark/rehearsal{where}") for where in ("", "_gpu")]
    machines = [file["machine"] for file in files]
    names = [machine["gpu"] or f"{machine['cores']} cores of {machine['cpu']}" for machine in machines]
    lines = [["work", *names], ["---"] * 3]
    for rows in zip(*(file["rows"] for file in files), strict=True):
        cells = []
        for row in rows:
            rate = row.get("images_a_second")
            more = f" ({number(rate)} images/s)" if rate else ""
            cells.append(number(row["ours_each"], row["unit"]) + more)
        lines.append([rows[0]["work"], *cells])
    return markdown(lines)


def gpu() -> str:
    """Training on a GPU, compared with learn2learn."""
    file = result("benchmark/training_gpu")
    heads = [f"{file['machine']['gpu']}: training", "ours", "learn2learn", "ratio", "images/s"]
    lines = [heads, ["---"] * len(heads)]
    for row in file["rows"]:
        times = [number(row[whose], row["unit"]) for whose in ("ours_each", "theirs_each")]
        lines.append([row["work"], *times, number(row["ratio"]), number(row["images_a_second"])])
    return markdown(lines)
