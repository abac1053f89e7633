"""How far a difference between two runs may be chance: a paired bootstrap over frames or clips.

Every statistic here is a function of sums over frames (of tp, fp and fn, or of a value and 1). A resample is then no
more than other weights in those sums, and ten thousand of them are one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 256  # resamples held in memory at once; does not change the draws


@dataclass(frozen=True)
class Interval:
    """A difference between two runs, with its confidence interval.

    Attributes:
        estimate: statistic of the first minus statistic of the second.
        low: lower end, or NaN if there is too little data to tell.
        high: upper end, likewise.
    """

    estimate: float
    low: float
    high: float


def precision(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """From (..., 3) sums of tp, fp, fn to (...) in [0, 1]: tp / (tp + fp); 1 when nothing was detected."""
    tp, fp = sums[..., 0], sums[..., 1]
    return _ratio(tp, tp + fp, otherwise=1)


def recall(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """From (..., 3) sums of tp, fp, fn to (...) in [0, 1]: tp / (tp + fn); 1 when there is nothing to find."""
    tp, fn = sums[..., 0], sums[..., 2]
    return _ratio(tp, tp + fn, otherwise=1)


def f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """From (..., 3) sums of tp, fp, fn to (...) in [0, 1]: 2 tp / (2 tp + fp + fn); 1 when all three are 0."""
    tp, fp, fn = sums[..., 0], sums[..., 1], sums[..., 2]
    return _ratio(2 * tp, 2 * tp + fp + fn, otherwise=1)


def mean(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """From (..., 2) sums of a value and of 1 to (...): the mean of the value; NaN for no frames."""
    return _ratio(sums[..., 0], sums[..., 1], otherwise=np.nan)


def bootstrap_difference(
    a: NDArray[Any],
    b: NDArray[Any],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    clips: Sequence[str] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Estimate ``statistic(a) - statistic(b)`` over all frames, with its percentile bootstrap interval.

    The bootstrap is paired: a resample draws the same frames from both runs. Frames of one clip look alike, so with
    ``clips`` whole clips are drawn, however many frames they have (Efron and Tibshirani, "An Introduction to the
    Bootstrap", 1993, section 13.3; Davison and Hinkley, "Bootstrap Methods and their Application", 1997,
    section 3.8).

    Args:
        a: (frames, K) what the statistic sums up, one row a frame: K = 3 columns tp, fp, fn for :func:`f1`,
            :func:`precision` and :func:`recall`; K = 2 columns value, 1 for :func:`mean`.
        b: the same of the other run, its frames in the same order.
        statistic: from (..., K) sums to (...).
        clips: (frames,) the clip of each frame. None draws single frames.
        resamples: how often to draw; at least 1.
        seed: of the draws. Equal arguments give equal intervals.
        level: share of resamples within the interval, in (0, 1).

    Returns:
        The difference and its interval. The ends are NaN where no interval exists: with fewer than two frames (or
        clips), and where a value is not finite (the PSNR of equal frames).

    Raises:
        ValueError: if ``a``, ``b`` and ``clips`` differ in their number of frames, or a and b in their columns.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"two (frames, K) arrays of one shape are needed: a is {a.shape}, b is {b.shape}.")
    if clips is not None and len(clips) != len(a):
        raise ValueError(f"each frame needs a clip: there are {len(a)} frames and {len(clips)} clips.")

    estimate = float(statistic(a.sum(axis=0))) - float(statistic(b.sum(axis=0)))
    clusters = np.hstack([a, b]) if clips is None else _sum_by(clips, np.hstack([a, b]))
    if len(clusters) < 2 or not np.isfinite(clusters).all():
        return Interval(estimate, np.nan, np.nan)

    rng = np.random.default_rng(seed)
    differences = np.empty(resamples)
    for start in range(0, resamples, _CHUNK):
        drawn = differences[start : start + _CHUNK]
        sums = _draw_counts(rng, len(drawn), len(clusters)) @ clusters
        drawn[:] = statistic(sums[:, : a.shape[1]]) - statistic(sums[:, a.shape[1] :])
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64], otherwise: float) -> NDArray[np.float64]:
    """``numerator / denominator``, or ``otherwise`` where the denominator is 0."""
    result = np.full(np.shape(denominator), otherwise, np.float64)
    return np.divide(numerator, denominator, out=result, where=denominator != 0)


def _sum_by(clips: Sequence[str], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(clips, K): the rows of (frames, K) values summed by clip, clips in sorted order."""
    names, clip = np.unique(np.asarray(clips), return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, clip, values)
    return sums


def _draw_counts(rng: np.random.Generator, resamples: int, clusters: int) -> NDArray[np.float64]:
    """(resamples, clusters): how often each cluster is in each resample of as many clusters, with replacement."""
    drawn = rng.integers(clusters, size=(resamples, clusters))
    drawn += clusters * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * clusters)
    return counts.reshape(resamples, clusters).astype(np.float64)
