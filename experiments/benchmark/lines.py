"""Rows of a stage's table: our time compared with another's on the same work."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from measure import Floor, Limits, Times

UNITS = {"ms": 1e3, "s": 1.0, "MB": 1e-6}
HEADER = ("work", "ours", "against", "theirs", "ratio", "target", "of limit")


@dataclass(frozen=True)
class Line:
    """One row of a table: our time compared with another's on the same work.

    Args:
        work, against: in words.
        ours, theirs: times of the same amount of work; theirs is None if the peer is missing or fails. Or
            other quantities that should be small, such as `Times.of` some bytes.
        target: how many times faster ours should be; with `at_most`, the largest share of theirs that ours
            may take.
        as_good: whether our results are as good as theirs; if not, the verdict is short whatever the ratio.
        per: how many units (episodes, images) the times are for; the table shows the time per unit.
        theirs_per: the same for theirs, if it did fewer units.
        unit: of the table's times, one of `UNITS`.
        floor: the least that the work must do, for all of our units.
        note: a remark, such as why theirs is absent.
        figures: further figures to keep (accuracies, bytes).
    """

    work: str
    against: str
    ours: Times
    theirs: Times | None = None
    target: float | None = None
    at_most: bool = False
    as_good: bool = True
    per: int = 1
    theirs_per: int | None = None
    unit: str = "ms"
    floor: Floor | None = None
    note: str = ""
    figures: Mapping[str, Any] | None = None

    def row(self, limits: Limits | None = None) -> dict[str, Any]:
        """Everything as plain values; `verdict` is ok, short, or empty if there is nothing to compare."""
        ours = self.ours.median / self.per
        theirs = None if self.theirs is None else self.theirs.median / (self.theirs_per or self.per)
        ratio = None if theirs is None else (ours / theirs if self.at_most else theirs / ours)
        floor = None
        if self.floor is not None and limits is not None:
            least = self.floor.seconds(limits)
            floor = {**self.floor._asdict(), "seconds": least, "share": least / self.ours.median}
        return {
            "work": self.work,
            "against": self.against,
            "ours": self.ours._asdict(),
            "theirs": self.theirs and self.theirs._asdict(),
            "units": self.per,
            "theirs_units": self.theirs_per or self.per,
            "unit": self.unit,
            "ours_each": ours * UNITS[self.unit],
            "theirs_each": None if theirs is None else theirs * UNITS[self.unit],
            "ratio": ratio,
            "target": self.target,
            "at_most": self.at_most,
            "verdict": verdict(ratio, self.target, self.at_most, self.as_good),
            "limit": floor,
            "note": self.note,
            **(self.figures or {}),
        }


def verdict(ratio: float | None, target: float | None, at_most: bool = False, as_good: bool = True) -> str:
    """ok or short; empty if there is no target, or nothing to compare with it.

    >>> verdict(52.0, 50.0), verdict(0.4, 0.3, at_most=True), verdict(None, 4.0)
    ('ok', 'short', '')
    """
    if ratio is None or target is None or math.isnan(ratio):
        return ""
    return "ok" if as_good and (ratio <= target if at_most else ratio >= target) else "short"


def table(rows: Iterable[Mapping[str, Any]], extra: Sequence[str] = ()) -> str:
    """Rows of `Line.row` as text; a line with a target ends in ok or short. `extra`: more figures."""
    lines = [[*HEADER, *extra, ""], *(cells(row, extra) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def cells(row: Mapping[str, Any], extra: Sequence[str] = ()) -> list[str]:
    """The texts of a row, in the columns of `HEADER`, of `extra`, and one without a title."""
    target, limit = row["target"], row["limit"]
    sign = "<=" if row["at_most"] else ">="
    return [
        row["work"],
        number(row["ours_each"], row["unit"]),
        row["against"],
        number(row["theirs_each"], row["unit"]),
        number(row["ratio"]),
        "" if target is None else f"{sign} {target:g}",
        "" if limit is None else f"{100 * limit['share']:.2g} %",
        *(number(row.get(name)) for name in extra),
        row["verdict"] or row["note"],
    ]


def number(value: Any, unit: str = "") -> str:
    """A number with three digits and its unit; a text as it is; nothing for None.

    >>> number(0.0484, "ms"), number(1343.2, "ms"), number("peer"), number(None)
    ('0.0484 ms', '1,343 ms', 'peer', '')
    """
    if not isinstance(value, int | float):
        return value or ""
    return f"{value:,.0f} {unit}".rstrip() if abs(value) >= 1000 else f"{value:.3g} {unit}".rstrip()
