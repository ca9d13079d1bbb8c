"""Saving a graph's scalars to a folder, and reading them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import save
from torch import nn

from fewshot.core.files import replacing, write_json
from fewshot.core.untrusted.documents import read_json
from fewshot.core.untrusted.tensors import check_state, read_safetensors

T = TypeVar("T", bound="Pretrained")


class Pretrained(nn.Module):
    """A module that is kept as a folder of ``config.json`` and ``model.safetensors``.

    A subclass sets ``config``, the arguments that make it again.
    """

    config: dict[str, Any]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` into a folder, each atomically."""
        folder = Path(folder)
        state = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        with replacing(folder / "model.safetensors") as file:
            file.write_bytes(save(state))
        write_json(folder / "config.json", self.config, indent=None)

    @classmethod
    def from_pretrained(cls: type[T], folder: str | Path) -> T:
        """Read what `save_pretrained` wrote.

        Raises:
            ValueError: the folder does not hold a class graph.

        >>> import tempfile
        >>> from fewshot import ClassGraph
        >>> folder = tempfile.mkdtemp()
        >>> ClassGraph(steps=5).save_pretrained(folder)
        >>> ClassGraph.from_pretrained(folder).config
        {'steps': 5}
        """
        folder = Path(folder)
        try:
            graph = cls(**read_json(folder / "config.json"))
            state = read_safetensors(folder / "model.safetensors", "weights of a class graph")
            check_state(state, folder / "model.safetensors", "weights")
            for name, own in graph.state_dict().items():
                if name in state and state[name].dtype != own.dtype:
                    raise ValueError(f"{name}: expected {own.dtype}, got {state[name].dtype}")
            graph.load_state_dict(state)
        except Exception as error:  # a missing file, JSON, safetensors and torch each raise their own
            reason = " ".join(str(error).split()[:30])
            raise ValueError(
                f"folder: expected config.json and model.safetensors of a class graph in {folder}: {reason}"
            ) from error
        return graph.eval()
