"""A small training."""

import pytest
import torch
from PIL import Image

from fewshot.evaluation import sure_sets
from fewshot.training import probabilities, validation
from fewshot.training.config import Augment, Backbone, Config, Evaluate, Graph, Images, Meta, Pretrain


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Little to do: few validation episodes, one thread, and a cache of one's own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny images
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEWSHOT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(validation, "VAL_EPISODES", 20)
        patch.setattr(probabilities, "ANSWERS", 200)
        patch.setattr(sure_sets, "LEAST", 4)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def config(small, tmp_path_factory):
    """A config of all stages, on made-up images in three splits, with little to do."""
    root = tmp_path_factory.mktemp("data")
    generator = torch.Generator().manual_seed(0)
    for split, classes in (("train", 6), ("val", 4), ("test", 5)):
        for number in range(classes):
            (root / split / f"{split}{number}").mkdir(parents=True)
            base = torch.randint(256, (4, 4), generator=generator)
            for i in range(10):
                noisy = (base + 50 * torch.randn(4, 4, generator=generator)).clamp(0, 255).byte()
                image = Image.fromarray(noisy.numpy()).resize((16, 16))
                image.save(root / split / f"{split}{number}" / f"{i}.png")
    return Config(
        name="tiny",
        data=f"folder:{root}",
        images=Images(size=16, channels=1),
        augment=Augment(crop=1, flip=True, noise=0.1),
        backbone=Backbone(width=4),
        precision="32-true",
        pretrain=Pretrain(epochs=2, batch=15),
        meta=Meta(steps=4, batch=2, way=3, query=2, validate_every=2),
        graph=Graph(steps=4, batch=2, ways=(3,), shots=(1, 2), query=2, validate_every=2),
        evaluate=Evaluate(ways=(3, 5), shots=(1,), query=3, episodes=30),
    )
