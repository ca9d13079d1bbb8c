"""Names that are imported when they are first used, and other names of modules."""

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

import fewshot
from fewshot.core.lazy import Aliases, face

HEAVY = {"torch", "numpy", "torch_geometric", "matplotlib", "sklearn", "lightning", "networkx", "PIL"}


def in_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    "code",
    ["import fewshot", "import fewshot.functional", "import fewshot; dir(fewshot)", "import fewshot.graph"],
)
def test_importing_the_package_loads_nothing_heavy(code: str) -> None:
    code += f"; import sys; print(sorted({HEAVY!r} & set(sys.modules)))"
    assert in_new_process(code) == "[]\n"


def test_help_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys\nfrom fewshot.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    assert in_new_process(code).splitlines()[-1] == "[]"


def test_an_alias_is_the_module_itself() -> None:
    alias = importlib.import_module("fewshot.backbones")
    module = importlib.import_module("fewshot.model.backbones")
    assert alias is module
    assert fewshot.backbones is module
    assert module.__name__ == "fewshot.model.backbones"
    assert module.__spec__ is not None
    assert module.__spec__.name == "fewshot.model.backbones"
    assert module.__spec__.origin == module.__file__


def test_an_alias_imported_first_leaves_the_module_as_it_is() -> None:
    code = (
        "import fewshot.backbones as alias\n"
        "import fewshot.model.backbones as module\n"
        "import fewshot.model.backbones.conv4\n"
        "print(alias is module, module.__spec__.name, module.__spec__.origin == module.__file__)"
    )
    assert in_new_process(code) == "True fewshot.model.backbones True\n"


def test_a_collection_hands_on_the_functions_of_several_modules() -> None:
    from fewshot.functional import masked_softmax, normalize

    from fewshot.graph import trust, vectors

    functional = importlib.import_module("fewshot.functional")
    assert normalize is vectors.normalize is functional.normalize
    assert masked_softmax is vectors.masked_softmax
    assert functional.label_posterior is trust.label_posterior
    assert set(functional.__all__) <= set(dir(functional))
    assert all(callable(getattr(functional, name)) for name in functional.__all__)


def test_all_names_of_a_collection_come_with_a_star() -> None:
    names: dict[str, object] = {}
    exec("from fewshot.functional import *", names)
    assert set(importlib.import_module("fewshot.functional").__all__) <= set(names)


def test_aliases_are_installed_once_however_often_the_package_is_loaded() -> None:
    before = [finder for finder in sys.meta_path if isinstance(finder, Aliases)]
    importlib.reload(fewshot)
    importlib.reload(importlib.import_module("fewshot.backbones"))
    assert [finder for finder in sys.meta_path if isinstance(finder, Aliases)] == before
    assert importlib.import_module("fewshot.backbones") is importlib.import_module("fewshot.model.backbones")


@pytest.mark.parametrize("name", ["fewshot", "fewshot.graph", "fewshot.functional", "fewshot.model"])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    module = importlib.import_module(name)
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'"):
        _ = module.nothing
    with pytest.raises(ImportError, match="nothing"):
        exec(f"from {name} import nothing")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{name}.nothing")


def test_a_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    home, room = ModuleType("home"), ModuleType("room")
    home.thing = object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "home", home)
    monkeypatch.setitem(sys.modules, "room", room)
    room.__getattr__, room.__dir__ = face("room", {"thing": "home"})  # type: ignore[method-assign]
    assert "thing" in dir(room)
    found = room.thing
    assert vars(room)["thing"] is found is home.thing  # type: ignore[attr-defined]
