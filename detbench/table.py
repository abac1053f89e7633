"""A lineup → the table people read after ``detbench run``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from detbench.lineup import Lineup, labels, role
from detbench.metrics import METRICS, Sums
from detbench.stats import Interval
from detbench.types import DetbenchError
from detbench.verdict import Verdict

JUDGEMENT = {"verdict": "verdict", "gain": "F1 gained [95 %]"}
"""Headings of what a :class:`detbench.verdict.Verdict` says, by key."""

SHOWN = ("verdict", "f1", "gain", "gap_closed", "psnr_db", "restore_ms")
"""The columns that tell which deblurer to take."""


def headings() -> dict[str, str]:
    """Of all columns, by key."""
    return JUDGEMENT | {key: of.heading for key, of in METRICS.items()}


def rows(lineup: Lineup) -> list[dict[str, Any]]:
    """One row a run, with its name and role, the floor's first and the ceiling's last.

    ``gap_closed`` is the share of the way from the floor's F1 to the ceiling's: None where there is no gap, as are all
    scores where there is nothing to be found. ``restore_ms`` is the median over frames, of which the first ones warm
    up; floor and ceiling, which nobody deblurs with, have NaN.
    """
    floor, ceiling, names = lineup.floor.f1, lineup.ceiling.f1, labels(lineup)
    found = []
    for result in lineup:
        total = Sums.of(result.scores).total()
        values: dict[str, Any] = {
            key: metric.of(total).item() if metric.function else None for key, metric in METRICS.items()
        }
        its = role(result.spec)
        values["restore_ms"] = result.median("restore_ms") if its == "model" else math.nan
        if not result.counts.objects:
            values |= dict.fromkeys(("precision", "recall", "f1"))
        if ceiling > floor:
            values["gap_closed"] = (values["f1"] - floor) / (ceiling - floor)
        found.append({"name": names[result.path], "role": its, **values})
    return found


def chosen(columns: str) -> tuple[str, ...]:
    """Keys of the columns that somebody asks for: ``all``, or some of :func:`headings` with commas between.

    Raises:
        DetbenchError: there is no such column.
    """
    known = headings()
    if columns == "all":
        return tuple(known)
    by_heading = {heading.lower(): key for key, heading in known.items()}
    keys = tuple(by_heading.get(key.strip().lower(), key.strip()) for key in columns.split(","))
    if unknown := [key for key in keys if key not in known]:
        raise DetbenchError(f"There is no column {unknown[0]!r}: choose all, or some of {', '.join(known)}.")
    return keys


def cells(row: Mapping[str, Any], keys: Sequence[str], verdict: Verdict | None = None) -> list[str]:
    """A row as text, the name first.

    Args:
        row: one of :func:`rows`.
        keys: of the columns.
        verdict: on this row's deblurer; None for floor and ceiling.
    """
    judged = {"verdict": str(verdict), "gain": gain(verdict.gain)} if verdict else {}
    return [row["name"], *(judged.get(key) or _text(row.get(key), key) for key in keys)]


def gain(gain: Interval) -> str:
    """F1 gained, with its interval where there is one."""
    form = METRICS["f1"].form
    return form.replace("{:", "{:+").format(gain.estimate) if math.isnan(gain.low) else gain.format(form)


def _text(value: float | None, key: str) -> str:
    return "-" if value is None or math.isnan(value) else METRICS[key].form.format(value)
