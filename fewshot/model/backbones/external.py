"""Backbones from other libraries: networks of timm and torchvision without their classifiers."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.core.errors import InputError
from fewshot.model.backbones.weights import is_file, load_weights

LIBRARIES = ("timm", "torchvision")
# In training their forward returns more than scores; with pretrained weights it also changes the images.
INCEPTION: dict[str, Any] = {"aux_logits": False, "transform_input": True, "init_weights": False}
ARGUMENTS = {"googlenet": INCEPTION, "inception_v3": INCEPTION}


class Outside(nn.Module):
    """A network that computes features, and the input transform that it expects; see `outside`.

    Args:
        name: ``timm:NAME`` or ``torchvision:NAME``.
        network: images ``[n, 3, H, W]`` to features ``[n, D]``.
        frozen: whether it is not trained: no gradient, and batch norm as in evaluation.
        input: its own transform, arguments of `fewshot.model.preprocess.Preprocess`.
    """

    def __init__(self, name: str, network: nn.Module, frozen: bool, input: Mapping[str, Any]) -> None:
        super().__init__()
        # Without `pretrained`: whoever builds it again loads the weights.
        self.config: dict[str, Any] = {"name": name, "frozen": frozen}
        self.input = dict(input)
        self.network = network.requires_grad_(not frozen)
        self.train()

    def forward(self, x: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n D"]:
        """Features ``[n, D]``."""
        return self.network(x)

    def train(self, mode: bool = True) -> Outside:
        """Set the mode as for any module, but keep a frozen network in evaluation mode."""
        return super().train(mode and not self.config["frozen"])

    def out_features(self, height: int, width: int | None = None) -> int:
        """The D for images of ``height`` × ``width`` pixels, found by encoding a blank one.

        Raises:
            InputError: the network does not take images of that size.
        """
        image = next(self.parameters()).new_zeros(1, 3, height, width or height)
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                return self.network(image).shape[1]
        except (RuntimeError, ValueError, AssertionError) as error:
            raise InputError(
                f"images.size: {self.config['name']} does not take images of {list(image.shape[2:])}; "
                f"its own size is {self.input['size']} ({_line(error)})"
            ) from error
        finally:
            self.train(training)


def outside(
    name: str, *, pretrained: bool = False, frozen: bool = False, weights: str | None = None
) -> Outside:
    """A network of timm or torchvision without its classifier.

    Args:
        name: ``timm:NAME``, with or without its tag (``resnet18.a1_in1k``), or ``torchvision:NAME``, one of
            its classifiers.
        pretrained: use its published weights, downloaded the first time; default False: random weights.
        frozen: do not train it; default False.
        weights: a file of its weights, with or without those of the classifier, or the name of published ones
            (``IMAGENET1K_V2`` of torchvision, a tag such as ``a1_in1k`` of timm); default None: as
            ``pretrained`` says.

    It maps colour images ``[n, 3, H, W]`` to features ``[n, D]``, the input of the network's last linear
    layer. ``input`` holds the mean, standard deviation and image size of its usual weights, which
    `GraphFewShot` uses.

    Raises:
        InputError: no such network, timm is not installed, or the weights are unavailable.

    >>> backbone = outside("torchvision:mobilenet_v3_small", frozen=True)
    >>> backbone.input["size"], backbone.out_features(224)
    (224, 1024)
    """
    library, _, model = name.partition(":")
    own = own_input(name)
    file = weights if weights is not None and is_file(weights) else None
    chosen = weights or "DEFAULT" if file is None and (pretrained or weights is not None) else None
    try:
        with _quiet():
            make = _from_timm if library == "timm" else _from_torchvision
            network = make(model, chosen)
    except Exception as error:  # each library, and what each downloads with, raises its own
        if chosen is None:
            raise
        raise InputError(
            f"backbone.pretrained: no weights for {name} ({_line(error)}); "
            f"{_looked_for(library, model, chosen)}, and --backbone.weights FILE takes a file from anywhere"
        ) from error
    if file is not None:
        load_weights(network, file, "backbone.weights", headless=True)
    return Outside(name, network, frozen, own)


def outside_with_classifier(name: str) -> tuple[Outside, Float[Tensor, "C D"] | None]:
    """A frozen network with its published weights, and the rows of its classifier.

    Returns:
        What `outside` gives, and a row of weights per class that the network was trained to tell apart; None
        if its last layer is not linear.

    Raises:
        InputError: as of `outside`.
    """
    library, _, model = name.partition(":")
    backbone = outside(name, pretrained=True, frozen=True)  # or says in one line why not
    with _quiet():
        if library == "timm":
            last = _timm(name).create_model(model, pretrained=True).get_classifier()
        else:
            from torchvision.models import get_model

            *_, last = get_model(model, weights="DEFAULT", **ARGUMENTS.get(model, {})).modules()
    return backbone, last.weight.detach().clone() if isinstance(last, nn.Linear) else None


def own_input(name: str) -> dict[str, Any]:
    """The input that a network of another library expects: ``size``, ``channels``, ``mean`` and ``std``.

    Raises:
        InputError: no such network, or timm is not installed.

    >>> own_input("torchvision:inception_v3")["size"]
    299
    """
    library, _, model = name.partition(":")
    if library == "timm":
        timm = _timm(name)
        # Not create_model, which would also download strangers' networks by address.
        known = timm.list_models() + timm.list_pretrained()
        if model not in known:
            raise _unknown(name, known)
        given = timm.get_pretrained_cfg(model)
        size, mean, std = given.input_size[-1], given.mean, given.std
    else:
        from torchvision import models

        known = models.list_models(module=models)
        if library not in LIBRARIES or model not in known:
            raise _unknown(name, known)
        given = models.get_model_weights(model).DEFAULT.transforms()
        size, mean, std = given.crop_size[0], given.mean, given.std
    return {"size": size, "channels": 3, "mean": list(mean), "std": list(std)}


def _from_timm(model: str, weights: str | None) -> nn.Module:
    import timm

    name = model if weights in (None, "DEFAULT") else f"{model.partition('.')[0]}.{weights}"
    return timm.create_model(name, pretrained=weights is not None, num_classes=0)


def _from_torchvision(model: str, weights: str | None) -> nn.Module:
    from torchvision.models import get_model

    network = get_model(model, weights=weights, **ARGUMENTS.get(model, {}))
    layers = [key for key, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    network.set_submodule(layers[-1], nn.Identity())  # the classifier; a convolution in SqueezeNet
    return network


def _looked_for(library: str, model: str, weights: str) -> str:
    """Where a file of published weights would be found without a download."""
    if library == "timm":
        home = (
            os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME", "~/.cache/huggingface")) / "hub"
        )
        import timm

        name = model if weights == "DEFAULT" else f"{model.partition('.')[0]}.{weights}"
        given = timm.get_pretrained_cfg(name, allow_unregistered=True)
        place = (given.hf_hub_id if given is not None else None) or f"timm/{name}"
        return f"they are looked for in {Path(home, 'models--' + place.replace('/', '--'))}"
    from torchvision.models import get_model_weights

    known = get_model_weights(model)
    if weights not in ("DEFAULT", *known.__members__):
        return f"its published weights are {', '.join(known.__members__)}"
    file = known[weights].url.rpartition("/")[2]
    return f"they are looked for in {Path(torch.hub.get_dir()) / 'checkpoints' / file}"


def _timm(name: str) -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise InputError(f"backbone.name: {name} needs timm (pip install timm)") from error
    return timm


def _unknown(name: str, known: Sequence[str]) -> InputError:
    library, _, model = name.partition(":")
    near = get_close_matches(model, known, n=1)
    hint = f" (did you mean {library}:{near[0]}?)" if near else ""
    return InputError(
        f"backbone.name: expected timm:NAME or torchvision:NAME, one of its classifiers, got {name!r}{hint}"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the line that is logged for each retry of a download."""
    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _line(error: Exception) -> str:
    """The error's first sentence, on one line."""
    return " ".join(str(error).split()).split(". ")[0][:160] or type(error).__name__
