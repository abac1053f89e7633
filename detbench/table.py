"""Runs → the table people read after ``detbench run``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detbench.metrics import METRICS, Sums
from detbench.types import RunResult, RunSpec


def is_floor(result: RunResult) -> bool:
    """Whether a run shows what the detector sees in the blurred frames as they are."""
    return (result.spec.deblurer, result.spec.input) == ("identity", "blurred")


def is_ceiling(result: RunResult) -> bool:
    """Whether a run shows how much of the reference survives a change of the sharp frames that nobody can see."""
    return (result.spec.deblurer, result.spec.input) == ("jpeg95", "sharp")


def name(result: RunResult) -> str:
    """What a run is called in tables: its deblurer, except for the floor and the ceiling."""
    if is_floor(result):
        return "blurred"
    if is_ceiling(result):
        return "sharp, JPEG 95"
    return result.spec.deblurer if result.spec.input == "blurred" else f"{result.spec.deblurer} on sharp"


def labels(results: Sequence[RunResult]) -> dict[Path, str]:
    """A short, unique name for each run, by its path."""
    named: dict[str, list[RunResult]] = {}
    for result in {result.path: result for result in results}.values():
        named.setdefault(name(result), []).append(result)
    found = {}
    for called, alike in named.items():
        for result in alike:
            tells = [
                f"{field.removesuffix('_hash')} {told(result.spec, field)}"
                for field in ("detector_hash", "imgsz", "seed", "precision", "weights", "deblurer_hash")
                if len({told(other.spec, field) for other in alike}) > 1
            ]
            if any(tell.startswith("weights") for tell in tells):  # say more than their hash
                tells = [tell for tell in tells if not tell.startswith("deblurer")]
            found[result.path] = f"{called} ({', '.join(tells)})" if tells else called
    return found


def models(results: Sequence[RunResult]) -> dict[str, RunResult]:
    """The runs between floor and ceiling by their labels."""
    called = labels(results)
    return {called[r.path]: r for r in results if not (is_floor(r) or is_ceiling(r))}


def told(spec: RunSpec, field: str) -> str:
    """A field of a run's spec as people know it."""
    if field == "weights":
        return "/".join(Path(spec.weights).parts[-2:]) if spec.weights else "of its own"
    named = {"dataset_hash": "dataset", "detector_hash": "detector"}.get(field)
    value = getattr(spec, field)
    if named:
        return f"{Path(getattr(spec, named)).name}" if field == "detector_hash" else f"{spec.dataset}:{value[:8]}"
    return str(value)[:8] if field.endswith("_hash") else json.dumps(value)


def rows(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """One row a run, the same run only once; the first is the floor and the last the ceiling.

    ``gap_closed`` is the share of the way from the floor's F1 to the ceiling's: None where there is no gap.
    """
    floor, ceiling, names = results[0].f1, results[-1].f1, labels(results)
    found = []
    for result in {result.path: result for result in results}.values():
        total = Sums.of(result.scores).total()
        values: dict[str, Any] = {
            key: metric.of(total).item() if metric.function else None for key, metric in METRICS.items()
        }
        if ceiling > floor:
            values["gap_closed"] = (values["f1"] - floor) / (ceiling - floor)
        found.append({"name": names[result.path], **values})
    return found


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with None for what JSON cannot say: infinite PSNR of equal frames, intervals of a single frame."""
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}


def cells(row: dict[str, Any]) -> list[str]:
    """A row as text, the name first."""
    return [
        row["name"],
        *("-" if row[key] is None else metric.form.format(row[key]) for key, metric in METRICS.items()),
    ]
