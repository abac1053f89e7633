"""What kind of error each false detection and each missed object is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detbench.match import iou, match
from detbench.types import Detections


@dataclass(frozen=True)
class Errors:
    """How many errors of each kind, by :func:`errors`, which has the rules.

    Attributes:
        classification: the box of an object, with another class.
        localisation: an object of its class, but the box fits badly.
        both: an object of another class, and the box fits badly.
        duplicate: an object of its class that a surer detection has already found.
        background: no object there.
        missed: reference objects that were not found, nor the cause of an error of the first two kinds.
    """

    classification: int
    localisation: int
    both: int
    duplicate: int
    background: int
    missed: int


def errors(
    detections: Sequence[Detections],
    reference: Sequence[Detections],
    conf: float,
    foreground: float = 0.5,
    background: float = 0.1,
) -> Errors:
    """What kind of error each false positive and each missed object is.

    The kinds are those of Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors" (ECCV 2020),
    section 2.2. They are counted; the paper's weights, how much AP each kind costs, are not computed. Each false
    positive is of the first kind that holds, in the order of the authors' code:

    1. localisation: the best overlap with an object of its class lies in [background, foreground);
    2. classification: the best overlap with an object of another class is at least foreground;
    3. duplicate: the best overlap with an object of its class is at least foreground: a surer detection has it;
    4. background: no object overlaps it by background or more;
    5. both: what remains: the best overlap is with another class and lies in [background, foreground).

    A reference object that no detection matches is missed, unless it is the best overlap of a localisation error
    (among its class) or of a classification error (among the others): those say where it went.

    Args:
        detections: one a frame.
        reference: likewise.
        conf: detections with a lower score are left out.
        foreground: IoU from which a detection is a reference object; a run's own ``match_iou`` does not enter.
        background: IoU below which it has nothing to do with it.

    Raises:
        ValueError: the two differ in their number of frames.
    """
    total = dict.fromkeys((field.name for field in dataclasses.fields(Errors)), 0)
    for seen, truth in zip(detections, reference, strict=True):
        seen = seen.above(conf)
        matched = match(seen, truth, foreground)
        false = matched < 0
        if not len(truth):
            total["background"] += int(false.sum())
            continue
        overlap = iou(seen.xyxy[false], truth.xyxy)
        same_class = seen.label[false, None] == truth.label
        same, other = np.where(same_class, overlap, 0.0), np.where(same_class, 0.0, overlap)
        best_same, best_other = same.max(axis=1), other.max(axis=1)
        rules = {
            "localisation": (background <= best_same) & (best_same < foreground),
            "classification": best_other >= foreground,
            "duplicate": best_same >= foreground,
            "background": np.maximum(best_same, best_other) < background,
        }
        kind = np.select(list(rules.values()), list(rules), default="both")
        for name in kind.tolist():
            total[name] += 1
        explained = np.concatenate(
            [
                matched[~false],
                same[kind == "localisation"].argmax(axis=1),
                other[kind == "classification"].argmax(axis=1),
            ]
        )
        total["missed"] += len(truth) - len(np.unique(explained))
    return Errors(**total)
