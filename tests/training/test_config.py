import subprocess
import sys
from pathlib import Path

import pytest

from fewshot.core.errors import InputError
from fewshot.training import config
from fewshot.training.config import Config, Evaluate, Graph, Meta, Pretrain, from_dict

SHIPPED = sorted((Path(config.__file__).parents[2] / "configs").glob("*.yaml"))


def test_written_and_read_back(tmp_path):
    full = Config(name="all", data="folder:/data/ä", pretrain=Pretrain(), meta=Meta(hard=0.5), graph=Graph())
    config.write(full, tmp_path / "all.yaml")
    assert config.read(tmp_path / "all.yaml") == full
    assert list(tmp_path.iterdir()) == [tmp_path / "all.yaml"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_config_is_valid_and_found_by_name(path):
    shipped = config.read(path.stem)
    assert shipped == config.read(path)
    assert shipped.name == path.stem


def test_a_file_without_a_name_is_named_by_its_stem(tmp_path):
    (tmp_path / "mine.yaml").write_text("seed: 3\nmeta: {lr: 4e-3}\n")
    mine = config.read(tmp_path / "mine.yaml", {"meta.steps": 7, "evaluate.ways": [5]})
    assert mine == Config(name="mine", seed=3, meta=Meta(lr=0.004, steps=7), evaluate=Evaluate(ways=(5,)))


def test_null_leaves_a_stage_out_and_an_empty_one_takes_its_defaults():
    assert from_dict({"meta": None}).meta is None
    assert from_dict({"meta": {}}).meta == Meta()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"sede": 1}, "sede: no such key (did you mean seed?)"),
        ({"meta": {"stpes": 1}}, "meta.stpes: no such key (did you mean meta.steps?)"),
        ({"meta": {"steps": "many"}}, "meta.steps: expected a whole number, got 'many'"),
        ({"meta": {"steps": True}}, "meta.steps: expected a whole number, got True"),
        ({"meta": {"lr": "fast"}}, "meta.lr: expected a number, got 'fast'"),
        ({"meta": {"lr": -1}}, "meta.lr: expected a number above 0, got -1.0"),
        ({"meta": {"hard": 1.5}}, "meta.hard: expected a share from 0 to 1, got 1.5"),
        ({"meta": {"way": 1}}, "meta.way: expected at least 2, got 1"),
        ({"augment": {"noise": float("inf")}}, "augment.noise: expected a number, got inf"),
        ({"augment": {"rotate": ".inf"}}, "augment.rotate: expected a number, got '.inf'"),
        ({"augment": {"rotate": 1e9}}, "augment.rotate: expected at most 360 degrees, got 1000000000.0"),
        ({"meta": {"weight_decay": float("nan")}}, "meta.weight_decay: expected a number, got nan"),
        ({"meta": {"lr": 10**400}}, "meta.lr: expected a number, got 1000"),
        (
            {"meta": {"steps": [[1] * 99] * 99}},
            "meta.steps: expected a whole number, got [[1, 1, 1, ...], [1, 1, 1, ...], [1, 1, 1, ...], ...]",
        ),
        ({"meta": {"batch": 10**5}}, "meta: expected at most 100,000 images per step, got 6,000,000"),
        ({"graph": {"batch": 10**12}}, "graph.batch: expected at most 100000, got 1000000000000"),
        ({"evaluate": {"ways": {"a": 1}}}, "evaluate.ways: expected a whole number, got {'a': 1}"),
        ({"evaluate": {"ways": []}}, "evaluate.ways: expected at least 2, got ()"),
        ({"backbone": {"name": "resnet12", "widths": []}}, "backbone.widths: expected at least 1, got ()"),
        ({"backbone": {"width": 0}}, "backbone.width: expected at least 1, got 0"),
        ({"backbone": {"width": 10**6}}, "backbone.width: expected at most 4096, got 1000000"),
        ({"images": {"size": 100_000}}, "images.size: expected null or at most 1024, got 100000"),
        ({"name": "x\0y"}, "name: expected a name without slashes"),
        ({"name": "\ud800"}, "name: expected a name without slashes"),
        ({"name": "n" * 300}, "name: expected at most 200 bytes, got 'nnnnn"),
        ({"seed": 2**70}, "seed: expected at most 9223372036854775807, got 1180591620717411303424"),
        (
            {"meta": {"method": "maml"}},
            "meta.method: expected one of prototypes, class-graph, got 'maml'",
        ),
        ({"meta": 5}, "meta: expected keys and values, got 5"),
        ({"mirror": "yes"}, "mirror: expected true or false, got 'yes'"),
        ({"images": {"size": 8}}, "images.size: expected null or at least 16, got 8"),
        (
            {"meta": {}, "backbone": {"name": "timm:resnet18", "frozen": True}},
            "backbone.frozen: expected false or null with pretrain or meta, which train it",
        ),
        ({"images": {"channels": 2}}, "images.channels: expected 1, 3 or null, got 2"),
        ({"augment": {"brightness": 2}}, "augment.brightness: expected a share from 0 to 1, got 2.0"),
        ({"graph": {"noise": [0, 2]}}, "graph.noise: expected a share from 0 to 1, got (0.0, 2.0)"),
        ({"graph": {"ways": []}}, "graph.ways: expected at least 2, got ()"),
        ({"pretrain": {"batch": 1}}, "pretrain.batch: expected at least 2, got 1"),
        ({"evaluate": {"ways": [5, "x"]}}, "evaluate.ways: expected a whole number, got 'x'"),
        ({"seed": -1}, "seed: expected a number from 0 up, got -1"),
        ({"name": "a/b"}, "name: expected a name without slashes, got 'a/b'"),
    ],
)
def test_bad_input_is_named_by_its_key(content, message):
    with pytest.raises(InputError) as error:
        from_dict(content)
    assert str(error.value).startswith(message)


def test_bad_files(tmp_path):
    with pytest.raises(InputError, match=r"configs: expected a file or one of .*, got 'nowhere'"):
        config.read("nowhere")
    (tmp_path / "torn.yaml").write_text("meta: {steps: [")
    with pytest.raises(InputError, match=r"torn\.yaml: not YAML: .*line [12]"):
        config.read(tmp_path / "torn.yaml")
    (tmp_path / "twice.yaml").write_text("seed: 1\nmeta: {steps: 1}\nseed: 2\n")
    with pytest.raises(InputError, match=r"twice\.yaml: line 3: expected each key once, got 'seed' again"):
        config.read(tmp_path / "twice.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(InputError, match="expected keys and values, got list"):
        config.read(tmp_path / "list.yaml")


def test_differences_name_each_key():
    one, other = Config(meta=Meta(steps=5)), Config(seed=2)
    assert config.differences(one, one) == []
    found = config.differences(one, other)
    assert "seed: 0 instead of 2" in found
    assert "meta.steps: 5 instead of None" in found


def test_importing_it_imports_nothing_heavy():
    heavy = "{'torch', 'numpy', 'lightning'}"
    code = f"import sys, fewshot.training.config; sys.exit(bool({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
