"""Packs: what is written is what is read, all or nothing, and damage is reported."""

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from fewshot.core.errors import InputError
from fewshot.data.loading import check, info, load, pack
from fewshot.data.packed import PackedDataset, Splits


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three splits of two classes, 2 and 3 lossless images of 8x8."""
    generator = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for count, name in ((2, "cat"), (3, "dog")):
            folder = tmp_path / "pictures" / split / f"{split} {name}"
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "pictures"


@pytest.fixture
def splits(pictures: Path, tmp_path: Path) -> Splits:
    return pack(f"folder:{pictures}", tmp_path / "pack", progress=False)


def test_pixels_labels_and_names_survive(pictures: Path, splits: Splits) -> None:
    for split, data in splits:
        assert data.class_names == (f"{split} cat", f"{split} dog")
        assert data.labels.tolist() == [0, 0, 1, 1, 1]
        assert tuple(data.images.shape) == (5, 3, 8, 8)
        pixels = np.asarray(Image.open(pictures / split / f"{split} dog" / "1.png"))
        assert np.array_equal(data[3][0].permute(1, 2, 0).numpy(), pixels)
        assert data[3][1] == 1


def test_a_set_and_its_splits_are_shown_in_one_line(splits: Splits) -> None:
    assert repr(splits.train) == 'PackedDataset(2 classes, 5 images 3×8×8, "pictures")'
    assert repr(splits) == 'Splits("pictures", classes: 2 train, 2 val, 2 test)'
    assert repr(pickle.loads(pickle.dumps(splits.train))) == repr(splits.train)
    one = PackedDataset(torch.zeros(9500, 1, 2, 2, dtype=torch.uint8), torch.zeros(9500).long(), ("a",))
    assert repr(one) == "PackedDataset(1 class, 9,500 images 1×2×2)"


def test_opening_gives_the_same_and_maps_the_file(splits: Splits) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of arrays it may not write to
        again = load(f"packed:{splits.path}")
    assert again.hash == splits.hash
    assert torch.equal(again.val.images, splits.val.images)
    again.val.images.zero_()  # a private map: the file does not change
    load(f"packed:{splits.path}").verify()


def test_a_pickle_holds_no_image(splits: Splits) -> None:
    content = pickle.dumps(splits.test)
    again = pickle.loads(content)
    assert splits.test.images[0].numpy().tobytes() not in content
    assert torch.equal(again.images, splits.test.images)
    assert again.class_names == splits.test.class_names
    assert again.images.untyped_storage().nbytes() == splits.test.images.untyped_storage().nbytes()


def test_a_data_loader_reads_it_in_workers(splits: Splits) -> None:
    loader = DataLoader(splits.train, batch_size=2, num_workers=1)
    batches = list(loader)
    assert torch.equal(torch.cat([images for images, _ in batches]), splits.train.images)
    assert torch.cat([labels for _, labels in batches]).tolist() == splits.train.labels.tolist()


def test_the_hash_follows_pixels_and_names(pictures: Path, splits: Splits, tmp_path: Path) -> None:
    def hashes(out: str) -> tuple[str, str]:
        made = pack(f"folder:{pictures}", tmp_path / out, progress=False)
        return made.train.hash, made.test.hash

    same = (splits.train.hash, splits.test.hash)
    assert hashes("again") == same
    (pictures / "train" / "train cat").rename(pictures / "train" / "a cat")
    renamed = hashes("renamed")
    assert renamed[0] != same[0]
    assert renamed[1] == same[1]
    file = pictures / "test" / "test dog" / "0.png"
    Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    assert hashes("inverted")[1] != same[1]


def test_truncation_is_reported_when_opened(splits: Splits) -> None:
    file = splits.path / "images.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"images\.npy: missing or truncated"):
        load(f"packed:{splits.path}")


def test_altered_pixels_are_reported_by_check(splits: Splits) -> None:
    file = splits.path / "images.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="the hash of split 'test' differs"):
        check(str(splits.path))


def test_altered_description_is_reported_when_opened(splits: Splits) -> None:
    file = splits.path / "meta.json"
    file.write_text(file.read_text().replace("test cat", "test cow"))
    with pytest.raises(InputError, match=r"meta\.json: altered"):
        load(f"packed:{splits.path}")
    file.write_text("{")
    with pytest.raises(InputError, match=r"meta\.json: truncated or altered"):
        load(f"packed:{splits.path}")


def test_pack_overwrites_nothing(pictures: Path, splits: Splits) -> None:
    with pytest.raises(InputError, match=r"out: expected a path where nothing exists yet, got .*pack"):
        pack(f"folder:{pictures}", splits.path, progress=False)
    splits.verify()


def test_a_pack_has_one_size(splits: Splits) -> None:
    with pytest.raises(InputError, match=r"size: expected 8, with which .* is packed, got 32"):
        load(f"packed:{splits.path}", size=32)
    with pytest.raises(InputError, match="expected a pack"):
        load(f"packed:{splits.path.parent}")


def test_the_second_load_reads_the_pack_alone(pictures: Path, tmp_path: Path) -> None:
    spec, cache = f"folder:{pictures}", tmp_path / "cache"
    first = load(spec, cache=cache, progress=False)
    made = (first.path / "images.npy").stat().st_mtime_ns
    assert (load(spec, cache=cache).path / "images.npy").stat().st_mtime_ns == made
    assert load(spec, size=16, cache=cache, progress=False).test.size == 16
    assert load(spec, channels=1, cache=cache, progress=False).test.channels == 1
    (pictures / "train" / "train cat" / "1.png").unlink()
    assert len(load(spec, cache=cache, progress=False).train) == 4
    assert len(list(cache.iterdir())) == 4


def test_the_cache_is_where_the_environment_says(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path / "elsewhere"))
    assert load(f"folder:{pictures}", progress=False).path.parent == tmp_path / "elsewhere"


def test_a_failed_pack_leaves_nothing(pictures: Path, tmp_path: Path) -> None:
    (pictures / "val" / "val dog" / "2.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"val dog/2\.png: cannot be decoded \(not an image\)"):
        load(f"folder:{pictures}", cache=tmp_path / "cache", progress=False)
    assert not list((tmp_path / "cache").iterdir())


def test_info_counts(splits: Splits) -> None:
    described = json.loads(json.dumps(info(splits)))
    assert described["size"] == 8
    assert described["splits"]["val"] == {
        "classes": 2,
        "images": 5,
        "fewest": 2,
        "most": 3,
        "superclasses": 0,
        "taxonomy": False,
    }


def test_check_names_each_class_that_is_off(splits: Splits, tmp_path: Path) -> None:
    benchmark = tmp_path / "mine.yaml"
    benchmark.write_text(
        "images_per_class: 3\n"
        "classes: {train: [train cat, train dog], val: [val cow, val dog], test: [test dog]}\n"
    )
    assert check(str(splits.path), against=str(benchmark)) == [
        "train: class train cat has 2 images, expected 3",
        "val: class val cow is missing",
        "val: class val cat does not belong there",
        "test: class test cat does not belong there",
    ]
    assert len(check(f"packed:{splits.path}", against="miniimagenet")) == 100 + 6
