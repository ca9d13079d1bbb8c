"""Classification of your own images: one folder of support images per class, any number of query images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.modes import check_inference
from fewshot.core.untrusted.plain import LARGEST_IMAGE, read_plain
from fewshot.data.labelled import LabelledSet
from fewshot.data.readers.images import decode
from fewshot.data.readers.source import EXTENSIONS
from fewshot.graph.class_graph import GraphOutput
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.folder_relations import folder_relations
from fewshot.model.preprocess import LARGEST_SIDE

BATCH, LARGEST_BATCH = 256, 2**25  # images, and pixels, decoded at a time
SHOWN = 96  # pixels of a class's image in a picture


@dataclass(frozen=True)
class Prediction:
    """The prediction for a query image: file, class, that class's probability, and all probabilities."""

    file: Path
    name: str
    probability: float
    probabilities: dict[str, float]


def predict(
    model: GraphFewShot,
    support: str | Path,
    query: str | Path | Sequence[str | Path],
    *,
    mode: str = "inductive",
    absent: Sequence[str] = (),
    present: Sequence[str] = (),
    relations: str | Path = "names",
) -> list[Prediction]:
    """Assign image files to the classes of a support folder.

    Images of any size are cropped and resized as when a data set is packed.

    Args:
        model: a trained `GraphFewShot`.
        support: a folder with one folder per class, named like the class and with at least one image below
            it; classes may have different numbers of images.
        query: an image file, a folder (all images below it), or several of them.
        mode: "inductive" (default): each query on its own; "joint": all queries together.
        absent: classes known not to be among the queries.
        present: classes known to be among the queries.
        relations: to the model's known classes, see `fewshot.model.folder_relations`: "names" (default),
            "none", or a table of classes.

    Returns:
        One `Prediction` per query, in the given order; files of a folder by path.

    Raises:
        InputError: a folder or file is missing or empty, an image cannot be decoded, a class is not among the
            supports, or is both absent and present; relations that cannot be used.
    """
    check_inference(mode)
    classes = support_files(support)
    evidence = _evidence(list(classes), absent, present)
    related = folder_relations(relations, support, list(classes), model.known)
    files = query_files(query)
    features, mask = encode_support(model, classes)
    output = classify(
        model,
        features,
        mask,
        encode_files(model, files),
        joint=mode == "joint",
        evidence=evidence,
        **(related.options if related else {}),
    )
    shares = output.logits[0].double().softmax(-1)
    if not shares.isfinite().all():
        raise InputError("model: expected finite probabilities, got nan; are its weights trained ones?")
    rows = shares.tolist()
    predictions = []
    for file, row in zip(files, rows, strict=True):
        probabilities = dict(zip(classes, row, strict=True))
        name = max(probabilities, key=probabilities.__getitem__)
        predictions.append(Prediction(file, name, probabilities[name], probabilities))
    return predictions


def support_files(folder: str | Path) -> dict[str, list[Path]]:
    """The image files of each class of a support folder: class names by folder, sorted.

    Raises:
        InputError: no such folder, a class without images, fewer than two classes.
    """
    folder = _existing("support", folder)
    if not folder.is_dir():
        raise InputError(f"support: expected a folder with one folder per class, got the file {folder}")
    homes = sorted(home for home in folder.iterdir() if home.is_dir() and not home.name.startswith("."))
    classes = {home.name: _images_below(home) for home in homes}
    for name, files in classes.items():
        if not files:
            raise InputError(f"support: class {name!r} has no image in {folder / name}")
    if len(classes) < 2:
        raise InputError(
            f"support: expected at least 2 folders, one per class, in {folder}, got {len(classes)}"
        )
    return classes


def query_files(query: str | Path | Sequence[str | Path]) -> list[Path]:
    """The query files that files and folders stand for, each once.

    Raises:
        InputError: a path that does not exist, a folder without images, no path at all.
    """
    found: dict[Path, None] = {}
    for path in [query] if isinstance(query, (str, Path)) else query:
        path = _existing("query", path)
        files = _images_below(path) if path.is_dir() else [path]
        if not files:
            raise InputError(f"query: no image in {path} ({', '.join(sorted(EXTENSIONS))})")
        found |= dict.fromkeys(files)
    if not found:
        raise InputError("query: expected at least one file or folder, got none")
    return list(found)


