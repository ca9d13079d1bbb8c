"""The model card of an exported model: what it is, how to call it, its results and its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from fewshot import __version__
from fewshot.core import shipped
from fewshot.core.escape import code, markdown
from fewshot.core.modes import Mode
from fewshot.core.untrusted.documents import read_yaml
from fewshot.model.few_shot import GraphFewShot

CALL = {
    "onnx": """\
import numpy as np
import onnxruntime
{imports}
backbone = onnxruntime.InferenceSession("backbone.onnx")
graph = onnxruntime.InferenceSession("graph.onnx")

support_images = np.random.randint(0, 256, (5, 3, {shape}), np.uint8)  # yours: [N, K, C, H, W]
query_images = np.random.randint(0, 256, (20, {shape}), np.uint8)  # yours: [M, C, H, W]

(support,) = backbone.run(None, {{"images": support_images.reshape(-1, {shape})}})
(query,) = backbone.run(None, {{"images": query_images}})
support = support.reshape(1, *support_images.shape[:2], -1)  # one episode, B = 1
inputs = {{"support": support, "query": query[None]}}
{known}logits, prototypes, dependencies{more} = graph.run(None, inputs)
classes = logits[0].argmax(-1)  # of each query
""",
    "torch": """\
{imports}import torch

backbone = torch.export.load("backbone.pt2").module()
graph = torch.export.load("graph.pt2").module()

support_images = torch.randint(256, (5, 3, {shape}), dtype=torch.uint8)  # yours: [N, K, C, H, W]
query_images = torch.randint(256, (20, {shape}), dtype=torch.uint8)  # yours: [M, C, H, W]

with torch.no_grad():
    support = backbone(support_images.flatten(0, 1)).unflatten(0, support_images.shape[:2])
    query = backbone(query_images)
    inputs = support[None], query[None]  # one episode, B = 1
{known}    logits, prototypes, dependencies{more} = graph(*inputs)
classes = logits[0].argmax(-1)  # of each query
""",
}
CALL_KNOWN = {
    "onnx": """\
inputs["known"] = safetensors.numpy.load_file("known.safetensors")["prototypes"]  # [C, D]
inputs["relations"] = np.full((1, 5, len(inputs["known"])), np.nan, np.float32)  # yours: [B, N, C]
""",
    "torch": """\
    known = safetensors.torch.load_file("known.safetensors")["prototypes"]  # [C, D]
    relations = torch.full((1, 5, len(known)), torch.nan)  # yours: [B, N, C]
    inputs = *inputs, known, relations
""",
}
LIBRARY = {"onnx": "numpy", "torch": "torch"}  # what safetensors reads for
KINDS = {"onnx": ("ONNX", "onnx"), "torch": ("programs of torch.export", "pt2")}
ALONE = "each query is classified on its own"
TOGETHER = """\
all queries of an episode inform one another (transductive),
so give all of them at once; given only a part of them, a query's class may change"""


