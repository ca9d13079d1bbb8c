"""What `fewshot train` is told: typed sections, read from YAML and written back.

This file imports nothing heavy, as the command line makes its ``--help`` from it.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from fewshot.core import shipped
from fewshot.core.errors import InputError
from fewshot.core.files import replacing


class _Section:
    """Checks of values that all sections share; `_name` stands in front of the key in an error."""

    _name: ClassVar[str] = ""

    def _require(self, key: str, holds: bool, expected: str) -> None:
        if not holds:
            where = f"{self._name}.{key}" if self._name else key
            raise InputError(f"{where}: expected {expected}, got {getattr(self, key)!r}")

    def _at_least(self, least: int, *keys: str) -> None:
        for key in keys:
            value = getattr(self, key)
            values = value if isinstance(value, tuple) else (value,)
            self._require(key, len(values) > 0 and min(values) >= least, f"at least {least}")

    def _positive(self, *keys: str) -> None:
        for key in keys:
            self._require(key, getattr(self, key) > 0, "a number above 0")

    def _not_negative(self, *keys: str) -> None:
        for key in keys:
            self._require(key, getattr(self, key) >= 0, "a number from 0 up")

    def _share(self, *keys: str) -> None:
        for key in keys:
            value = getattr(self, key)
            values = value if isinstance(value, tuple) else (value,)
            self._require(key, all(0 <= v <= 1 for v in values), "a share from 0 to 1")


@dataclass(frozen=True)
class Images(_Section):
    """The images as the backbone sees them."""

    size: int | None = None  # side, pixels; null: the backbone's own where it has one, else the data's
    channels: int | None = None  # 1 grey, 3 colour; null: as the data has them

    _name: ClassVar[str] = "images"

    def __post_init__(self) -> None:
        self._require("size", self.size is None or self.size >= 16, "null or at least 16")
        self._require("channels", self.channels in (None, 1, 3), "1, 3 or null")


@dataclass(frozen=True)
class Augment(_Section):
    """Random changes of the training images, each image its own; all off by default."""

    crop: int = 0  # reflect-padded crops moved by up to so many pixels
    flip: bool = False  # mirror every second image
    brightness: float = 0.0  # values times 1 ± so much
    noise: float = 0.0  # largest standard deviation of added noise, in those of the images' values
    rotate: float = 0.0  # degrees either way
    scale: float = 0.0  # zoom by 1 ± so much
    shear: float = 0.0  # degrees either way
    translate: float = 0.0  # share of the image's side either way, beside the moves of crop

    _name: ClassVar[str] = "augment"

    def __post_init__(self) -> None:
        self._not_negative("crop", "noise", "rotate", "shear")
        self._share("brightness", "translate")
        self._require("scale", 0 <= self.scale < 1, "a share from 0 to below 1")
        self._require("shear", self.shear <= 89, "at most 89 degrees")


@dataclass(frozen=True)
class Backbone(_Section):
    """A backbone of `fewshot.backbones` and its arguments; null takes the backbone's own default."""

    name: str = "conv4"  # or resnet12, wrn28_10, timm:NAME, torchvision:NAME
    width: int | None = None  # of conv4: channels of each layer
    widths: tuple[int, ...] | None = None  # of resnet12: channels of each block; of wrn28_10: of each group
    pretrained: bool | None = None  # of timm:NAME and torchvision:NAME: with the weights that they come with
    frozen: bool | None = None  # likewise: left as it is, so that the graph alone is trained

    _name: ClassVar[str] = "backbone"

    def arguments(self) -> dict[str, Any]:
        """What `fewshot.model.backbones.build.build` takes, but for the channels of the images."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Pretrain(_Section):
    """Classification of all base classes: a cosine classifier; SGD with Nesterov momentum 0.9, one-cycle."""

    epochs: int = 24
    batch: int = 128  # images
    images: int | None = None  # images an epoch; null: all of the training split
    lr: float = 0.2  # the highest of the cycle
    warmup: float = 0.15  # share of the steps before the highest
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    validate_every: int = 1  # epochs

    _name: ClassVar[str] = "pretrain"

    def __post_init__(self) -> None:
        self._at_least(1, "epochs", "validate_every")
        self._at_least(2, "batch")
        self._require("images", self.images is None or self.images >= self.batch, "null or at least a batch")
        self._positive("lr")
        self._not_negative("weight_decay")
        self._share("warmup", "label_smoothing")


@dataclass(frozen=True)
class Meta(_Section):
    """Episodes of base classes through the whole model, from the images on; AdamW, one-cycle."""

    method: Literal["prototypes", "class-graph"] = "prototypes"  # what the episodes are classified with
    steps: int = 900
    batch: int = 4  # episodes a step
    way: int = 10  # classes an episode
    shot: int = 1  # supports a class
    query: int = 5  # queries a class
    hard: float = 0.0  # share of the episodes whose classes are near each other
    lr: float = 4e-3  # the highest of the cycle
    warmup: float = 0.15  # share of the steps before the highest
    weight_decay: float = 1e-2
    validate_every: int = 150  # steps

    _name: ClassVar[str] = "meta"

    def __post_init__(self) -> None:
        self._at_least(1, "steps", "batch", "shot", "query", "validate_every")
        self._at_least(2, "way")
        self._positive("lr")
        self._not_negative("weight_decay")
        self._share("hard", "warmup")


@dataclass(frozen=True)
class Graph(_Section):
    """The graph alone, on features of the base classes; the steps go round all combinations of conditions."""

    steps: int = 300
    batch: int = 16  # episodes a step
    ways: tuple[int, ...] = (5, 20)  # classes an episode
    shots: tuple[int, ...] = (1, 5)  # supports a class
    query: int = 15  # queries a class, on average
    queries: tuple[str, ...] = ("balanced", "dirichlet:2", "dirichlet:1")  # the shares of the classes
    noise: tuple[float, ...] = (0.0, 0.4)  # share of wrong support labels
    lr: float = 1e-2  # the highest of the cycle
    warmup: float = 0.15  # share of the steps before the highest
    weight_decay: float = 0.0
    validate_every: int = 50  # steps

    _name: ClassVar[str] = "graph"

    def __post_init__(self) -> None:
        self._at_least(1, "steps", "batch", "shots", "query", "validate_every")
        self._at_least(2, "ways")
        self._require("queries", len(self.queries) > 0, "at least one scheme")
        self._require("noise", len(self.noise) > 0, "at least one share")
        self._positive("lr")
        self._not_negative("weight_decay")
        self._share("noise", "warmup")


@dataclass(frozen=True)
class Evaluate(_Section):
    """The test classes, scored once at the end: each way with each shot."""

    ways: tuple[int, ...] = (5, 20)  # classes an episode
    shots: tuple[int, ...] = (1, 5)  # supports a class
    query: int = 15  # queries a class
    episodes: int = 2000
    seed: int = 0  # of the episodes

    _name: ClassVar[str] = "evaluate"

    def __post_init__(self) -> None:
        self._at_least(2, "ways")
        self._at_least(1, "shots", "query")
        self._at_least(2, "episodes")
        self._not_negative("seed")


@dataclass(frozen=True)
class Config(_Section):
    """A training run. The stages pretrain, meta and graph run in this order; null leaves one out.

    >>> Config(meta=Meta(steps=100)).meta.way
    10
    """

    name: str = "run"  # of the run; its folder's name where no other is given
    seed: int = 0  # of the weights, the batches and the episodes
    data: str = "glyphs"  # SPEC: KIND[:PATH]
    images: Images = field(default_factory=Images)
    augment: Augment = field(default_factory=Augment)
    backbone: Backbone = field(default_factory=Backbone)
    weights: str | None = None  # file of a state dict the backbone starts from; null: random weights
    mirror: bool = False  # average the features of an image and its mirror image
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"  # auto: bfloat16 where it is faster
    compile: bool = (
        False  # train the backbone with torch.compile; pays for conv4, see fewshot.model.backbones.compiled
    )
    pretrain: Pretrain | None = None
    meta: Meta | None = None
    graph: Graph | None = None
    evaluate: Evaluate = field(default_factory=Evaluate)

    def __post_init__(self) -> None:
        self._not_negative("seed")
        self._require("name", bool(self.name) and not set(self.name) & set("/\\"), "a name without slashes")
        if self.backbone.frozen and (self.pretrain or self.meta):
            raise InputError("backbone.frozen: expected false or null with pretrain or meta, which train it")
        if self.images.size is not None and self.augment.crop >= self.images.size:
            raise InputError(
                f"augment.crop: expected less than images.size ({self.images.size}), got {self.augment.crop}"
            )


def read(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a config from a YAML file, or from the package by its name.

    Args:
        path: the file, or the name of a config that comes with the package.
        overrides: values by dotted key (``{"meta.steps": 100}``) that take the place of the file's.

    Raises:
        InputError: no such file, no YAML, an unknown key, or a value of the wrong type or out of range.
    """
    file = shipped.find("configs", path)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: expected keys and values, got {type(content).__name__}")
    content.setdefault("name", file.stem)
    return from_dict(merged(content, overrides or {}))


