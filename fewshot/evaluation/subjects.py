"""What `fewshot audit` is given, opened: a method by name, or a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fewshot.core.errors import InputError
from fewshot.core.modes import Mode
from fewshot.core.own_code import is_own
from fewshot.data.labelled import LabelledSet
from fewshot.data.synthetic import made_up_images
from fewshot.evaluation.audit import fitting_sampler
from fewshot.evaluation.inputs import load_data, load_model, made_up_data, open_source, own_spec
from fewshot.evaluation.relations import Relations, made_up_relations
from fewshot.methods import catalogue, own
from fewshot.methods.catalogue import Method
from fewshot.methods.shared.call import FewShotCall
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.ready import is_ready


@dataclass(frozen=True)
class Subject:
    """What to audit.

    Args:
        call, modes: what it is, and the names of its modes.
        examples: items for episodes.
        relations: made-up ones, if it takes any; default None.
        without: whether it can do without; default True.
        data: what the examples are of, ``KIND[:PATH]``; default None: features, or made-up images.
    """

    call: FewShotCall
    modes: tuple[str, ...]
    examples: LabelledSet
    relations: Relations | None = None
    without: bool = True
    data: str | None = None


def open_subject(
    subject: str, features: Path | None, data: str | None, seed: int, tell: Callable[[str], None]
) -> Subject:
    """What to audit: its call, its modes, and items for episodes.

    Args:
        subject: a method's name, ``FILE.py:NAME``, or a checkpoint's path.
        features: for a method: an .npz or .npy file; None: made-up features.
        data: for a checkpoint, see `load_data`; None: made-up images if its own data cannot be loaded.
        seed: of what is made up, and of a method that learns.
        tell: called with each line for the user.

    Raises:
        InputError: no such method or file, an option that does not go with it, or a method that needs what
            there is none of.
    """
    known = {method.name: method for method in catalogue.find(None)}
    if subject in known or is_own(subject):
        if data is not None:
            raise InputError(f"data: expected none with a method, got {data!r}")
        return _open_method(known.get(subject) or own.load(subject), features, seed, tell)
    if not is_ready(subject) and not Path(subject).exists():
        raise InputError(
            f"subject: expected {', '.join(known)} or a checkpoint, got {subject!r} "
            "(your own method is FILE.py:NAME)"
        )
    if features is not None:
        raise InputError("features: expected none with a checkpoint, which has a model for images")
    model = load_model(subject)
    images, used = _images_for(model, data, seed, tell)
    relations = made_up_relations(model.features(images), model.transform, seed)
    return Subject(model, tuple(Mode), images, relations, data=used)


def _open_method(method: Method, features: Path | None, seed: int, tell: Callable[[str], None]) -> Subject:
    source = made_up_data(seed) if features is None else open_source(features)
    split = next(name for name in ("test", "val", "train") if name in source.splits)
    reason = source.lacks(split).get(method.needs)
    if method.needs == "images":
        reason = f"it works on images; use fewshot compare CHECKPOINT --methods {method.name}"
    if reason is not None:
        raise InputError(f"subject: {method.name} cannot be audited here: {reason}")
    sampler, relations = fitting_sampler(source.features(split), seed), None
    if method.relations != "no":
        relations = made_up_relations(source.features(split), source.transform, seed)
    material = source.material(sampler, split, method.needs != "features", relations)
    call = method.prepare(material, tell)
    return Subject(call, method.modes, sampler.data, relations, method.relations != "must")


def _images_for(
    model: GraphFewShot, spec: str | None, seed: int, tell: Callable[[str], None]
) -> tuple[LabelledSet, str | None]:
    """Images, and the data that they are of; None for made-up ones."""
    try:
        return load_data(model, spec).test, spec or own_spec(model)
    except (InputError, OSError) as error:
        if spec is not None:
            raise
        tell(f"made-up images are used because its data cannot be loaded: {error}")
    form = model.preprocess
    return made_up_images(5, 8, form.size or 32, form.channels or 3, seed), None
