"""The model card of an exported model: what it is, how to call it, its results and its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import yaml

from fewshot import __version__
from fewshot.core import shipped
from fewshot.core.modes import Mode
from fewshot.model.few_shot import GraphFewShot

CALL = {
    "onnx": """\
import numpy as np
import onnxruntime

backbone = onnxruntime.InferenceSession("backbone.onnx")
graph = onnxruntime.InferenceSession("graph.onnx")

support_images = np.random.randint(0, 256, (5, 3, {shape}), np.uint8)  # yours: [N, K, C, H, W]
query_images = np.random.randint(0, 256, (20, {shape}), np.uint8)  # yours: [M, C, H, W]

(support,) = backbone.run(None, {{"images": support_images.reshape(-1, {shape})}})
(query,) = backbone.run(None, {{"images": query_images}})
support = support.reshape(1, *support_images.shape[:2], -1)  # one episode, B = 1
logits, prototypes, dependencies = graph.run(None, {{"support": support, "query": query[None]}})
classes = logits[0].argmax(-1)  # of each query
""",
    "torch": """\
import torch

backbone = torch.export.load("backbone.pt2").module()
graph = torch.export.load("graph.pt2").module()

support_images = torch.randint(256, (5, 3, {shape}), dtype=torch.uint8)  # yours: [N, K, C, H, W]
query_images = torch.randint(256, (20, {shape}), dtype=torch.uint8)  # yours: [M, C, H, W]

with torch.no_grad():
    support = backbone(support_images.flatten(0, 1)).unflatten(0, support_images.shape[:2])
    query = backbone(query_images)
    logits, prototypes, dependencies = graph(support[None], query[None])  # one episode, B = 1
classes = logits[0].argmax(-1)  # of each query
""",
}
RESULT = {"method", "mode", "way", "shot", "accuracy", "ci95", "ece", "episodes", "fingerprint"}
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
    backbone = getattr(model.backbone, "config", {}).get("name", type(model.backbone).__name__)
    looks = TOGETHER if Mode(mode).joint else ALONE
    sections = [
        f"# {config.get('name', backbone)}\n\n"
        f"Few-shot image classification: a backbone ({backbone}) and a class graph, exported as {kind} by\n"
        f"fewshot {__version__}. Each call defines its own classes by a few labelled images of each; they\n"
        f"need not be classes that the model was trained on. Mode *{mode}*: {looks}.",
        _calls(suffix, shape, features) + f"\n\n```python\n{CALL[format].format(shape=shape)}```",
        _images(image, model.mirror),
        _data(model.extra),
        _results(results),
        _limits(difference),
        _licence(config),
    ]
    return "\n\n".join(sections) + "\n"


def _calls(suffix: str, shape: str, features: int) -> str:
    return f"""\
## How to call it

| file | inputs | outputs |
|---|---|---|
| `backbone.{suffix}` | `images` uint8 [n, {shape}] | `features` float32 [n, {features}] |
| `graph.{suffix}` | `support` float32 [B, N, K, D], `query` float32 [B, M, D] | `logits` float32 [B, M, N], \
`prototypes` float32 [B, N, D], `dependencies` float32 [B, N, N] |

B episodes, N classes, K labelled images per class, M queries, D features: all free. Row i of the dependencies
is how much class i listens to each other class; it sums to 1. If a class has fewer than K images, fill its
rows of `support` up with nan."""


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
    if "data" not in config:
        return "## Training data\n\nThe checkpoint does not record what it was trained on."
    kind, _, path = config["data"].partition(":")
    name = f"{kind}:{PurePath(path).name}" if path else kind  # without the path on this machine
    facts = [f"The training classes of `{name}`"]
    facts += [f"content hash `{extra['data']}`"] if "data" in extra else []
    facts += [f"seed {config['seed']}"] if "seed" in config else []
    return f"## Training data\n\n{', '.join(facts)}. No class of its test split was trained on."


def _results(results: Sequence[Mapping[str, Any]]) -> str:
    if not results:
        return "## Results\n\nThere were no results next to the checkpoint."
    lines = [
        f"| {r['method']} | {r['mode']} | {r['way']} | {r['shot']} | {r['accuracy']:.1f} ± {r['ci95']:.1f} "
        f"| {r['ece']:.3f} | {r['episodes']} | `{r['fingerprint']}` |"
        for r in results
    ]
    table = "\n".join(lines)
    return f"""\
## Results

Accuracy in percent on test classes, with its 95 % interval over episodes; *prototypes* is ProtoNet on the
same backbone, and *joint-known* was given the classes' shares of the queries, which the exported graph does
not take. The fingerprint identifies the episodes.

| method | mode | way | shot | accuracy | calibration error | episodes | fingerprint |
|---|---|---|---|---|---|---|---|
{table}"""


def _limits(difference: float) -> str:
    return f"""\
## Limits

- Outputs differ from the model's own in float32 by about {max(difference, 1e-7):.0e} at most, relative to the
  largest number if that is above 1; measured at several ways and shots when this was exported. If the package
  computes in bfloat16, its features differ by more.
- Every query is assigned to one of the N classes; there is no answer "none of them".
- Knowledge of the queries (which classes are there, their shares), a similarity of the classes from another
  source, and sparse graphs of many classes need the package itself.
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
    content = yaml.safe_load(shipped.find("datasets", name).read_text(encoding="utf-8"))
    return content.get("licence") or (_terms(content["like"]) if "like" in content else None)
