"""What the training records of runs say of where their deblurers come from: what was in the loss, what was seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from detbench.types import RunResult

KEPT = "bdd"
"""Folder of the frames that were trained on once and are kept for evaluation now (``bdd-frames``)."""


def in_the_loss(runs: Iterable[RunResult]) -> dict[str, list[str]]:
    """The detectors that deblurers, or those that they learnt from, were trained through: of each, their names."""
    found: dict[str, list[str]] = {}
    records = _records(runs)
    for name in records:
        through = (record.get("recipe", {}).get("detector") or () for record in _lineage(name, records))
        for detector in dict.fromkeys(Path(each).stem for detectors in through for each in detectors):
            found.setdefault(detector, []).append(name)
    return found


def have_seen(runs: Iterable[RunResult], folder: str = KEPT) -> list[str]:
    """The deblurers that were trained on a folder, or that learnt from some that were."""
    records = _records(runs)
    return [
        name
        for name in records
        if any(source["folder"] == folder for record in _lineage(name, records) for source in record.get("data", ()))
    ]


def _lineage(name: str, records: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A deblurer's record and those of the deblurers whose weights or frames it learnt from, and so on."""
    names = [name]
    for each in names:
        recipe = records[each].get("recipe", {})
        names += [n for n in (recipe.get("init_from"), recipe.get("teacher")) if n in records and n not in names]
    return [records[each] for each in names]


def _records(runs: Iterable[RunResult]) -> dict[str, Mapping[str, Any]]:
    """The training record of each deblurer; empty where it has none of ours."""
    return {run.spec.deblurer: run.environment.get("training", {}) for run in runs}
