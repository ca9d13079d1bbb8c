"""The class graph of an episode as data: GraphML and JSON."""

import json
from pathlib import Path
from typing import Any

import networkx
import numpy as np

from fewshot.core.escape import printable
from fewshot.core.files import write_text
from fewshot.report.picture import DECIMALS, Picture


def to_networkx(picture: Picture) -> networkx.DiGraph:
    """All edges as a directed graph, from the class that is listened to to the one that listens.

    With known classes, nodes have a ``kind``: "class" with its ``belief``, or "known". The known classes that
    are listened to have the numbers from N on.
    """
    graph = networkx.DiGraph()
    graph.add_nodes_from((i, {"name": name}) for i, name in enumerate(picture.names))
    graph.add_weighted_edges_from(picture.edges())
    if picture.known is not None:
        for i, belief in enumerate(picture.known.belief.tolist()):
            graph.nodes[i].update(kind="class", belief=round(belief, DECIMALS))
        for c, i, weight in picture.known.edges():
            source = len(picture.names) + c
            graph.add_node(source, name=picture.known.names[c], kind="known")
            graph.add_edge(source, i, weight=weight)
    return graph


def write_graphml(path: Path, picture: Picture) -> None:
    """Write all edges as GraphML; nodes have a ``name``, edges a ``weight``."""
    graph = to_networkx(picture)
    for _, node in graph.nodes(data=True):
        node["name"] = printable(node["name"])  # XML has no control characters
    networkx.write_graphml_xml(graph, path)


def write_json(path: Path, picture: Picture) -> None:
    """Write the names, the dependencies as a matrix, and all edges as node-link data."""
    content = {**matrices(picture), **networkx.node_link_data(to_networkx(picture), edges="edges")}
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def matrices(picture: Picture) -> dict[str, Any]:
    """The names and dependencies of the classes, and of known classes if there are any, as plain values."""
    content: dict[str, Any] = {
        "classes": list(picture.names),
        "dependencies": _rounded(picture.dependencies),
    }
    if picture.known is not None:
        content["known"] = {
            "classes": list(picture.known.names),
            "dependencies": _rounded(picture.known.dependencies),
            "belief": _rounded(picture.known.belief),
        }
    return content


def _rounded(values: np.ndarray) -> Any:
    return np.round(values.astype(float), DECIMALS).tolist()
