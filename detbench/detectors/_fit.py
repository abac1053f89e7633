"""How a frame is brought to the size that a network works at, and boxes back to the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from detbench.detectors import MAX_DETECTIONS
from detbench.types import Detections

Fit = Literal["letterbox", "stretch"]
Place = Literal["centre", "corner"]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A frame at a network's size.

    Attributes:
        image: (h, w, 3) uint8.
        scale: (2,) pixels of the image for one of the frame, across and down.
        offset: (2,) where the frame's upper left corner lies in the image, x and y in pixels.
    """

    image: NDArray[np.uint8]
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]

    def back(self, xyxy: NDArray[Any]) -> NDArray[np.float64]:
        """Corners (N, 4) in pixels of the image as corners in pixels of the frame."""
        return (xyxy - np.tile(self.offset, 2)) / np.tile(self.scale, 2)


def fit(frame: NDArray[np.uint8], size: tuple[int, int], how: Fit, place: Place = "centre", pad: int = 114) -> Fitted:
    """Scale a frame to a size, bilinearly and without a low-pass filter, as detectors' own code does.

    Args:
        frame: (H, W, 3) uint8.
        size: height and width in pixels.
        how: ``stretch`` scales both sides on their own, ``letterbox`` alike, with a margin around.
        place: where the scaled frame lies in it: in the middle (as ultralytics has it) or in the upper left corner (as
            YOLOX has it).
        pad: grey level of the margin.
    """
    import cv2

    height, width = size
    if how == "stretch":
        image = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
        return Fitted(image, np.array([width / frame.shape[1], height / frame.shape[0]]), np.zeros(2))
    ratio = min(height / frame.shape[0], width / frame.shape[1])
    to_pixels = round if place == "centre" else int
    new = [max(1, to_pixels(side * ratio)) for side in (frame.shape[1], frame.shape[0])]
    left, top = (
        round((of - side) / 2 - 0.1) if place == "centre" else 0 for of, side in zip((width, height), new, strict=True)
    )
    image = np.full((height, width, 3), pad, np.uint8)
    image[top : top + new[1], left : left + new[0]] = cv2.resize(frame, new, interpolation=cv2.INTER_LINEAR)
    return Fitted(image, np.array([ratio, ratio]), np.array([left, top], np.float64))


def detections(xyxy: Any, score: Any, label: Any, shape: tuple[int, ...], conf: float) -> Detections:
    """Boxes as detections: clipped to the frame, sorted by falling score, those below a confidence dropped.

    Args:
        xyxy: (N, 4) corners in pixels of the frame.
        score: (N,) in [0, 1].
        label: (N,) class indices.
        shape: of the frame, (H, W, ...).
        conf: in [0, 1].
    """
    xyxy, score, label = (np.asarray(each) for each in (xyxy, score, label))
    chosen = np.flatnonzero(score >= np.float32(conf))
    order = chosen[np.argsort(-score[chosen], kind="stable")][:MAX_DETECTIONS]
    corners = np.clip(xyxy[order].reshape(-1, 4), 0, np.tile([shape[1], shape[0]], 2))
    return Detections(corners.astype(np.float32), score[order].astype(np.float32), label[order].astype(np.int64))


def suppressed(xyxy: Any, score: Any, label: Any, iou: float) -> NDArray[np.int64]:
    """Non-maximum suppression by class: the indices of the boxes that stay, by falling score (torchvision's).

    Args:
        xyxy: (N, 4) corners.
        score: (N,).
        label: (N,) class indices.
        iou: above which of two boxes of one class only the better one stays, in [0, 1].
    """
    import torch
    from torchvision.ops import batched_nms

    given = (torch.as_tensor(np.ascontiguousarray(each)) for each in (xyxy, score, label))
    stay: NDArray[np.int64] = batched_nms(*given, iou).numpy()
    return stay
