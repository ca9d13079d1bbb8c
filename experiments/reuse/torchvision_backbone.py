"""The class graph behind a frozen torchvision network, on handwritten digits that come with scikit-learn.

    python experiments/reuse/torchvision_backbone.py --weights DEFAULT

Digits 0 to 4 are the base classes, used only for the mean of their features. Episodes are of digits 5 to 9,
5-way 1-shot. Without ``--weights`` the network is random, so that nothing is downloaded: the script then
shows how it is done, not what a trained network can do.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torchvision.models import resnet18

from fewshot import ClassGraph, EpisodeSampler, FeatureSet
from fewshot.evaluation.scores import as_predict, evaluate
from fewshot.methods.prototypes import prototypes


def network(weights: str | None, size: int) -> nn.Module:
    """A frozen ResNet-18 without its last layer, from digits [n, 8, 8] of 0 to 16 to features [n, 512]."""
    torch.manual_seed(0)
    net = resnet18(weights=weights)
    net.fc = nn.Identity()
    return nn.Sequential(nn.Upsample(size, mode="bilinear"), net).eval().requires_grad_(False)


def features(net: nn.Module, images: Tensor) -> Tensor:
    grey = (images / 16 - 0.45) / 0.23  # about the scale of ImageNet's images
    batches = grey[:, None].expand(-1, 3, -1, -1).split(64)
    return torch.cat([net(batch) for batch in batches])


def main(weights: str | None = None, size: int = 32, images: int = 1000) -> dict[str, float]:
    digits = load_digits()
    order = torch.from_numpy(digits.target[:images]).sort(stable=True)
    x = features(network(weights, size), torch.from_numpy(digits.images).float()[order.indices])
    base, labels = order.values < 5, order.values
    x = x - x[base].mean(0)
    novel = FeatureSet(x[~base], labels[~base] - 5, tuple("56789"))

    sampler = EpisodeSampler(novel, way=5, shot=1, query=15, batch=64, episodes=500, seed=0)
    graph = ClassGraph.pretrained()
    methods = {
        "prototypes": as_predict(prototypes),
        "class graph, inductive": as_predict(graph),
        "class graph, joint": as_predict(graph, joint=True),
    }
    found = {}
    for name, predict in methods.items():
        scores = evaluate(predict, sampler, method=name)
        found[name] = scores.accuracy
        print(f"{name}: {scores.accuracy:.1f} ± {scores.ci95:.1f}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The class graph behind a frozen torchvision network.")
    parser.add_argument("--weights", help="of torchvision's resnet18, such as DEFAULT; default: random ones")
    parser.add_argument("--size", type=int, default=32, help="side of the images; 224 for trained weights")
    arguments = parser.parse_args()
    main(arguments.weights, arguments.size)
