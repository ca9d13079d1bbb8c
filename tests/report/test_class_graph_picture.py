"""Class graphs as pictures and data: what is written is what was given."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import networkx
import numpy as np
import pytest
from PIL import Image

from fewshot.core.errors import InputError
from fewshot.report.class_graph import KnownEdges, Picture, caption, save, to_svg
from fewshot.report.class_graph_layout import curve, extent, lines_of, places, radius, thumbnail_size
from fewshot.report.html import shorten
from fewshot.report.picture import drawn_edges, known_caption


def picture(n, seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.random((n, n)) + 0.1
    np.fill_diagonal(weights, 0)
    images = [rng.integers(0, 255, (1 if i % 2 else 3, 24, 24), dtype=np.uint8) for i in range(n)]
    names = ["<b> & $x$", *(f"class {i}" for i in range(1, n))]
    return Picture(names, weights / weights.sum(1, keepdims=True), images)


HEARD = KnownEdges(
    ["crane", "<i>bittern</i>", "a $very$ long name of a known class", "mug", "bus", "bee"],
    np.array([[0.31, 0.22, 0.2, 0.17, 0.06, 0.04], [0.0] * 6, [0.96, 0.04, 0, 0, 0, 0]]),
    np.array([0.8, 0.0, 0.25]),
)


def with_known(n=3):
    """Three classes, or copies of them, that listen to known classes; nothing is known of the second one."""
    rows = np.arange(n) % 3
    return replace(picture(n), known=KnownEdges(HEARD.names, HEARD.dependencies[rows], HEARD.belief[rows]))


@pytest.mark.parametrize("n", [2, 5, 12, 30])
def test_png_is_an_image(tmp_path, n):
    image = Image.open(save(tmp_path / "graph.png", picture(n)))
    assert image.width == 1600
    assert len(set(np.asarray(image.convert("L")).flat)) > 50
    assert [file.name for file in tmp_path.iterdir()] == ["graph.png"]  # no temporary file is left


def test_graphml_and_json_hold_the_same_weights(tmp_path):
    drawn = picture(6)
    graph = networkx.read_graphml(save(tmp_path / "graph.graphml", drawn), node_type=int)
    content = json.loads(save(tmp_path / "graph.json", drawn).read_text())
    assert content["classes"] == list(drawn.names)
    np.testing.assert_allclose(content["dependencies"], drawn.dependencies, atol=5e-5)
    assert graph.nodes[0]["name"] == "<b> & $x$"
    assert graph.number_of_edges() == 30
    # Row i listens to j: an edge from j to i.
    assert graph.edges[4, 1]["weight"] == pytest.approx(drawn.dependencies[1, 4], abs=5e-5)
    again = networkx.node_link_graph(content, edges="edges")
    assert {(j, i): w for j, i, w in again.edges(data="weight")} == {
        (j, i): w for j, i, w in graph.edges(data="weight")
    }


def test_html_is_self_contained_and_escapes_names(tmp_path):
    text = save(tmp_path / "graph.html", picture(5)).read_text()
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    assert "<b>" not in text
    assert "&lt;b&gt; &amp; $x$" in text
    data = text.split('id="graph">')[1].split("</script>")[0]
    assert json.loads(data)["classes"][0] == "<b> & $x$"


@pytest.mark.parametrize("n", [2, 4, 5, 6, 13, 100])
def test_svg_draws_each_class_and_the_strongest_edges_of_each(n):
    drawn = picture(n)
    root = ElementTree.fromstring(to_svg(drawn))
    groups = root.findall("g")
    assert sum(g.get("class") == "node" for g in groups) == n
    edges = [(int(g.get("data-to")), int(g.get("data-from"))) for g in groups if g.get("class") == "edge"]
    most = min(drawn_edges(drawn), n - 1)
    expected = {(i, j) for i in range(n) for j in np.argsort(-drawn.dependencies[i])[:most]}
    assert set(edges) == expected
    assert len(edges) == n * most


@pytest.mark.parametrize("n", [2, 3, 6, 12, 30, 100])
def test_images_do_not_overlap_and_curves_are_finite(n):
    spots, side = places(picture(n).dependencies), thumbnail_size(n)
    for i, a in enumerate(spots):
        for b in spots[:i]:
            assert max(abs(a.x - b.x), abs(a.y - b.y)) > side
            assert n < 13 or radius(n) * side > 40  # pixels: the content of the image is visible
            assert np.isfinite(curve(a, b, n)).all()


def test_layout_puts_a_pair_that_depends_on_each_other_next_to_each_other():
    weights = np.full((8, 8), 0.01)
    for i, j in [(0, 5), (1, 4), (2, 7), (3, 6)]:
        weights[i, j] = weights[j, i] = 1.0
    np.fill_diagonal(weights, 0)
    spots = places(weights)
    step = 2 * np.sin(np.pi / 8)  # between neighbours on the circle
    for i, j in [(0, 5), (1, 4), (2, 7), (3, 6)]:
        assert np.hypot(spots[i].x - spots[j].x, spots[i].y - spots[j].y) == pytest.approx(step)


def test_caption_says_which_edges_are_drawn():
    assert "listens" in caption(picture(5))
    assert "All are drawn" in caption(picture(5))
    assert "The 2 strongest of each class's 19 are drawn" in caption(picture(20))


def test_a_class_that_listens_to_no_one_has_no_edge():
    drawn = Picture(["a", "b"], np.array([[0.0, 0.0], [1.0, 0.0]]), [np.zeros((1, 8, 8), np.uint8)] * 2)
    assert drawn.edges() == [(0, 1, 1.0)]


def test_existing_file_stays_when_drawing_fails(tmp_path):
    (tmp_path / "graph.png").write_text("mine")
    broken = Picture(["a", "b"], np.eye(2), [np.zeros((2, 8, 8), np.uint8)] * 2)  # two channels
    with pytest.raises(Exception):  # noqa: B017, PT011
        save(tmp_path / "graph.png", broken)
    assert (tmp_path / "graph.png").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_refusals(tmp_path):
    with pytest.raises(
        InputError, match=r"out: expected a file that ends in .png, .html, .graphml, .json, got"
    ):
        save(tmp_path / "graph.svg", picture(2))
    with pytest.raises(InputError, match=r"dependencies: expected \[3, 3\] and 3 images"):
        Picture(["a", "b", "c"], np.eye(2), [])
    assert shorten("short") == "short"


def test_the_strongest_known_classes_are_at_most_three_above_five_percent():
    assert HEARD.strongest(0) == [("crane", 0.31), ("<i>bittern</i>", 0.22), (HEARD.names[2], 0.2)]
    assert HEARD.strongest(0, most=6)[-1] == ("bus", 0.06)  # 0.04 is too little
    assert HEARD.strongest(1) == []
    assert HEARD.strongest(2) == [("crane", 0.96)]
    flat = KnownEdges([str(c) for c in range(50)], np.full((1, 50), 0.02), np.ones(1))
    assert flat.strongest(0) == [("0", 0.02)]  # the first one always
    assert HEARD.sentence(0).startswith("listens to: crane 0.31, <i>bittern</i> 0.22, a $very$ long")
    assert HEARD.lines(0) == [
        "crane 0.31",
        "<i>bittern</i> 0.22",
        "a $very$ l…nown class 0.20",
        "belief 0.80",
    ]


def test_graphml_and_json_have_known_classes_as_nodes(tmp_path):
    drawn = with_known()
    graph = networkx.read_graphml(save(tmp_path / "graph.graphml", drawn), node_type=int)
    content = json.loads(save(tmp_path / "graph.json", drawn).read_text())
    kinds = dict(graph.nodes(data="kind"))
    assert [kinds[i] for i in range(9)] == ["class"] * 3 + ["known"] * 6
    assert graph.nodes[4]["name"] == "<i>bittern</i>"
    assert graph.nodes[0]["belief"] == 0.8
    assert graph.edges[4, 0]["weight"] == 0.22
    assert graph.number_of_edges() == 6 + 6 + 2
    assert not any(graph.in_degree(c) for c in range(3, 9))  # known classes listen to no one
    assert content["known"]["classes"] == list(HEARD.names)
    assert content["known"]["dependencies"] == HEARD.dependencies.tolist()
    assert content["known"]["belief"] == HEARD.belief.tolist()
    again = networkx.node_link_graph(content, edges="edges")
    assert again.nodes(data=True)[4] == {"name": "<i>bittern</i>", "kind": "known"}
    assert again.edges[4, 0]["weight"] == 0.22


@pytest.mark.parametrize("n", [2, 3, 7, 12])
def test_svg_shows_known_classes_next_to_their_class(n):
    drawn = with_known(n)
    nodes = [g for g in ElementTree.fromstring(to_svg(drawn)).findall("g") if g.get("class") == "node"]
    for i, node in enumerate(nodes):
        shown = [text.text for text in node.findall("text") if text.get("class") == "known"]
        assert shown == drawn.known.lines(i, 3 if n <= 8 else 2)
        assert len([path for path in node.findall("path") if path.get("stroke-dasharray")]) == max(
            len(shown) - 1, 0
        )
    assert "listens to: crane 0.31, <i>bittern</i> 0.22" in nodes[0].find("title").text
    assert nodes[1].find("title").text == "class 1"  # nothing is known of it


@pytest.mark.parametrize("n", [2, 3, 5, 6, 9, 12])
def test_lines_on_known_classes_stay_in_the_picture_and_apart(n):
    spots = places(picture(n).dependencies)
    low, high = extent(spots, 4)
    levels = []
    for spot in spots:
        lines = lines_of(spot, 4)
        assert all(low + 0.05 < line.text[1] < high - 0.05 for line in lines)
        outwards = [abs(line.text[1] - spot.label[1]) for line in lines]
        assert outwards == sorted(outwards)
        assert all(line.anchor != "middle" for line in lines)
        levels.append([spot.label[1], *(line.text[1] for line in lines)])
    assert all(min(np.diff(sorted(level))) > 0.07 for level in levels)  # 25 pixels


def test_html_lists_known_classes_and_escapes_them(tmp_path):
    text = save(tmp_path / "graph.html", with_known()).read_text()
    assert "<i>" not in text
    assert "&lt;i&gt;bittern&lt;/i&gt; 0.22" in text
    data = json.loads(text.split('id="graph">')[1].split("</script>")[0])
    assert data["known"]["classes"][1] == "<i>bittern</i>"
    assert "listens to known classes" in text
    assert "known" not in save(tmp_path / "plain.html", picture(3)).read_text()


@pytest.mark.parametrize("n", [3, 12, 20])
def test_png_and_caption_with_known_classes(tmp_path, n):
    drawn = with_known(n)
    image = Image.open(save(tmp_path / "graph.png", drawn))
    assert image.width == 1600
    assert ("on dashed lines: the known classes" in known_caption(drawn)) == (n <= 12)
    assert ("not drawn" in known_caption(drawn)) == (n > 12)
    assert known_caption(picture(n)) == ""


def test_without_known_classes_data_is_as_before(tmp_path):
    content = json.loads(save(tmp_path / "graph.json", picture(3)).read_text())
    assert set(content) == {"classes", "dependencies", "directed", "multigraph", "graph", "nodes", "edges"}
    assert all(set(node) == {"id", "name"} for node in content["nodes"])


def test_known_classes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"dependencies: expected \[3, 2\], one row per class"):
        KnownEdges(["a", "b"], np.zeros((3, 3)), np.zeros(3))
    with pytest.raises(InputError, match="known: expected edges to 4 classes, got edges to 3"):
        replace(picture(4), known=HEARD)
