"""Which detections are which reference objects: IoU, COCO's greedy matching, and the counts of one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detbench.counts import Counts
from detbench.types import Detections


@dataclass(frozen=True)
class FrameCounts(Counts):
    """The detections and reference objects of one restored frame, counted. The reference is the sharp frame.

    Attributes:
        recovered: reference objects missed in the blurred frame and found in this one.
        lost: reference objects found in the blurred frame and missed in this one.
        hallucinated: detections that overlap no object of their class, neither in the sharp nor in the blurred
            frame. At most ``fp``: a second box on a real object is a false positive, but nothing was invented.
    """

    recovered: int
    lost: int
    hallucinated: int


@dataclass(frozen=True)
class Box:
    """A detection, or a reference object that was missed.

    Attributes:
        xyxy: (4,) float32 corners in pixels.
        label: class index.
        score: confidence in [0, 1]; None for a missed object.
        outcome: ``found`` in both frames, ``recovered``, ``hallucinated`` or ``false``; of an object ``lost``, or
            ``missed`` in both.
    """

    xyxy: NDArray[np.float32]
    label: int
    score: float | None
    outcome: str


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of the N detections in a restored frame, and of the M reference objects.

    Attributes:
        matched: (N,) int64, for each detection the index of its object, or -1.
        known: (N,) bool, whether it overlaps one of its class in the sharp or in the blurred frame.
        found_before: (M,) bool, whether the object is found in the blurred frame.
    """

    matched: NDArray[np.int64]
    known: NDArray[np.bool_]
    found_before: NDArray[np.bool_]

    @property
    def found(self) -> NDArray[np.bool_]:
        """(M,) bool, whether the object is found in the restored frame."""
        return found(self.matched, len(self.found_before))

    @property
    def counts(self) -> FrameCounts:
        """How many there are of each."""
        tp = int(self.found.sum())
        return FrameCounts(
            tp=tp,
            fp=len(self.matched) - tp,
            fn=len(self.found_before) - tp,
            recovered=int((self.found & ~self.found_before).sum()),
            lost=int((self.found_before & ~self.found).sum()),
            hallucinated=int((~self.known).sum()),
        )

    def boxes(self, restored: Detections, sharp: Detections) -> list[Box]:
        """The detections, then the objects that were missed, to be drawn.

        Args:
            restored: the N detections.
            sharp: the M reference objects.
        """
        drawn = []
        for xyxy, label, score, object_, known in zip(
            restored.xyxy, restored.label, restored.score, self.matched, self.known, strict=True
        ):
            if object_ < 0:
                outcome = "false" if known else "hallucinated"
            else:
                outcome = "found" if self.found_before[object_] else "recovered"
            drawn.append(Box(xyxy, int(label), float(score), outcome))
        for i in np.flatnonzero(~self.found):
            outcome = "lost" if self.found_before[i] else "missed"
            drawn.append(Box(sharp.xyxy[i], int(sharp.label[i]), None, outcome))
        return drawn


