"""Directories of runs → groups of runs that may be compared, each with its floor and its ceiling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from detbench import store
from detbench.compare import SAME, Comparison, compare
from detbench.lineup import CEILING, FLOOR, Lineup, Role, labels, role, shown
from detbench.types import DetbenchError, RunResult, RunSpec

DETECTING = ("detector_hash", "imgsz")
"""Those that an alternative to deblurring may change: a larger detector, or a closer look."""

OPTIONS = (
    *("dataset", "clips", "blur", "truth", "classes", "limit", "noise"),
    *("detector", "imgsz", "conf", "nms_iou", "match_iou", "weights"),
)
"""Fields of a spec that are options of `detbench run` and change its floor and ceiling, or its numbers."""


@dataclass(frozen=True)
class Group(Lineup):
    """A lineup, and what else belongs to it.

    Attributes:
        harm: deblurers on the sharp frames.
        alternatives: the blurred frames as they are before a larger detector or at a larger ``imgsz``.
        unfinished: directories of runs that are not complete.
    """

    harm: tuple[RunResult, ...] = ()
    alternatives: tuple[RunResult, ...] = ()
    unfinished: tuple[Path, ...] = ()

    @cached_property
    def compared(self) -> Comparison:
        """The deblurers against the blurred frames, the best F1 first: one bootstrap for all who ask."""
        return compare([self.floor, *self.ranked])

    @property
    def labels(self) -> Mapping[Path, str]:
        """A short name for each run, by its path; runs of one deblurer are distinguished by what differs."""
        return labels([self.floor, *self.alternatives]) | labels([*self, *self.harm])


def collect(paths: Iterable[Path], split: bool = False) -> list[Group]:
    """Read runs and put together those that may be compared.

    Floor and ceiling need not be given: they are looked for beside the runs.

    Args:
        paths: directories of runs, or folders of such directories.
        split: make a group of each combination of dataset, detector and settings, where one is expected otherwise.

    Raises:
        DetbenchError: nothing finished is there; runs that cannot be compared (unless ``split``; the message names
            what differs); a run without its floor or ceiling; a damaged run.
    """
    finished, unfinished = find(paths)
    if not finished:
        waiting = f" ({len(unfinished)} unfinished)" if unfinished else ""
        raise DetbenchError(f"There is no finished run{waiting}: give directories that `detbench run` made.")
    results = [store.read(path) for path in finished]
    groups: dict[tuple[Any, ...], list[RunResult]] = {}
    for result in results:
        groups.setdefault(_key(result), []).append(result)
    main = [key for key, members in groups.items() if any(not _is_frame(member) for member in members)] or [*groups][:1]
    if len(main) > 1 and not split:
        raise DetbenchError(_difference(groups[main[0]], groups[main[1]]))
    others = [r for key, members in groups.items() if key not in main for r in members if role(r.spec) == "floor"]
    return [_group(groups[key], others, unfinished) for key in main]


def before_several(groups: Sequence[Group]) -> list[Group]:
    """Groups that differ in nothing but their detector and its working size.

    Raises:
        DetbenchError: they differ in more.
    """
    for group in groups[1:]:
        specs = (groups[0].floor.spec, group.floor.spec)
        fields = [f for f in SAME if f not in ("conf", *DETECTING) and len({getattr(s, f) for s in specs}) > 1]
        if fields:
            values = ", ".join(f"{field} ({shown(specs[0], field)} and {shown(specs[1], field)})" for field in fields)
            raise DetbenchError(
                f"{groups[0].floor.path} and {group.floor.path} cannot be compared: they differ in {values}. Give runs"
                " that differ in their detector alone."
            )
    return list(groups)


def find(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Directories of finished and of unfinished runs, each once, below or among the given ones.

    Raises:
        DetbenchError: one of them is no directory.
    """
    finished, unfinished = [], []
    for path in paths:
        if not path.is_dir():
            raise DetbenchError(f"{path} is no directory: give those that `detbench run` made.")
        for run in [path] if _is_run(path) else sorted(p for p in path.iterdir() if p.is_dir()):
            if store.is_complete(run):
                finished.append(run)
            elif _is_run(run):
                unfinished.append(run)
    return list(dict.fromkeys(finished)), list(dict.fromkeys(unfinished))


def _is_run(path: Path) -> bool:
    """Whether a directory holds a run, finished or not."""
    if (path / store.FAILED).exists():  # what is left of it is finished elsewhere, without the frames that failed
        return False
    return any((path / file).exists() for file in ("manifest.json", "journal.jsonl", "frames.csv"))


def _group(members: Sequence[RunResult], others: Sequence[RunResult], unfinished: Sequence[Path]) -> Group:
    floor, ceiling = _frame(members, "floor"), _frame(members, "ceiling")
    runs = [member for member in members if not _is_frame(member)]
    same = [field for field in SAME if field not in DETECTING]
    alike = [o for o in others if all(getattr(o.spec, field) == getattr(floor.spec, field) for field in same)]
    return Group(
        floor,
        tuple(run for run in runs if run.spec.input == "blurred"),
        ceiling,
        tuple(run for run in runs if run.spec.input == "sharp"),
        tuple(alike),
        tuple(unfinished),
    )


def _frame(members: Sequence[RunResult], what: Role) -> RunResult:
    """The floor or the ceiling of a group: given, or beside one of its runs."""
    for member in members:
        if role(member.spec) == what:
            return member
    for folder in dict.fromkeys(member.path.parent for member in members):
        for manifest in sorted(folder.glob("*/manifest.json")):
            if f'"{FLOOR if what == "floor" else CEILING}"' in manifest.read_text("utf-8"):
                found = store.read(manifest.parent)
                if role(found.spec) == what and _key(found) == _key(members[0]):
                    return found
    spec, plain = members[0].spec, RunSpec("")
    options = [
        f"--{field.replace('_', '-')} {','.join(value) if isinstance(value := getattr(spec, field), tuple) else value}"
        for field in ("deblurer", *OPTIONS)
        if getattr(spec, field) != getattr(plain, field)
    ]
    raise DetbenchError(
        f"The {what} of {members[0].path} is not beside it: run"
        f" `detbench run {' '.join(options)} --out {members[0].path.parent}`, which makes it."
    )


def _is_frame(result: RunResult) -> bool:
    return role(result.spec) != "model"


def _key(result: RunResult) -> tuple[Any, ...]:
    return tuple(getattr(result.spec, field) for field in SAME)


def _difference(a: Sequence[RunResult], b: Sequence[RunResult]) -> str:
    """Which settings of two groups differ, in words."""
    one, other = (next((m for m in group if not _is_frame(m)), group[0]) for group in (a, b))
    fields = [field for field in SAME if getattr(one.spec, field) != getattr(other.spec, field)]
    values = ", ".join(f"{field} ({shown(one.spec, field)} and {shown(other.spec, field)})" for field in fields)
    return (
        f"{one.path} and {other.path} cannot be compared: they differ in {values}."
        " Give runs that agree, or --group for a section each."
    )
