"""Normalisation layers, by the names that the networks' option ``norm`` takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn


class PixelNorm(nn.LayerNorm):
    """Layer normalisation of each pixel's channels, (B, C, H, W) to the same."""

    def forward(self, x: Tensor) -> Tensor:
        """Channels go last for the normalisation; in memory they are there already."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "batch_statistics": partial(nn.BatchNorm2d, track_running_stats=False),
    "instance": nn.InstanceNorm2d,
    "layer": PixelNorm,
}
"""Normalisation of a number of channels, by name: of a channel over the batch, with statistics learned or of the batch
at hand; of a channel over its frame; of a pixel over its channels."""
