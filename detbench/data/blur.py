"""Motion blur: random camera trajectories (DeblurGAN's Algorithm 1) and shutter averaging in linear light.

One implementation serves the benchmark (whole frames, on the CPU) and training (batches of crops, where the
network is). A shutter that is open while the camera moves sees the scene from many poses and adds up their
*light*, so sub-frames are averaged with gamma 2.2 undone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

GAMMA = 2.2


PART = 64
"""Kernels that are made at once: so few that what is worked on stays in the cache."""


def trajectories(
    n: int,
    rng: np.random.Generator,
    steps: int = 2000,
    length: float = 60.0,
    shake: float = 0.001,
    gaussian: float = 0.7,
) -> NDArray[np.complex128]:
    """Random camera paths by Algorithm 1 of DeblurGAN (after Boracchi and Foi), all ``n`` at once.

    Constants: inertia I ~ U(0, 0.7), big shake p_b ~ U(0, 0.2), gaussian p_g ~ U(0, ``gaussian``), one draw of each a
    path. The speed is the same at every step.

    Args:
        n: how many paths.
        rng: source of all randomness.
        steps: positions on a path (M in the paper).
        length: length of a path in pixels (L_max in the paper).
        shake: rate of shakes (p_s in the paper).
        gaussian: the most that p_g may be.

    Returns:
        (n, steps) complex, x + iy in pixels; every path starts at 0.
    """
    speed = length / (steps - 1)
    inertia, big_shake, noise = rng.uniform(0.0, np.array([0.7, 0.2, gaussian])[:, None], (3, n))
    velocity = speed * np.exp(1j * rng.uniform(0, 2 * np.pi, n))
    path, push = np.zeros((steps, n), np.complex128), np.empty(n, np.complex128)
    for t in range(steps - 1):
        jolted, turn = rng.random(n) < big_shake * shake, rng.random(n)
        push.real, push.imag = rng.standard_normal(n), rng.standard_normal(n)
        push *= noise
        push -= inertia * path[t]
        push *= shake * speed
        push += velocity
        if jolted.any():  # which is rare
            push[jolted] += 2 * velocity[jolted] * np.exp(1j * (np.pi + turn[jolted] - 0.5))
        np.multiply(push, speed / np.abs(push), out=velocity)
        np.add(path[t], velocity, out=path[t + 1])
    return path.T


def exposure(path: NDArray[np.complex128], frames: int, extent: NDArray[np.float64]) -> NDArray[np.float64]:
    """A path as the camera's shifts in the sub-frames of one exposure, scaled and centred.

    Centring on the mean keeps the blurred frame where the sharp one is: the published code leaves kernels
    2 to 8 px off centre, which moves every box against the sharp frame's.

    Args:
        path: (n, steps) complex positions.
        frames: sub-frames an exposure.
        extent: (n,) wanted size of each path: the longer side of its bounding box, in pixels.

    Returns:
        (n, frames, 2) shifts (x, y) in pixels, mean zero over the frames.
    """
    steps = np.linspace(0, path.shape[1] - 1, frames).round().astype(int)
    shifts = np.stack([path.real, path.imag], axis=-1)[:, steps]
    size = np.ptp(shifts, axis=1).max(axis=1)
    shifts = shifts * (extent / size)[:, None, None]
    return np.asarray(shifts - shifts.mean(axis=1, keepdims=True))


def to_linear(frame: Tensor) -> Tensor:
    """Display values in [0, 1] to linear light (gamma 2.2), any shape."""
    return frame.clamp(0, 1) ** GAMMA


def to_display(light: Tensor) -> Tensor:
    """Linear light in [0, 1] to display values (gamma 2.2), any shape."""
    return light.clamp(0, 1) ** (1 / GAMMA)


def warp(images: Tensor, shifts: Tensor, angles: Tensor) -> Tensor:
    """Each image moved by a shift and a small rotation about its centre; bilinear, reflecting borders.

    Args:
        images: (B, C, H, W) float.
        shifts: (B, 2) pixels, x right and y down.
        angles: (B,) radians.

    Returns:
        (B, C, H, W) float.
    """
    height, width = images.shape[-2:]
    cos, sin = angles.cos(), angles.sin()
    # The rows map output positions to input positions in units where the image spans -1..1.
    x_row = torch.stack([cos, sin * (height / width), -2 * shifts[:, 0] / width], dim=1)
    y_row = torch.stack([-sin * (width / height), cos, -2 * shifts[:, 1] / height], dim=1)
    grid = F.affine_grid(torch.stack([x_row, y_row], dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def camera_shake(images: Tensor, shifts: Tensor, angles: Tensor) -> Tensor:
    """What a shutter sees that is open while the camera shakes.

    Args:
        images: (B, 3, H, W) float, linear light in [0, 1].
        shifts: (B, N, 2) pixels: the image's place in each of N sub-frames.
        angles: (B, N) radians.

    Returns:
        (B, 3, H, W) float, linear light: the mean of the sub-frames.
    """
    n = shifts.shape[1]
    total = torch.zeros_like(images)
    for i in range(n):
        total += warp(images, shifts[:, i], angles[:, i])
    return total / n


def kernels(shifts: Tensor, side: int) -> Tensor:
    """Point-spread functions of shifts: each sub-frame's light splatted over its four nearest pixels.

    Args:
        shifts: (B, N, 2) pixels, x right and y down, each less than ``side / 2 - 1``.
        side: of the kernels, in pixels; odd.

    Returns:
        (B, side, side) float, not negative, each with the sum 1. The middle pixel is a shift of zero.
    """
    parts: tuple[Tensor, ...] = shifts.split(PART)  # type: ignore[no-untyped-call]
    return torch.cat([_splatted(part, side) for part in parts])


def _splatted(shifts: Tensor, side: int) -> Tensor:
    """:func:`kernels` of a few."""
    count, n, _ = shifts.shape
    x, y = (shifts + side // 2).unbind(dim=-1)
    left, top = x.floor(), y.floor()
    right, below = x - left, (y - top) / n
    above, pixel = 1 / n - below, (top * side + left).long()
    flat = torch.zeros(count, side * side, device=shifts.device, dtype=shifts.dtype)
    for weight, step in (
        ((1 - right) * above, 1),
        (right * above, side - 1),
        ((1 - right) * below, 1),
        (right * below, 0),
    ):
        flat.scatter_add_(1, pixel, weight)
        pixel += step
    return flat.view(count, side, side)


def convolve(images: Tensor, kernels: Tensor) -> Tensor:
    """Each image convolved with its own kernel, through Fourier space: the cost does not grow with the kernel.

    Args:
        images: (B, C, H, W) float; taken as periodic, so as many pixels at the borders as the kernel reaches are wrong.
        kernels: (B, k, k) float, k odd, at most H and W.

    Returns:
        (B, C, H, W) float.
    """
    height, width = images.shape[-2:]
    reach = kernels.shape[-1] // 2
    padded = F.pad(kernels, (0, width - kernels.shape[-1], 0, height - kernels.shape[-1]))
    centred = padded.roll((-reach, -reach), dims=(-2, -1))
    spectrum = torch.fft.rfft2(images) * torch.fft.rfft2(centred)[:, None]
    return torch.fft.irfft2(spectrum, s=(height, width))


def object_motion(images: Tensor, masks: Tensor, shifts: Tensor) -> Tensor:
    """What a shutter sees while the masked part of the scene moves over the rest, which stays.

    Args:
        images: (B, 3, H, W) float, linear light in [0, 1].
        masks: (B, 1, H, W) float in [0, 1], 1 where the object is.
        shifts: (B, N, 2) pixels: the object's place in each of N sub-frames.

    Returns:
        (B, 3, H, W) float, linear light.
    """
    n = shifts.shape[1]
    still = torch.zeros_like(shifts[:, 0, 0])
    layer = torch.cat([images * masks, masks], dim=1)
    total = torch.zeros_like(layer)
    for i in range(n):
        total += warp(layer, shifts[:, i], still)
    mean = total / n
    return mean[:, :3] + (1 - mean[:, 3:]) * images


def straight(extent: NDArray[np.float64], angle: NDArray[np.float64], frames: int) -> NDArray[np.float64]:
    """Even motion along a line, as an object's shifts in the sub-frames of one exposure.

    Args:
        extent: (n,) lengths in pixels.
        angle: (n,) directions in radians, 0 to the right and pi / 2 downwards.
        frames: sub-frames an exposure.

    Returns:
        (n, frames, 2) shifts (x, y) in pixels, mean zero over the frames.
    """
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * extent[:, None]
    return np.asarray(np.linspace(-0.5, 0.5, frames)[None, :, None] * direction[:, None])


def outline(box: Sequence[float], height: int, width: int) -> NDArray[np.float32]:
    """A mask of a soft-edged, rounded box: the outline of a moving object.

    Args:
        box: corners ``x0, y0, x1, y1`` in pixels, which the soft edge crosses.
        height: of the mask.
        width: of the mask.

    Returns:
        (1, H, W) in [0, 1].
    """
    x0, y0, x1, y1 = box
    y, x = np.ogrid[:height, :width]
    distance = ((2 * y - y0 - y1) / (y1 - y0)) ** 4 + ((2 * x - x0 - x1) / (x1 - x0)) ** 4
    return np.clip((1.1 - distance) * 5, 0, 1).astype(np.float32)[None]


def average_frames(frames: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The mean of frames in linear light: DeblurGAN's and GoPro's way to make blur from high-speed video.

    Args:
        frames: one or more (H, W, 3) uint8 frames of one size.

    Returns:
        (H, W, 3) uint8.
    """
    light = (np.arange(256, dtype=np.float64) / 255) ** GAMMA
    total, count = np.zeros(()), 0
    for frame in frames:
        total, count = total + light[frame], count + 1
    return np.asarray((total / count) ** (1 / GAMMA) * 255).round().astype(np.uint8)


