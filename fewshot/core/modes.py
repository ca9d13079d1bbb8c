"""The modes in which queries are classified: their names, what each may look at, and its heading."""

from enum import StrEnum
from typing import Literal, get_args

from fewshot.core.errors import InputError

Inference = Literal["inductive", "joint"]  # what a user chooses; that shares are known is a choice of its own


class Mode(StrEnum):
    """What a method may look at when it classifies a query. A mode is its name, a string.

    >>> [str(mode) for mode in Mode], Mode("joint-known").joint, Mode.JOINT.known
    (['inductive', 'joint', 'joint-known'], True, False)
    """

    INDUCTIVE = "inductive"
    JOINT = "joint"
    JOINT_KNOWN = "joint-known"

    @property
    def joint(self) -> bool:
        """Whether it looks at all queries of an episode together (transductive inference)."""
        return self is not Mode.INDUCTIVE

    @property
    def known(self) -> bool:
        """Whether it knows the classes' shares of the queries."""
        return self is Mode.JOINT_KNOWN

    @property
    def heading(self) -> str:
        """What stands above its block in a picture."""
        return {
            Mode.INDUCTIVE: "Inductive: each query on its own",
            Mode.JOINT: "Joint: all queries together",
            Mode.JOINT_KNOWN: "Joint, the classes' shares known",
        }[self]


def check_inference(mode: str) -> None:
    """Raise an InputError unless the mode is one of `Inference`.

    >>> check_inference("transductive")
    Traceback (most recent call last):
    ...
    fewshot.InputError: mode: expected one of inductive, joint, got 'transductive'
    """
    if mode not in get_args(Inference):
        raise InputError(f"mode: expected one of {', '.join(get_args(Inference))}, got {mode!r}")
