"""Letters in folders, and models for images."""

import pytest
import torch
from letters import LETTERS, draw

from fewshot import ClassGraph, GraphFewShot, backbones
from fewshot.data.synthetic import made_up_images
from fewshot.model.preprocess import Preprocess


@pytest.fixture
def folders(tmp_path):
    """Folders of supports and of queries; of the supports 1, 2 and 3 per class."""
    for shots, letter in enumerate(LETTERS, start=1):
        for shot in range(shots):
            draw(letter, tmp_path / "support" / letter / f"{shot}.png", shot, (40 + 8 * shots, 40))
        for number in range(2):
            draw(letter, tmp_path / "query" / f"{letter}{number}.png", 2 - number)
    return tmp_path


@pytest.fixture(scope="module")
def model():
    """An untrained model for letters; in several files a fixture of their own takes its place."""
    torch.manual_seed(0)
    backbone = backbones.conv4(in_channels=1, width=16)
    # Features minus the mean of some letters, as after training.
    preprocess = Preprocess(size=32, channels=1)
    built = GraphFewShot(backbone, ClassGraph(), preprocess=preprocess, precision="32-true").eval()
    some = torch.randint(256, (64, 1, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        return GraphFewShot(
            backbone,
            ClassGraph(),
            preprocess=preprocess,
            base_mean=built.encode(some).mean(0),
            precision="32-true",
        ).eval()


@pytest.fixture(scope="module")
def image_model() -> GraphFewShot:
    """An untrained model for images of one channel, with a transform of the features."""
    torch.manual_seed(0)
    model = GraphFewShot(backbones.conv4(width=8, in_channels=1), ClassGraph(), precision="32-true").eval()
    model.transform.fit(model.features(made_up_images(6, 8, 16, 1, seed=9)).items)
    return model
