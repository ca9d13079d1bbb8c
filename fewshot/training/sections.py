"""The sections of a training run's config, one per stage and part; each checks its own values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from fewshot.core.errors import InputError
from fewshot.training.typed import Section

MOST_IMAGES, MOST_FEATURES = 10**5, 10**7  # per step


@dataclass(frozen=True)
class Images(Section):
    """The images as the backbone sees them."""

    size: int | None = None  # side in pixels; null: the backbone's own if it has one, else the data's
    channels: int | None = None  # 1 grey, 3 colour; null: those of the data

    _name: ClassVar[str] = "images"

    def __post_init__(self) -> None:
        self._require("size", self.size is None or self.size >= 16, "null or at least 16")
        self._require("size", self.size is None or self.size <= 1024, "null or at most 1024")
        self._require("channels", self.channels in (None, 1, 3), "1, 3 or null")


@dataclass(frozen=True)
class Augment(Section):
    """Random changes of the training images, drawn for each image; all off by default."""

    crop: int = 0  # pixels, at most 1024: reflect-padded crops, moved by up to this many
    flip: bool = False  # mirror half of the images
    brightness: float = 0.0  # values times 1 ± up to this much
    noise: float = 0.0  # largest standard deviation of added noise; the images' values have 1
    rotate: float = 0.0  # degrees either way
    scale: float = 0.0  # zoom by 1 ± up to this much
    shear: float = 0.0  # degrees either way
    translate: float = 0.0  # share of the image's side either way, in addition to crop

    _name: ClassVar[str] = "augment"

    def __post_init__(self) -> None:
        self._not_negative("crop", "noise", "rotate", "shear")
        self._between(0, 1024, "crop")
        self._require("noise", self.noise <= 100, "at most 100")
        self._require("rotate", self.rotate <= 360, "at most 360 degrees")
        self._share("brightness", "translate")
        self._require("scale", 0 <= self.scale < 1, "a share from 0 to below 1")
        self._require("shear", self.shear <= 89, "at most 89 degrees")


@dataclass(frozen=True)
class Backbone(Section):
    """A backbone of `fewshot.backbones` and its arguments; null: the backbone's own default."""

    name: str = "conv4"  # or resnet12, wrn28_10, timm:NAME, torchvision:NAME, imagenet (the ready model)
    width: int | None = None  # of conv4: channels of each layer
    widths: tuple[int, ...] | None = None  # of resnet12: channels of each block; of wrn28_10: of each group
    pretrained: bool | None = None  # of timm:NAME and torchvision:NAME: start from their published weights
    weights: str | None = None  # a file to start from, or the name of published ones (IMAGENET1K_V2)
    frozen: bool | None = None  # likewise: keep the backbone as it is and train the graph alone

    _name: ClassVar[str] = "backbone"

    def __post_init__(self) -> None:
        if self.width is not None:
            self._between(1, 4096, "width")
        if self.widths is not None:
            self._between(1, 4096, "widths")
            self._require("widths", len(self.widths) <= 8, "at most 8 numbers")

    def arguments(self) -> dict[str, Any]:
        """The arguments of `fewshot.model.backbones.build.build`, except for the channels of the images."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Pretrain(Section):
    """Classification of all base classes: a cosine classifier; SGD with Nesterov momentum 0.9, one-cycle."""

    epochs: int = 24
    batch: int = 128  # images
    images: int | None = None  # images per epoch; null: all of the training split
    lr: float = 0.2  # highest learning rate of the cycle
    warmup: float = 0.15  # share of the steps before the highest rate
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    cutmix: float = 0.0  # share of the steps in which each image gets a box of another one (CutMix)
    validate_every: int = 1  # epochs

    _name: ClassVar[str] = "pretrain"

    def __post_init__(self) -> None:
        self._between(1, 10**6, "epochs", "validate_every")
        self._between(2, MOST_IMAGES, "batch")
        self._require("images", self.images is None or self.images >= self.batch, "null or at least a batch")
        self._positive("lr")
        self._not_negative("weight_decay")
        self._share("warmup", "label_smoothing", "cutmix")


@dataclass(frozen=True)
class Meta(Section):
    """Episodes of base classes, from images through the whole model; AdamW, one-cycle."""

    method: Literal["prototypes", "class-graph"] = "prototypes"  # classifies the episodes
    steps: int = 900
    batch: int = 4  # episodes per step
    way: int = 10  # classes per episode
    shot: int = 1  # supports per class
    query: int = 5  # queries per class
    hard: float = 0.0  # share of episodes whose classes are near each other
    lr: float = 4e-3  # highest learning rate of the cycle
    warmup: float = 0.15  # share of the steps before the highest rate
    weight_decay: float = 1e-2
    validate_every: int = 150  # steps

    _name: ClassVar[str] = "meta"

    def __post_init__(self) -> None:
        self._between(1, 10**9, "steps", "validate_every")
        self._between(1, MOST_IMAGES, "batch", "shot", "query")
        self._between(2, MOST_IMAGES, "way")
        images = self.batch * self.way * (self.shot + self.query)
        if images > MOST_IMAGES:
            raise InputError(f"meta: expected at most {MOST_IMAGES:,} images per step, got {images:,}")
        self._positive("lr")
        self._not_negative("weight_decay")
        self._share("hard", "warmup")

    @property
    def trains_graph(self) -> bool:
        """Whether the class graph classifies the episodes, and is trained with the backbone."""
        return self.method == "class-graph"


@dataclass(frozen=True)
class Graph(Section):
    """The graph alone, on features of base classes; the steps take all combinations of conditions in turn."""

    steps: int = 300
    batch: int = 16  # episodes per step
    ways: tuple[int, ...] = (5, 20)  # classes per episode
    shots: tuple[int, ...] = (1, 5)  # supports per class
    query: int = 15  # queries per class, on average
    queries: tuple[str, ...] = ("balanced", "dirichlet:2", "dirichlet:1")  # the shares of the classes
    noise: tuple[float, ...] = (0.0, 0.4)  # share of wrong support labels
    lr: float = 1e-2  # highest learning rate of the cycle
    warmup: float = 0.15  # share of the steps before the highest rate
    weight_decay: float = 0.0
    validate_every: int = 50  # steps

    _name: ClassVar[str] = "graph"

    def __post_init__(self) -> None:
        self._between(1, 10**9, "steps", "validate_every")
        self._between(1, MOST_IMAGES, "batch", "shots", "query")
        self._between(2, MOST_IMAGES, "ways")
        features = self.batch * max(self.ways) * (max(self.shots) + self.query)
        if features > MOST_FEATURES:
            raise InputError(f"graph: expected at most {MOST_FEATURES:,} features per step, got {features:,}")
        self._require("queries", len(self.queries) > 0, "at least one scheme")
        self._require("noise", len(self.noise) > 0, "at least one share")
        self._positive("lr")
        self._not_negative("weight_decay")
        self._share("noise", "warmup")


@dataclass(frozen=True)
class Evaluate(Section):
    """Scores of the test classes, once at the end: each way with each shot."""

    ways: tuple[int, ...] = (5, 20)  # classes per episode
    shots: tuple[int, ...] = (1, 5)  # supports per class
    query: int = 15  # queries per class
    episodes: int = 2000
    seed: int = 0  # of the episodes

    _name: ClassVar[str] = "evaluate"

    def __post_init__(self) -> None:
        self._between(2, MOST_IMAGES, "ways")
        self._between(1, MOST_IMAGES, "shots", "query")
        self._between(2, 10**8, "episodes")
        self._not_negative("seed")
        self._between(0, 2**63 - 1, "seed")
