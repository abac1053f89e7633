"""How long deblurers and detectors take, taken in turn: what makes a machine slow for a minute slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from detbench import detectors, environment, resolve, restorers, store
from detbench.data import datasets
from detbench.progress import track
from detbench.types import DetbenchError, RunResult, RunSpec

Key = TypeVar("Key", bound=Hashable)
Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Times:
    """Milliseconds that each frame takes, by the frame's id.

    Attributes:
        restore: by the deblurer's name.
        detect: by the detector's name and its ``imgsz``.
        machine: that they were taken on, as runs describe it.
    """

    restore: Mapping[str, Mapping[str, float]]
    detect: Mapping[tuple[str, int], Mapping[str, float]]
    machine: Mapping[str, Any]

    def put_into(self, run: RunResult) -> RunResult:
        """A run with these times in place of its own."""
        restore, detect = self.restore[run.spec.deblurer], self.detect[run.spec.detector, run.spec.imgsz]
        scores = (replace(its, restore_ms=restore[its.id], detect_ms=detect[its.id]) for its in run.scores)
        return replace(run, scores=tuple(scores), environment={**run.environment, environment.TIMED: self.machine})


def measure(runs: Sequence[RunResult], device: str = "auto") -> Times:
    """Take the times of all deblurers and detectors of some runs, on their blurred frames.

    Args:
        runs: of one dataset.
        device: as in a run's spec.

    Raises:
        DetbenchError: a deblurer, a detector or the dataset is not what it was in the runs; or one cannot be had here.
    """
    deblurers = {run.spec.deblurer: run.spec for run in runs}
    views = {(run.spec.detector, run.spec.imgsz): run.spec for run in runs}
    chosen = dict.fromkeys([*deblurers.values(), *views.values()])
    now = {spec: _same(spec, device) for spec in track(chosen, len(chosen), "what is timed", "runs")}
    dataset = datasets.of(now[next(iter(chosen))])
    frames = ((pair.id, datasets.read_blurred(pair, 0.0)) for pair in dataset.pairs)
    calls: dict[Hashable, Callable[[Frame], object]] = {}
    for name, spec in deblurers.items():
        calls[name] = partial(_restore, restorers.restorer(now[spec]))
    for view, spec in views.items():
        calls[view] = partial(detectors.look, _detector(now[spec]))
    taken = in_turn(calls, track(frames, len(dataset.pairs), f"{len(deblurers)} deblurers, {len(views)} detectors"))
    here = environment.describe()
    machine = {key: here[key] for key in ("cpu", "threads", "gpu", "commit")}
    return Times({name: taken[name] for name in deblurers}, {view: taken[view] for view in views}, machine)


def in_turn(
    calls: Mapping[Key, Callable[[Frame], object]], frames: Iterable[tuple[str, Frame]]
) -> dict[Key, dict[str, float]]:
    """Milliseconds of some calls for each frame: all get one frame, then all the next.

    Args:
        calls: by any keys. Each is called once more before, for the first frame of a size.
        frames: ids and (H, W, 3) uint8 RGB frames.

    Returns:
        By key and id.
    """
    taken: dict[Key, dict[str, float]] = {key: {} for key in calls}
    sizes = set()
    for id, frame in frames:
        for key, call in calls.items():
            if frame.shape not in sizes:
                call(frame)
            started = time.perf_counter()
            call(frame)
            taken[key][id] = (time.perf_counter() - started) * 1e3
        sizes.add(frame.shape)
    return taken


def _same(spec: RunSpec, device: str) -> RunSpec:
    """A spec with what is here, which has to be what it was."""
    now = resolve.resolve(replace(spec, device=device))
    for what in ("deblurer", "detector", "dataset"):
        if getattr(now, f"{what}_hash") != getattr(spec, f"{what}_hash"):
            raise DetbenchError(f"{getattr(spec, what)} is not what it was in the results: run `detbench publish`.")
    return now


def _restore(restore: Callable[[list[Frame]], object], frame: Frame) -> None:
    restore([frame])


def _detector(spec: RunSpec) -> detectors.Detector:
    """As a run builds it."""
    _, found = detectors.settled(spec)
    return found.for_run(spec, store.kept_from(spec))
