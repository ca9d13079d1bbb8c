"""Classification of your own images: one folder of support images per class, any number of query images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.modes import check_inference
from fewshot.graph.class_graph import GraphOutput
from fewshot.model.assignment import labels_of, read_shares
from fewshot.model.domain import WHOLE, domain_fit, followed
from fewshot.model.evidence import Evidence, evidence
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.folder_relations import FolderRelations, class_paths
from fewshot.model.folder_supports import Supports, read_supports, relations_of
from fewshot.model.image_files import cache_for, encode_files, query_files, support_files
from fewshot.model.names import remarks
from fewshot.model.prediction import Prediction, check_class_names, predictions
from fewshot.model.sure_sets import check_level

SHOWN = 96  # pixels of a class's image in a picture


def predict(
    model: GraphFewShot,
    support: str | Path,
    query: str | Path | Sequence[str | Path],
    *,
    mode: str = "inductive",
    absent: Sequence[str] = (),
    present: Sequence[str] = (),
    proportions: str | Path | Mapping[str, float] = "unknown",
    relations: str | Path = "names",
    none: bool = False,
    sure: float | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[Prediction]:
    """Assign image files to the classes of a support folder.

    Images of any size are cropped and resized as when a data set is packed. Features are kept in the cache
    folder, so that the same images are encoded once.

    Args:
        model: a trained `GraphFewShot`.
        support: a folder with one folder per class, named like the class, with images in it or below; classes
            may have different numbers of images. A class whose folder is empty is a zero-shot class, if there
            are relations for it.
        query: an image file, a folder (all images below it), or several of them.
        mode: "inductive" (default): each query on its own; "joint": all queries together.
        absent: classes known not to be among the queries, or groups of the taxonomy that hold them.
        present: classes known to be among the queries, or groups of which at least one class is.
        proportions: the classes' shares of the queries, in joint mode: "unknown" (default), "equal", a table
            of classes with a column ``share``, or shares by class. The classes are then assigned by
            `best_assignment`.
        relations: to the model's known classes, see `fewshot.model.folder_relations`: "names" (default),
            "none", or a table of classes.
        none: also give the probability that a query is of none of the classes; default False.
        sure: also give sets of classes that hold the right one in this share of the cases, from 0.5 to 0.99;
            default None: no sets.
        tell: called with each line on what names were taken for; default None.

    Returns:
        One `Prediction` per query, in the given order; files of a folder by path.

    Raises:
        InputError: a folder or file is missing or empty, an image cannot be decoded, a class is not among the
            supports, or is both absent and present, or bears the name of a column; relations that cannot be
            used; shares without joint mode.
    """
    check_inference(mode)
    classes = support_files(support, zero_shot=True)
    # Both are checked before images are encoded, and found again once it is seen what the classes look like.
    knowledge(list(classes), relations_of(model, relations, support, classes), absent, present)
    check_class_names(classes, sets=sure is not None)
    shares = read_shares(proportions, list(classes), mode)
    if sure is not None:
        check_level(sure)
    files = query_files(query)
    supports = read_supports(model, support, relations)
    known = knowledge(supports.names, supports.related, absent, present)
    for line in remarks(supports.related.meanings if supports.related else {}):
        if tell is not None:
            tell(line)
    features = encode_files(model, files, cache_for(model))
    output = answer(
        model, supports, features, joint=mode == "joint", known=known, shares=shares, unknown=none
    )
    logits = output.logits[0].double()
    if not logits.softmax(-1).isfinite().all():
        raise InputError("model: expected finite probabilities, got nan; are its weights trained ones?")
    rows, chosen = logits.softmax(-1).numpy(), labels_of(logits.numpy(), shares)
    unknown = None if output.unknown is None else output.unknown[0].double().sigmoid().numpy()
    sets = paths = None
    if sure is not None:
        sets = model.calibration.sets(
            rows,
            chosen,
            sure,
            mode=mode,
            shares=shares is not None,
            shots=supports.shots,
            related=supports.related is not None,
        )
        paths = supports.paths or class_paths(relations, support, list(classes))
    return predictions(files, list(classes), rows, chosen, unknown, sets, paths)


def answer(
    model: GraphFewShot,
    supports: Supports,
    query: Float[Tensor, "M D"],
    *,
    joint: bool = False,
    known: Evidence | None = None,
    shares: Float[np.ndarray, " N"] | None = None,
    unknown: bool = False,
) -> GraphOutput:
    """The graph's output for the queries; with evidence on groups after a second look.

    Args:
        model, supports: as `read_supports` gives them.
        query: as `encode_files` gives it.
        joint, known, shares: what the queries inform each other of, and what is known of them.
        unknown: of the graph.
    """
    related = supports.related

    def of(classes: Float[Tensor, "1 N"] | None) -> GraphOutput:
        return classify(
            model,
            supports.features,
            supports.mask,
            query,
            joint=joint,
            evidence=classes,
            proportions=None if shares is None else torch.from_numpy(shares)[None],
            unknown=unknown,
            **(related.options if related else {}),
        )

    output = of(None if known is None else known.classes)
    if known is None or not known.groups:
        return output
    return of(known.settled(output.logits[0].double().softmax(-1)))


def probabilities(
    model: GraphFewShot, supports: Supports, query: Float[Tensor, "M D"], **options: Any
) -> Float[Tensor, "M N"]:
    """The classes' probabilities for each query, in float64; the options are those of `answer`."""
    return answer(model, supports, query, **options).logits[0].double().softmax(-1)


