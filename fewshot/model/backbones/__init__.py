"""Backbones: from images to features.

Their names are imported here at once, not lazily, since a function and its file are called the same.
"""

from fewshot.model.backbones.build import BACKBONES, build, check_activations, is_outside
from fewshot.model.backbones.conv4 import Conv4, conv4
from fewshot.model.backbones.external import Outside, outside, own_input
from fewshot.model.backbones.inference import for_inference
from fewshot.model.backbones.layers import in_channels, max_pool, norm_act
from fewshot.model.backbones.resnet12 import ResidualBlock, ResNet12, resnet12
from fewshot.model.backbones.wrn28_10 import WideResNet, wrn28_10

__all__ = [
    "BACKBONES",
    "Conv4",
    "Outside",
    "ResNet12",
    "ResidualBlock",
    "WideResNet",
    "build",
    "check_activations",
    "conv4",
    "for_inference",
    "in_channels",
    "is_outside",
    "max_pool",
    "norm_act",
    "outside",
    "own_input",
    "resnet12",
    "wrn28_10",
]
