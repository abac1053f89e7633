"""The gate's judgement: a run against the baseline's, which fails where it became worse by more than chance.

A metric fails only when its whole paired 95 % interval, clustered by clip, lies beyond its tolerance: noise does not
fail it, a real drop does, and an improvement never. Equal runs differ by nothing at all, so small drops are seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detbench import compare, metrics, stats, store
from detbench.counts import Counts
from detbench.match import match
from detbench.metrics import Sums
from detbench.types import Detections, FrameScore, RunResult

BEST_PSNR_DB = 60.0
"""PSNR above this counts as this: the difference is invisible, and that of equal frames is infinite."""


@dataclass(frozen=True)
class Outcome:
    """What became of one metric.

    Attributes:
        metric: a key of :func:`detbench.metrics.compared`, or ``reference``.
        baseline: its value in the baseline's run.
        now: its value in the new run.
        interval: of now less baseline.
    """

    metric: str
    baseline: float
    now: float
    interval: stats.Interval

    @property
    def heading(self) -> str:
        """What it is called."""
        return metrics.metric(self.metric).heading

    @property
    def tolerance(self) -> float:
        """How much worse it may become: the least difference that matters."""
        return metrics.metric(self.metric).min_effect or 0.0

    @property
    def gain(self) -> stats.Interval:
        """How much better it is now: the interval, the other way round for a metric of which less is better."""
        return -self.interval if metrics.metric(self.metric).better == "lower" else self.interval

    @property
    def word(self) -> str:
        """``failed`` or ``improved`` for more than the tolerance, ``passed``, or ``no interval`` if there is none."""
        if np.isnan(self.interval.low):
            return "no interval"
        if self.gain.high < -self.tolerance:
            return "failed"
        return "improved" if self.gain.low > self.tolerance else "passed"


@dataclass(frozen=True)
class Change:
    """What differs between two runs besides their scores.

    Attributes:
        what: the path in the run's description, with dots.
        baseline: the value in the baseline's run; None if it has none.
        now: the value in the new one, likewise.
    """

    what: str
    baseline: Any
    now: Any


@dataclass(frozen=True, eq=False)
class Verdict:
    """A new run against its baseline.

    Attributes:
        baseline: the baseline's run.
        now: the new one. Its directory is gone unless :func:`detbench.baseline.check` was asked to keep it.
        outcomes: one a metric.
        changes: what else differs.
        reference: what is seen in the sharp frames now, against what was seen for the baseline.
    """

    baseline: RunResult
    now: RunResult
    outcomes: tuple[Outcome, ...]
    changes: tuple[Change, ...]
    reference: Counts

    @property
    def failures(self) -> list[Outcome]:
        """Metrics that failed."""
        return [outcome for outcome in self.outcomes if outcome.word == "failed"]

    @property
    def passed(self) -> bool:
        """Whether no metric failed."""
        return not self.failures

    @property
    def fallen(self) -> list[tuple[FrameScore, FrameScore]]:
        """Frames that became worse, (baseline's, new), the worst first: by errors of detection, then by PSNR."""
        before = {score.id: score for score in self.baseline.scores}
        pairs = [(before[score.id], score) for score in self.now.scores]

        def fall(pair: tuple[FrameScore, FrameScore]) -> tuple[int, float]:
            old, new = pair
            drop = min(old.psnr_db, BEST_PSNR_DB) - min(new.psnr_db, BEST_PSNR_DB)
            return new.fp + new.fn - old.fp - old.fn, drop

        worse = [pair for pair in pairs if fall(pair) > (0, 0.005)]  # 0.005 dB would be shown as no fall at all
        return sorted(worse, key=fall, reverse=True)


def judge(before: RunResult, now: RunResult) -> Verdict:
    """Compare two comparable runs frame by frame.

    Args:
        before: the baseline's run.
        now: the new one, on the same frames.

    Returns:
        The verdict.

    Raises:
        DetbenchError: a run's detections are missing or damaged.
    """
    order = [score.id for score in before.scores]
    frames = Sums(np.stack([Sums.of(compare.in_order(run, order)).values for run in (before, now)], axis=1))
    frames = frames.replaced(psnr_db=np.minimum(frames["psnr_db"], BEST_PSNR_DB))
    clips = [score.clip for score in before.scores]
    whole, drawn = Sums(frames.values.sum(axis=0)), Sums(stats.resampled_sums(frames.values, clips))
    outcomes = [_outcome(key, metric.of(whole), metric.of(drawn)) for key, metric in metrics.compared().items()]
    agreement = _agreement(_reference(before, order), _reference(now, order), before.spec.match_iou)
    resampled = Counts.of(stats.resampled_sums(agreement.columns(), clips))
    agreement = agreement.sum(axis=0)
    outcomes.append(_outcome("reference", agreement.f1, resampled.f1))
    return Verdict(before, now, tuple(outcomes), tuple(_changes(before, now)), agreement[1].map(int))


def _outcome(key: str, values: NDArray[np.float64], drawn: NDArray[np.float64]) -> Outcome:
    """What became of a metric, from its values (2,) before and now and those (resamples, 2) of the resamples."""
    was, is_ = values.tolist()
    return Outcome(key, was, is_, stats.interval(is_ - was, drawn[:, 1] - drawn[:, 0]))


def _reference(run: RunResult, order: Sequence[str]) -> list[Detections]:
    """What was seen in the sharp frames, in the given order."""
    seen = dict(zip((score.id for score in run.scores), store.read_detections(run.path)["sharp"], strict=True))
    return [seen[id] for id in order]


def _agreement(before: Sequence[Detections], now: Sequence[Detections], match_iou: float) -> Counts:
    """(frames, 2) counts of what was and of what is seen in the sharp frames, against what was."""
    old, new = (np.array([len(frame) for frame in frames]) for frames in (before, now))
    still = np.array([(match(its, mine, match_iou) >= 0).sum() for mine, its in zip(before, now, strict=True)])
    none = np.zeros_like(old)
    columns = [(old, still), (none, new - still), (none, old - still)]
    return Counts(*(np.stack(pair, axis=1) for pair in columns))


def _changes(before: RunResult, now: RunResult) -> Iterator[Change]:
    """What differs between two runs' deblurers, code, packages, machines and training records."""
    yield from _differing("", {"deblurer": before.spec.deblurer_hash}, {"deblurer": now.spec.deblurer_hash})
    yield from _differing("", {"device": before.spec.device}, {"device": now.spec.device})
    own = ("wall_seconds", "resumed_after")  # of each run: they say nothing about what was run
    described = ({k: v for k, v in run.environment.items() if k not in own} for run in (before, now))
    yield from _differing("", *described)


def _differing(prefix: str, a: Any, b: Any) -> Iterator[Change]:
    """Where two trees of plain data differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            yield from _differing(f"{prefix}.{key}" if prefix else key, a.get(key), b.get(key))
    elif a != b:
        yield Change(prefix, a, b)