def iou(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of each box of one set with each of the other.

    Args:
        a: (N, 4) corners ``x0, y0, x1, y1`` in pixels.
        b: (M, 4) likewise.

    Returns:
        (N, M) float64 in [0, 1]; 0 where a box has no area.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    overlap = _intersection(a, b)
    union = _area(a)[:, None] + _area(b) - overlap
    union[overlap == 0] = 1  # where neither box has an area, the union is 0 too
    return overlap / union


def match(detections: Detections, reference: Detections, iou_threshold: float) -> NDArray[np.int64]:
    """Assign detections to reference objects by COCO's rule (``COCOeval`` of pycocotools).

    Detections choose in the order of falling score, equal scores in the order given. Each takes, among the objects
    of its class that are still free and overlap it by at least the threshold, the one with the largest IoU; of equal
    ones the last, as in pycocotools.

    Args:
        detections: what is to be judged.
        reference: what counts as true; its scores are ignored.
        iou_threshold: in [0, 1]. At 0, boxes that do not touch match too.

    Returns:
        (N,) int64, for each detection the index of its reference object, or -1.

    Example:
        Both detections lie on the one object; the surer one gets it:

        >>> box = np.array([[0, 0, 10, 10], [0, 0, 10, 9]], np.float32)
        >>> seen = Detections(box, np.array([0.6, 0.9], np.float32), np.zeros(2, np.int64))
        >>> truth = Detections(box[:1], np.ones(1, np.float32), np.zeros(1, np.int64))
        >>> match(seen, truth, 0.5).tolist()
        [-1, 0]
    """
    overlap = _overlap(detections, reference, iou_threshold)
    seen, objects = np.nonzero(overlap >= 0)
    turn = np.argsort(np.argsort(-detections.score, kind="stable"))
    # The last key counts most. Read backwards: first in turn, then largest IoU, then last object.
    order = np.lexsort((objects, overlap[seen, objects], -turn[seen]))[::-1]

    matched = [-1] * len(detections)
    taken: set[int] = set()
    for index, object_ in zip(seen[order].tolist(), objects[order].tolist(), strict=True):
        if matched[index] < 0 and object_ not in taken:
            matched[index] = object_
            taken.add(object_)
    return np.array(matched, np.int64)


def score_frame(restored: Detections, blurred: Detections, sharp: Detections, iou_threshold: float) -> FrameCounts:
    """Count what a deblurer did to the detections of one frame.

    Any of the three may be empty.

    Args:
        restored: detections in the deblurred frame.
        blurred: detections in the frame the deblurer was given.
        sharp: detections in the sharp frame, which are the reference.
        iou_threshold: overlap from which two boxes count as one object, in [0, 1].

    Returns:
        The counts of the restored frame.

    Example:
        Three cars stand side by side, and the sharp frame shows them all. Blurred, only the first is seen, and a
        phantom at 80. Deblurring brings the second back, twice, loses the first, keeps the phantom and invents
        another at 90:

        >>> def cars(*left):
        ...     box = np.array([[x, 0, x + 10, 10] for x in left], np.float32)
        ...     return Detections(box, np.linspace(0.9, 0.5, len(box), dtype=np.float32), np.zeros(len(box), np.int64))
        >>> score_frame(restored=cars(20, 21, 80, 90), blurred=cars(0, 80), sharp=cars(0, 20, 40), iou_threshold=0.5)
        FrameCounts(tp=1, fp=3, fn=2, recovered=1, lost=1, hallucinated=1)
    """
    return outcomes(restored, blurred, sharp, iou_threshold).counts


def outcomes(restored: Detections, blurred: Detections, sharp: Detections, iou_threshold: float) -> Outcomes:
    """What became of each detection and each object of a frame: all that is counted or drawn of it comes from here.

    Args:
        restored: N detections in the deblurred frame.
        blurred: detections in the frame the deblurer was given.
        sharp: M detections in the sharp frame, which are the reference.
        iou_threshold: overlap from which two boxes count as one object, in [0, 1].
    """
    known = _overlaps(restored, sharp, iou_threshold) | _overlaps(restored, blurred, iou_threshold)
    return Outcomes(
        matched=match(restored, sharp, iou_threshold),
        known=known,
        found_before=found(match(blurred, sharp, iou_threshold), len(sharp)),
    )


def outside_crowds(
    detections: Detections, reference: Detections, crowds: Detections, iou_threshold: float
) -> NDArray[np.bool_]:
    """Which detections count, where some regions hold more objects than anybody drew boxes around.

    As in ``COCOeval``: a detection that matches no object does not count if enough of its own area lies in a crowd of
    its class.

    Args:
        detections: N of them.
        reference: the objects.
        crowds: the regions.
        iou_threshold: the share of a detection's area from which it lies in a crowd, in (0, 1].

    Returns:
        (N,) bool.
    """
    boxes = detections.xyxy.astype(np.float64)
    shared = _intersection(boxes, crowds.xyxy.astype(np.float64)) / np.maximum(_area(boxes), 1e-12)[:, None]
    inside = ((shared >= iou_threshold) & (detections.label[:, None] == crowds.label)).any(axis=1)
    return np.asarray((match(detections, reference, iou_threshold) >= 0) | ~inside)


def found(matched: NDArray[np.int64], objects: int) -> NDArray[np.bool_]:
    """Which reference objects some detection was matched to.

    Args:
        matched: (N,) as from :func:`match`.
        objects: how many reference objects there are.

    Returns:
        (objects,) bool.
    """
    return np.isin(np.arange(objects), matched)


def confirmed(
    restored: Detections, blurred: Detections, other: Detections, iou_threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which detections restoring added, and which of these another detector confirms.

    A deblurer that was trained through a detector may paint what this detector takes for objects. What is there is
    seen in the sharp frame by a detector of another family too.

    Args:
        restored: N detections in the deblurred frame.
        blurred: detections in the frame the deblurer was given, by the same detector.
        other: detections in the sharp frame by another detector, whose labels mean the same classes.
        iou_threshold: overlap from which two boxes of one class are the same object, in (0, 1].

    Returns:
        (N,) bool, those that overlap none of their class in the blurred frame; and (N,) bool, those among them that
        overlap one of their class that the other detector finds. Two boxes on one object count twice in both.
    """
    added = ~_overlaps(restored, blurred, iou_threshold)
    return added, added & _overlaps(restored, other, iou_threshold)


def _overlaps(a: Detections, b: Detections, iou_threshold: float) -> NDArray[np.bool_]:
    """(N,) bool: which of one set overlap any of their class in the other."""
    return np.asarray((_overlap(a, b, iou_threshold) >= 0).any(axis=1))


def _intersection(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, M) square pixels that each of N boxes shares with each of M."""
    sides = np.minimum(a[:, None, 2:], b[:, 2:]) - np.maximum(a[:, None, :2], b[:, :2])
    np.maximum(sides, 0, out=sides)
    area: NDArray[np.float64] = sides[..., 0] * sides[..., 1]
    return area


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) square pixels."""
    area: NDArray[np.float64] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area


def _overlap(a: Detections, b: Detections, iou_threshold: float) -> NDArray[np.float64]:
    """(N, M) IoU of the pairs that may be one object; -1 where the class differs or the IoU is too small."""
    overlap = iou(a.xyxy, b.xyxy)
    overlap[(a.label[:, None] != b.label) | (overlap < iou_threshold)] = -1
    return overlap
