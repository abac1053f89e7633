"""COCO's average precision and recall of boxes, as ``COCOeval`` of pycocotools has them, in arrays over all frames.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, and the code beside it; the tests hold it to that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detbench.types import Detections

IOUS = np.linspace(0.5, 0.95, 10)
"""The IoU thresholds over which precision and recall are averaged."""

RECALLS = np.linspace(0.0, 1.0, 101)
"""Where precision is read off."""

MOST = 100
"""How many detections of a class in a frame count: the surest."""


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's averages over classes, each in [0, 1], or NaN where there are no reference objects.

    Attributes:
        ap: mean over the IoU thresholds .50, .55, ..., .95.
        ap50: at an IoU of .50.
        ap75: at an IoU of .75.
        ar: average recall over the same IoU thresholds, of the 100 surest detections of a class.
    """

    ap: float
    ap50: float
    ap75: float
    ar: float


@dataclass(frozen=True, eq=False)
class _Boxes:
    """The boxes of all frames.

    Attributes:
        group: (N,) int64, one number for each class in each frame.
        label: (N,) int64 class.
        score: (N,) float32.
        xywh: (N, 4) float64, corner, width and height in pixels.
    """

    group: NDArray[np.int64]
    label: NDArray[np.int64]
    score: NDArray[np.float32]
    xywh: NDArray[np.float64]

    @classmethod
    def of(cls, frames: Sequence[Detections], classes: int) -> _Boxes:
        """All boxes, in their order; labels are below ``classes``."""
        frame = np.repeat(np.arange(len(frames)), [len(each) for each in frames])
        label = np.concatenate([each.label for each in frames]).astype(np.int64)
        corners = np.concatenate([each.xyxy for each in frames]).astype(np.float64).reshape(-1, 4)
        xywh = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
        return cls(frame * classes + label, label, np.concatenate([each.score for each in frames]), xywh)

    def take(self, rows: NDArray[np.int64]) -> _Boxes:
        """Some of them, in another order."""
        return _Boxes(self.group[rows], self.label[rows], self.score[rows], self.xywh[rows])


def average_precision(detections: Sequence[Detections], reference: Sequence[Detections]) -> AveragePrecision:
    """COCO's average precision and recall of detections.

    The 100 surest detections of each class in a frame count, and the mean is over the classes that have reference
    objects. Detections down to a very low score are wanted: cut off higher, precision-recall curves lack their tails.

    Args:
        detections: one a frame.
        reference: likewise; their scores are ignored.

    Returns:
        NaN without reference objects; 0 where there are objects, but no detections.
    """
    if not sum(map(len, reference)):
        return AveragePrecision(*[float("nan")] * 4)
    classes = 1 + int(max(frame.label.max(initial=0) for frame in (*detections, *reference)))
    seen, objects = _Boxes.of(detections, classes), _Boxes.of(reference, classes)
    seen = seen.take(_surest(seen))
    correct = _correct(seen, objects)
    precisions, recalls = [], []
    for label in np.unique(objects.label).tolist():
        precision, recall = _curves(correct[:, seen.label == label], int((objects.label == label).sum()))
        precisions.append(precision)
        recalls.append(recall)
    by_iou = np.mean(precisions, axis=(0, 2))
    return AveragePrecision(float(by_iou.mean()), float(by_iou[0]), float(by_iou[5]), float(np.mean(recalls)))


def _surest(seen: _Boxes) -> NDArray[np.int64]:
    """The places of the detections that count, the surest first; equal scores stay in their order."""
    order = np.argsort(-seen.score, kind="stable")
    by_group = order[np.argsort(seen.group[order], kind="stable")]
    group = seen.group[by_group]
    rank = np.arange(len(group)) - np.searchsorted(group, group)
    counts = np.zeros(len(order), np.bool_)
    counts[by_group[rank < MOST]] = True
    return order[counts[order]]


def _correct(seen: _Boxes, objects: _Boxes) -> NDArray[np.bool_]:
    """(T, N) bool, whether each detection finds an object at each of :data:`IOUS`.

    Detections choose in the order of falling score. Each takes, among the objects of its class in its frame that are
    still free and overlap it enough, the one with the largest IoU; of equal ones the last.
    """
    objects = objects.take(np.argsort(objects.group, kind="stable"))
    first, end = (np.searchsorted(objects.group, seen.group, side) for side in ("left", "right"))
    detection = np.repeat(np.arange(len(first)), end - first)
    # Of each detection, one object of its group after the other.
    object_ = np.arange(len(detection)) - np.repeat(np.cumsum(end - first) - (end - first) - first, end - first)
    overlap = _iou(seen.xywh[detection], objects.xywh[object_])
    order = np.lexsort((-object_, -overlap, detection))
    order = order[overlap[order] >= IOUS[0]]
    pairs = list(zip(detection[order].tolist(), object_[order].tolist(), overlap[order].tolist(), strict=True))
    correct = np.zeros((len(IOUS), len(first)), np.bool_)
    for row, threshold in zip(correct, IOUS.tolist(), strict=True):
        row[list(_greedy(pairs, min(threshold, 1 - 1e-10)))] = True
    return correct


def _greedy(pairs: Sequence[tuple[int, int, float]], threshold: float) -> Iterator[int]:
    """The detections that get an object, of pairs with their IoU in the order of choice."""
    taken: set[int] = set()
    last = -1
    for detection, object_, overlap in pairs:
        if overlap >= threshold and detection != last and object_ not in taken:
            taken.add(object_)
            last = detection
            yield detection


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) of N pairs of boxes; 0 where they do not touch."""
    sides = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = sides.clip(0).prod(axis=1)
    union = a[:, 2:].prod(axis=1) + b[:, 2:].prod(axis=1) - shared
    return np.divide(shared, union, out=np.zeros(len(a)), where=shared > 0)


def _curves(correct: NDArray[np.bool_], objects: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision at :data:`RECALLS`, (T, 101), and the whole recall, (T,), of one class.

    Args:
        correct: (T, N) bool, the surest detection first.
        objects: how many there are.
    """
    found = correct.cumsum(axis=1)
    count = found.shape[1]
    recall = found / objects
    precision = found / np.arange(1, count + 1)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    read = np.zeros((len(correct), len(RECALLS)))
    for row, (its_recall, its_precision) in enumerate(zip(recall, precision, strict=True)):
        reached = np.searchsorted(its_recall, RECALLS)
        reached = reached[reached < count]
        read[row, : len(reached)] = its_precision[reached]
    return read, recall[:, -1] if count else np.zeros(len(correct))
