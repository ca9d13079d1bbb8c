"""MAML: the whole network is adapted to each episode."""

from __future__ import annotations

from torch import nn

from fewshot.methods.shared.adaptation import Adaptation, meta_train, parts
from fewshot.methods.shared.material import Material


def make_maml(material: Material) -> Adaptation:
    """MAML (Finn et al., ICML 2017): backbone and linear head take the steps; see `Adaptation`.

    It starts from the checkpoint's backbone and is trained on images of the base classes.

    Raises:
        InputError: there are no images, or learn2learn is not installed.
    """
    model, embedding, head = parts(material)
    network = nn.Sequential(embedding, head)
    method = Adaptation(model.preprocess, network, material.way, lr=0.01)
    return meta_train(method, material, steps=60, lr=2e-4, batch=2, query=5, checks=3, val_episodes=50)
