"""One test episode as a trained model sees it, for the pictures of a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.untrusted.plain import LARGEST_IMAGE, read_plain
from fewshot.data.labelled import LabelledSet
from fewshot.data.readers.images import decode
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.graph.class_graph import ClassGraph, GraphOutput
from fewshot.graph.known_classes import KnownClasses
from fewshot.graph.why import Why, why
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.folder_relations import FolderRelations
from fewshot.model.image_files import cache_for, encode_support, support_files
from fewshot.model.predict import SHOWN, classify
from fewshot.report.html import larger
from fewshot.report.picture import KnownEdges, Picture


@dataclass(frozen=True, eq=False)
class Example:
    """An episode of N classes and M queries, and what the class graph makes of it; all on the CPU.

    Attributes:
        names: of the classes.
        support_images, query_images: uint8.
        labels: of the queries, 0 to N − 1.
        support, query: features in the form that the graph takes.
        parts: of the logits in inductive mode, for a batch of this one episode.
        dependencies: between the classes, row i: how much class i listens to each class j.
        joint_logits, joint_prototypes: the output of the joint mode.
        known: the edges from known classes, if there are relations.
    """

    names: tuple[str, ...]
    support_images: UInt8[Tensor, "N K C H W"]
    query_images: UInt8[Tensor, "M C H W"]
    labels: Int64[Tensor, " M"]
    support: Float[Tensor, "N K D"]
    query: Float[Tensor, "M D"]
    parts: Why
    dependencies: Float[Tensor, "N N"]
    joint_logits: Float[Tensor, "M N"]
    joint_prototypes: Float[Tensor, "N D"]
    known: KnownEdges | None = None

    def picture(self) -> Picture:
        """The class graph, with the first support of each class."""
        images = [larger(image) for image in self.support_images[:, 0].numpy()]
        return Picture(self.names, self.dependencies.double().numpy(), images, self.known)

    def most_moved(self) -> int:
        """The query whose probabilities the messages between classes change most."""
        before, after = self.parts.before[0].softmax(-1), self.parts.after[0].softmax(-1)
        return int((after - before).abs().sum(-1).argmax())


@torch.no_grad()
def draw_example(
    model: GraphFewShot,
    data: LabelledSet,
    *,
    way: int = 5,
    shot: int = 1,
    query: int = 15,
    seed: int = 0,
    relations: Float[Tensor, "classes C"] | None = None,
) -> Example:
    """The first episode of a data set, with the given way, shot and queries or as many as the data allow.

    Args:
        model: whose graph is a `ClassGraph`.
        data: images **[n, C, H, W]** with their classes.
        way, shot, query: of the episode.
        seed: of the episode.
        relations: similarities of the data's classes to the model's known classes **[classes, C]**; default
            None: the pictures show no known classes.
    """
    assert isinstance(model.graph, ClassGraph)
    least = int(data.counts.min())
    way, shot = min(way, data.num_classes), max(1, min(shot, least - 1))
    sampler = EpisodeSampler(data, way, shot, query=min(query, least - shot), batch=1, episodes=1, seed=seed)
    episode = next(iter(sampler))
    images, queries = episode.support, episode.query
    assert images is not None  # gathered by default
    assert queries is not None
    here = model.base_mean.device
    support = model.transform(model.encode(images.flatten(0, 2).to(here)))[None].unflatten(1, (way, shot))
    asked = model.transform(model.encode(queries.flatten(0, 1).to(here)))[None]
    options: dict[str, Any] = {}
    if relations is not None:
        known = _known(model).prototypes.to(here)
        options = {"known": known, "relations": relations[episode.classes[0].to(relations.device)].to(here)}
    inductive = model.graph(support, asked, **options)
    joint = model.graph(support, asked, joint=True, **options)
    return Example(
        names=tuple(data.class_names[c] for c in episode.classes[0].tolist()),
        support_images=images[0].cpu(),
        query_images=queries[0].cpu(),
        labels=episode.query_labels[0].cpu(),
        support=support[0].cpu(),
        query=asked[0].cpu(),
        parts=Why(*(part.cpu() for part in why(model.graph, support, asked, **options))),
        dependencies=inductive.dependencies[0].cpu(),
        joint_logits=joint.logits[0].cpu(),
        joint_prototypes=joint.prototypes[0].cpu(),
        known=known_edges(model, inductive),
    )


def class_picture(
    model: GraphFewShot, support: str | Path, relations: FolderRelations | None = None
) -> Picture:
    """The class graph of a support folder, with the first image of each class, ready to draw.

    Args:
        model: with known classes if there are relations.
        support: as `predict` takes it.
        relations: of the classes, sorted by name, to the model's known classes; default None: the picture
            shows no known classes.

    Raises:
        InputError: as for the support folder of `predict`; relations without known classes.
    """
    classes = support_files(support, zero_shot=relations is not None)
    features, mask = encode_support(model, classes, cache_for(model))
    # Any queries will do, such as the supports: without `joint`, dependencies do not depend on them.
    given = relations.options if relations else {}
    output = classify(model, features, mask, features[0, :, 0], **given)
    channels = model.preprocess.channels or 3
    blank = np.full((channels, SHOWN, SHOWN), 255, np.uint8)
    images = [
        decode(read_plain(files[0], LARGEST_IMAGE), str(files[0]), channels, SHOWN, rough=True)
        if files
        else blank
        for files in classes.values()
    ]
    dependencies = output.dependencies[0].double().numpy()
    return Picture(list(classes), dependencies, images, known_edges(model, output))


def known_edges(model: GraphFewShot, output: GraphOutput) -> KnownEdges | None:
    """The edges from a model's known classes in the output for one episode; None without relations."""
    if output.known_dependencies is None or output.belief is None:
        return None
    weights, belief = (x[0].double().cpu().numpy() for x in (output.known_dependencies, output.belief))
    return KnownEdges(tuple(_known(model).names or ()), weights, belief)


def _known(model: GraphFewShot) -> KnownClasses:
    if model.known is None:
        raise InputError("relations: expected a model with known classes, got one without")
    return model.known
