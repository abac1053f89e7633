"""Confidence thresholds: what counts at each, and which is best on other clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detbench import stats
from detbench.counts import Counts
from detbench.match import match
from detbench.types import DetbenchError, Detections

THRESHOLDS: NDArray[np.float64] = np.arange(1, 100) / 100
"""Confidences that are tried on the other clips."""


def counts_by_threshold(
    seen: Sequence[Detections], reference: Sequence[Detections], match_iou: float, thresholds: NDArray[Any]
) -> Counts:
    """Count true and false detections and missed objects of each frame at each confidence threshold.

    COCO's matching is greedy in the order of falling score, so what a detection matches depends on those above it
    only. One matching, of all detections, therefore serves all thresholds.

    Args:
        seen: detections of each frame, down to a low score.
        reference: what counts as true in each frame, whatever its score.
        match_iou: IoU from which a detection is the reference object, in [0, 1].
        thresholds: (T,) rising; a detection counts when its score is at least this.

    Returns:
        (frames, T) each.
    """
    thresholds = np.asarray(thresholds, np.float32)  # as scores are: a score of 0.7 reaches a threshold of 0.7
    # How many detections, false and true, reach so many thresholds; summed up from above, how many reach each.
    reaching = np.zeros((len(seen), len(thresholds) + 1, 2), np.int64)
    for frame, (found, objects) in enumerate(zip(seen, reference, strict=True)):
        matched = match(found, objects, match_iou) >= 0
        reached = np.searchsorted(thresholds, found.score, side="right")
        np.add.at(reaching[frame], (reached, matched.astype(np.int64)), 1)
    fp, tp = np.moveaxis(reaching[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:], -1, 0)
    objects_ = np.array([len(objects) for objects in reference], np.int64).reshape(-1, 1)
    return Counts(tp, fp, objects_ - tp)


def leave_one_clip_out(
    seen: Sequence[Detections],
    reference: Sequence[Detections],
    clips: Sequence[str],
    match_iou: float,
    thresholds: NDArray[Any] = THRESHOLDS,
) -> Counts:
    """Count each frame's detections from a confidence that was chosen without its clip ("leave one clip out").

    For each clip, that is the threshold with the best F1 over all frames of the other clips; of equal ones the lowest.

    Args:
        seen: detections of each frame, down to a low score.
        reference: what counts as true in each frame.
        clips: (frames,) the clip of each frame.
        match_iou: IoU from which a detection is the reference object, in [0, 1].
        thresholds: (T,) confidences to choose from, rising.

    Returns:
        (frames,) each.

    Raises:
        DetbenchError: there is only one clip, so there are no others to choose on.
    """
    names, clip = np.unique(np.asarray(clips), return_inverse=True)
    if len(names) < 2:
        raise DetbenchError("A threshold cannot be chosen on other clips: there is only one. Compare at the runs' own.")
    counts = counts_by_threshold(seen, reference, match_iou, thresholds)
    others = counts.sum(axis=0) - counts.map(lambda each: stats.sum_by(clips, each))
    best = others.f1.argmax(axis=1)
    return counts[np.arange(len(clip)), best[clip]]
