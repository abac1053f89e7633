"""Whether blurred frames lie where the sharp ones do: a shift moves every box, and is no fault of a deblurer's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detbench.data.images import read_image
from detbench.types import FramePair

LARGEST_PX = 1.0
"""A dataset whose frames are shifted by more than this, in the mean, is not aligned."""

SAMPLE = 20
"""So many pairs tell of a dataset."""

_SMOOTHING = (12.0, 6.0)  # pixels; the second pass begins where the first ended
_GAMMA = 2.2


def shift(blurred: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> tuple[float, float]:
    """How far a blurred frame lies from the sharp one, by least squares on their coarse structure (Lucas and Kanade).

    In linear light blur is a mean of shifted frames: smoothed by more than the blur, this measures the mean of the
    shifts, where a correlation's peak follows the kernel's mode. Frames of no structure give zeros.

    Args:
        blurred: (H, W, 3) uint8.
        sharp: (H, W, 3) uint8.

    Returns:
        (x, y) in pixels, to the right and down.
    """
    import cv2

    light = [((frame / 255) ** _GAMMA).mean(axis=2).astype(np.float32) for frame in (sharp, blurred)]
    found = np.zeros(2)
    for sigma in (min(sigma, min(sharp.shape[:2]) / 16) for sigma in _SMOOTHING):
        moved = np.array([[1, 0, found[0]], [0, 1, found[1]]], np.float32)
        height, width = light[0].shape
        sharp_here = cv2.warpAffine(light[0], moved, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        coarse = [cv2.GaussianBlur(frame, (0, 0), sigma) for frame in (sharp_here, light[1])]
        margin = min(round(2 * sigma), min(height, width) // 4)
        inner = [frame[margin:-margin, margin:-margin].astype(np.float64) for frame in coarse]
        down, right = np.gradient((inner[0] + inner[1]) / 2)
        slopes = np.stack([right.ravel(), down.ravel()], axis=1)
        found = found + np.linalg.lstsq(slopes, (inner[0] - inner[1]).ravel(), rcond=None)[0]
    return float(found[0]), float(found[1])


def mean_shift(pairs: Sequence[FramePair], sample: int | None = SAMPLE) -> float:
    """The mean length of the shifts of pairs, in pixels.

    Args:
        pairs: at least one.
        sample: so many of them at most, evenly spread; None for all.
    """
    chosen = pairs if sample is None else [pairs[i] for i in dict.fromkeys(_spread(len(pairs), sample))]
    return float(np.mean([np.hypot(*shift(read_image(pair.blurred), read_image(pair.sharp))) for pair in chosen]))


def _spread(count: int, sample: int) -> list[int]:
    places: list[int] = np.linspace(0, count - 1, min(count, sample)).round().astype(int).tolist()
    return places
