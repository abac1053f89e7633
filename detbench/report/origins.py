"""What training records say of where deblurers come from: which detectors were in the loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from detbench.types import RunResult

Records = Mapping[str, Mapping[str, Any]]
"""The training record of each deblurer by its name; empty where it has none of ours."""


def of_runs(runs: Iterable[RunResult]) -> Records:
    """Those that runs carry."""
    return {run.spec.deblurer: run.environment.get("training", {}) for run in runs}


def in_the_loss(records: Records) -> dict[str, list[str]]:
    """The detectors that deblurers, or those that they learnt from, were trained through: by deblurer, their names."""
    through = {
        name: [Path(each).stem for record in _lineage(name, records) for each in _recipe(record).get("detector") or ()]
        for name in records
    }
    return {name: list(dict.fromkeys(detectors)) for name, detectors in through.items() if detectors}


def _recipe(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return record.get("recipe", {})


def _lineage(name: str, records: Records) -> list[Mapping[str, Any]]:
    """A deblurer's record and those of the deblurers whose weights or frames it learnt from, and so on."""
    names = [name]
    for each in names:
        others = (_recipe(records[each]).get(field) for field in ("init_from", "teacher"))
        names += [other for other in others if other and other in records and other not in names]
    return [records[each] for each in names]