def write(config: Config, path: str | Path) -> None:
    """Write a config as YAML, atomically; `read` gives it back."""
    with replacing(path) as temporary:
        temporary.write_text(yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True), "utf-8")


def to_dict(config: Config) -> dict[str, Any]:
    """The config as plain dictionaries and lists.

    >>> to_dict(Config())["evaluate"]["ways"]
    [5, 20]
    """

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(v) for key, v in value.items()}
        return list(value) if isinstance(value, tuple) else value

    return plain(asdict(config))


def from_dict(content: Mapping[str, Any]) -> Config:
    """A config from plain dictionaries and lists, every key and type checked.

    >>> from_dict({"seed": 1, "graph": {"ways": 5, "lr": "1e-2"}}).graph.ways
    (5,)
    >>> from_dict({"meta": {"step": 5}})
    Traceback (most recent call last):
    ...
    fewshot.InputError: meta.step: no such key (did you mean meta.steps?)
    """
    return _convert(dict(content), Config, "")


def merged(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Plain dictionaries with the values of dotted keys put in.

    >>> merged({"meta": {"steps": 900}}, {"meta.lr": 0.1, "seed": 3})
    {'meta': {'steps': 900, 'lr': 0.1}, 'seed': 3}
    """
    result = dict(content)
    for key, value in overrides.items():
        head, _, rest = key.partition(".")
        result[head] = merged(result.get(head) or {}, {rest: value}) if rest else value
    return result


def differences(config: Config, other: Config) -> list[str]:
    """Where two configs differ, one entry a key.

    >>> differences(Config(seed=1), Config())
    ['seed: 1 instead of 0']
    """
    ours, theirs = (_flat(to_dict(c)) for c in (config, other))
    return [
        f"{key}: {ours.get(key)} instead of {theirs.get(key)}"
        for key in [*ours, *(key for key in theirs if key not in ours)]
        if ours.get(key) != theirs.get(key)
    ]


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in content.items():
        result |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return result


def _convert(value: Any, kind: Any, where: str) -> Any:
    """The value as the annotated type, or an InputError that names the key."""
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _section(value, kind, where)
    if origin in (Union, types.UnionType):  # X | None
        return None if value is None else _convert(value, arguments[0], where)
    if origin is tuple:
        values = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_convert(v, arguments[0], where) for v in values)
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{where}: expected one of {', '.join(arguments)}, got {value!r}")
        return value
    if kind is float:
        try:  # YAML 1.1 takes 1e-3, without a point, for a string
            return float(value) if not isinstance(value, bool) else _mistyped(value, kind, where)
        except (TypeError, ValueError):
            return _mistyped(value, kind, where)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        return _mistyped(value, kind, where)
    return value


def _section(value: Any, kind: Any, where: str) -> Any:
    if is_dataclass(value):
        return value
    if not isinstance(value, dict):
        raise InputError(f"{where or 'config'}: expected keys and values, got {value!r}")
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    prefix = f"{where}." if where else ""
    for key in value:
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            raise InputError(f"{prefix}{key}: no such key (did you mean {prefix}{near}?)")
    return kind(**{key: _convert(v, hints[key], prefix + key) for key, v in value.items()})


def _mistyped(value: Any, kind: type, where: str) -> Any:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    raise InputError(f"{where}: expected {names[kind]}, got {value!r}")
