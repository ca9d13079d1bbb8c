"""The command line."""

from fewshot.core.lazy import face

__getattr__, __dir__ = face(
    __name__,
    {"main": "fewshot.cli.entry"},
)
