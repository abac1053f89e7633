"""A run in shares, on as many machines as there are: each scores its frames, and their journals make one run."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from detbench.files import write_file
from detbench.journal import Journal
from detbench.types import DetbenchError, FramePair, RunSpec

SPEC = "spec.json"
"""Of a directory with shards: what is run."""


@dataclass(frozen=True)
class Shard:
    """One of several shares of a dataset's frames.

    Attributes:
        number: of the share, from 1 on.
        count: how many there are.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From a text such as ``3/8``.

        Raises:
            DetbenchError: it is no share.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        shard = cls(*map(int, found.groups())) if found else None
        if shard is None or not 1 <= shard.number <= shard.count:
            raise DetbenchError(f"--shard is {text!r}: give one of several, such as 3/8.")
        return shard

    @property
    def name(self) -> str:
        """In names of files."""
        return f"{self.number}-of-{self.count}"

    @property
    def journal(self) -> str:
        """The name of its journal."""
        return f"journal-{self.name}.jsonl"

    def of(self, pairs: Sequence[FramePair], batch: int) -> tuple[FramePair, ...]:
        """Its frames: every so-manieth batch, so that batches are what they are in one run."""
        starts = range((self.number - 1) * batch, len(pairs), self.count * batch)
        return tuple(pair for start in starts for pair in pairs[start : start + batch])


def note(path: Path, spec: RunSpec) -> None:
    """Write down what a directory's shards are of, for who puts them together."""
    write_file(path / SPEC, json.dumps(dataclasses.asdict(spec), indent=1) + "\n")


def absorb(path: Path, journal: Journal) -> None:
    """Take the rows of all shards in a directory into a run's journal."""
    for file in sorted(path.glob("journal-*.jsonl")):
        with Journal(file) as shard:
            journal.take(shard)


def gather(folders: Sequence[Path], out: Path) -> list[RunSpec]:
    """Bring the shards of runs together, out of one or several folders of run directories.

    Args:
        folders: with unfinished runs, each with some shards.
        out: where the runs are to be finished; may be one of them.

    Returns:
        What is to be run there, without a shard: nothing is left to be scored.

    Raises:
        DetbenchError: there are no shards; some are missing, or of another number of shards than others.
    """
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for spec in sorted(folder.glob(f"*/{SPEC}")):
            found.setdefault(spec.parent.name, []).append(spec.parent)
    if not found:
        raise DetbenchError(f"{', '.join(map(str, folders))} holds no shards: `detbench run --shard 1/8` makes one.")
    for name, places in found.items():
        _check(name, places)
    for name, places in found.items():
        for place in places:
            _copy(place, out / name)
    return [RunSpec(**json.loads((out / name / SPEC).read_text("utf-8"))) for name in found]


def _check(name: str, places: Sequence[Path]) -> None:
    """See that all shards of a run are there."""
    shards = {
        Shard(*map(int, re.findall(r"\d+", file.name)))
        for place in places
        for file in place.glob("journal-*-of-*.jsonl")
    }
    counts = sorted({shard.count for shard in shards})
    if len(counts) != 1:
        raise DetbenchError(f"{name} has shards of {' and of '.join(map(str, counts))}: give those of one number.")
    missing = sorted(set(range(1, counts[0] + 1)) - {shard.number for shard in shards})
    if missing:
        raise DetbenchError(f"{name} lacks {', '.join(f'{number}/{counts[0]}' for number in missing)}.")


def _copy(place: Path, target: Path) -> None:
    """Copy a directory's journals and frames to another, unless it is the same."""
    if target.exists() and target.samefile(place):
        return
    for pattern in (SPEC, "journal-*.jsonl", "frames/**/*"):
        for file in place.glob(pattern):
            if file.is_file():
                goal = target / file.relative_to(place)
                goal.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, goal)
