"""PSNR and SSIM of a restored frame against the sharp one, as pure functions of uint8 frames.

Both are thread-safe, leave OpenCV's thread settings alone, and spend nearly all their time with the GIL released,
so frames can be scored in a worker thread while the networks run.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONVENTIONS = "psnr,ssim:rgb,uint8,255,frame-mean;ssim:gauss11x11,s1.5,k.01/.03,crop5"
"""Those below, for the signature that goes with every published number. Changes only if a number would."""

GRID = 16
"""Pixels after which the grid of a network with four halvings, or fewer, repeats."""

BLURRED = 0.44
"""Frames whose :func:`blurriness` is above this are taken to be blurred where nobody can choose on frames like them."""

_SMOOTHED = 9

_RADIUS = 5
_WINDOW = 2 * _RADIUS + 1
_GAUSS = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / 1.5) ** 2)
_GAUSS /= _GAUSS.sum()
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_STRIP = 128  # rows worked on at once: the arrays stay in the cache, however high the frame


def psnr_db(restored: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio over all pixels and channels of one frame.

    10 log10(255^2 / MSE), with data range 255.

    Args:
        restored: (H, W, 3) uint8, RGB.
        sharp: the same shape and type.

    Returns:
        The ratio in dB; ``inf`` for equal frames.

    Raises:
        ValueError: if the two are not uint8 frames of one shape.
    """
    _check(restored, sharp)
    difference = np.subtract(restored, sharp, dtype=np.int16).ravel()
    squared_error = int(np.einsum("i,i->", difference, difference, dtype=np.int64))
    return 10 * math.log10(255**2 * restored.size / squared_error) if squared_error else math.inf


