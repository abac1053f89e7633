"""A metric without a threshold beside F1: as a table, and what it tells in words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detbench import features, stats
from detbench.counts import f1
from detbench.features import Distances
from detbench.lineup import Lineup, detector_title, labels
from detbench.metrics import Sums
from detbench.report.formats import Column, Part, Table
from detbench.types import RunResult


def table(lineup: Lineup, found: Distances) -> Table:
    """F1 gained and the change of the distance, of each deblurer, the nearest first."""
    named = labels([lineup.floor, *lineup.models])
    floor = _counts(lineup.floor)
    rows = []
    for run in lineup.models:
        name = named[run.path]
        gain = stats.bootstrap_difference(_counts(run), floor, f1, found.clips)
        change = found.change(name)
        rows.append((change.estimate, (name, gain.format("{:.3f}"), 1 + change.estimate, change.format("{:.1%}"))))
    columns = (
        Column("deblurer"),
        Column("F1 gained"),
        Column("distance to the sharp frames", "{:.1%}", "lowest"),
        Column("less the blurred frames'"),
    )
    note = (
        f"What {detector_title(lineup.floor.spec)} makes of a frame before its head, in restored and in sharp frames:"
        " the mean difference of its feature maps in units of their spread, blurred frames = 100 %. No threshold has a"
        " part in it. 95 % intervals, paired bootstrap over clips, not corrected."
    )
    ordered = tuple(cells for _, cells in sorted(rows))
    return Table("Without a threshold", columns, (Part(ordered),), (str(lineup.signature), note), "features")


def sentences(lineup: Lineup, found: Distances) -> list[str]:
    """How the distance ranks deblurers beside F1, and how many clips either needs to tell two apart."""
    named = labels([lineup.floor, *lineup.models])
    if len(lineup.models) < stats.MINIMUM_MODELS:
        return []
    one = [_counts(run) for run in lineup.models]
    other = [np.stack([found.restored[named[run.path]], found.blurred], axis=1) for run in lineup.models]
    ranks = stats.bootstrap_rank_correlation(one, other, f1, lambda sums: -stats.mean(sums), found.clips)
    clips = features.needed(lineup, found)
    fewer = float(np.mean(clips.distance < clips.f1))
    return [
        f"Over {len(one)} deblurers the distance ranks as F1 does: Spearman {ranks.estimate:+.2f} [{ranks.low:+.2f},"
        f" {ranks.high:+.2f}].",
        "To tell two deblurers apart (95 % interval without 0) takes"
        f" {np.median(clips.f1):,.0f} clips by F1 and {np.median(clips.distance):,.0f} by the distance, in the median"
        f" of {len(clips.f1)} pairs; fewer by the distance for {fewer:.0%} of them.",
    ]


def _counts(run: RunResult) -> NDArray[np.float64]:
    """(frames, 3) true and false positives and misses."""
    return Sums.of(run.scores).counts.columns().astype(np.float64)
