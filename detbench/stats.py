"""How far a difference between runs may be chance: a paired bootstrap over frames or clips.

Every statistic here is a function of sums over frames (of tp, fp and fn, or of a value and 1). A resample is then no
more than other weights in those sums, and ten thousand of them are one matrix product, for as many statistics of as
many runs as there are columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detbench.counts import ratio

MINIMUM_CLIPS = 10
"""With fewer clips there is no interval but "not enough data".

Percentile intervals of few observations are too narrow (Hesterberg, "What Teachers Should Know about the Bootstrap",
The American Statistician 69, 2015): by simulation, a 95 % interval of a normal mean holds the truth 84 % of the time
with 5 observations, 91 % with 10, 93 % with 20 and 94 % with 46.
"""

MINIMUM_MODELS = 5
"""A rank correlation of fewer models has so few possible values (of three: -1, -.5, .5 and 1) that it says nothing."""

_CHUNK = 256  # resamples held in memory at once; does not change the draws
_DIGITS = 12  # sums in another order differ beyond these decimals, and that is no difference

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From (..., K) sums to (...)."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap confidence interval.

    Attributes:
        estimate: from all frames; of a difference, the first run's statistic minus the second's.
        low: lower end, or NaN if there is too little data to tell.
        high: upper end, likewise.
        p: two-sided p-value in (0, 1] of the hypothesis that the truth is 0, or NaN likewise.
    """

    estimate: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan

    def __neg__(self) -> Interval:
        """Of the difference the other way round."""
        return Interval(-self.estimate, -self.high, -self.low, self.p)

    def format(self, form: str = "{:.3g}") -> str:
        """The estimate and its interval, with signs, or why there is none.

        Args:
            form: of each number, as for :meth:`str.format`.
        """
        estimate, low, high = (form.replace("{:", "{:+").format(v) for v in (self.estimate, self.low, self.high))
        if not math.isfinite(self.estimate):
            return f"{estimate} (no interval)"
        if math.isnan(self.low):
            return f"{estimate} (not enough data for an interval)"
        return f"{estimate} [{low}, {high}]"

    def __str__(self) -> str:
        """As :meth:`format`, to three digits."""
        return self.format()