def model_card(
    model: GraphFewShot,
    format: str,
    mode: str,
    image: tuple[int, int, int],
    features: int,
    difference: float,
    results: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The card as Markdown.

    Args:
        model: what was exported; the card reports what training wrote into ``model.extra``.
        format: "onnx" or "torch".
        mode: "inductive" or "joint".
        image: channels, height and width of the backbone's images.
        features: D, the size of its features.
        difference: the largest between the exported outputs and the model's, relative to an output's largest
            number if that is above 1.
        results: rows of ``results.json``; default none.
    """
    config = model.extra.get("config", {})
    kind, suffix = KINDS[format]
    shape = ", ".join(map(str, image))
    backbone = markdown(getattr(model.backbone, "config", {}).get("name", type(model.backbone).__name__))
    name = markdown(config["name"]) if "name" in config else backbone
    looks = TOGETHER if Mode(mode).joint else ALONE
    known = model.known is not None
    sections = [
        f"# {name}\n\n"
        f"Few-shot image classification: a backbone ({backbone}) and a class graph, exported as {kind} by\n"
        f"fewshot {__version__}. Each call defines its own classes by a few labelled images of each; they\n"
        f"need not be classes that the model was trained on. Mode *{mode}*: {looks}.",
        _calls(suffix, shape, features, known),
        *([_known(len(model.known), bool(model.known.paths))] if model.known is not None else []),
        f"```python\n{_code(format, shape, known)}```",
        _images(image, model.mirror),
        _data(model.extra),
        _results(results),
        _limits(difference),
        _licence(config),
    ]
    return "\n\n".join(sections) + "\n"


def _code(format: str, shape: str, known: bool) -> str:
    """The call as Python, with or without known classes."""
    further = {
        "imports": f"import safetensors.{LIBRARY[format]}\n",
        "known": CALL_KNOWN[format],
        "more": ", known_dependencies, belief",
    }
    return CALL[format].format(shape=shape, **further if known else dict.fromkeys(further, ""))


def _calls(suffix: str, shape: str, features: int, known: bool) -> str:
    inputs = "`support` float32 [B, N, K, D], `query` float32 [B, M, D]"
    outputs = "`logits` float32 [B, M, N], `prototypes` float32 [B, N, D], `dependencies` float32 [B, N, N]"
    sizes = "B episodes, N classes, K labelled images per class, M queries, D features"
    if known:
        inputs += ", `known` float32 [C, D], `relations` float32 [B, N, C]"
        outputs += ", `known_dependencies` float32 [B, N, C], `belief` float32 [B, N]"
        sizes += ", C known classes"
    return f"""\
## How to call it

| file | inputs | outputs |
|---|---|---|
| `backbone.{suffix}` | `images` uint8 [n, {shape}] | `features` float32 [n, {features}] |
| `graph.{suffix}` | {inputs} | {outputs} |

All sizes are free: {sizes}.
Row i of the dependencies is how much class i listens to each other class; it sums to 1. If a class has fewer
than K images, fill its rows of `support` up with nan."""


def _known(classes: int, paths: bool) -> str:
    """How known classes and relations are given."""
    where = "names and taxonomy paths" if paths else "names (it has no paths)"
    return f"""\
The classes of an episode may also listen to known classes. `known.safetensors` holds the prototypes of the
{classes} classes that the backbone was trained on, and `known.json` their {where}; other known
classes work too. A row of `relations` holds the similarities of one class to the C known ones, from outside
the images, on any scale; larger is nearer. For paths a and b in a taxonomy, take
2 · (names they have in common from the root on) / (names in a + names in b). A row of nan says that nothing
is known of that class, and a matrix of nan gives the result without known classes. A class with relations
may have no image at all: fill its rows of `support` with nan. The belief, from 0 to 1, is how far the
relations were believed; the known dependencies are how much each class listens to each known class."""


def _images(image: tuple[int, int, int], mirror: bool) -> str:
    channels, height, width = image
    colour = "Grey (the luminance 0.299 R + 0.587 G + 0.114 B)" if channels == 1 else "Colour (RGB)"
    both = ", as is the mean over an image and its mirror image" if mirror else ""
    return f"""\
## Images

{colour}, values from 0 to 255, channels first. Crop the middle square and
resize it to {height}×{width} pixels, bilinearly with antialiasing. The scaling of the values, the mean
feature of the training classes and the transform of the features are inside the backbone{both}."""


def _data(extra: Mapping[str, Any]) -> str:
    config = extra.get("config", {})
    if extra.get("trained_on"):
        return (
            f"## Training data\n\n{extra['trained_on']}, by others: the weights are those of the ready model "
            f"`{extra['ready']}`.\nThe backbone saw its classes, so figures on sets made from it are no "
            "few-shot benchmark."
        )
    if "data" not in config:
        return "## Training data\n\nThe checkpoint does not record what it was trained on."
    kind, _, path = config["data"].partition(":")
    name = f"{kind}:{PurePath(path).name}" if path else kind  # without the path on this machine
    facts = [f"The training classes of {code(name)}"]
    facts += [f"content hash {code(extra['data'])}"] if "data" in extra else []
    facts += [f"seed {markdown(config['seed'])}"] if "seed" in config else []
    return f"## Training data\n\n{', '.join(facts)}. No class of its test split was trained on."


def _results(results: Sequence[Mapping[str, Any]]) -> str:
    if not results:
        return "## Results\n\nThere were no results next to the checkpoint."
    lines = [
        f"| {markdown(r['method'])} | {markdown(r['mode'])}{_relations(r)} | {r['way']} | {r['shot']} "
        f"| {r['accuracy']:.1f} ± {r['ci95'] or 0:.1f} "
        f"| {r['ece']:.3f} | {r['episodes']} | {code(r['fingerprint'])} |"
        for r in results
    ]
    table = "\n".join(lines)
    also = (
        " Rows with *taxonomy* were also given relations to known classes."
        if any(map(_relations, results))
        else ""
    )
    return f"""\
## Results

Accuracy in percent on test classes, with its 95 % interval over episodes; *prototypes* is ProtoNet on the
same backbone, and *joint-known* was given the classes' shares of the queries, which the exported graph does
not take. The fingerprint identifies the episodes.{also}

| method | mode | way | shot | accuracy | calibration error | episodes | fingerprint |
|---|---|---|---|---|---|---|---|
{table}"""


def _relations(row: Mapping[str, Any]) -> str:
    return "" if row.get("relations", "none") == "none" else f", {markdown(row['relations'])}"


def _limits(difference: float) -> str:
    return f"""\
## Limits

- Outputs differ from the model's own in float32 by about {max(difference, 1e-7):.0e} at most, relative to the
  largest number if that is above 1; measured at several ways and shots when this was exported. If the package
  computes in bfloat16, its features differ by more.
- Every query is assigned to one of the N classes. The answer "none of them", knowledge of the queries (which
  classes are there, their shares), a similarity of the N classes to each other from another source, and
  sparse graphs of many classes need the package itself.
- The results hold for images like those of the test classes. Measure before you rely on it for others."""


def _licence(config: Mapping[str, Any]) -> str:
    kind = str(config.get("data", "")).partition(":")[0]
    known = kind in shipped.names("datasets")
    licence = _terms(kind) if known else None
    terms = f" Those of {kind}: {licence}." if licence else ""
    return f"""\
## Licence

The code is under the MIT licence. The weights come from training images, whose terms may restrict their
use.{terms}"""


def _terms(name: str) -> str | None:
    content = read_yaml(shipped.find("datasets", name))
    return content.get("licence") or (_terms(content["like"]) if "like" in content else None)
