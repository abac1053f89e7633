"""A committed run that others are held to: made again and judged, or replaced.

What is under test is the code and the deblurer's weights; frames, detector and settings must be the baseline's.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detbench import compare, resolve, runner, stats, store
from detbench.check import Verdict, judge
from detbench.counts import counted
from detbench.files import write_file
from detbench.lineup import RECOMMENDED
from detbench.types import DetbenchError, RunResult, RunSpec

FIRST = RunSpec(RECOMMENDED, limit=20)
"""The run that a gate starts with where no other is given: a minute or two on two cores."""


class CannotCompare(DetbenchError):
    """The baseline's run cannot be made here, or would not be comparable: no verdict, neither good nor bad.

    Attributes:
        exit_status: of the command.
    """

    exit_status = 2


@dataclass(frozen=True, eq=False)
class Replacement:
    """A new baseline.

    Attributes:
        path: the directory of its run.
        result: the run.
        verdicts: of the run against the baseline that it replaces; none if there was none, or none to compare with.
        problems: why there is no verdict, as sentences.
    """

    path: Path
    result: RunResult
    verdicts: tuple[Verdict, ...]
    problems: tuple[str, ...]


def check(
    baseline: Path,
    out: Path | None = None,
    *,
    dataset: str | None = None,
    detector: str | None = None,
    weights: str | None = None,
    device: str | None = None,
) -> Verdict:
    """Make a baseline's run again and judge it.

    Args:
        baseline: folder that holds the directory of one finished run.
        out: folder to keep the new run's directory in. None keeps nothing.
        dataset: where the frames are, if they lie elsewhere than for the baseline.
        detector: likewise.
        weights: the deblurer's, in place of those that the baseline names.
        device: in place of the baseline's.

    Returns:
        The verdict.

    Raises:
        CannotCompare: the folder holds no readable baseline, or one with too few clips; the run cannot be set up here;
            frames, detector, settings or conventions are not the baseline's: the message names which.
        DetbenchError: the deblurer fails on a frame.
    """
    before = _read(baseline)
    with _rerun(before, dataset=dataset, detector=detector, weights=weights, device=device) as now:
        _refuse(before, now)
        if out:
            kept = out / now.path.name
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(now.path, kept)
            now = store.read(kept)
        return judge(before, now)


def start(baseline: Path, run: Path | None = None, *, device: str | None = None) -> Replacement:
    """Start a gate.

    Args:
        baseline: the folder for it, which holds none yet.
        run: the directory of the finished run that becomes the baseline. None makes one: :data:`FIRST`.
        device: to make it on.

    Raises:
        CannotCompare: the run has too few clips, or cannot be made again, as a network that was handed over in Python.
        DetbenchError: there is a baseline already; the run cannot be read or made.
    """
    if _runs(baseline):
        raise DetbenchError(
            f"{baseline} holds a baseline already: `detbench check --update` makes its run anew in its place; for"
            " another run, remove it first."
        )
    if run is not None:
        result = store.read(run)
        _possible(result.spec)
        return update(baseline, result)
    with tempfile.TemporaryDirectory(prefix="detbench-check-") as folder:
        return update(baseline, runner.run(replace(FIRST, device=device or FIRST.device), Path(folder)))


def update(
    baseline: Path,
    result: RunResult | None = None,
    *,
    dataset: str | None = None,
    detector: str | None = None,
    weights: str | None = None,
    device: str | None = None,
) -> Replacement:
    """Write a new baseline, in place of the old one if there is one.

    Restored frames are left out, so a baseline is small enough to be committed; places below the current folder are
    written relative to it, so that it works in another checkout.

    Args:
        baseline: folder that holds the directory of one finished run, or shall hold it.
        result: the run that becomes the baseline. None makes the old baseline's run again.
        dataset: as for :func:`check`, and so are the others; without ``result`` only.
        detector: where it is.
        weights: the deblurer's.
        device: to run on.

    Returns:
        The new baseline, and how it differs from the old one.

    Raises:
        CannotCompare: as for :func:`check`, except that a baseline may be replaced by one it cannot be compared with.
        DetbenchError: the deblurer fails on a frame.
    """
    if result is None:
        before = _read(baseline)
        with _rerun(before, dataset=dataset, detector=detector, weights=weights, device=device) as now:
            return update(baseline, now)
    _enough(result)
    verdicts, problems = _against_old(baseline, result)
    _install(baseline, result)
    return Replacement(baseline / result.path.name, result, verdicts, problems)


def _read(baseline: Path) -> RunResult:
    """The run that a baseline holds."""
    runs = _runs(baseline)
    if not baseline.exists():
        raise CannotCompare(f"There is no baseline {baseline}: `detbench check --baseline new` starts one.")
    if len(runs) != 1:
        found = f"holds {len(runs)} finished runs" if runs else "holds no finished run"
        raise CannotCompare(f"The baseline {baseline} {found} in folders of its own: it must hold one. Write it again.")
    try:
        result = store.read(runs[0])
    except DetbenchError as error:
        raise CannotCompare(f"The baseline cannot be read: {error}") from error
    _enough(result)
    return result


def _runs(baseline: Path) -> list[Path]:
    """Directories of finished runs in a baseline's folder."""
    return sorted(path.parent for path in baseline.glob("*/manifest.json") if not path.parent.name.startswith("."))