def mean(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """From (..., 2) sums of a value and of 1 to (...): the mean of the value; NaN for no frames."""
    return ratio(sums[..., 0], sums[..., 1], otherwise=np.nan)


def resampled_sums(
    values: NDArray[Any], clips: Sequence[str] | None = None, resamples: int = 10_000, seed: int = 0
) -> NDArray[np.float64]:
    """Sum values over the frames of each bootstrap resample, all columns with the same draws.

    Frames of one clip look alike, so with ``clips`` whole clips are drawn, however many frames they have (Efron and
    Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3; Davison and Hinkley, "Bootstrap Methods and
    their Application", 1997, section 3.8).

    Args:
        values: (frames, ...) what is summed up; one draw serves all trailing axes, so runs stay paired.
        clips: (frames,) the clip of each frame. None draws single frames.
        resamples: how often to draw; at least 1.
        seed: of the draws. Equal arguments give equal sums.

    Returns:
        (resamples, ...) sums. NaN where no interval exists: everywhere with fewer than :data:`MINIMUM_CLIPS` clips
        (or frames), and in columns with a value that is not finite (the PSNR of equal frames).

    Raises:
        ValueError: if ``values`` and ``clips`` differ in their number of frames.
    """
    if clips is not None and len(clips) != len(values):
        raise ValueError(f"each frame needs a clip: there are {len(values)} frames and {len(clips)} clips.")
    columns = values.reshape(len(values), math.prod(values.shape[1:])).astype(np.float64)
    clusters = columns if clips is None else sum_by(clips, columns)
    sums = np.full((resamples, clusters.shape[1]), np.nan)
    if len(clusters) >= MINIMUM_CLIPS:
        finite = np.isfinite(clusters).all(axis=0)
        rng = np.random.default_rng(seed)
        for start in range(0, resamples, _CHUNK):
            drawn = sums[start : start + _CHUNK]
            drawn[:, finite] = _draw_counts(rng, len(drawn), len(clusters)) @ clusters[:, finite]
    return sums.reshape(resamples, *values.shape[1:])


def sum_by(clips: Sequence[str], values: NDArray[Any]) -> NDArray[Any]:
    """Sum values over the frames of each clip.

    Args:
        clips: (frames,) the clip of each frame.
        values: (frames, ...).

    Returns:
        (clips, ...) of the values' dtype, clips in sorted order.
    """
    names, clip = np.unique(np.asarray(clips), return_inverse=True)
    sums = np.zeros((len(names), *values.shape[1:]), values.dtype)
    np.add.at(sums, clip, values)
    return sums


def interval(estimate: float, resampled: NDArray[np.float64], level: float = 0.95) -> Interval:
    """The percentile interval of an estimate, and the p-value that goes with it.

    The interval is that of Efron and Tibshirani (1993), chapter 13. The p-value is the largest ``1 - level`` at which
    it would still hold 0: twice the smaller share of resamples on either side of 0. With k such resamples of B, the
    share is taken as (k + 1) / (B + 1), which is never 0 (Davison and Hinkley 1997, section 4.2; Phipson and Smyth,
    "Permutation P-values Should Never Be Zero", Statistical Applications in Genetics and Molecular Biology 9, 2010).

    Args:
        estimate: from all frames.
        resampled: (resamples,) the same of each resample.
        level: share of resamples within the interval, in (0, 1).

    Returns:
        The interval; its ends and p are NaN if any resample is.
    """
    resampled = np.round(resampled, _DIGITS)
    if not np.isfinite(resampled).all():
        return Interval(estimate)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    beyond = min(int((resampled <= 0).sum()), int((resampled >= 0).sum()))
    return Interval(estimate, float(low), float(high), min(1.0, 2 * (beyond + 1) / (len(resampled) + 1)))


def student(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of a few independent values, with Student's interval and p-value.

    Args:
        values: such as a difference, one for each of several trainings.
        level: of the interval, in (0, 1).

    Returns:
        The mean; the interval's ends and p are NaN for a single value.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("there are no values")
    if len(values) == 1:
        return Interval(float(values[0]))
    from scipy.stats import ttest_1samp

    tested = ttest_1samp(values, 0.0)
    low, high = tested.confidence_interval(level)
    return Interval(float(np.mean(values)), float(low), float(high), float(tested.pvalue))


def bootstrap_difference(
    a: NDArray[Any],
    b: NDArray[Any],
    statistic: Statistic,
    clips: Sequence[str] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Estimate ``statistic(a) - statistic(b)`` over all frames, with its paired bootstrap interval and p-value.

    For many statistics or runs at once, give :func:`resampled_sums` all their columns.

    Args:
        a: (frames, K) what is summed up for the statistic, one row a frame, such as :class:`detbench.metrics.Sums`'s.
        b: the same of the other run, its frames in the same order.
        statistic: from (..., K) sums to (...).
        clips: as for :func:`resampled_sums`, and so are ``resamples`` and ``seed``.
        resamples: how often to draw.
        seed: of the draws.
        level: as for :func:`interval`.

    Returns:
        The difference and its interval.

    Raises:
        ValueError: if ``a``, ``b`` and ``clips`` differ in their number of frames, or a and b in their columns.
    """
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"two (frames, K) arrays of one shape are needed: a is {a.shape}, b is {b.shape}.")
    sums = resampled_sums(np.stack([a, b], axis=1), clips, resamples, seed)
    estimate = float(statistic(a.astype(float).sum(axis=0))) - float(statistic(b.astype(float).sum(axis=0)))
    return interval(estimate, statistic(sums[:, 0]) - statistic(sums[:, 1]), level)


def holm(p: Sequence[float]) -> NDArray[np.float64]:
    """P-values adjusted for their number: Holm, "A Simple Sequentially Rejective Multiple Test Procedure" (1979).

    Rejecting all hypotheses whose adjusted p is below 0.05 rejects a true one with probability 0.05 at most. Four lines
    of our own: statsmodels' ``multipletests`` knows no NaN, and brings SciPy and patsy with it.

    Args:
        p: p-values; NaN stands for a test that could not be made, and does not count.

    Returns:
        Adjusted p-values in [0, 1], in the same order; NaN stays NaN.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    adjusted = np.array(p, np.float64)
    order = np.argsort(adjusted)[: int((~np.isnan(adjusted)).sum())]  # NaN sorts last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * adjusted[order]), 1)
    return adjusted


def rank_correlation(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Spearman's rank correlation of two measures over models; equal values share the mean of their ranks.

    Args:
        a: (..., models) one measure.
        b: (..., models) the other.

    Returns:
        (...) in [-1, 1]; NaN where a measure is the same for all models or NaN for one of them, and for fewer than
        :data:`MINIMUM_MODELS` models.
    """
    a, b = _ranks(np.asarray(a, np.float64)), _ranks(np.asarray(b, np.float64))
    if a.shape[-1] < MINIMUM_MODELS:
        return np.full(np.broadcast_shapes(a.shape, b.shape)[:-1], np.nan)
    return ratio((a * b).sum(axis=-1), np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1)), otherwise=np.nan)


def bootstrap_rank_correlation(
    a: Sequence[NDArray[Any]],
    b: Sequence[NDArray[Any]],
    statistic_a: Statistic,
    statistic_b: Statistic,
    clips: Sequence[str] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Do two statistics rank models alike? Spearman's rank correlation with its bootstrap interval over clips.

    Each resample draws clips, the same for all models, and ranks the models again. The models themselves are taken
    as given.

    Args:
        a: one (frames, K) array a model: what the first statistic sums up, such as columns tp, fp, fn.
        b: one (frames, L) array a model, likewise for the second, such as columns PSNR, 1.
        statistic_a: from (..., K) sums to (...).
        statistic_b: from (..., L) sums to (...).
        clips: as for :func:`resampled_sums`, and so are ``resamples`` and ``seed``.
        resamples: how often to draw.
        seed: of the draws.
        level: as for :func:`interval`.

    Returns:
        The correlation and its interval.

    Raises:
        ValueError: if the arrays differ in their number of frames, or a and b in their number of models.
    """
    if len(a) != len(b):
        raise ValueError(f"both statistics must be of the same models: there are {len(a)} and {len(b)}.")
    if len(a) < MINIMUM_MODELS:
        return Interval(math.nan)
    first, second = np.stack(a, axis=1).astype(float), np.stack(b, axis=1).astype(float)

    def correlation(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = first.shape[2]
        return rank_correlation(statistic_a(sums[..., :columns]), statistic_b(sums[..., columns:]))

    values = np.concatenate([first, second], axis=2)
    sums = resampled_sums(values, clips, resamples, seed)
    return interval(float(correlation(values.sum(axis=0))), correlation(sums), level)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., models): twice how far each value's rank lies above the mean rank; all NaN where a value is NaN."""
    above = values[..., :, None] > values[..., None, :]
    ranks: NDArray[np.float64] = above.sum(axis=-1) - above.sum(axis=-2, dtype=np.float64)
    ranks[np.isnan(values).any(axis=-1)] = np.nan
    return ranks


def _draw_counts(rng: np.random.Generator, resamples: int, clusters: int) -> NDArray[np.float64]:
    """(resamples, clusters): how often each cluster is in each resample of as many clusters, with replacement."""
    drawn = rng.integers(clusters, size=(resamples, clusters))
    drawn += clusters * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * clusters)
    return counts.reshape(resamples, clusters).astype(np.float64)
