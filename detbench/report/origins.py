"""What training records say of where deblurers come from: what was in the loss, what was seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from detbench.types import FrameScore, RunResult

KEPT = "bdd"
"""Folder of the frames that were trained on once and are kept for evaluation now (``bdd-frames``). Their clips' names
begin likewise."""

Records = Mapping[str, Mapping[str, Any]]
"""The training record of each deblurer by its name; empty where it has none of ours."""


def of_runs(runs: Iterable[RunResult]) -> Records:
    """Those that runs carry."""
    return {run.spec.deblurer: run.environment.get("training", {}) for run in runs}


def was_trained_on(score: FrameScore) -> bool:
    """Whether a frame is one of those that deblurers were trained on once."""
    return score.clip.startswith(f"{KEPT}-")


def in_the_loss(records: Records) -> dict[str, list[str]]:
    """The detectors that deblurers, or those that they learnt from, were trained through: by deblurer, their names."""
    through = {
        name: [Path(each).stem for record in _lineage(name, records) for each in _recipe(record).get("detector") or ()]
        for name in records
    }
    return {name: list(dict.fromkeys(detectors)) for name, detectors in through.items() if detectors}


def have_seen(records: Records, folder: str = KEPT) -> list[str]:
    """The deblurers that were trained on a folder, or that learnt from some that were."""
    return [
        name
        for name in records
        if any(source["folder"] == folder for record in _lineage(name, records) for source in record.get("data", ()))
    ]


def _recipe(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return record.get("recipe", {})


def _lineage(name: str, records: Records) -> list[Mapping[str, Any]]:
    """A deblurer's record and those of the deblurers whose weights or frames it learnt from, and so on."""
    names = [name]
    for each in names:
        others = (_recipe(records[each]).get(field) for field in ("init_from", "teacher"))
        names += [other for other in others if other and other in records and other not in names]
    return [records[each] for each in names]