def encode_files(model: GraphFewShot, files: Sequence[Path]) -> Float[Tensor, "n D"]:
    """The features of image files, minus the base mean."""
    parts, side = [], model.preprocess.size or 0
    batch = min(BATCH, max(1, LARGEST_BATCH // max(side * side, 1)))
    for start in range(0, len(files), batch):
        images = _read(model, files[start : start + batch])
        # All have the same label, as only the features matter.
        data = LabelledSet(images, torch.zeros(len(images), dtype=torch.int64), ("image",))
        parts.append(model.features(data).items)
    return torch.cat(parts)


def encode_support(
    model: GraphFewShot, classes: dict[str, list[Path]]
) -> tuple[Float[Tensor, "1 N K D"], Bool[Tensor, "1 N K"]]:
    """The features of the classes' images, padded to the most shots, and the mask of the actual ones."""
    counts = [len(files) for files in classes.values()]
    features = encode_files(model, [file for files in classes.values() for file in files])
    padded = torch.nn.utils.rnn.pad_sequence(list(features.split(counts)), batch_first=True)  # [N, K, D]
    mask = torch.arange(padded.shape[1]) < torch.tensor(counts)[:, None]
    return padded[None], mask[None]


@torch.no_grad()
def classify(
    model: GraphFewShot,
    support: Float[Tensor, "1 N K D"],
    mask: Bool[Tensor, "1 N K"],
    query: Float[Tensor, "M D"],
    *,
    joint: bool = False,
    evidence: Float[Tensor, "1 N"] | None = None,
    relations: Float[Tensor, "N C"] | None = None,
    known_relations: Float[Tensor, "C C"] | None = None,
    belief: float | None = None,
    unknown: bool = False,
) -> GraphOutput:
    """The graph's output for one episode of features; tensors on the CPU go to the model and back.

    Args:
        model: with known classes if there are relations.
        support, mask: as `encode_support` gives them.
        query: as `encode_files` gives it.
        joint, evidence, relations, known_relations, belief, unknown: of the graph.
    """
    device = model.device
    output = model.classify(
        support.to(device),
        query[None].to(device),
        joint=joint,
        support_mask=mask.to(device),
        evidence=None if evidence is None else evidence.to(device),
        relations=None if relations is None else relations.to(device),
        **({} if known_relations is None else {"known_relations": known_relations.to(device)}),
        belief=belief,
        unknown=unknown,
    )
    return output._replace(**{name: x.cpu() for name, x in output._asdict().items() if x is not None})


def _evidence(names: list[str], absent: Sequence[str], present: Sequence[str]) -> Float[Tensor, "1 N"] | None:
    """What is known of the query set: 1 if a class is there, 0 if it is not, NaN if unknown."""
    if not absent and not present:
        return None
    known = torch.full((1, len(names)), math.nan)
    for option, chosen, value in (("absent", absent, 0.0), ("present", present, 1.0)):
        for name in chosen:
            if name not in names:
                raise InputError(f"{option}: expected one of {', '.join(names)}, got {name!r}")
            if known[0, names.index(name)] == 1 - value:
                raise InputError(f"{option}: class {name!r} is given as both absent and present")
            known[0, names.index(name)] = value
    if (known == 0).all():
        raise InputError("absent: expected at least one class to remain, got all of them")
    return known


def _read(model: GraphFewShot, files: Sequence[Path]) -> Tensor:
    """Image files as uint8 [n, C, S, S], cropped and resized to the model's size as in a packed data set."""
    channels, size = model.preprocess.channels or 3, model.preprocess.size
    images: list[np.ndarray] = []
    for file in files:
        images.append(image := decode(read_plain(file, LARGEST_IMAGE), str(file), channels, size))
        if max(image.shape[1:]) > LARGEST_SIDE:
            raise InputError(
                f"{file}: this model does not resize; expected at most {LARGEST_SIDE} pixels per side, "
                f"got {list(image.shape[1:])}"
            )
        if image.shape != images[0].shape:  # only if the model keeps the images' own size
            raise InputError(
                f"{file}: this model does not resize; expected {list(images[0].shape[1:])} pixels as in "
                f"{files[0]}, got {list(image.shape[1:])}"
            )
    return torch.from_numpy(np.stack(images))


def _existing(argument: str, path: str | Path) -> Path:
    path = Path(path).expanduser()
    if not path.exists():
        raise InputError(f"{argument}: no such file or folder: {path}")
    return path


def _images_below(folder: Path) -> list[Path]:
    """All image files below a folder, by path; hidden ones are left out."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in EXTENSIONS
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
