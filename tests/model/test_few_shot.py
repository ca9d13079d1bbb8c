from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from PIL import Image
from torch import nn

from fewshot import backbones
from fewshot.core.errors import InputError
from fewshot.data.packed import PackedDataset
from fewshot.graph.class_graph import ClassGraph
from fewshot.model.checkpoint import FORMAT
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess


def images(*shape, seed=0):
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = GraphFewShot(backbones.conv4(width=8), ClassGraph(), precision="32-true")
    model(images(2, 3, 2, 3, 32, 32), images(2, 6, 3, 32, 32))  # updates the batch norms' statistics
    return model.eval()


def test_preprocess_closed_form():
    out = Preprocess(mean=(0.5,), std=(0.25,))(torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2))
    torch.testing.assert_close(out, torch.tensor([-2.0, 2.0]).view(1, 1, 1, 2))


def test_preprocess_grey_and_colour():
    colour = images(2, 3, 16, 16)
    grey = Preprocess(channels=1, mean=(0.0,), std=(1.0,))(colour)
    pil = [Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L") for image in colour]
    expected = torch.tensor([list(image.tobytes()) for image in pil]).view(2, 1, 16, 16) / 255
    torch.testing.assert_close(grey, expected, atol=1.5 / 255, rtol=0)
    repeated = Preprocess(channels=3)(images(2, 1, 16, 16))
    assert repeated.shape == (2, 3, 16, 16)
    assert torch.equal(repeated[:, 0], repeated[:, 2])


def test_preprocess_resizes_the_middle_square_as_pil_does():
    image = images(1, 1, 40, 56)
    out = Preprocess(size=20, mean=(0.0,), std=(1.0,))(image)
    middle = Image.fromarray(image[0, 0].numpy()).crop((8, 0, 48, 40))
    pil = middle.resize((20, 20), Image.Resampling.BILINEAR)
    expected = torch.tensor(list(pil.tobytes())).view(1, 1, 20, 20) / 255
    torch.testing.assert_close(out, expected, atol=1.5 / 255, rtol=0)


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 16, 16), (3, 20, 33), (3, 84, 84)])
def test_takes_any_images_with_its_defaults(channels, height, width):
    model = GraphFewShot(backbones.conv4(), ClassGraph()).eval()
    out = model(images(1, 5, 1, channels, height, width), images(1, 4, channels, height, width))
    assert out.logits.shape == (1, 4, 5)
    assert out.dependencies.shape == (1, 5, 5)


def test_grey_backbone_takes_colour():
    model = GraphFewShot(backbones.conv4(1, width=8), ClassGraph()).eval()
    assert model(images(1, 5, 1, 3, 32, 32), images(1, 4, 3, 32, 32)).logits.shape == (1, 4, 5)


def test_forward_is_the_graph_on_encoded_images(model):
    support, query = images(2, 3, 2, 3, 32, 32), images(2, 6, 3, 32, 32, seed=1)
    model.base_mean = torch.randn(32)
    encoded = model.encode(support.flatten(0, 2)).unflatten(0, (2, 3, 2))
    expected = model.graph(encoded, model.encode(query.flatten(0, 1)).unflatten(0, (2, 6)), joint=True)
    torch.testing.assert_close(model(support, query, joint=True).logits, expected.logits)


def test_support_and_query_of_different_sizes(model):
    with pytest.raises(InputError, match=r"query_images: expected the size of support_images, \[32, 32\]"):
        model(images(1, 3, 1, 3, 32, 32), images(1, 4, 3, 64, 64))
    resizing = GraphFewShot(model.backbone, model.graph, preprocess=Preprocess(size=32, channels=3)).eval()
    assert resizing(images(1, 3, 1, 3, 40, 40), images(1, 4, 1, 64, 50)).logits.shape == (1, 4, 3)


def test_base_mean_is_subtracted(model):
    x = images(5, 3, 32, 32)
    raw = model.encode(x)
    model.base_mean = raw.mean(0)
    torch.testing.assert_close(model.encode(x), raw - raw.mean(0))