def knowledge(
    names: Sequence[str], related: FolderRelations | None, absent: Sequence[str], present: Sequence[str]
) -> Evidence | None:
    """What is known of the query set, see `fewshot.model.evidence.evidence`."""
    paths = {} if related is None else {name: meaning.path for name, meaning in related.meanings.items()}
    return evidence(names, absent, present, paths)


@torch.no_grad()
def classify(
    model: GraphFewShot,
    support: Float[Tensor, "1 N K D"],
    mask: Bool[Tensor, "1 N K"],
    query: Float[Tensor, "M D"],
    *,
    joint: bool = False,
    evidence: Float[Tensor, "1 N"] | None = None,
    proportions: Float[Tensor, "1 N"] | None = None,
    relations: Float[Tensor, "N C"] | None = None,
    known_relations: Float[Tensor, "C C"] | None = None,
    belief: float | None = None,
    unknown: bool = False,
) -> GraphOutput:
    """The graph's output for one episode of features; tensors on the CPU go to the model and back.

    A ready model follows relations less where images are unlike those it knows, see `fewshot.model.domain`.

    Args:
        model: with known classes if there are relations.
        support, mask: as `encode_support` gives them.
        query: as `encode_files` gives it.
        joint, evidence, proportions, relations, known_relations, belief, unknown: of the graph.
    """
    device = model.device

    def run(
        query: Float[Tensor, "M D"],
        relations: Float[Tensor, "N C"] | None,
        belief: float | None,
        **options: Any,
    ) -> GraphOutput:
        given = {"evidence": evidence, "relations": relations, "known_relations": known_relations}
        output = model.classify(
            support.to(device),
            query[None].to(device),
            support_mask=mask.to(device),
            belief=belief,
            **{name: value.to(device) for name, value in given.items() if value is not None},
            **options,
        )
        return output._replace(**{name: x.cpu() for name, x in output._asdict().items() if x is not None})

    usual = model.extra.get("agreement")
    if relations is not None and belief is None and usual is not None and model.known is not None:
        judged = run(query[:1], relations, None)  # what is judged of relations depends on no query
        assert judged.known_dependencies is not None
        vectors, known = model.transform(support[0].to(device)).cpu(), model.known.prototypes.cpu()
        fit = domain_fit(vectors, mask[0], known, judged.known_dependencies[0], usual)
        if fit <= WHOLE:
            relations, belief = followed(judged, relations, mask[0], fit)
    shares = None if proportions is None else proportions.to(device)
    return run(query, relations, belief, joint=joint, proportions=shares, unknown=unknown)
