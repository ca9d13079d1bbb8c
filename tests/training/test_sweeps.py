"""The sweeps of Weights & Biases: every command that an agent makes of them is one of `fewshot train`."""

from pathlib import Path

import pytest
import yaml

from fewshot.cli.entry import build_parser
from fewshot.core import shipped
from fewshot.training import config as configs

SWEEPS = sorted((Path(__file__).parents[2] / "configs" / "sweeps").glob("*.yaml"))


def choices(parameter):
    """The values, or the least and the most."""
    return parameter.get("values") or [parameter["min"], parameter["max"]]


def commands(sweep):
    """Of each parameter each choice, the others at their first one, as an agent of wandb writes them."""
    first = {name: choices(parameter)[0] for name, parameter in sweep["parameters"].items()}
    for name, parameter in sweep["parameters"].items():
        for value in choices(parameter):
            given = first | {name: value}
            macros = {
                "${program}": [sweep["program"]],
                "${args}": [f"--{key}={value}" for key, value in given.items()],
            }
            yield given, [word for chunk in sweep["command"] for word in macros.get(chunk, [chunk])]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_command_of_a_sweep_is_one_of_train(path):
    sweep = yaml.safe_load(path.read_text())
    parser = build_parser()
    for given, (program, *arguments) in commands(sweep):
        assert program == "fewshot"
        options = parser.parse_args(arguments)["train"].as_dict()
        assert "wandb" in options["logger"].split(",")
        overrides = {key: options[section][name] for key in given for section, name in [key.split(".")]}
        config = configs.read(options["config"], overrides)
        for key, value in given.items():
            section, name = key.split(".")
            assert getattr(getattr(config, section), name) == value
        stage, number = sweep["metric"]["name"].split("/")
        assert (getattr(config, stage) is not None, number) == (True, "val_accuracy")


def test_an_agent_writes_arguments_so():
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    made = utils.create_sweep_command_args({"args": {"meta.lr": {"value": 0.004}, "meta.way": {"value": 5}}})
    assert made["args"] == ["--meta.lr=0.004", "--meta.way=5"]


def test_sweeps_are_not_offered_as_configs():
    assert SWEEPS
    assert "sweep" not in " ".join(shipped.names("configs"))
    assert all(configs.read(name) for name in shipped.names("configs"))
