"""Tensors of a stranger's pickle: a call names a storage, a size and strides, which have to be within it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedIOBase
from typing import IO, Any

import torch
from torch import Tensor

from fewshot.core.untrusted.calls import Name, Refused, encoded, ordered
from fewshot.core.untrusted.plain import MIB
from fewshot.core.untrusted.program import Program

TENSOR = 1024  # bytes that a tensor takes next to its numbers
AXES, LARGEST = 32, 2**40
STORAGES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
NUMBERS = frozenset(STORAGES.values())


@dataclass(eq=False)
class Storage:
    """The numbers of tensors, as their type and as bytes."""

    dtype: torch.dtype
    content: Tensor  # uint8 [bytes]

    def fill(self, file: BufferedIOBase | IO[bytes], order: str = "little") -> None:
        """Read the bytes of the storage, in the order of bytes of the file."""
        view, at = memoryview(self.content.numpy().data), 0
        while at < len(view):
            part = file.read(min(len(view) - at, 16 * MIB))
            if not part:
                raise EOFError("its end is missing")
            view[at : at + len(part)] = part
            at += len(part)
        if order != sys.byteorder:
            self.content.untyped_storage().byteswap(self.dtype)  # type: ignore[no-untyped-call]
        if self.dtype == torch.bool:
            self.content.clamp_(max=1)


def _tensor(
    storage: Any, offset: Any, size: Any, stride: Any, _gradient: Any = 0, _hooks: Any = 0, bits: Any = None
) -> Tensor:
    """The call of ``_rebuild_tensor``; a tensor has as many numbers of its storage as its size says."""
    if not isinstance(storage, Storage) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise Refused("a tensor of something else")
    if bits or len(size) != len(stride) or len(size) > AXES:
        raise Refused("a tensor of another kind")
    if not all(type(number) is int and 0 <= number < LARGEST for number in (offset, *size, *stride)):
        raise Refused("a tensor of a size that is not whole numbers")
    count, most = math.prod(size), len(storage.content) // storage.dtype.itemsize
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if count > most or math.prod(max(side, 1) for side in size) > LARGEST or (count and last >= most):
        raise Refused(f"a tensor of shape {list(size)} from {most} numbers")
    empty = torch.empty(0, dtype=storage.dtype)
    return empty.set_(storage.content.untyped_storage(), offset if count else 0, size, stride)


def _parameter(data: Any, *_: Any) -> Tensor:
    """The call of ``_rebuild_parameter`` and its like, as a tensor."""
    if not isinstance(data, Tensor):
        raise Refused("a parameter of something else")
    return data


def _with_attributes(make: Any, kind: Any, arguments: Any, _state: Any) -> Tensor:
    """The call by which a tensor with attributes is stored; they are left out."""
    if not isinstance(make, Name) or make.path != "torch._utils._rebuild_tensor_v2":
        raise Refused("a tensor of another class")
    return _tensor(*arguments)


def _size(sides: Any = ()) -> tuple[Any, ...]:
    """The call of ``torch.Size``."""
    if not isinstance(sides, list | tuple):
        raise Refused("a size of something else")
    return tuple(sides)


def _counted(counts: Any = ()) -> dict[Any, Any]:
    """The call of ``Counter``, as in the state of ``MultiStepLR``, which counts its milestones."""
    return ordered(tuple(counts.items()) if isinstance(counts, dict) else counts)


CALLS: dict[str, Callable[..., Any] | None] = {
    **dict.fromkeys([*STORAGES, "torch.Tensor"]),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "torch._tensor._rebuild_from_type_v2": _with_attributes,
    "torch.Size": _size,
    "_codecs.encode": encoded,
    "collections.OrderedDict": ordered,
    "collections.Counter": _counted,
}


class Tensors(Program):
    """Pickles of tensors.

    Args:
        content: the pickles.
        size: the most bytes that all storages may have together.
        fetch: gets each storage's key and the storage, and fills it at once or later.
    """

    calls = CALLS

    def __init__(self, content: bytes, size: int, fetch: Callable[[str, Storage], None]) -> None:
        super().__init__(content)
        self.left, self.fetch = size, fetch
        self.storages: dict[str, Storage] = {}

    def built(self, target: Any, state: Any) -> Any:
        # A state dict's attributes, which say which versions of modules wrote it.
        return target if isinstance(target, dict) else super().built(target, state)

    def stored(self, identity: Any) -> Storage:
        kind, name, key, _, count, *view = identity
        plain = isinstance(name, Name) and isinstance(key, str) and type(count) is int and count >= 0
        if kind != "storage" or not plain or any(part is not None for part in view):
            raise Refused("a storage of another kind")
        if name.path not in STORAGES:
            raise Refused(name.path)
        dtype = STORAGES[name.path]
        if key not in self.storages:
            self.spend(TENSOR)
            self.left -= count * dtype.itemsize
            if self.left < 0:
                raise EOFError("its end is missing")
            self.storages[key] = Storage(dtype, torch.empty(count * dtype.itemsize, dtype=torch.uint8))
            self.fetch(key, self.storages[key])
        storage = self.storages[key]
        if storage.dtype != dtype or len(storage.content) != count * dtype.itemsize:
            raise Refused("a storage of two types or sizes")
        return storage

    def cost(self, value: Any) -> int:
        return TENSOR if isinstance(value, Tensor) else super().cost(value)
