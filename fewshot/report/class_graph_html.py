"""The class graph of an episode as a page: hovering over a class shows all its weights."""

import json
from pathlib import Path

from fewshot.core.files import write_text
from fewshot.report.class_graph_data import matrices
from fewshot.report.class_graph_svg import to_figure
from fewshot.report.html import page
from fewshot.report.picture import Picture

HOVER = """
<style>
.node { cursor: default; } svg.lit .edge { display: none; } svg.lit .edge.on { display: inline; opacity: 1; }
#weights { display: grid; grid-template-columns: 1fr 1fr; gap: 2rem; min-height: 6rem; }
#weights td { padding: .1rem .9rem .1rem 0; }
</style>
<div id="weights"><p class="soft">Hover over a class to see its weights.</p></div>
<script>
const {classes, dependencies} = JSON.parse(document.getElementById("graph").textContent);
const svg = document.querySelector("svg"), panel = document.getElementById("weights");
function list(title, weights) {
  const box = document.createElement("div"), table = document.createElement("table");
  box.append(Object.assign(document.createElement("h2"), {textContent: title}), table);
  weights.filter(([w]) => w > 0).sort((a, b) => b[0] - a[0]).forEach(([w, j]) => {
    const row = table.insertRow();
    row.insertCell().textContent = w.toFixed(3);
    row.insertCell().textContent = classes[j];
  });
  return box;
}
for (const node of svg.querySelectorAll(".node")) {
  const i = +node.dataset.i;
  node.addEventListener("mouseenter", () => {
    svg.classList.add("lit");
    svg.querySelectorAll(".edge").forEach(e =>
      e.classList.toggle("on", +e.dataset.from === i || +e.dataset.to === i));
    panel.replaceChildren(
      list(`${classes[i]} listens to`, dependencies[i].map((w, j) => [w, j])),
      list(`who listens to ${classes[i]}`, dependencies.map((row, j) => [row[i], j])));
  });
  node.addEventListener("mouseleave", () => svg.classList.remove("lit"));
}
</script>
"""

# Known classes have the numbers from N on.
HOVER_KNOWN = """
<style>#weights { grid-template-columns: 1fr 1fr 1fr; }</style>
<script>
const {known} = JSON.parse(document.getElementById("graph").textContent), first = classes.length;
classes.push(...known.classes);
for (const node of svg.querySelectorAll(".node")) {
  const i = +node.dataset.i;
  const heard = known.dependencies[i].map((w, c) => [w, first + c]).sort((a, b) => b[0] - a[0]).slice(0, 10);
  const title = `${classes[i]} listens to known classes, belief ${known.belief[i].toFixed(2)}`;
  if (heard.some(([w]) => w > 0)) node.addEventListener("mouseenter", () => panel.append(list(title, heard)));
}
</script>
"""


def write_html(path: Path, picture: Picture) -> None:
    """Write a self-contained page with the graph; hovering over a class shows all its weights."""
    # A "<" in a name could end the element; JSON reads its escape as the same character.
    text = json.dumps(matrices(picture), ensure_ascii=False).replace("<", "\\u003c")
    more = "" if picture.known is None else HOVER_KNOWN
    body = (
        f"<h1>Class graph</h1>{to_figure(picture)}"
        f'<script type="application/json" id="graph">{text}</script>{HOVER}{more}'
    )
    write_text(path, page("Class graph", body))
