"""Runs that belong together: deblurers between their floor and their ceiling, on the same frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from detbench import resolve, restorers, runner, store
from detbench.lineup import CEILING, FLOOR, Lineup, lined_up
from detbench.resolve import RUNS
from detbench.types import DetbenchError, RunSpec


def benchmark(specs: RunSpec | Sequence[RunSpec], out: Path = RUNS) -> Lineup:
    """Runs of one or several deblurers between their floor and their ceiling.

    Args:
        specs: what to run, on the same frames with the same settings.
        out: as for :func:`detbench.runner.run`.

    Returns:
        The blurred frames as they are, the deblurers, and the sharp frames re-encoded as JPEG 95.
    """
    return benchmarks([specs] if isinstance(specs, RunSpec) else specs, [{}], out)[0]


def benchmarks(specs: Sequence[RunSpec], views: Sequence[Mapping[str, Any]], out: Path = RUNS) -> list[Lineup]:
    """A benchmark for each of several detectors or settings of theirs.

    All look at one deblurer's frames before the next deblurer's turn: the cache then has them, if it has room for
    one deblurer's, and each frame is restored once.

    Args:
        specs: as for :func:`benchmark`.
        views: for each benchmark, the fields of the specs that change, such as ``{"detector": "yolo11n"}``.
        out: as for :func:`detbench.runner.run`.

    Returns:
        For each view what :func:`benchmark` gives.

    Raises:
        DetbenchError: as for :func:`detbench.runner.run`; or there is no object to be found in any of the frames.
    """
    check(specs, views, out)
    if specs[0].on_error == "skip":
        skipped = failing(framed(specs, views), out)
        specs = [replace(spec, on_error="stop", skipped=skipped) for spec in specs]
    floor, ceiling = floor_and_ceiling(specs[0])
    floors = [runner.run(replace(floor, **view), out) for view in views]
    for result in floors:
        if not result.counts.objects:
            what = f"{result.spec.truth} has none" if result.spec.truth else f"{result.spec.detector} sees none"
            where = f"in {len(result.scores)} sharp frames" + " of these classes" * bool(result.spec.classes)
            raise DetbenchError(f"There is nothing to be found: {what} {where}. Give other frames, or a lower --conf.")
    results = [floors, *([runner.run(replace(each, **view), out) for view in views] for each in (*specs, ceiling))]
    return [lined_up(of_view) for of_view in zip(*results, strict=True)]


def check(specs: Sequence[RunSpec], views: Sequence[Mapping[str, Any]], out: Path = RUNS) -> None:
    """Find mistakes before anything is run; arguments as for :func:`benchmarks`.

    Raises:
        DetbenchError: an unknown name, or a deblurer that cannot run.
    """
    for view in views:
        resolve.resolve(replace(specs[0], **view))
    for spec in specs:
        if not all(store.is_complete(resolve.place(resolve.resolve(replace(spec, **view)), out)) for view in views):
            restorers.check(spec)


def framed(specs: Sequence[RunSpec], views: Sequence[Mapping[str, Any]]) -> list[RunSpec]:
    """All specs that a benchmark of these runs, floors first and ceilings last; arguments as for :func:`benchmarks`."""
    floor, ceiling = floor_and_ceiling(specs[0])
    return [replace(spec, **view) for spec in (floor, *specs, ceiling) for view in views]


def floor_and_ceiling(spec: RunSpec) -> tuple[RunSpec, RunSpec]:
    """The blurred frames as they are and the sharp ones re-encoded, on the same frames with the same settings."""
    bare = replace(spec, weights=None, seed=0, precision="fp32", backend="torch", only_blurred=False)
    return replace(bare, deblurer=FLOOR, input="blurred"), replace(bare, deblurer=CEILING, input="sharp")


def failing(specs: Sequence[RunSpec], out: Path = RUNS) -> tuple[str, ...]:
    """Ids of the frames that any of several runs fails on, so that all leave out the same ones.

    All other frames are scored on the way, for :func:`detbench.runner.run` with these ``skipped``.

    Args:
        specs: whose ``on_error`` is ``skip``, on the same frames.
        out: as for :func:`detbench.runner.run`.

    Raises:
        DetbenchError: as for :func:`detbench.runner.run`; or there is no frame that all can be scored on.
    """
    found = [resolve.with_dataset(spec) for spec in specs]
    return runner.tried([spec for spec, _ in found], found[0][1], out)


def without_failing(specs: Sequence[RunSpec], out: Path = RUNS) -> list[RunSpec]:
    """Specs of runs on any frames, without those that may fail and do, in any run on the same frames."""
    skipped = {}
    for key in dict.fromkeys((spec.dataset_hash, spec.limit) for spec in specs if spec.on_error == "skip"):
        alike = [spec for spec in specs if (spec.dataset_hash, spec.limit) == key and spec.on_error == "skip"]
        skipped[key] = failing(alike, out)
    return [
        replace(spec, on_error="stop", skipped=skipped[spec.dataset_hash, spec.limit])
        if spec.on_error == "skip"
        else spec
        for spec in specs
    ]
