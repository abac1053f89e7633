"""One frame, degraded: shaken, under a point-spread function, out of focus, noisy, compressed."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from detbench.data import blur

Frame = NDArray[np.uint8]

FAITHFUL_SHAKE = (0.01, 0.009, 0.008, 0.007, 0.005, 0.003)
"""What DeblurGAN's public code draws the rate of its impulses from, where its paper has 0.001."""


def shaken(
    frame: Frame,
    path: NDArray[np.complex128],
    extent: float,
    degrees: float,
    sub_frames: int,
    moving: tuple[Sequence[float], float, float] | None = None,
) -> Frame:
    """A frame as a camera sees it that moves along a path and turns evenly, in linear light.

    Args:
        frame: (H, W, 3) uint8 RGB.
        path: (1, steps) as from :func:`detbench.data.blur.trajectories`.
        extent: that the path gets, in pixels.
        degrees: by which the camera turns.
        sub_frames: poses of the camera.
        moving: an object that moves besides: corners of its box, and length in pixels and angle in radians of its way.

    Returns:
        (H, W, 3) uint8.
    """
    shifts = torch.from_numpy(blur.exposure(path, sub_frames, np.array([extent]))).float()
    angles = torch.linspace(-0.5, 0.5, sub_frames)[None] * math.radians(degrees)
    light = blur.to_linear(_tensor(frame))
    if moving:
        box, length, angle = moving
        mask = torch.from_numpy(blur.outline(box, *frame.shape[:2]))[None]
        way = blur.straight(np.array([length]), np.array([angle]), sub_frames)
        light = blur.object_motion(light, mask, torch.from_numpy(way).float())
    return _frame(blur.to_display(blur.camera_shake(light, shifts, angles)))


def psf_corrected(frame: Frame, extent: float, rng: np.random.Generator) -> Frame:
    """A frame under one point-spread function of Algorithm 1, centred, in linear light, borders reflected.

    Args:
        frame: (H, W, 3) uint8 RGB.
        extent: of the path, in pixels.
        rng: of the path.

    Returns:
        (H, W, 3) uint8.
    """
    shifts = blur.exposure(blur.trajectories(1, rng), 2000, np.array([extent]))
    side = 2 * math.ceil(extent) + 3
    margin = min(side, *(length - 1 for length in frame.shape[:2]))
    light = F.pad(blur.to_linear(_tensor(frame)), [margin] * 4, mode="reflect")
    return _frame(blur.to_display(_under(light, shifts, side, margin)))


def psf_faithful(frame: Frame, extent: float, rng: np.random.Generator) -> Frame:
    """A frame under a point-spread function as DeblurGAN's public code makes and applies it, in place of its paper.

    Gaussian shake is 10 U(0, 1), the rate of impulses one of :data:`FAITHFUL_SHAKE`; the path begins in the kernel's
    middle and is not centred; borders are black; display values are blurred as they are, and stretched to 0..255 after.

    Args:
        frame: (H, W, 3) uint8 RGB.
        extent: of the path, in pixels.
        rng: of the path.

    Returns:
        (H, W, 3) uint8.
    """
    path = blur.trajectories(1, rng, shake=float(rng.choice(FAITHFUL_SHAKE)), gaussian=10.0)
    centred = blur.exposure(path, 2000, np.array([extent]))
    side = 4 * math.ceil(extent) + 3
    margin = side // 2 + 1
    blurred = _under(F.pad(_tensor(frame), [margin] * 4), centred - centred[:, :1], side, margin)
    return _frame((blurred - blurred.min()) / (blurred.max() - blurred.min()).clamp(min=1e-6))


def defocused(frame: Frame, radius: float) -> Frame:
    """A frame out of focus: each point a disc of this radius in pixels, in linear light, borders reflected.

    Args:
        frame: (H, W, 3) uint8 RGB.
        radius: in pixels.

    Returns:
        (H, W, 3) uint8.
    """
    kernel = torch.from_numpy(disc(radius)).float()
    margin = kernel.shape[0] // 2
    light = F.pad(blur.to_linear(_tensor(frame)), [margin] * 4, mode="reflect")
    blurred = F.conv2d(light.transpose(0, 1), kernel[None, None]).transpose(0, 1)
    return _frame(blur.to_display(blurred))


def disc(radius: float) -> NDArray[np.float64]:
    """A disc as a kernel.

    A pixel that the edge crosses counts for the share of 8 x 8 points in it that lie inside.

    Args:
        radius: in pixels.

    Returns:
        (k, k), k odd; not negative, centred, with the sum 1.
    """
    reach = math.ceil(radius)
    fine = (np.arange(8 * (2 * reach + 1)) + 0.5) / 8 - reach - 0.5
    inside = (fine[:, None] ** 2 + fine**2 <= radius**2).astype(np.float64)
    kernel = inside.reshape(2 * reach + 1, 8, 2 * reach + 1, 8).sum(axis=(1, 3))
    return np.asarray(kernel / kernel.sum())


def noisy(frame: Frame, variance: float, rng: np.random.Generator) -> Frame:
    """(H, W, 3) uint8 with Gaussian noise, whose variance is for values in [0, 1]."""
    added = 255 * variance**0.5 * rng.standard_normal(frame.shape, np.float32)
    return np.asarray((frame + added).round().clip(0, 255), np.uint8)


def recompressed(frame: Frame, quality: int) -> Frame:
    """(H, W, 3) uint8 RGB after JPEG of a quality in 1..100."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def _under(padded: Tensor, shifts: NDArray[np.float64], side: int, margin: int) -> Tensor:
    """A padded picture under the kernel of (1, N, 2) shifts, without its margin."""
    blurred = blur.convolve(padded, blur.kernels(torch.from_numpy(shifts).float(), side))
    return blurred[..., margin:-margin, margin:-margin]


def _tensor(frame: Frame) -> Tensor:
    """(1, 3, H, W) float in [0, 1]."""
    return torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255


def _frame(tensor: Tensor) -> Frame:
    """The inverse of :func:`_tensor`."""
    return np.asarray((tensor[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())
