"""The class graph's layer in a torch-geometric model, on a graph of classes held in a ``Data``.

    python experiments/reuse/pyg_layer.py

The nodes are 120 synthetic classes, each with the mean feature of a few images, linked to its 8 nearest.
Every class belongs to one of 6 groups (like breeds of kinds of animals), which is known for 2 classes per
group. The model predicts the groups of the others, and is compared with the same model without messages.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch_geometric.data import Data
from torch_geometric.nn import Sequential

from fewshot import ClassGraphConv
from fewshot.graph.edges import nearest_classes
from fewshot.graph.vectors import normalize

GROUPS, CLASSES, SIZE, NEIGHBOURS = 6, 120, 64, 8


def class_graph(seed: int) -> Data:
    generator = torch.Generator().manual_seed(seed)
    group = torch.arange(CLASSES) % GROUPS
    centres = torch.randn(GROUPS, SIZE, generator=generator)
    x = normalize(centres[group] + 1.8 * torch.randn(CLASSES, SIZE, generator=generator))
    near = nearest_classes(x[None], torch.ones(1, CLASSES, dtype=torch.bool), NEIGHBOURS)[0]  # [N, k]
    target = torch.arange(CLASSES).repeat_interleave(NEIGHBOURS)
    known = torch.arange(CLASSES) < 2 * GROUPS
    return Data(x=x, edge_index=torch.stack([near.flatten(), target]), y=group, known=known)


def model(messages: bool) -> nn.Module:
    """Two rounds of messages, each added to the class's own vector, and a linear layer."""
    round_of = [(ClassGraphConv(), "x, edge_index -> m"), (lambda x, m: normalize(x + m), "x, m -> x")]
    steps = 2 * round_of if messages else []  # both rounds share one layer
    return Sequential("x, edge_index", [*steps, (nn.Linear(SIZE, GROUPS), "x -> x")])


def accuracy(net: nn.Module, data: Data) -> float:
    """Accuracy in percent on classes whose group is not known, after training on those whose group is."""
    optimiser = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(60):
        loss = cross_entropy(net(data.x, data.edge_index)[data.known], data.y[data.known])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        right: Tensor = net(data.x, data.edge_index).argmax(-1) == data.y
    return 100 * float(right[~data.known].float().mean())


def main(graphs: int = 5) -> dict[str, float]:
    found = {}
    for name, messages in (("without messages", False), ("with ClassGraphConv", True)):
        torch.manual_seed(0)
        scores = [accuracy(model(messages), class_graph(seed)) for seed in range(graphs)]
        found[name] = sum(scores) / graphs
        print(f"{name}: {found[name]:.1f} % of the groups are right (mean of {graphs} graphs)")
    return found


if __name__ == "__main__":
    main()
