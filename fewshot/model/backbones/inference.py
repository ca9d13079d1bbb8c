"""A faster copy of a backbone for inference."""

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

from fewshot.model.backbones.conv4 import Conv4
from fewshot.model.backbones.resnet12 import ResNet12
from fewshot.model.backbones.wrn28_10 import WideResNet
from fewshot.model.precision import layout


def for_inference(backbone: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A copy of a built-in backbone for inference, with the same features; any other is returned as it is.

    On a CPU it is faster: each batch norm that follows a convolution is folded into it. On a GPU that was
    slower (`experiments/results/benchmark/extraction_gpu.json`). The copy cannot be trained.

    Args:
        backbone: a `Conv4`, a `ResNet12` or a `WideResNet`.
        dtype: of the copy's weights on a CPU; default float32.

    >>> from fewshot import backbones
    >>> backbone = backbones.conv4(width=8).eval()
    >>> x = torch.rand(2, 3, 32, 32)
    >>> torch.allclose(for_inference(backbone)(x), backbone(x), atol=1e-5)
    True
    """
    if not isinstance(backbone, Conv4 | ResNet12 | WideResNet):
        return backbone
    copied: nn.Module = copy.deepcopy(backbone).eval().requires_grad_(False)
    device = next(copied.parameters()).device
    if device.type == "cpu":
        copied = _folded(copied).to(dtype=dtype)
    return copied.to(memory_format=layout(device))


def _folded(backbone: nn.Module) -> nn.Module:
    """The backbone with its batch norms in the convolutions."""
    for module in backbone.modules():  # children are in the order of computation
        children = list(module.named_children())
        for (name, layer), (following, norm) in pairwise(children):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm):
                setattr(module, name, fuse_conv_bn_eval(layer, norm))
                setattr(module, following, nn.Identity())
    return backbone
