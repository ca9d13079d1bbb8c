"""The class graph as the last layer of an ordinary classifier of 100 classes, trained from the start.

    python experiments/reuse/last_layer.py

Each class has a learned vector, like a row of a linear layer; these take the place of an episode's supports,
and each batch that of its queries. For comparison there are a linear layer and a layer of cosines, which the
class graph uses too. The data are synthetic: 100 classes in 20 groups of similar ones, 12 training images per
class. Expect the graph above the linear layer, and no higher than the cosines alone: with many images per
class there is little left for a graph to do.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fewshot import ClassGraph
from fewshot.training.losses import CosineClassifier

CLASSES, GROUPS, INPUTS, FEATURES = 100, 20, 32, 64


class ClassGraphLayer(nn.Module):
    """Features [n, D] to logits [n, classes], by class vectors that listen to one another."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.classes = nn.Parameter(torch.randn(1, classes, 1, features) / features**0.5)
        self.graph = ClassGraph()  # its own scalars are trained too

    def forward(self, x: Tensor) -> Tensor:
        return self.graph(self.classes, x[None]).logits[0]


def made_up(images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Inputs [n, 32] and labels [n]; the classes do not depend on the seed."""
    fixed = torch.Generator().manual_seed(0)
    groups = torch.randn(GROUPS, INPUTS, generator=fixed).repeat_interleave(CLASSES // GROUPS, 0)
    centres = groups + 0.7 * torch.randn(CLASSES, INPUTS, generator=fixed)
    labels = torch.arange(CLASSES).repeat_interleave(images)
    noise = torch.randn(len(labels), INPUTS, generator=torch.Generator().manual_seed(seed))
    return centres[labels] + noise, labels


def train(last: nn.Module, steps: int) -> tuple[list[float], float]:
    """Loss of each step, and accuracy in percent on images that were not trained on."""
    net = nn.Sequential(nn.Linear(INPUTS, 128), nn.ReLU(), nn.Linear(128, FEATURES), last)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    x, labels = made_up(images=12, seed=1)
    losses = []
    for _ in range(steps):
        batch = torch.randint(len(x), (256,))
        loss = cross_entropy(net(x[batch]), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    with torch.no_grad():
        x, labels = made_up(images=20, seed=2)
        return losses, 100 * float((net.eval()(x).argmax(-1) == labels).float().mean())


def main(steps: int = 400) -> dict[str, tuple[list[float], float]]:
    found = {}
    for name, layer in (
        ("linear", nn.Linear),
        ("cosine", CosineClassifier),
        ("class graph", ClassGraphLayer),
    ):
        torch.manual_seed(0)
        losses, accuracy = found[name] = train(layer(FEATURES, CLASSES), steps)
        print(f"{name}: loss {losses[0]:.2f} to {losses[-1]:.2f}, accuracy {accuracy:.1f}")
    return found


if __name__ == "__main__":
    main()
