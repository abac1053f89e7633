"""A lineup → the table people read after ``detbench run``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from detbench.lineup import Lineup, labels, role
from detbench.metrics import METRICS, Sums


def rows(lineup: Lineup) -> list[dict[str, Any]]:
    """One row a run, with its name and role, the floor's first and the ceiling's last.

    ``gap_closed`` is the share of the way from the floor's F1 to the ceiling's: None where there is no gap, as are all
    scores where there is nothing to be found.
    """
    floor, ceiling, names = lineup.floor.f1, lineup.ceiling.f1, labels(lineup)
    found = []
    for result in lineup:
        total = Sums.of(result.scores).total()
        values: dict[str, Any] = {
            key: metric.of(total).item() if metric.function else None for key, metric in METRICS.items()
        }
        if not result.counts.objects:
            values |= dict.fromkeys(("precision", "recall", "f1"))
        if ceiling > floor:
            values["gap_closed"] = (values["f1"] - floor) / (ceiling - floor)
        found.append({"name": names[result.path], "role": role(result.spec), **values})
    return found


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with None for what JSON cannot say: infinite PSNR of equal frames, intervals of a single frame."""
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}


def cells(row: dict[str, Any]) -> list[str]:
    """A row as text, the name first."""
    return [
        row["name"],
        *("-" if _is_missing(row[key]) else metric.form.format(row[key]) for key, metric in METRICS.items()),
    ]


def _is_missing(value: float | None) -> bool:
    return value is None or math.isnan(value)