def test_mirror_does_not_see_which_way_an_image_faces(model):
    x = images(4, 3, 32, 32)
    assert not torch.allclose(model.encode(x), model.encode(x.flip(-1)))
    model.mirror = True
    torch.testing.assert_close(model.encode(x), model.encode(x.flip(-1)))


@pytest.mark.parametrize("batch", [3, 512, None])
def test_features_are_the_encoded_images(model, batch):
    data = PackedDataset(images(7, 3, 32, 32), torch.tensor([0, 0, 0, 1, 1, 2, 2]), ("a", "b", "c"))
    features = model.train().features(data, batch=batch)
    assert model.training
    torch.testing.assert_close(features.items, model.eval().encode(data.items))
    assert features.class_names == data.class_names
    assert torch.equal(features.labels, data.labels)
    model.graph(
        features.items[None, :3, None], features.items[None]
    ).logits.sum().backward()  # can be trained on


def test_bfloat16_keeps_the_features_direction(model):
    x = images(40, 3, 32, 32)
    data = PackedDataset(x, torch.arange(40) // 20, ("a", "b"))
    expected = model.encode(x)
    model.precision = "bf16-mixed"
    with torch.no_grad():
        found = {"features": model.features(data).items, "encode": model.encode(x)}
    for name, features in found.items():
        assert features.dtype == torch.float32
        assert not torch.equal(features, expected), name
        assert torch.cosine_similarity(features, expected).min() > 0.999, name
    assert torch.equal(model.encode(x), expected)  # in training the caller chooses


def test_save_and_load(model, tmp_path):
    model.base_mean, model.mirror = torch.randn(32), True
    model.save(tmp_path / "a" / "model.pt", extra={"data": "glyphs", "n": [1, 2]})
    loaded = GraphFewShot.load(tmp_path / "a" / "model.pt")
    support, query = images(1, 3, 2, 3, 32, 32), images(1, 6, 3, 32, 32)
    assert torch.equal(loaded(support, query).logits, model(support, query).logits)
    assert loaded.extra == {"data": "glyphs", "n": [1, 2]}
    assert not loaded.training
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["model.pt"]


def test_a_fitted_transform_comes_before_the_graph_and_is_saved(model, tmp_path):
    model.transform.fit(torch.rand(200, 32, generator=torch.Generator().manual_seed(0)) ** 4)
    support, query = images(1, 3, 2, 3, 32, 32), images(1, 6, 3, 32, 32)
    encoded = (model.encode(support.flatten(0, 2)).unflatten(0, (1, 3, 2)), model.encode(query[0])[None])
    expected = model.graph(*(model.transform(x) for x in encoded), joint=True).logits
    torch.testing.assert_close(model(support, query, joint=True).logits, expected, atol=1e-4, rtol=1e-4)
    model.save(tmp_path / "model.pt")
    loaded = GraphFewShot.load(tmp_path / "model.pt")
    assert torch.equal(loaded(support, query).logits, model(support, query).logits)


def test_state_dict_carries_the_base_mean(model):
    model.base_mean = torch.randn(32)
    other = GraphFewShot(backbones.conv4(width=8), ClassGraph())
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.base_mean, model.base_mean)


class OfTheirOwn(nn.Module):
    """A graph from outside, whose call does not name its arguments."""

    def forward(self, *features, **options):
        return features


@pytest.mark.parametrize("graph", [nn.Linear(2, 2), nn.Identity()])
def test_a_graph_takes_support_and_query(graph):
    with pytest.raises(InputError, match="graph: expected a module whose call takes support and query, got "):
        GraphFewShot(backbones.conv4(width=8), graph)
    GraphFewShot(backbones.conv4(width=8), OfTheirOwn())


class Stranger(nn.Module):
    def __init__(self, features=6):
        super().__init__()
        self.layer = nn.Linear(3, features)

    def forward(self, x):
        return self.layer(x.mean((2, 3)))


