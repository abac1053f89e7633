"""Which deblurer to take: the most F1 for sure within a time a frame, on this machine.

Scores are the published ones, or those of somebody's own runs; times are measured here.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from detbench import lineup, restorers
from detbench.report.collect import Group, collect
from detbench.stats import Interval
from detbench.types import DetbenchError, RunSpec
from detbench.verdict import HELPS, Verdict, of_runs

PUBLISHED = "results.json"
"""The published scores, in this package."""

REPEATS, ENOUGH = 3, 2.0
"""How often a frame is restored to measure it, and the seconds after which once is enough."""

TILE, HOPELESS = 2, 3.0
"""A tile of so many times less width and height is restored first; where that, times its share, takes so many times
more than the budget, no whole frame is restored."""

ALIKE = 1.1
"""Times that differ by less than so many times are the same."""


@dataclass(frozen=True)
class Score:
    """A deblurer's published score: its name, F1, and the verdict on it."""

    deblurer: str
    f1: float
    verdict: Verdict


@dataclass(frozen=True)
class Board:
    """Scores with one detector.

    Attributes:
        dataset: whose frames.
        clips: how many they are of.
        detector: its name.
        imgsz: the size in pixels that it works at.
        floor: F1 of the blurred frames as they are.
        scores: the best F1 first.
    """

    dataset: str
    clips: int
    detector: str
    imgsz: int
    floor: float
    scores: tuple[Score, ...]

    @property
    def looked_at_by(self) -> str:
        """The detector with its size, in words."""
        return f"{self.detector} at {self.imgsz}"

    def plain(self) -> dict[str, Any]:
        """As plain data, which :func:`published` reads."""
        rows = [
            {"deblurer": score.deblurer, "f1": score.f1, "verdict": score.verdict.word}
            | {key: getattr(score.verdict.gain, key) for key in ("estimate", "low", "high")}
            for score in self.scores
        ]
        return {**vars(self), "scores": rows}


@dataclass(frozen=True)
class Time:
    """Milliseconds a frame on this machine.

    Attributes:
        ms: the median.
        guessed: from a part of a frame, where that is far too much already.
        least: that was measured, and
        most: likewise; None for a guess.
    """

    ms: float
    guessed: bool = False
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Choice:
    """What was found.

    Attributes:
        board: the scores that were chosen by.
        budget_ms: what a frame may take.
        best: the deblurer to take; None if nothing helps for sure within the budget.
        tried: those that help for sure, the best F1 first, each with its time; those below the best are not tried.
        failed: why others could not be tried, by name.
    """

    board: Board
    budget_ms: float
    best: Score | None
    tried: tuple[tuple[Score, Time], ...]
    failed: dict[str, str]

    @property
    def less(self) -> list[str]:
        """Those that help for sure as well, but less than the best."""
        names = [score.deblurer for score in self.board.scores if score.verdict.word == HELPS]
        return names[names.index(self.best.deblurer) + 1 :] if self.best else []

    @property
    def cheapest(self) -> tuple[Score, Time] | None:
        """The best of those that take no more than the fastest; None if none was tried."""
        measured = [(score, taken) for score, taken in self.tried if not taken.guessed]
        least = min((taken.ms for _, taken in measured), default=0.0)
        return next(((score, taken) for score, taken in measured if taken.ms <= ALIKE * least), None)


def of_group(group: Group) -> Board:
    """The scores of runs on the same frames with one detector."""
    spec, judged = group.floor.spec, of_runs(group.compared)
    return Board(
        Path(spec.dataset).name,
        len(group.compared.clips),
        Path(spec.detector).stem if spec.detector.endswith(".pt") else spec.detector,
        spec.imgsz,
        group.floor.f1,
        tuple(Score(lineup.name(run), run.f1, judged[run.path]) for run in group.ranked),
    )


def of_folder(runs: Path) -> list[Board]:
    """The scores of a folder of runs, a board for each dataset, detector and its settings.

    The most clips come first, and of as many those with the leaderboard's detector. Runs that leave sharp frames
    alone are not among the scores: what others gain is measured on all frames.

    Raises:
        DetbenchError: as :func:`detbench.report.collect.collect` has it.
    """
    usual = published()[0]
    groups = (
        replace(group, models=tuple(run for run in group.models if not run.spec.only_blurred))
        for group in collect([runs], split=True)
    )
    boards = [of_group(group) for group in groups]
    return sorted(boards, key=lambda its: (-its.clips, (its.detector, its.imgsz) != (usual.detector, usual.imgsz)))


def published() -> list[Board]:
    """The scores that this package carries, the leaderboard's detector first."""
    boards = json.loads((files("detbench") / PUBLISHED).read_text("utf-8"))
    return [
        Board(
            **{key: value for key, value in board.items() if key != "scores"},
            scores=tuple(
                Score(
                    row["deblurer"],
                    row["f1"],
                    Verdict(row["verdict"], Interval(row["estimate"], row["low"], row["high"])),
                )
                for row in board["scores"]
            ),
        )
        for board in boards
    ]


