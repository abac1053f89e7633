"""Canny's edge detector (1986) on tensors, so that a network can have its edges on any device."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 32
"""How many pixels a weak edge is followed from a strong one: enough for an outline, and the same for every tile."""


@torch.no_grad()
def canny(images: Tensor, low: float = 100.0, high: float = 200.0) -> Tensor:
    """Edges of images: Gaussian (5x5, sigma 1.4), Sobel, thinning across the edge, two thresholds.

    Args:
        images: (B, 3, H, W) float in [-1, 1], RGB.
        low: gradient (L1 norm of Sobel's, of grey levels 0..255) above which a pixel may continue an edge.
        high: gradient above which it starts one.

    Returns:
        (B, 1, H, W), 1 on edges and 0 elsewhere, in the images' dtype.
    """
    luma = torch.tensor([0.299, 0.587, 0.114], device=images.device).view(1, 3, 1, 1)
    grey = ((images.float() + 1) * 127.5 * luma).sum(dim=1, keepdim=True)
    bell = torch.tensor([math.exp(-(i**2) / (2 * 1.4**2)) for i in range(-2, 3)], device=images.device)
    smooth = _filter(grey, torch.outer(bell, bell) / bell.sum() ** 2)
    sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=images.device)
    across, down = _filter(smooth, sobel), _filter(smooth, sobel.T)
    strength = across.abs() + down.abs()

    # The neighbours across the edge, along the gradient's direction rounded to 45 degrees; y points down.
    octant = (torch.atan2(down, across) / (math.pi / 4)).round().long() % 4
    padded = F.pad(strength, (1, 1, 1, 1))
    height, width = strength.shape[-2:]
    ridge = torch.zeros_like(strength, dtype=torch.bool)
    for i, (dy, dx) in enumerate([(0, 1), (1, 1), (1, 0), (1, -1)]):
        ahead = padded[..., 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        behind = padded[..., 1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]
        ridge |= (octant == i) & (strength > behind) & (strength >= ahead)

    weak = (ridge & (strength > low)).float()
    edges = (ridge & (strength > high)).float()
    for _ in range(REACH):
        edges = F.max_pool2d(edges, 3, stride=1, padding=1) * weak
    return edges.to(images.dtype)


def _filter(images: Tensor, kernel: Tensor) -> Tensor:
    """(B, 1, H, W) correlated with a square kernel; edges replicated."""
    reach = len(kernel) // 2
    return F.conv2d(F.pad(images, (reach,) * 4, mode="replicate"), kernel[None, None])
