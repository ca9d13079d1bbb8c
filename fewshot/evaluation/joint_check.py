"""Whether joint inference costs accuracy on the episodes at hand."""

from __future__ import annotations

from collections.abc import Sequence

from fewshot.core.modes import Mode
from fewshot.evaluation.scores import Scores, paired_difference


def joint_below(scores: Sequence[Scores]) -> list[str]:
    """A line for each joint row that is below the same method's inductive row by more than the interval.

    Args:
        scores: on the same episodes, in any order; what has no inductive row is left out.

    >>> joint_below([])
    []
    """
    inductive = {(one.method, one.relations): one for one in scores if one.mode == Mode.INDUCTIVE}
    lines = []
    for one in scores:
        plain = inductive.get((one.method, one.relations))
        if plain is None or not Mode(one.mode).joint:
            continue
        above, half = paired_difference(one, plain)
        if above < -half:
            lines.append(
                f"{one.method}: {one.mode} is below inductive on these episodes by {-above:.2f} ± "
                f"{half:.2f}; docs/protocols.md says when joint inference hurts"
            )
    return lines
