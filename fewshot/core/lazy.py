"""Names that are imported when they are first used: ``import fewshot`` and ``--help`` stay instant."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Face = tuple[Callable[[str], Any], Callable[[], list[str]]]


def face(name: str, homes: Mapping[str, str], modules: Sequence[str] = ()) -> Face:
    """The ``__getattr__`` and ``__dir__`` of a module (PEP 562) that hands on names of others.

    Args:
        name: the module's ``__name__``.
        homes: for each name that it hands on, the module that defines it.
        modules: names of modules below it that are handed on as they are.

    >>> get, _ = face("fewshot.core", {"InputError": "fewshot.core.errors"})
    >>> get("InputError").__name__
    'InputError'
    """

    def get(key: str) -> Any:
        if key in modules:
            return importlib.import_module(f"{name}.{key}")
        if key not in homes:
            raise AttributeError(f"module '{name}' has no attribute '{key}'")
        value = getattr(importlib.import_module(homes[key]), key)
        setattr(sys.modules[name], key, value)  # found without this function from now on
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[name]), *homes, *modules})

    return get, names


class Aliases:
    """Finds modules that have no file: other names of modules, and collections of names from several.

    It has the methods of a finder and of a loader, but not their base classes, whose import takes longer than
    all else that the command line needs before it can be interrupted.

    Args:
        modules: for each name, absolute, the module it stands for, or the `homes` of its `face`.
    """

    def __init__(self, modules: Mapping[str, str | Mapping[str, str]]) -> None:
        self.modules = dict(modules)
        self._own_spec: dict[str, ModuleSpec | None] = {}

    def install(self) -> None:
        """Let ``import`` ask this finder, after all others; once, even if the package is loaded again."""
        known = (finder for finder in sys.meta_path if isinstance(finder, Aliases))
        if all(finder.modules != self.modules for finder in known):
            sys.meta_path.append(self)

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        loader: Any = self
        return ModuleSpec(fullname, loader) if fullname in self.modules else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        target = self.modules[spec.name]
        if isinstance(target, str):
            module = importlib.import_module(target)
            self._own_spec[spec.name] = module.__spec__
            return module
        module = ModuleType(spec.name, "Pure functions of several modules.")
        get, names = face(spec.name, target)
        vars(module).update(__getattr__=get, __dir__=names, __all__=sorted(target))
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has put the alias's spec in place of the module's own.
        assert module.__spec__ is not None
        alias = module.__spec__.name
        module.__spec__ = self._own_spec.pop(alias, module.__spec__)
