"""Training: from a config to a checkpoint with its results."""

from fewshot.core.lazy import face

__getattr__, __dir__ = face(
    __name__,
    {"train": "fewshot.training.run", "Config": "fewshot.training.config"},
)
