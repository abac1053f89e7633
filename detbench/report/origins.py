"""What the training records of runs say of where their deblurers come from: what was in the loss, what was seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from detbench.types import RunResult

KEPT = "bdd"
"""Folder of the frames that were trained on once and are kept for evaluation now (``bdd-frames``)."""


def in_the_loss(runs: Iterable[RunResult]) -> dict[str, list[str]]:
    """The detectors that deblurers were trained through: of each, the names of those deblurers."""
    found: dict[str, list[str]] = {}
    for name, record in _records(runs).items():
        for detector in record.get("recipe", {}).get("detector") or ():
            found.setdefault(Path(detector).stem, []).append(name)
    return found


def have_seen(runs: Iterable[RunResult], folder: str = KEPT) -> list[str]:
    """The deblurers that were trained on a folder, or whose training started from weights that were."""
    records = _records(runs)

    def seen(name: str | None, before: frozenset[str] = frozenset()) -> bool:
        if name not in records or name in before:
            return False
        record = records[name]
        own = any(source["folder"] == folder for source in record.get("data", ()))
        return own or seen(record.get("recipe", {}).get("init_from"), before | {name})

    return [name for name in records if seen(name)]


def _records(runs: Iterable[RunResult]) -> dict[str, Mapping[str, Any]]:
    """The training record of each deblurer; empty where it has none of ours."""
    return {run.spec.deblurer: run.environment.get("training", {}) for run in runs}
