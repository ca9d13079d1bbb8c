"""A method of your own among those of the catalogue: a function or class, in Python or in a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import Parameter, isclass, signature
from typing import Any, get_args

import torch
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.modes import Mode
from fewshot.core.own_code import from_file, is_own, where
from fewshot.methods import catalogue
from fewshot.methods.catalogue import Method, Needs, Takes
from fewshot.methods.shared.call import FewShotCall
from fewshot.methods.shared.material import Material


class OwnCall:
    """A call from outside the package as a `FewShotCall`, with what it returns checked.

    Options that it does not take are left out if they say nothing (None, or ``joint``); others are refused.

    Args:
        call: from ``support`` [B, N, K, D], ``query`` [B, M, D] and options to logits [B, M, N], or an output
            that has them as ``logits``.
        name: for errors.

    >>> call = OwnCall(lambda support, query: query @ support.mean(2).mT, "dot")
    >>> call(torch.ones(1, 5, 1, 3), torch.ones(1, 1, 3), joint=True, query_mask=None)
    tensor([[[3., 3., 3., 3., 3.]]])
    """

    def __init__(self, call: Any, name: str) -> None:
        self.call, self.name = call, name
        self.__self__ = call  # as a bound method has it: the episodes go to the device of a module
        parameters = signature(call.forward if isinstance(call, torch.nn.Module) else call).parameters
        self.takes = None if _open(parameters.values()) else set(parameters)

    def __call__(self, support: Tensor, query: Tensor, **options: Any) -> Any:
        """Logits **[B, M, N]**, or the call's own output that has them."""
        if self.takes is not None:
            self._refuse({key for key, value in options.items() if value is not None} - self.takes)
            options = {key: value for key, value in options.items() if key in self.takes}
        try:
            out = self.call(support, query, **options)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{self.name} failed: {where(error)}") from error
        logits = out if isinstance(out, Tensor) else getattr(out, "logits", None)
        expected = [query.shape[0], query.shape[1], support.shape[1]]
        if not isinstance(logits, Tensor) or list(logits.shape) != expected:
            got = type(out).__name__ if logits is None else list(logits.shape)
            raise InputError(f"{self.name}: expected logits [B, M, N] = {expected}, a tensor, got {got}")
        return out

    def _refuse(self, options: set[str]) -> None:
        missing = sorted(options - {"joint"})
        if missing:
            raise InputError(f"{self.name}: expected a call that takes {', '.join(missing)}, got one without")


def own_method(thing: Any, name: str | None = None) -> Method:
    """A function or class of your own as a `Method`.

    What it may look at is declared by attributes, all of which may be left out:

    - ``modes``: any of "inductive" (the default), "joint", "joint-known";
    - ``needs``: "features" of the episode alone (the default), "base" features to learn from, those of the
      "known" classes, or "images"; with another than "features" it is first called with a `Material`, and
      returns what is called with the episodes;
    - ``relations``: "no" (the default), "may" or "must";
    - ``title``, ``paper``: for tables and pictures; by default its name, and "your own".

    Args:
        thing: a function, a module or another object with the common call, see `FewShotCall`; a class is made
            into an object first, without arguments or, if it needs more than features, of a `Material`.
        name: in tables; default its own.

    Raises:
        InputError: it cannot be called, or an attribute has another value.

    >>> def centred(support, query, **_):
    ...     return query @ (support.mean(2) - support.mean((1, 2))[:, None]).mT
    >>> own_method(centred).name, own_method(centred).modes
    ('centred', ('inductive',))
    """
    if isinstance(thing, Method):
        return thing
    name = name or str(getattr(thing, "__name__", type(thing).__name__))
    if not callable(thing):
        raise InputError(f"methods: expected {name} to be a function or class, got {type(thing).__name__}")
    modes = getattr(thing, "modes", ("inductive",))
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    _check(f"{name}.modes", modes, [mode.value for mode in Mode])
    needs: Any = getattr(thing, "needs", "features")
    relations: Any = getattr(thing, "relations", "no")
    _check(f"{name}.needs", [needs], get_args(Needs))
    _check(f"{name}.relations", [relations], get_args(Takes))

    def make(material: Material) -> FewShotCall:
        try:
            call = thing(material) if needs != "features" else thing() if isclass(thing) else thing
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{name} could not be made: {where(error)}") from error
        return OwnCall(call, name)

    title, paper = getattr(thing, "title", name), getattr(thing, "paper", "your own")
    return Method(name, str(title), str(paper), make, modes, needs, relations)


def find(wanted: str | Sequence[Any] | None) -> list[Method]:
    """The methods of a list: names of the catalogue, ``FILE.py:NAME``, functions, classes or `Method`s.

    Args:
        wanted: a list, or text separated by commas; None: the whole catalogue.

    Raises:
        InputError: an unknown name, or something wrong with a file.

    >>> [method.name for method in find(["class-graph", lambda support, query: query])]
    ['class-graph', '<lambda>']
    """
    if wanted is None:
        return catalogue.find(None)
    several = wanted.split(",") if isinstance(wanted, str) else wanted
    found: dict[str, Method] = {}
    for one in several:
        if not isinstance(one, str):
            method = own_method(one)
        elif is_own(one):
            method = load(one, taken=found)
        else:
            [method] = catalogue.find(one)
        if not isinstance(one, str) and found.get(method.name, method) is not method:
            raise InputError(f"methods: expected different names, got {method.name!r} twice")
        found[method.name] = method
    return list(found.values())


def load(spec: str, taken: Iterable[str] = ()) -> Method:
    """The method ``FILE.py:NAME``, which is called NAME, or the whole if that is taken. The file is executed.

    Args:
        spec: the file's path and what it is called there.
        taken: names of other methods, besides those of the catalogue; default none.

    Raises:
        InputError: no such file, a file that fails when it is run, or nothing of that name in it.
    """
    thing, name = from_file(spec, "methods")
    others = {*taken, *(method.name for method in catalogue.METHODS)}
    return own_method(thing, spec if name in others else name)


def _open(parameters: Iterable[Parameter]) -> bool:
    """Whether a call takes any option."""
    return any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters)


def _check(what: str, values: Sequence[Any], known: Sequence[str]) -> None:
    for value in values:
        if value not in known:
            raise InputError(f"{what}: expected any of {', '.join(known)}, got {value!r}")