def ssim(restored: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> float:
    """Structural similarity: the mean over the RGB channels and over all windows that lie within the frame.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity",
    IEEE TIP 2004, equation 13: Gaussian window 11x11 with sigma 1.5, K1 0.01, K2 0.03, data range 255. scikit-image
    calls this ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2, data_range=255``.

    All sums are float64: variances are small differences of large numbers, and float32 errs by more than 1e-6 on
    frames with large flat areas.

    Args:
        restored: (H, W, 3) uint8, RGB, at least 11 pixels high and wide.
        sharp: the same shape and type.

    Returns:
        A value in [-1, 1]; 1 for equal frames.

    Raises:
        ValueError: if the two are not uint8 frames of one shape, or smaller than the window.
    """
    _check(restored, sharp)
    import cv2

    height, width = sharp.shape[:2]
    if min(height, width) < _WINDOW:
        raise ValueError(f"SSIM needs frames of at least {_WINDOW}x{_WINDOW} pixels: these are {width}x{height}.")
    margin = 2 * _RADIUS
    buffers = np.empty((4, min(_STRIP + margin, height), width))
    total = 0.0
    for top in range(0, height - margin, _STRIP):
        rows = slice(top, top + _STRIP + margin)
        for x, y in zip(cv2.split(restored[rows]), cv2.split(sharp[rows]), strict=True):
            total += _ssim_sum(x, y, buffers)
    return float(total / ((height - margin) * (width - margin) * 3))


def grid_db(restored: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> float:
    """How far a grid stands out of the error of a restored frame, as networks leave one that up-sample unevenly.

    The power of the error (restored less sharp, mean of the channels, under a Hann window) at each frequency that is a
    multiple of one in :data:`GRID` pixels, over the mean power at its eight neighbours three frequencies away; the mean
    of these ratios, in dB. It does not depend on the size of the error: without a grid it is about 0.5 dB.

    Args:
        restored: (H, W, 3) uint8, RGB, at least 8 times :data:`GRID` pixels high and wide. What is beyond the last
            multiple of it is not looked at.
        sharp: the same shape and type.

    Returns:
        The ratio in dB; 0 for equal frames.

    Raises:
        ValueError: if the two are not uint8 frames of one shape, or too small.
    """
    _check(restored, sharp)
    repeats = [side // GRID for side in sharp.shape[:2]]
    if min(repeats) < 8:
        raise ValueError(f"a grid shows in frames of at least {8 * GRID} pixels: these are {sharp.shape[:2]}.")
    inside = tuple(slice(GRID * n) for n in repeats)
    error = restored[inside].astype(np.float64).mean(axis=2) - sharp[inside].mean(axis=2)
    error -= error.mean()
    error *= np.hanning(error.shape[0])[:, None] * np.hanning(error.shape[1])
    power = np.abs(np.fft.fft2(error)) ** 2
    if not power.any():
        return 0.0
    around = [
        np.roll(power, (3 * i, 3 * j), (0, 1)) for i, j in itertools.product((-1, 0, 1), repeat=2) if (i, j) != (0, 0)
    ]
    ratios = (power / (np.mean(around, axis=0) + 1e-12))[:: repeats[0], :: repeats[1]]
    return float(10 * np.log10(ratios.ravel()[1:].mean()))  # the first is the frame's mean, no grid


def _ssim_sum(x: NDArray[Any], y: NDArray[Any], buffers: NDArray[np.float64]) -> float:
    """The sum of the SSIM of all windows of a strip of one channel, (H, W) uint8.

    Takes four blurs instead of five, those of s = x + y, d = x - y, xy and d^2, because

        mu_s^2 - mu_d^2 = 4 mu_x mu_y              mu_s^2 + mu_d^2 = 2 (mu_x^2 + mu_y^2)
        4 E[xy] - 4 mu_x mu_y = 4 cov(x, y)        2 var(d) + 4 cov(x, y) = 2 (var(x) + var(y))

    All four fit into 16 bits, so the only wide arrays are the blurred ones; those are overwritten in place, and held
    in ``buffers``, since fetching fresh memory for each strip costs as much as a blur. The factors 4 and 2 come
    free with the blur, as the kernel's scale, and the constants as the filter's offset.
    """
    a, b = x.astype(np.uint16), y.astype(np.uint16)
    difference = a - b  # modulo 2^16, which its square does not mind, nor its mean when read as int16
    luminance = _blur(a + b, buffers[0])
    spread = _blur(difference.view(np.int16), buffers[1])
    contrast = _blur(a * b, buffers[2], scale=4, offset=2 * (_C1 + _C2))
    variance = _blur(difference * difference, buffers[3], scale=2)

    luminance *= luminance
    luminance += 2 * _C1
    spread *= spread
    luminance -= spread  # 4 mu_x mu_y + 2 C1
    contrast -= luminance  # 4 cov + 2 C2
    spread *= 2
    variance -= spread  # 2 var(d)
    spread += luminance  # 2 (mu_x^2 + mu_y^2 + C1)
    variance += contrast  # 2 (var(x) + var(y) + C2)

    contrast *= luminance
    variance *= spread
    contrast /= variance
    return float(contrast[:, _RADIUS:-_RADIUS].sum())


def _blur(image: NDArray[Any], out: NDArray[np.float64], scale: float = 1, offset: float = 0) -> NDArray[np.float64]:
    """Blur (H, W) integers into ``out``: ``scale`` times the Gaussian-weighted mean plus ``offset``, (H - 10, W).

    Windows that reach over the upper or lower edge are left out. Those that reach over the other two are in the
    result, as cutting them off would make it discontiguous and slow; the caller has to ignore them.
    """
    import cv2

    blurred: NDArray[Any] = cv2.sepFilter2D(
        image, cv2.CV_64F, scale * _GAUSS, _GAUSS, dst=out[: len(image)], delta=offset
    )
    return blurred[_RADIUS:-_RADIUS]


def blurriness(frame: NDArray[np.uint8]) -> float:
    """How blurred a frame looks: 0 where smoothing takes away all of its steps, 1 where it takes away none.

    What is sharp changes much when it is smoothed, what is blurred hardly: the share of the steps between neighbouring
    pixels that a mean of 9 pixels leaves, along the direction in which more is left. Crété-Roffet, Dolmiere, Ladret and
    Nicolas, "The blur effect: perception and estimation with a new no-reference perceptual blur metric", SPIE 2007,
    equations 1 to 7. It depends little on what is shown: of 28 validation pairs of several cameras no sharp frame
    is above .32, and no blurred one of less than 30 dB below .46; 19 in 20 frames of 12 videos as they are, compressed
    and soft as some are, lie below .40.

    Args:
        frame: (H, W, 3) uint8, RGB.

    Returns:
        A value in [0, 1]; 0 for a frame of one colour.
    """
    import cv2

    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    found = []
    for axis, window in ((0, (1, _SMOOTHED)), (1, (_SMOOTHED, 1))):
        steps, left = (np.abs(np.diff(each, axis=axis)) for each in (grey, cv2.blur(grey, window)))
        whole = float(steps.sum(dtype=np.float64))
        gone = float(np.maximum(steps - left, 0).sum(dtype=np.float64))
        found.append(1 - gone / whole if whole else 0.0)
    return max(found)


def _check(restored: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> None:
    """Refuse everything but two (H, W, 3) uint8 frames of one shape, not empty."""
    alike = restored.shape == sharp.shape and restored.dtype == sharp.dtype == np.uint8
    if not alike or sharp.ndim != 3 or sharp.shape[2] != 3 or not sharp.size:
        raise ValueError(
            "two (H, W, 3) uint8 frames of one shape are needed: "
            f"restored is {restored.shape} {restored.dtype}, sharp is {sharp.shape} {sharp.dtype}."
        )
