"""The config of a training run: typed sections, read from YAML and written back.

Imports nothing heavy, since the command line makes its ``--help`` from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from fewshot.core import shipped
from fewshot.core.errors import InputError
from fewshot.core.escape import printable
from fewshot.core.files import replacing, write_text
from fewshot.core.untrusted.documents import read_yaml
from fewshot.training.sections import Augment, Backbone, Evaluate, Graph, Images, Meta, Pretrain
from fewshot.training.typed import Section, convert, flat, merged


@dataclass(frozen=True)
class Config(Section):
    """A training run. The stages pretrain, meta and graph run in this order; null leaves a stage out.

    >>> Config(meta=Meta(steps=100)).meta.way
    10
    """

    name: str = "run"  # of the run, and of its folder unless another one is given
    seed: int = 0  # of the weights, the batches and the episodes
    data: str = "glyphs"  # SPEC: KIND[:PATH]
    images: Images = field(default_factory=Images)
    augment: Augment = field(default_factory=Augment)
    backbone: Backbone = field(default_factory=Backbone)
    weights: str | None = None  # file of a state dict that the backbone starts from; null: random weights
    mirror: bool = False  # average the features of an image and its mirror image
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"  # auto: bfloat16 where it is faster
    compile: bool | Literal["auto"] = False  # the backbone in training; auto: on a CPU, if that is faster
    pretrain: Pretrain | None = None
    meta: Meta | None = None
    graph: Graph | None = None
    evaluate: Evaluate = field(default_factory=Evaluate)

    def __post_init__(self) -> None:
        self._not_negative("seed")
        self._between(0, 2**63 - 1, "seed")
        plain = printable(self.name) == self.name and not set(self.name) & set("/\\")
        self._require("name", bool(self.name) and plain, "a name without slashes")
        self._require("name", len(self.name.encode("utf-8", "replace")) <= 200, "at most 200 bytes")
        if self.backbone.frozen and (self.pretrain or self.meta):
            raise InputError("backbone.frozen: expected false or null with pretrain or meta, which train it")
        if self.images.size is not None and self.augment.crop >= self.images.size:
            raise InputError(
                f"augment.crop: expected less than images.size ({self.images.size}), got {self.augment.crop}"
            )

    @property
    def trains_graph(self) -> bool:
        """Whether the class graph is trained, with the backbone or alone."""
        return self.graph is not None or (self.meta is not None and self.meta.trains_graph)

    @property
    def scores_graph(self) -> bool:
        """Whether the test classes are also scored with the class graph: with one that is trained here, or
        with that of the package behind a frozen backbone.
        """
        return self.trains_graph or bool(self.backbone.frozen)


def read(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a config from a YAML file, or from the package by its name.

    Args:
        path: the file, or the name of a config that comes with the package.
        overrides: values by dotted key (``{"meta.steps": 100}``) that replace the file's.

    Raises:
        InputError: no such file, not YAML, an unknown key, or a value of the wrong type or out of range.
    """
    file = shipped.find("configs", path)
    content = read_yaml(file) or {}
    if not isinstance(content, dict):
        raise InputError(f"{file}: expected keys and values, got {type(content).__name__}")
    content.setdefault("name", file.stem)
    return from_dict(merged(content, overrides or {}))


def write(config: Config, path: str | Path) -> None:
    """Write a config as YAML, atomically; `read` gives it back."""
    import yaml

    with replacing(path) as temporary:
        write_text(temporary, yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True))


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
    """A config from plain dictionaries and lists, with every key and type checked.

    >>> from_dict({"seed": 1, "graph": {"ways": 5, "lr": "1e-2"}}).graph.ways
    (5,)
    >>> from_dict({"meta": {"step": 5}})
    Traceback (most recent call last):
    ...
    fewshot.InputError: meta.step: no such key (did you mean meta.steps?)
    """
    return convert(dict(content), Config)


def differences(config: Config, other: Config) -> list[str]:
    """How two configs differ, one entry per key.

    >>> differences(Config(seed=1), Config())
    ['seed: 1 instead of 0']
    """
    ours, theirs = (flat(to_dict(c)) for c in (config, other))
    return [
        f"{key}: {ours.get(key)} instead of {theirs.get(key)}"
        for key in [*ours, *(key for key in theirs if key not in ours)]
        if ours.get(key) != theirs.get(key)
    ]