def _enough(result: RunResult) -> None:
    """Refuse a run of which nothing could be concluded: a gate that can never fail."""
    clips = len({score.clip for score in result.scores})
    if clips < stats.MINIMUM_CLIPS:
        raise CannotCompare(
            f"{result.path} has {counted(clips, 'clip')}: too few to tell a drop from chance. A baseline wants"
            f" frames of {stats.MINIMUM_CLIPS} clips or more."
        )


@contextmanager
def _rerun(before: RunResult, **places: str | None) -> Iterator[RunResult]:
    """The run of a baseline, made again in a temporary folder."""
    given: dict[str, Any] = {key: value for key, value in places.items() if value}
    spec = _possible(replace(before.spec, **given))
    _refuse(before, replace(before, spec=spec))  # before the work
    with tempfile.TemporaryDirectory(prefix="detbench-check-") as folder:
        yield runner.run(spec, Path(folder), rerun=True)  # the gate believes no cache


def _possible(spec: RunSpec) -> RunSpec:
    """A baseline's spec, resolved, where its run can be made here."""
    try:
        return resolve.resolve(spec)
    except DetbenchError as error:
        raise CannotCompare(f"The baseline's run cannot be made here. {error}") from error


def _refuse(before: RunResult, now: RunResult) -> None:
    """Stop where runs would not be comparable."""
    if differing := compare.mismatches(before, now):
        raise CannotCompare(
            f"What runs here cannot be compared with the baseline {before.path}: they differ in"
            f" {'; '.join(differing)}. If that is meant, write a new baseline from a run of today's."
        )


def _against_old(baseline: Path, result: RunResult) -> tuple[tuple[Verdict, ...], tuple[str, ...]]:
    """Verdicts on a run, held to the one that a baseline holds, and why there is none."""
    verdicts, problems = [], []
    for path in _runs(baseline):
        try:
            before = store.read(path)
            if differing := compare.mismatches(before, result):
                problems.append(f"It cannot be compared with {path}, which it replaces: {'; '.join(differing)}.")
            else:
                verdicts.append(judge(before, result))
        except DetbenchError as error:
            problems.append(f"What it replaces could not be read: {error}")
    return tuple(verdicts), tuple(problems)


def _install(baseline: Path, result: RunResult) -> None:
    """Put a run's directory in the place of what a baseline holds."""
    baseline.mkdir(parents=True, exist_ok=True)
    old, made = _runs(baseline), baseline / ".new"
    shutil.rmtree(made, ignore_errors=True)  # left by a process that was killed
    made.mkdir()
    try:
        for file in result.path.iterdir():
            if file.is_file() and file.name != ".lock":
                shutil.copyfile(file, made / file.name)
        manifest = json.loads((made / "manifest.json").read_text("utf-8"))
        for field in ("dataset", "detector", "weights"):
            place = Path(manifest["spec"][field] or "")
            if place.is_absolute() and place.is_relative_to(Path.cwd()):
                manifest["spec"][field] = place.relative_to(Path.cwd()).as_posix()
        write_file(made / "manifest.json", json.dumps(manifest, indent=1) + "\n")
        for path in old:
            shutil.rmtree(path)
        os.replace(made, baseline / result.path.name)
    finally:
        shutil.rmtree(made, ignore_errors=True)
