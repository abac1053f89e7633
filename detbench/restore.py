"""Networks on frames: the only place that scales, pads, batches, tiles, sets eval mode, clamps, rounds and crops.

A network sees (B, 3, h, w) floats in its own range with sides it can divide; everyone else sees uint8 frames.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detbench import environment
from detbench.backends import compute
from detbench.types import DetbenchError

_log = logging.getLogger(__name__)


class Restorer:
    """A deblurring network as a function from uint8 frames to uint8 frames.

    Frames are padded at the right and at the bottom only, so pixel (0, 0) stays where it is and strided layers see
    the same phase whatever the padding; the padding is the reflected image (edge not repeated), folded back and
    forth when it is wider than the frame. Outputs are clamped to the range, rounded half to even, and cropped.

    A frame too large for one pass is cut into overlapping tiles whose corners and sides are multiples of
    ``multiple_of``. Of each overlap the outer quarters are discarded (there a tile lacks context) and the middle
    half is blended linearly. So tiling changes nothing for networks that look at most ``overlap / 4`` pixels to
    each side; networks with global operations (instance norm, attention) see each tile's statistics instead of the
    frame's. The device holds one pass, the CPU besides it 12 bytes for each pixel of a tiled frame.

    Each frame's result is independent of the other frames of a batch up to rounding, provided that the network
    does not mix them (batch norm that computes batch statistics even in eval mode does).

    Attributes:
        net: the network.
        forward_seconds: time spent inside it so far.
    """

    net: nn.Module
    forward_seconds: float

    def __init__(
        self,
        net: nn.Module,
        *,
        multiple_of: int = 1,
        value_range: tuple[float, float] = (0.0, 1.0),
        device: torch.device | str = "cpu",
        precision: str = "fp32",
        backend: str = "torch",
        key: str = "",
        max_pixels: int = 2_000_000,
        overlap: int = 64,
    ) -> None:
        """Move the network to the device (in place, channels last) and put it into eval mode.

        Args:
            net: (B, 3, h, w) floats, RGB, in ``value_range`` in; the same shape and range out.
            multiple_of: both sides of the network's input must be divisible by this.
            value_range: what black and white are to the network.
            device: where it runs.
            precision: ``fp32``, ``bf16`` or ``fp16``, of the network alone; everything around it stays float32.
            backend: what computes it, as for :func:`detbench.backends.compute`.
            key: likewise.
            max_pixels: of one forward pass, all frames of the batch counted. It bounds the memory: larger batches
                are split, larger frames tiled. Tiles get no smaller than twice the overlap, though.
            overlap: of neighbouring tiles, in pixels; rounded up to a multiple of ``multiple_of``.

        Raises:
            ValueError: an argument that cannot mean anything.
            DetbenchError: the backend is not installed, or cannot take the network.
        """
        if multiple_of < 1 or max_pixels < 1 or overlap < 0 or value_range[0] >= value_range[1]:
            raise ValueError(f"{multiple_of=}, {max_pixels=}, {overlap=}, {value_range=} cannot mean anything")
        if precision not in ("fp32", "bf16", "fp16"):
            raise ValueError(f"{precision=}: it must be 'fp32', 'bf16' or 'fp16'")
        self._device = torch.device(device)
        net = net.eval().to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net = net
        self.forward_seconds = 0.0
        self._compute = compute(net, backend, precision, str(self._device), multiple_of, key)
        self._multiple_of = multiple_of
        self._black, self._white = value_range
        self._max_pixels = max_pixels
        self._overlap = _round_up(overlap, multiple_of)

    def __call__(self, frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """Restore frames of one size.

        When the accelerator runs out of memory, ``max_pixels`` is halved (for good, and logged) until it suffices.

        Args:
            frames: each (H, W, 3) uint8 RGB.

        Returns:
            As many frames of the same shape and type.

        Raises:
            ValueError: frames that differ in shape, or are not (H, W, 3) uint8.
            DetbenchError: the network returned NaN, infinity or another shape, or does not fit into the memory.
        """
        if not frames:
            return []
        batch = _stack(frames)
        _, height, width, _ = batch.shape
        pad_y, pad_x = -height % self._multiple_of, -width % self._multiple_of
        if pad_y or pad_x:
            batch = np.pad(batch, ((0, 0), (0, pad_y), (0, pad_x), (0, 0)), mode="reflect")
        restored = self._within_memory(torch.from_numpy(batch))
        return list(restored[:, :height, :width].contiguous().numpy())

    def _within_memory(self, batch: Tensor) -> Tensor:
        """Restore (B, H, W, 3) uint8 with as large a ``max_pixels`` as the accelerator's memory allows."""
        while True:
            try:
                return self._restore(batch)
            except torch.cuda.OutOfMemoryError as error:
                reason = str(error)  # the traceback holds the tensors of the failed pass: let go of it before retrying
            torch.cuda.empty_cache()
            count, height, width, _ = batch.shape
            self._max_pixels = min(self._max_pixels, count * height * width) // 2
            if self._max_pixels < min(height * width, self._smallest_tile**2):
                raise DetbenchError(
                    f"Not enough memory on {self._device}, even in tiles: free some, or use --device cpu. ({reason})"
                )
            _log.warning("Not enough memory on %s: going on with %d pixels a pass.", self._device, self._max_pixels)

    @property
    def _smallest_tile(self) -> int:
        return max(2 * self._overlap, self._multiple_of)

    @torch.inference_mode()
    def _restore(self, batch: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 with sides that are multiples of ``multiple_of`` -> the same, restored; on the CPU."""
        _, height, width, _ = batch.shape
        tile_height, tile_width = _tile_size(height, width, self._max_pixels, self._smallest_tile, self._multiple_of)
        rows = _cut(height, tile_height, self._overlap, self._multiple_of)
        columns = _cut(width, tile_width, self._overlap, self._multiple_of)
        at_once = max(1, self._max_pixels // (tile_height * tile_width))
        return torch.cat([self._blend(part, rows, columns) for part in torch.split(batch, at_once)])

    def _blend(self, batch: Tensor, rows: list[_Span], columns: list[_Span]) -> Tensor:
        """(B, H, W, 3) uint8 -> the same, restored tile by tile; on the CPU."""
        if len(rows) == len(columns) == 1:
            return self._forward(batch).round_().to(torch.uint8).cpu()
        canvas = torch.zeros(batch.shape)
        for row in rows:
            for column in columns:
                weight = row.weight[:, None, None] * column.weight[None, :, None]
                tile = self._forward(batch[:, row.pixels, column.pixels])
                canvas[:, row.pixels, column.pixels] += tile.cpu() * weight
        return canvas.round_().to(torch.uint8)

    def _forward(self, batch: Tensor) -> Tensor:
        """(B, h, w, 3) uint8 -> the network's output as float32 grey levels, clamped to [0, 255]; on the device."""
        contrast = self._white - self._black
        x = batch.to(self._device).permute(0, 3, 1, 2)  # a view: pixels are in channels-last order already
        x = x.float().div_(255).mul_(contrast).add_(self._black)
        shape = x.shape
        started = time.perf_counter()
        y = self._compute(x)
        environment.synchronize(self._device)
        self.forward_seconds += time.perf_counter() - started
        if not isinstance(y, Tensor) or y.shape != shape:
            made = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise DetbenchError(
                f"The network made {made} of an input of shape {tuple(shape)}: it must keep the shape. "
                "Mend the deblurer's build or its preset's multiple_of."
            )
        if not torch.stack(torch.aminmax(y)).isfinite().all():  # NaN wins both; 10 times as fast as looking at each
            raise DetbenchError("The network returned NaN or infinity: try --precision fp32, or other weights.")
        return y.float().sub(self._black).div_(contrast).mul_(255).clamp_(0, 255).permute(0, 2, 3, 1)


class _Span(NamedTuple):
    """Where a tile lies along one side of the frame, and how much each of its pixels counts there."""

    pixels: slice
    weight: Tensor


def _stack(frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Make (B, H, W, 3) of B frames.

    Raises:
        ValueError: frames that differ in shape, or are not (H, W, 3) uint8.
    """
    shape = frames[0].shape
    if len(shape) != 3 or shape[2] != 3 or any(f.shape != shape or f.dtype != np.uint8 for f in frames):
        kinds = sorted({f"{f.shape} {f.dtype}" for f in frames})
        raise ValueError(f"frames of a batch must all be (H, W, 3) uint8 of one size, not {', '.join(kinds)}")
    return np.stack(frames)


def _round_up(length: int, multiple_of: int) -> int:
    return -(-length // multiple_of) * multiple_of


def _tile_size(height: int, width: int, max_pixels: int, smallest: int, multiple_of: int) -> tuple[int, int]:
    """The (height, width) of the largest tile of at most ``max_pixels``: near square, unless the frame is narrower."""
    tile_height = min(height, max(math.isqrt(max_pixels), max_pixels // width))
    tile_height = min(height, max(tile_height // multiple_of * multiple_of, smallest))
    tile_width = min(width, max_pixels // tile_height)
    tile_width = min(width, max(tile_width // multiple_of * multiple_of, smallest))
    return tile_height, tile_width


def _cut(size: int, tile: int, overlap: int, multiple_of: int) -> list[_Span]:
    """Cover a side of the frame with equal tiles; at every pixel, the weights of all tiles sum to one.

    Args:
        size: of the side, in pixels; a multiple of ``multiple_of``, as are the next two.
        tile: a tile's largest length, above ``overlap`` unless it covers the whole side.
        overlap: the least overlap of neighbouring tiles.
        multiple_of: of what tiles start at and of how long they are.

    Returns:
        The tiles from first to last.
    """
    if tile >= size:
        return [_Span(slice(0, size), torch.ones(size))]
    count = math.ceil((size - overlap) / (tile - overlap))
    tile = _round_up(math.ceil((size + (count - 1) * overlap) / count), multiple_of)  # as even as the multiple allows
    margin = overlap // 4
    rise = (torch.arange(overlap) + 0.5 - margin).div(max(overlap - 2 * margin, 1)).clamp(0, 1)
    spans = []
    for k in range(count):
        start = min(k * (tile - overlap), size - tile)
        weight = torch.ones(tile)
        if k > 0:
            weight[:overlap] *= rise
        if k < count - 1:
            weight[tile - overlap :] *= rise.flip(0)
        spans.append(_Span(slice(start, start + tile), weight))
    total = torch.zeros(size)
    for span in spans:
        total[span.pixels] += span.weight
    return [_Span(span.pixels, span.weight / total[span.pixels]) for span in spans]
