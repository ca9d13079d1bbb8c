"""GraphFewShot: preprocessing, a backbone, and a class graph on its features."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.core.errors import InputError
from fewshot.core.files import write_tensors
from fewshot.core.memory import kept
from fewshot.core.untrusted.guard import brief, cause
from fewshot.data.labelled import FeatureSet, LabelledSet
from fewshot.graph.checks import check_graph
from fewshot.graph.class_graph import ClassGraph, GraphOutput
from fewshot.graph.known_classes import KnownClasses
from fewshot.graph.transform import PowerTransform, Transformed
from fewshot.model import backbones
from fewshot.model.backbones.build import Called
from fewshot.model.calibration import Calibration
from fewshot.model.checkpoint import FORMAT, check_shapes, known_content, known_from, read_checkpoint
from fewshot.model.precision import Precision, autocast, resolve
from fewshot.model.preprocess import Preprocess, check_images, fitting_batch
from fewshot.model.ready import is_ready, ready


class GraphFewShot(nn.Module):
    """Few-shot classification of images: a backbone encodes them, a class graph classifies the features:
    ``logits = graph(transform(encode(support)), transform(encode(query)))``; ``encode(x) =
    backbone(preprocess(x)) - base_mean``.

    Args:
        backbone: float images ``[n, C, H, W]`` to features ``[n, D]``: a module, see `fewshot.backbones`, or
            any function.
        graph: a `ClassGraph`, or any module with its call.
        preprocess: default is the backbone's own (its ``input``), or keeps the images' size and gives the
            backbone the channels that it takes.
        base_mean: ``[D]``, the mean of the base classes' features; default None is zero.
        mirror: average the features of an image and of its mirror image; default False.
        precision: of encoding: "32-true", "bf16-mixed", or "auto" (default), which is measured.
        known: the classes that the backbone was trained on, as further nodes of the graph, in the space after
            the transform; default None: not known. Training writes them, and a checkpoint carries them.

    Shapes: support uint8 ``[B, N, K, C, H, W]``, query uint8 ``[B, M, C, H, W]``, of any sizes if the
    preprocessing resizes them; the output is the graph's: logits ``[B, M, N]``, prototypes ``[B, N, D]``,
    dependencies ``[B, N, N]``.

    >>> model = GraphFewShot(backbones.conv4(width=8), ClassGraph()).eval()
    >>> support = torch.randint(256, (2, 5, 1, 3, 32, 32), dtype=torch.uint8)
    >>> query = torch.randint(256, (2, 15, 3, 32, 32), dtype=torch.uint8)
    >>> model(support, query, joint=True).logits.shape
    torch.Size([2, 15, 5])
    """

    base_mean: Tensor
    transform: PowerTransform

    def __init__(
        self,
        backbone: nn.Module | Callable[[Tensor], Tensor],
        graph: nn.Module,
        *,
        preprocess: Preprocess | None = None,
        base_mean: Tensor | None = None,
        mirror: bool = False,
        precision: Precision = "auto",
        known: KnownClasses | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone if isinstance(backbone, nn.Module) else Called(backbone)
        check_graph(graph)
        self.graph = graph
        self.preprocess = preprocess or Preprocess.of(self.backbone, backbones.in_channels(self.backbone))
        if precision not in get_args(Precision):
            names = ", ".join(get_args(Precision))
            raise InputError(f"precision: expected one of {names}, got {brief(precision)}")
        self.mirror = mirror
        self.precision: Precision = precision
        self.known = known
        self.extra: dict[str, Any] = {}
        self.where = ""  # for errors: "FILE: ", if it was loaded from one
        self.calibration = Calibration()
        self.transform = PowerTransform()  # none until training fits it
        # Empty until it is known, since D is known only once there are images.
        self.register_buffer("base_mean", torch.zeros(0) if base_mean is None else base_mean.detach().float())

    def forward(self, support_images: Tensor, query_images: Tensor, **options: Any) -> GraphOutput:
        """Classify the queries of B episodes; ``options`` are those of `classify`.

        Raises:
            InputError: images that are not uint8 or of another shape, or of different numbers of episodes;
                relations without known classes.
        """
        check_images("support_images", support_images, "B N K C H W")
        check_images("query_images", query_images, "B M C H W")
        (b, n, k), m = support_images.shape[:3], query_images.shape[1]
        if query_images.shape[0] != b:
            raise InputError(
                f"query_images: expected [B, M, C, H, W] with B = {b} episodes as in support_images, "
                f"got {list(query_images.shape)}"
            )
        support = support_images.flatten(0, 2)  # [B·N·K, C, H, W]
        query = query_images.flatten(0, 1)  # [B·M, C, H, W]
        if support.shape[1:] == query.shape[1:]:
            features = self.encode(torch.cat([support, query]))  # one pass over all images of all episodes
            support, query = features[: b * n * k], features[b * n * k :]
        else:
            support, query = self.encode(support), self.encode(query)
        if support.shape[-1] != query.shape[-1]:
            raise InputError(
                f"query_images: expected the size of support_images, {list(support_images.shape[-2:])}, as "
                f"this model does not resize, got {list(query_images.shape[-2:])}"
            )
        return self.classify(support.unflatten(0, (b, n, k)), query.unflatten(0, (b, m)), **options)

    @property
    def device(self) -> torch.device:
        """The device that the model is on."""
        return self.base_mean.device

    @property
    def classifier(self) -> Transformed:
        """The model without its backbone: a module with the graph's call that shares its weights."""
        return Transformed(self.transform, self.graph)

    def classify(
        self,
        support: Tensor,
        query: Tensor,
        *,
        known: Tensor | None = None,
        relations: Tensor | None = None,
        **options: Any,
    ) -> Any:
        """Classify the queries of B episodes by features minus the base mean, as `encode` gives them.

        Args:
            support: **[B, N, K, D]**.
            query: **[B, M, D]**.
            known: prototypes of known classes **[C, D]**, in the space after the transform; default None: if
                there are relations, the model's own.
            relations: similarities of the classes to the known ones **[N, C]** or **[B, N, C]**; default
                None.
            options: further options of the graph (``joint``, ``support_mask``, ``belief``, …).

        Raises:
            InputError: relations without known classes.
        """
        if relations is not None and known is None:
            if self.known is None:
                raise InputError(
                    "relations: expected a model with known classes, or known=[C, D], got a model without"
                )
            known = self.known.prototypes.to(support.device)
        told = {"known": known, "relations": relations}
        given = {name: value for name, value in told.items() if value is not None}
        return self.classifier(support, query, **given, **options)

    def encode(self, images: Tensor) -> Float[Tensor, "n D"]:
        """Features of uint8 images ``[n, C, H, W]``, minus the base mean; the input of `classify`."""
        # A training loop chooses its precision itself.
        with nullcontext() if torch.is_grad_enabled() else autocast(images.device, self.precision):
            return self._encode(self.backbone, images)

    def _encode(self, backbone: nn.Module, images: Tensor) -> Float[Tensor, "n D"]:
        x = self.preprocess(images)
        features = backbone(x).float()
        if self.mirror:
            features = (features + backbone(x.flip(-1)).float()) / 2
        if not self.base_mean.numel():
            return features
        if features.shape[-1:] != self.base_mean.shape:
            sizes = f"{list(features.shape[-1:])}, the size of the features, got {list(self.base_mean.shape)}"
            raise InputError(f"{self.where}base_mean: expected {sizes}")
        return features - self.base_mean

    def features(
        self, data: LabelledSet, batch: int | None = None, device: str | torch.device | None = None
    ) -> FeatureSet:
        """The features of all images of a data set, minus the base mean, on the CPU and without gradient.

        Args:
            data: images uint8 ``[n, C, H, W]`` with labels, such as `fewshot.PackedDataset`.
            batch: images at a time; default None is 512 on a GPU (fewer of more than 90×90 pixels), and on a
                CPU so few that the backbone's activations stay in its cache.
            device: where to compute (the model moves there); default is the model's device.
        """
        check_images("images", data.items, "n C H W")
        if device is not None:
            self.to(device)
        here = self.base_mean.device
        batch = batch or fitting_batch(data.items, self.preprocess.size, here)
        half = resolve(self.precision, here) == "bf16-mixed"
        with torch.inference_mode(), autocast(here, self.precision), kept():
            backbone = backbones.for_inference(self.backbone, torch.bfloat16 if half else torch.float32)
            compiled = getattr(backbone, "_compiled_call_impl", None) is not None  # which a copy is not
            if compiled or any(module.training for module in backbone.modules()):
                backbone = copy.deepcopy(backbone).eval()  # the model itself may be in use by other threads
            parts = [self._encode(backbone, images.to(here)) for images in data.items.split(batch)]
        features = torch.cat(parts).cpu()  # outside inference mode, so that a graph can be trained on it
        if self.where and not features.isfinite().all():
            raise InputError(f"{self.where}its backbone gives features that are not finite")
        return FeatureSet.like(data, features)

    def save(self, path: str | Path, extra: dict[str, Any] | None = None) -> None:
        """Write a checkpoint atomically: plain values and tensors only, so that it is safe to load.

        Args:
            path: the file.
            extra: further plain values to keep with the weights; `load` returns them as ``model.extra``.
        """
        content = {
            "format": "fewshot",
            "version": FORMAT,
            "backbone": getattr(self.backbone, "config", None),
            "graph": getattr(self.graph, "config", {}),
            "preprocess": self.preprocess.config,
            "mirror": self.mirror,
            "precision": self.precision,
            "state": {key: value.detach().cpu() for key, value in self.state_dict().items()},
            "known": known_content(self.known),
            "calibration": self.calibration.content(),
            "extra": self.extra if extra is None else extra,
        }
        write_tensors(Path(path), content)

    @classmethod
    def load(
        cls, path: str | Path, backbone: nn.Module | Callable[[Tensor], Tensor] | None = None
    ) -> GraphFewShot:
        """Read a checkpoint, in eval mode and on the CPU. Nothing in the file is executed.

        Args:
            path: a file that `save` wrote, or the name of a ready model: "imagenet", "timm:NAME" or
                "torchvision:NAME" (see `fewshot.model.ready`). A file of such a name is "./imagenet".
            backbone: takes the checkpoint's weights; needed only if it is not one of `fewshot.backbones`.

        Raises:
            InputError: the file is missing, truncated, foreign or of another version, the backbone differs,
                or the known classes do not fit.
        """
        if is_ready(path):
            parts = ready(str(path))
            model = cls(parts.backbone, parts.graph, base_mean=parts.base_mean, known=parts.known)
            model.extra, model.where = parts.extra, f"{path}: "
            return model.eval()
        content = read_checkpoint(Path(path))
        try:
            return cls._from_content(content, path, backbone)
        except InputError as error:
            raise InputError(f"{path}: {error}".replace(f"{path}: {path}: ", f"{path}: ")) from error
        except Exception as error:  # a field may be anything
            raise InputError(f"{path}: not a complete checkpoint of fewshot ({cause(error)})") from error

    @classmethod
    def _from_content(
        cls,
        content: dict[str, Any],
        path: str | Path,
        backbone: nn.Module | Callable[[Tensor], Tensor] | None,
    ) -> GraphFewShot:
        if backbone is None:
            if content["backbone"] is None:
                raise InputError(f"backbone: expected the module that {path} was saved with, got None")
            if not backbones.is_outside(content["backbone"].get("name")):
                with torch.device("meta"):
                    check_shapes(backbones.build(content["backbone"]), content["state"], path)
            backbone = backbones.build(content["backbone"])
            backbones.check_activations(backbone, content["preprocess"].get("size"))
            own, given = backbones.in_channels(backbone), content["preprocess"].get("channels")
            if None not in (own, given) and own != given:
                raise InputError(f"channels: expected {own}, those of the backbone, got {brief(given)}")
        model = cls(
            backbone,
            ClassGraph(**content["graph"]),
            preprocess=Preprocess(**content["preprocess"]),
            mirror=content["mirror"],
            precision=content["precision"],
        )
        try:
            model.load_state_dict(content["state"])
        except RuntimeError as error:
            raise InputError(f"{path}: its weights do not fit the model: {cause(error, 400)}") from error
        model.extra, model.where = content["extra"], f"{path}: "
        size = model.base_mean.numel() or model.transform.centre.numel()
        model.known = known_from(content.get("known"), path, size)
        model.calibration = Calibration.from_content(content.get("calibration"), str(path))
        return model.eval()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # The base mean has the size of the features, which only the state dict has.
        incoming = state_dict.get(f"{prefix}base_mean", self.base_mean)
        self.base_mean = self.base_mean.new_empty(incoming.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)