def slow_motion(frames: list[NDArray[np.uint8]], factor: int) -> list[NDArray[np.uint8]]:
    """Video frames with ``factor - 1`` frames put between each two, along dense optical flow (OpenCV's DIS).

    Each new frame is a cross-fade of its two neighbours, both moved to the time between them.

    Args:
        frames: (H, W, 3) uint8 frames of one size, at least one.
        factor: how many times faster the result's frame rate is.

    Returns:
        ``factor * (len(frames) - 1) + 1`` frames; every ``factor``-th is an original.
    """
    import cv2

    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = frames[0].shape[:2]
    here = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    slow = []
    for first, second in itertools.pairwise(frames):
        grey = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in (first, second)]
        forward, backward = dis.calc(grey[0], grey[1], None), dis.calc(grey[1], grey[0], None)
        slow.append(first)
        for t in np.arange(1, factor) / factor:
            # Flow at the in-between position is taken as the flow at the same pixel: good enough for short steps.
            sources = [(first, here - np.float32(t) * forward), (second, here - np.float32(1 - t) * backward)]
            moved = [cv2.remap(f, m, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101) for f, m in sources]
            slow.append(cv2.addWeighted(moved[0], float(1 - t), moved[1], float(t), 0.0))
    return [*slow, frames[-1]]
