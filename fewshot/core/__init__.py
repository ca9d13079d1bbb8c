"""What every room builds on."""

from fewshot.core.lazy import face

__getattr__, __dir__ = face(
    __name__,
    {"InputError": "fewshot.core.errors"},
)
