"""A small model with WordNet's known classes, and pictures."""

import pytest
import torch
from coloured_pictures import COLOURS, picture

from fewshot import backbones
from fewshot.core.taxonomy import as_path
from fewshot.data.readers.benchmark import read_benchmark
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.known_classes import KnownClasses
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess


@pytest.fixture(scope="session")
def small_model():
    torch.manual_seed(0)
    paths = [as_path(path) for path in list(read_benchmark("tieredimagenet").taxonomy.values())[::20]]
    backbone = backbones.conv4(width=8)
    preprocess = Preprocess(size=32, channels=3)
    plain = GraphFewShot(backbone, ClassGraph(), preprocess=preprocess, precision="32-true").eval()
    noise = torch.randint(256, (32, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        mean = plain.encode(noise).mean(0)
    known = KnownClasses(torch.randn(len(paths), len(mean)), [path[-1] for path in paths], paths)
    options = {"preprocess": preprocess, "base_mean": mean, "precision": "32-true", "known": known}
    return GraphFewShot(backbone, ClassGraph(), **options).eval()


@pytest.fixture
def photos(tmp_path):
    for name, colour in COLOURS.items():
        picture(tmp_path / "photos" / name / "0.png", colour)
    for number, colour in enumerate(COLOURS.values()):
        picture(tmp_path / "new" / f"{number}.png", colour, seed=1)
    return tmp_path
