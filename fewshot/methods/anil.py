"""ANIL: only the head is adapted to each episode."""

from __future__ import annotations

from torch import nn

from fewshot.methods.shared.adaptation import Adaptation, meta_train, parts
from fewshot.methods.shared.material import Material


def make_anil(material: Material) -> Adaptation:
    """ANIL (Raghu et al., ICLR 2020): only the linear head takes the steps; see `Adaptation`.

    It starts from the checkpoint's backbone; backbone and head are trained on images of the base classes.

    Raises:
        InputError: there are no images, or learn2learn is not installed.
    """
    model, embedding, head = parts(material)
    method = Adaptation(nn.Sequential(model.preprocess, embedding), head, material.way, lr=0.1)
    return meta_train(method, material, steps=60, lr=2e-4, batch=4, query=5, checks=3, val_episodes=50)
