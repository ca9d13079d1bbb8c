"""What is scored."""

from pathlib import Path

import pytest
import torch

from fewshot import backbones
from fewshot.data.packed import Splits
from fewshot.data.synthetic import made_up_images
from fewshot.evaluation.inputs import ScoredData, made_up_data
from fewshot.graph.class_graph import ClassGraph
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess


@pytest.fixture(scope="module")
def source():
    """Made-up features in three splits."""
    return made_up_data()


@pytest.fixture(scope="module")
def photos():
    """Made-up images and a model for them."""
    torch.manual_seed(0)
    sets = [made_up_images(classes, 12, 16, 1, seed) for seed, classes in enumerate((8, 5, 9))]
    images = Splits(*sets, name="made up", hash="abc", path=Path("made-up"))
    backbone = backbones.conv4(in_channels=1, width=8)
    model = GraphFewShot(backbone, ClassGraph(), preprocess=Preprocess(16, 1), precision="32-true").eval()
    return ScoredData(model.graph, dict(images), model, images)