def before(boards: Sequence[Board], detector: str | None, imgsz: int | None) -> Board:
    """The board of a detector, at a working size where one is asked for; the first by default.

    Of deblurers whose F1 is the same in three digits, as tables have it, that comes first which gains more with all.

    Raises:
        DetbenchError: there is none; the message names those that there are.
    """
    for board in boards:
        if detector in (None, board.detector) and imgsz in (None, board.imgsz):
            ranked = sorted(board.scores, key=lambda its: (-round(its.f1, 3), -_mean_gain(its.deblurer, boards)))
            return replace(board, scores=tuple(ranked))
    known = ", ".join(board.looked_at_by for board in boards)
    raise DetbenchError(
        f"There are no scores with {detector or boards[0].detector}{f' at {imgsz}' if imgsz else ''}, only with"
        f" {known}. Run `detbench run --deblurer all --detector {detector or boards[0].detector} --out DIR`, and give"
        " --runs DIR."
    )


def _mean_gain(deblurer: str, boards: Sequence[Board]) -> float:
    """The F1 that a deblurer gains, in the mean over the boards that it is on."""
    gains = [its.verdict.gain.estimate for board in boards for its in board.scores if its.deblurer == deblurer]
    return statistics.fmean(gains)


def choose(board: Board, budget_ms: float, measure: Callable[[str, float], Time]) -> Choice:
    """The deblurer with the most F1, of those that help for sure and keep within the budget.

    Args:
        board: the scores.
        budget_ms: milliseconds that a frame may take.
        measure: a deblurer's time a frame; its arguments are the deblurer's name and the budget.
    """
    tried, failed = [], {}
    for score in board.scores:
        if score.verdict.word != HELPS:
            continue
        try:
            taken = measure(score.deblurer, budget_ms)
        except DetbenchError as error:
            failed[score.deblurer] = str(error)
            continue
        tried.append((score, taken))
        if taken.ms <= budget_ms and not taken.guessed:
            return Choice(board, budget_ms, score, tuple(tried), failed)
    # A guess may be twice too much; what to allow instead has to be known.
    near = 2 * min((taken.ms for _, taken in tried), default=0.0)
    tried = [
        (score, measure(score.deblurer, math.inf) if taken.guessed and taken.ms <= near else taken)
        for score, taken in tried
    ]
    return Choice(board, budget_ms, None, tuple(tried), failed)


def measurer(
    size: tuple[int, int], spec: RunSpec, restorer: Callable[[RunSpec], Any] = restorers.restorer
) -> Callable[[str, float], Time]:
    """A ``measure`` for :func:`choose`: a deblurer's time on this machine, after a first frame that warms up.

    Args:
        size: width and height of the frames, in pixels.
        spec: device, backend and precision; what ``auto`` stands for is chosen by frames of this size.
        restorer: makes a deblurer of a spec, which restores a list of (H, W, 3) uint8 frames.
    """
    width, height = size
    coarse = np.random.default_rng(0).integers(0, 256, (1 + height // 16, 1 + width // 16, 3), dtype=np.uint8)
    # Smooth as pictures are, for backends are tried on it.
    frame = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    tile = frame[: max(1, height // TILE), : max(1, width // TILE)]

    def measure(name: str, budget_ms: float) -> Time:
        asked = replace(spec, deblurer=name)
        restore = restorer(asked)
        guessed = _by_tile(restore, tile, frame.size)
        if guessed > HOPELESS * budget_ms:
            return Time(guessed, guessed=True)
        if "auto" in (spec.backend, spec.precision):  # it was chosen by the tile: once more, by the whole frame
            restore = restorer(asked)
        restore([frame])
        taken = _repeated(restore, frame)
        return Time(statistics.median(taken), least=min(taken), most=max(taken))

    return measure


def guess(spec: RunSpec, size: tuple[int, int]) -> float | None:
    """About how many milliseconds a deblurer takes for a frame here, by a small part of one; None if it cannot run.

    Args:
        spec: that names it.
        size: width and height of the frames, in pixels.
    """
    width, height = size
    tile = np.zeros((max(64, height // TILE), max(64, width // TILE), 3), np.uint8)
    try:
        return _by_tile(restorers.restorer(spec), tile, 3 * width * height)
    except DetbenchError:
        return None


def _by_tile(restore: Any, tile: Any, size: int) -> float:
    """Milliseconds of a frame of so many values, by a part of one, of whose short times the least counts."""
    restore([tile])
    return min(_repeated(restore, tile)) * size / tile.size


def _repeated(restore: Any, frame: Any) -> list[float]:
    """Milliseconds that a frame takes, a few times where that is not long."""
    taken = [_ms(restore, frame)]
    while len(taken) < REPEATS and sum(taken) < 1e3 * ENOUGH:
        taken.append(_ms(restore, frame))
    return taken


def _ms(restore: Any, frame: Any) -> float:
    started = time.perf_counter()
    restore([frame])
    return (time.perf_counter() - started) * 1e3
