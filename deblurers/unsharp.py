"""unsharp: unsharp masking, the classical sharpener that a network must beat."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detbench.types import DeblurerSpec


class Unsharp(nn.Module):
    """Add to a frame what a Gaussian blur takes from it.

    Args:
        sigma: of the Gaussian, in pixels.
        amount: how much of the difference is added.
    """

    def __init__(self, sigma: float = 2.0, amount: float = 1.0) -> None:
        super().__init__()
        self.amount = amount
        self.radius = round(3 * sigma)
        offset = torch.arange(-self.radius, self.radius + 1)
        weights = torch.exp(-0.5 * (offset / sigma) ** 2)
        self.kernel: Tensor
        self.register_buffer("kernel", (weights / weights.sum()).repeat(3, 1, 1, 1), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, 3, H, W) float in [0, 1] to the same, unclamped."""
        wide = F.pad(frames, [self.radius] * 4, mode="reflect")
        smooth = F.conv2d(F.conv2d(wide, self.kernel, groups=3), self.kernel.mT, groups=3)
        return frames + self.amount * (frames - smooth)


SPEC = DeblurerSpec(build=Unsharp)
