"""What a comparison comes to for each deblurer, in a word: does it help the detector?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

from detbench import stats
from detbench.compare import LEVEL, Comparison
from detbench.metrics import METRICS

HELPS, HARMS, SAME, UNKNOWN = "helps", "harms", "no difference", "not known"
"""The verdicts: F1 is higher for sure; lower for sure; the interval holds nothing that matters; none of these."""

POWER = 0.8
"""How probable it is to be, with as many clips as a verdict names, that a difference of this size is shown."""

MOST = 10_000
"""More clips than this are not counted out: nobody films so many."""


@dataclass(frozen=True)
class Verdict:
    """What is known of a deblurer's F1 against the frames that it was given.

    Attributes:
        word: one of :data:`HELPS`, :data:`HARMS`, :data:`SAME` and :data:`UNKNOWN`. Where Holm's correction and the
            interval disagree, Holm decides.
        gain: F1 of the deblurer less theirs, paired and clustered by clip; the interval is not corrected.
        clips: of :data:`UNKNOWN`, how many clips like these it would take to know, to two digits; infinite if there are
            more than :data:`MOST`, None where these tell nothing.
    """

    word: str
    gain: stats.Interval
    clips: float | None = None

    def __str__(self) -> str:
        """The word, and what it would take to know more."""
        if self.clips is None:
            return self.word
        return (
            f"{self.word} ({f'{self.clips:,.0f}' if math.isfinite(self.clips) else f'over {MOST:,}'} clips would tell)"
        )


def verdicts(comparison: Comparison) -> dict[str, Verdict]:
    """The verdict on each model of a comparison but the first, by name."""
    found = [difference for difference in comparison.differences if difference.metric == "f1"]
    return {each.model: _verdict(each.interval, each.p_holm, len(comparison.clips), len(found)) for each in found}


def of_runs(comparison: Comparison) -> dict[Path, Verdict]:
    """The same by the path of each run; those of one model share its verdict."""
    found = verdicts(comparison)
    return {run.path: found[model.name] for model in comparison.models[1:] for run in model.runs}


def _verdict(gain: stats.Interval, p_holm: float, clips: int, models: int) -> Verdict:
    if p_holm < LEVEL:
        return Verdict(HELPS if gain.estimate > 0 else HARMS, gain)
    matters = METRICS["f1"].min_effect or 0.0
    if -matters < gain.low and gain.high < matters:
        return Verdict(SAME, gain)
    return Verdict(UNKNOWN, gain, needed(gain, clips, models, matters))


def needed(gain: stats.Interval, clips: int, models: int, matters: float) -> float | None:
    """How many clips like these would tell a difference from none, or from one that matters.

    The spread of the clips is read off the interval, as if the bootstrap's draws were normal: an interval shrinks with
    the root of their number. A difference that matters is to be shown, after the strictest step of Holm's correction;
    of a smaller one it is to be shown that it does not matter.

    Args:
        gain: the difference as found, taken for the truth.
        clips: how many there are.
        models: that are corrected for.
        matters: the smallest difference that does.

    Returns:
        The number, rounded up to two digits; infinite if it is above :data:`MOST`; None without an interval.
    """
    if math.isnan(gain.low) or gain.high <= gain.low:
        return None
    normal = NormalDist()
    deviation = (gain.high - gain.low) / 2 / normal.inv_cdf(0.975)
    size, level = abs(gain.estimate), LEVEL / models
    if size < matters:
        size, level = matters - size, LEVEL
    reach = normal.inv_cdf(1 - level / 2) + normal.inv_cdf(POWER)
    number = clips * (reach * deviation / size) ** 2 if size else math.inf
    if number > MOST:
        return math.inf
    unit = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return float(max(math.ceil(number / unit) * unit, clips + 1))
