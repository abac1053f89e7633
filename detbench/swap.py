"""Does what was found with one detector hold with another? Deblurers in pairs, and working sizes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detbench import stats, store, thresholds
from detbench.compare import LEVEL
from detbench.counts import Counts, f1
from detbench.lineup import Lineup, detector_title, labels, name
from detbench.metrics import Sums
from detbench.types import RunResult

RESAMPLES_A_PAIR = 200
"""Resamples of the bootstrap for each pair that Holm's correction counts: the least p-value that there can be is 2 in
their number, and has to stay far below the level after it."""

CARRIES, ONLY, TURNS, UNKNOWN = "carries over", "only with", "turns round", "not known"
"""The verdicts on a pair: one is better with all detectors; with some; each with one; with none, for sure."""


@dataclass(frozen=True)
class Pair:
    """Two deblurers, or one and the blurred frames as they are, with several detectors.

    Attributes:
        one: its name in tables.
        other: likewise; the one gains more in the mean over detectors.
        gains: by detector, F1 of the one less that of the other, paired and clustered by clip.
        p: by detector, the p-value after Holm's correction for the number of pairs.
    """

    one: str
    other: str
    gains: Mapping[str, stats.Interval]
    p: Mapping[str, float]

    @property
    def better(self) -> list[str]:
        """The detectors with which the one is better for sure."""
        return [detector for detector, gain in self.gains.items() if self.p[detector] < LEVEL and gain.estimate > 0]

    @property
    def worse(self) -> list[str]:
        """The detectors with which the other is."""
        return [detector for detector, gain in self.gains.items() if self.p[detector] < LEVEL and gain.estimate < 0]

    @property
    def verdict(self) -> str:
        """One of :data:`CARRIES`, :data:`ONLY`, :data:`TURNS` and :data:`UNKNOWN`."""
        sure = len(self.better) + len(self.worse)
        if self.better and self.worse:
            return TURNS
        return CARRIES if sure == len(self.gains) else ONLY if sure else UNKNOWN


def pairs(lineups: Sequence[Lineup]) -> list[Pair]:
    """All pairs of the floor and the deblurers that stood with all detectors.

    Args:
        lineups: on the same frames, one a detector and working size.

    Returns:
        The pairs with the floor first.
    """
    runs = by_name(lineups)
    names = list(runs)
    orders = list(itertools.combinations(range(len(names)), 2))
    resamples = max(10_000, RESAMPLES_A_PAIR * len(orders))
    gains: list[list[stats.Interval]] = []
    for number, lineup in enumerate(lineups):
        counts = np.stack([Sums.of(runs[each][number].scores).counts.columns() for each in names], axis=1)
        clips = [score.clip for score in lineup.floor.scores]
        f1, drawn = (
            Counts.of(sums).f1 for sums in (counts.sum(axis=0), stats.resampled_sums(counts, clips, resamples))
        )
        gains.append([stats.interval(float(f1[a] - f1[b]), drawn[:, a] - drawn[:, b]) for a, b in orders])
    adjusted = [stats.holm([gain.p for gain in of_detector]).tolist() for of_detector in gains]
    detectors = [detector_title(lineup.floor.spec) for lineup in lineups]
    found = []
    for i, (a, b) in enumerate(orders):
        its = [of_detector[i] for of_detector in gains]
        if float(np.mean([gain.estimate for gain in its])) < 0:
            a, b, its = b, a, [_reversed(gain) for gain in its]
        p = [of_detector[i] for of_detector in adjusted]
        found.append(
            Pair(names[a], names[b], dict(zip(detectors, its, strict=True)), dict(zip(detectors, p, strict=True)))
        )
    return found


def by_name(lineups: Sequence[Lineup]) -> dict[str, list[RunResult]]:
    """The floor's runs and those of the deblurers that all lineups have, by their names in tables: one a lineup."""
    looked = [(lineup.floor, *lineup.models) for lineup in lineups]
    named = [{called[run.path]: run for run in runs} for runs in looked for called in [labels(runs)]]
    return {each: [of[each] for of in named] for each in named[0] if all(each in of for of in named)}


@dataclass(frozen=True)
class Size:
    """A deblurer's gain where a detector works at one of several sizes.

    Attributes:
        deblurer: its name in tables.
        imgsz: the size, in pixels.
        gain: F1 less the blurred frames', each against what the detector sees at this size in the sharp frames.
        of_largest: likewise, against what it sees in them at the largest size.
    """

    deblurer: str
    imgsz: int
    gain: stats.Interval
    of_largest: stats.Interval


def sizes(lineups: Sequence[Lineup]) -> dict[str, list[Size]]:
    """The gains of all deblurers over the working sizes of each detector that has several.

    Args:
        lineups: on the same frames.

    Returns:
        By detector, size by size and in the deblurers' order.

    Raises:
        DetbenchError: a run's detections are damaged.
    """
    groups: dict[tuple[str, str], list[Lineup]] = {}
    for lineup in lineups:
        groups.setdefault((lineup.floor.spec.detector, lineup.floor.spec.detector_hash), []).append(lineup)
    found = {}
    for (detector, _), members in groups.items():
        members = sorted(members, key=lambda lineup: lineup.floor.spec.imgsz)
        if len({lineup.floor.spec.imgsz for lineup in members}) < 2:
            continue
        largest = members[-1].floor
        reference = [frame.above(largest.spec.conf) for frame in store.read_detections(largest.path)["sharp"]]
        clips = [score.clip for score in largest.scores]
        runs = by_name(members)
        rows = []
        for number, lineup in enumerate(members):
            own = {each: Sums.of(its[number].scores).counts.columns() for each, its in runs.items()}
            held = {
                each: thresholds.counts_by_threshold(
                    store.read_detections(its[number].path)["restored"],
                    reference,
                    lineup.floor.spec.match_iou,
                    np.array([lineup.floor.spec.conf]),
                )[:, 0].columns()
                for each, its in runs.items()
            }
            floor = name(lineup.floor)
            rows += [
                Size(
                    each,
                    lineup.floor.spec.imgsz,
                    *(stats.bootstrap_difference(of[each], of[floor], f1, clips) for of in (own, held)),
                )
                for each in runs
                if each != floor
            ]
        found[detector] = rows
    return found


def _reversed(gain: stats.Interval) -> stats.Interval:
    """Of b less a, from that of a less b."""
    return stats.Interval(-gain.estimate, -gain.high, -gain.low, gain.p)