def test_a_backbone_from_outside_takes_its_weights_from_the_checkpoint(tmp_path):
    model = GraphFewShot(Stranger(), ClassGraph()).eval()
    model.save(tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"backbone: expected the module that .* was saved with, got None"):
        GraphFewShot.load(tmp_path / "model.pt")
    loaded = GraphFewShot.load(tmp_path / "model.pt", backbone=Stranger())
    x = images(4, 3, 16, 16)
    assert torch.equal(loaded.encode(x), model.encode(x))
    with pytest.raises(InputError, match=r"do not fit the model: .*size mismatch"):
        GraphFewShot.load(tmp_path / "model.pt", backbone=Stranger(7))


def test_a_file_that_is_not_a_checkpoint_is_refused(model, tmp_path):
    path = tmp_path / "model.pt"
    with pytest.raises(InputError, match=r"checkpoint: expected a file .*model\.pt"):
        GraphFewShot.load(path)
    model.save(path)
    whole = path.read_bytes()
    for broken in (b"", b"GIF89a", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r": expected a checkpoint of fewshot \(") as error:
            GraphFewShot.load(path)
        assert "\n" not in str(error.value)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(InputError, match=r": expected a checkpoint of fewshot \(it holds something else\)$"):
        GraphFewShot.load(path)
    torch.save({"format": "fewshot", "version": 99}, path)
    with pytest.raises(InputError, match="expected a checkpoint of format 3, got 99"):
        GraphFewShot.load(path)


def test_loading_executes_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    torch.save({"format": "fewshot", "version": 2, "extra": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match=r"expected a checkpoint of fewshot \(it holds io.open\)"):
        GraphFewShot.load(tmp_path / "evil.pt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("support", "query", "message"),
    [
        (
            torch.rand(1, 2, 1, 3, 32, 32),
            images(1, 2, 3, 32, 32),
            r"support_images: expected uint8 .*got float32",
        ),
        (images(2, 1, 3, 32, 32), images(1, 2, 3, 32, 32), r"support_images: .*\[B, N, K, C, H, W\]"),
        (images(1, 2, 1, 3, 32, 32), torch.rand(1, 2, 3, 32, 32), r"query_images: expected uint8"),
        (images(1, 2, 1, 3, 32, 32), images(1, 2, 1, 3, 32, 32), r"query_images: .*\[B, M, C, H, W\]"),
        (images(1, 2, 1, 3, 32, 32), images(2, 2, 3, 32, 32), r"query_images: .*with B = 1 .*got \[2, 2"),
        (images(1, 2, 1, 4, 32, 32), images(1, 2, 4, 32, 32), r"images: expected 1 .* channels, got 4"),
    ],
)
def test_bad_images_are_named(model, support, query, message):
    with pytest.raises(InputError, match=message):
        model(support, query)


def test_part_of_a_checkpoint_is_refused_in_one_line(tmp_path):
    torch.save({"format": "fewshot", "version": FORMAT}, tmp_path / "part.pt")
    with pytest.raises(InputError, match=r"part\.pt: graph: expected dict, got None"):
        GraphFewShot.load(tmp_path / "part.pt")


def test_features_leave_the_mode_alone_also_in_threads():
    model = GraphFewShot(backbones.conv4(width=8), ClassGraph(), precision="32-true").train()
    data = PackedDataset(images(6, 3, 16, 16), torch.zeros(6, dtype=torch.int64), ("a",))
    modes = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x):
            modes.append((self.training, watched.training))
            return self.linear(x.mean((2, 3)))

    watched = GraphFewShot(Watched(), ClassGraph(), precision="32-true").train()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: model.features(data).items, range(8)))
        list(pool.map(lambda _: watched.features(data), range(8)))
    assert model.training
    assert model.backbone.training
    assert all(torch.equal(x, found[0]) for x in found)
    assert set(modes) == {(False, True)}
