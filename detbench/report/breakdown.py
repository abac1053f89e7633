"""Where detections are right and wrong: by threshold, class, object size and blur, and by kind of error.

Detections and reference are lists with one :class:`Detections` a frame, in the same order. The confidence they are
counted at is an argument, so detections may reach below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detbench.ap import IOUS
from detbench.counts import Counts
from detbench.match import found, match
from detbench.thresholds import counts_by_threshold
from detbench.types import Detections, FrameScore

CONFIDENCES = np.linspace(0.01, 0.99, 99)
"""Where :func:`confidence_sweep` counts by default."""

SIZES = {"small": 0.0, "medium": 32.0**2, "large": 96.0**2}
"""The least area of each size in square pixels (Lin et al., "Microsoft COCO", and ``COCOeval``)."""

SEVERITIES = ("light", "medium", "strong")
"""How blurred frames are: what their dataset calls it, or thirds of them."""

ENOUGH = 10
"""Reference objects a cell needs before its numbers mean anything: with ten, one object is a tenth of the recall, and
the 95 % interval of a recall of one half still reaches from .19 to .81 (Clopper and Pearson, 1934)."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """Counts over a range of thresholds.

    Attributes:
        thresholds: (T,) float64 in [0, 1], of the confidence or of the IoU.
        counts: (T,) at each.
    """

    thresholds: NDArray[np.float64]
    counts: Counts


@dataclass(frozen=True)
class Cell:
    """The counts of one class, one size or one severity.

    Attributes:
        name: what it is the cell of.
        counts: of its objects and detections.
    """

    name: str
    counts: Counts

    @property
    def enough(self) -> bool:
        """Whether there are :data:`ENOUGH` reference objects to trust the numbers."""
        return bool(self.counts.objects >= ENOUGH)


@dataclass(frozen=True, eq=False)
class Matches:
    """All detections and reference objects of a run, and which were matched; what the breakdowns count.

    Attributes:
        frames: how many there are.
        detection_frame: (D,) int64, index of the frame each detection is in.
        detection_label: (D,) int64 class.
        detection_area: (D,) float64 square pixels.
        score: (D,) float32 in [0, 1].
        correct: (D,) bool, whether it matches a reference object.
        object_frame: (R,) int64, index of the frame each reference object is in.
        object_label: (R,) int64 class.
        object_area: (R,) float64 square pixels.
        found: (R,) bool, whether a detection matches it.
    """

    frames: int
    detection_frame: NDArray[np.int64]
    detection_label: NDArray[np.int64]
    detection_area: NDArray[np.float64]
    score: NDArray[np.float32]
    correct: NDArray[np.bool_]
    object_frame: NDArray[np.int64]
    object_label: NDArray[np.int64]
    object_area: NDArray[np.float64]
    found: NDArray[np.bool_]


def matches(
    detections: Sequence[Detections], reference: Sequence[Detections], match_iou: float, conf: float = 0.0
) -> Matches:
    """Match the detections of all frames to the reference objects by :func:`detbench.match.match`.

    Args:
        detections: one a frame.
        reference: likewise; their scores are ignored.
        match_iou: overlap from which a detection is a reference object, in [0, 1].
        conf: detections with a lower score are left out.

    Raises:
        ValueError: the two differ in their number of frames.
    """
    kept = [frame.above(conf) for frame in detections]
    matched = [match(seen, truth, match_iou) for seen, truth in zip(kept, reference, strict=True)]
    were_found = [found(frame, len(truth)) for frame, truth in zip(matched, reference, strict=True)]
    return Matches(
        frames=len(kept),
        detection_frame=_frame_indices(kept),
        detection_label=_concatenate([frame.label for frame in kept], np.int64),
        detection_area=_areas(kept),
        score=_concatenate([frame.score for frame in kept], np.float32),
        correct=_concatenate([frame >= 0 for frame in matched], np.bool_),
        object_frame=_frame_indices(reference),
        object_label=_concatenate([frame.label for frame in reference], np.int64),
        object_area=_areas(reference),
        found=_concatenate(were_found, np.bool_),
    )


def rescore(detections: Sequence[Detections], reference: Sequence[Detections], match_iou: float, conf: float) -> Counts:
    """Count the detections of each frame against another reference, such as what a larger detector is to find.

    Args:
        detections: one a frame.
        reference: likewise.
        match_iou: overlap from which a detection is a reference object, in [0, 1].
        conf: detections with a lower score are left out.

    Returns:
        (frames,) each.
    """
    run = matches(detections, reference, match_iou, conf)
    return _group(run, run.detection_frame, run.object_frame, run.frames)


def confidence_sweep(
    detections: Sequence[Detections],
    reference: Sequence[Detections],
    match_iou: float,
    confidences: ArrayLike = CONFIDENCES,
) -> Sweep:
    """Counts at each of many confidence thresholds; the reference stays what it is.

    Args:
        detections: one a frame, down to the lowest threshold.
        reference: likewise.
        match_iou: overlap from which a detection is a reference object, in [0, 1].
        confidences: (T,) thresholds in [0, 1]; a detection counts where its score is not lower.
    """
    thresholds = np.asarray(confidences, np.float64)
    return Sweep(thresholds, counts_by_threshold(detections, reference, match_iou, thresholds).sum(axis=0))


def leaders(sweeps: Mapping[str, Sweep], low: float, high: float) -> Counter[str]:
    """At how many of the confidences each has the best F1.

    Args:
        sweeps: by name, over the same thresholds; of equals the first leads.
        low: the least threshold that is looked at, in [0, 1].
        high: the largest, likewise.
    """
    names = list(sweeps)
    thresholds = sweeps[names[0]].thresholds
    looked = (thresholds >= low) & (thresholds <= high)
    return Counter(names[i] for i in np.argmax([sweeps[name].counts.f1[looked] for name in names], axis=0))


def iou_sweep(
    detections: Sequence[Detections],
    reference: Sequence[Detections],
    conf: float,
    ious: ArrayLike = IOUS,
) -> Sweep:
    """Counts at each of several overlaps from which a detection is a reference object.

    Args:
        detections: one a frame.
        reference: likewise.
        conf: detections with a lower score are left out.
        ious: (T,) thresholds in [0, 1].
    """
    thresholds = np.asarray(ious, np.float64)
    counts = [rescore(detections, reference, threshold, conf).sum().columns() for threshold in thresholds.tolist()]
    return Sweep(thresholds, Counts.of(np.array(counts, np.int64).reshape(-1, 3)))


def by_class(run: Matches, class_names: Mapping[int, str]) -> list[Cell]:
    """One cell for each class that is among the reference objects or the detections, the most frequent first.

    Args:
        run: its detections and objects.
        class_names: of the detector's labels.
    """
    labels, index = np.unique(np.concatenate([run.detection_label, run.object_label]), return_inverse=True)
    detection, object_ = np.split(index, [len(run.detection_label)])
    counts = _group(run, detection, object_, len(labels))
    names = [class_names.get(label, f"class {label}") for label in labels.tolist()]
    # Detectors may have two classes of one name: they stay two.
    names = [f"{name} #{label}" if names.count(name) > 1 else name for name, label in zip(names, labels, strict=True)]
    cells = _cells(names, counts)
    return sorted(cells, key=lambda cell: -cell.counts.objects)


def by_size(run: Matches) -> list[Cell]:
    """One cell for each of :data:`SIZES`: objects by the area of their reference box, false positives by their own."""
    least = list(SIZES.values())
    detection, object_ = (
        np.searchsorted(least, area, side="right") - 1 for area in (run.detection_area, run.object_area)
    )
    return _cells(list(SIZES), _group(run, np.maximum(detection, 0), np.maximum(object_, 0), len(SIZES)))


def by_severity(run: Matches, severity: Sequence[str]) -> list[Cell]:
    """One cell for each severity of blur, in the order of :data:`SEVERITIES`.

    Args:
        run: its detections and objects.
        severity: (frames,) as from :func:`severities`.
    """
    names = list(dict.fromkeys([*SEVERITIES, *severity]))
    index = np.array([names.index(name) for name in severity], np.int64)
    return _cells(names, _group(run, index[run.detection_frame], index[run.object_frame], len(names)))


def severities(floor: Sequence[FrameScore]) -> list[str]:
    """How blurred each frame is: as its dataset says, or against the others, by terciles of the PSNR.

    Args:
        floor: scores of the blurred frames; their PSNR is ``inf`` where they are not blurred at all.

    Returns:
        (frames,) names. Where the dataset does not say, they are :data:`SEVERITIES`; frames with the same PSNR are then
        in the same third, so that thirds may differ in size.
    """
    if all(score.severity for score in floor):
        return [score.severity for score in floor]
    loss = -np.array([score.psnr_db for score in floor])
    rank = np.searchsorted(np.sort(loss), loss)  # how many frames are less blurred
    return [SEVERITIES[third] for third in len(SEVERITIES) * rank // max(len(loss), 1)]


def _frame_indices(frames: Sequence[Detections]) -> NDArray[np.int64]:
    """The frame's index of each box of all frames."""
    return np.repeat(np.arange(len(frames)), [len(frame) for frame in frames]).astype(np.int64)


def _areas(frames: Sequence[Detections]) -> NDArray[np.float64]:
    """Square pixels of each box of all frames."""
    boxes = _concatenate([frame.xyxy for frame in frames], np.float64).reshape(-1, 4)
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _concatenate(arrays: Sequence[NDArray[Any]], dtype: type[Any]) -> NDArray[Any]:
    """One array of all, also where there are none."""
    return np.concatenate([np.zeros((0, *arrays[0].shape[1:]), dtype), *arrays]) if arrays else np.zeros(0, dtype)


def _group(run: Matches, detection_group: NDArray[np.int64], object_group: NDArray[np.int64], groups: int) -> Counts:
    """(groups,) counts; correct detections are counted where their object is."""
    return Counts(
        np.bincount(object_group[run.found], minlength=groups),
        np.bincount(detection_group[~run.correct], minlength=groups),
        np.bincount(object_group[~run.found], minlength=groups),
    )


def _cells(names: Sequence[str], counts: Counts) -> list[Cell]:
    """(groups,) counts with their names."""
    return [Cell(name, counts[i].map(int)) for i, name in enumerate(names)]
