"""The class graph of a support folder, with and without known classes."""

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot import backbones
from fewshot.core.errors import InputError
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.known_classes import KnownClasses
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.folder_relations import FolderRelations
from fewshot.model.preprocess import Preprocess
from fewshot.report.example import class_picture

KNOWN = KnownClasses(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), ("crane", "mug", "bus"))


def model(known: KnownClasses | None) -> GraphFewShot:
    torch.manual_seed(0)
    backbone = backbones.conv4(in_channels=3, width=4)
    return GraphFewShot(
        backbone, ClassGraph(), preprocess=Preprocess(size=16, channels=3), known=known
    ).eval()


@pytest.fixture
def support(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 2, 16, 16, 3), dtype=np.uint8)
    for name, images in zip(("heron", "lorry", "vase"), pixels, strict=True):
        (tmp_path / name).mkdir()
        for k, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / name / f"{k}.png")
    return tmp_path


def test_a_class_listens_to_its_nearest_known_class(support):
    relations = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.2, 0.8], [torch.nan] * 3])
    picture = class_picture(model(KNOWN), support, FolderRelations(relations))
    assert picture.names == ["heron", "lorry", "vase"]
    assert picture.known.names == KNOWN.names
    strongest = [[name for name, _ in picture.known.strongest(i, most=1)] for i in range(3)]
    assert strongest == [["crane"], ["bus"], []]
    np.testing.assert_allclose(picture.known.dependencies.sum(1), [1, 1, 0], atol=1e-5)
    assert picture.known.belief[2] == 0


def test_without_relations_there_are_none_in_the_picture(support):
    assert class_picture(model(KNOWN), support).known is None
    plain, with_known = class_picture(model(None), support), class_picture(model(KNOWN), support)
    np.testing.assert_array_equal(plain.dependencies, with_known.dependencies)


def test_relations_without_known_classes_are_refused(support):
    with pytest.raises(InputError, match="relations: expected a model with known classes"):
        class_picture(model(None), support, FolderRelations(torch.eye(3)))
