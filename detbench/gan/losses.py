"""The losses of the recipes, as functions of tensors in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def dark_channel(images: Tensor, patch: int = 15) -> Tensor:
    """The smallest value of all colours in the patch around each pixel (He et al.; eq. 3 of Zhang et al.).

    Min-pooling, one axis after the other: the minimum over a square is the minimum over its rows' minima.
    Pixels outside the image do not count.

    Args:
        images: (B, 3, H, W) float.
        patch: side of the square patch in pixels, odd; 15 in Zhang et al.'s code.

    Returns:
        (B, 1, H, W) float. Differentiable almost everywhere: the gradient goes to the smallest value.
    """
    dark = -images.amin(dim=1, keepdim=True)
    dark = F.max_pool2d(dark, (patch, 1), stride=1, padding=(patch // 2, 0))
    return -F.max_pool2d(dark, (1, patch), stride=1, padding=(0, patch // 2))


def dark_channel_loss(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean squared difference of the dark channels: eq. 7 of Zhang et al., the norm squared as in their code.

    Of intensities in [0, 1], which the prior is about (dark means near 0); an interpretation, as the paper does not
    give the range. In [-1, 1] the term would weigh four times as much.
    """
    return F.mse_loss(dark_channel(restored), dark_channel(sharp)) / 4


def bce_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Binary cross entropy of the discriminator, eq. 4 of Zhang et al., from scores before the sigmoid."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def bce_generator(fake: Tensor) -> Tensor:
    """-log D(fake): the form of eq. 5's adversarial term whose gradient does not vanish, used in practice."""
    return F.softplus(-fake).mean()


CONTENT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "dark_channel": dark_channel_loss}
"""Content losses by name: (restored, sharp) to a scalar."""

ADVERSARIAL: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "bce": (bce_discriminator, bce_generator)
}
"""Adversarial losses by name: the discriminator's of (real, fake) scores, and the generator's of fake scores."""


def content_loss(weights: Mapping[str, float], restored: Tensor, sharp: Tensor) -> Tensor:
    """The weighted sum of the named content losses, computed in float32.

    Args:
        weights: weight by name in :data:`CONTENT`.
        restored: (B, 3, H, W) in [-1, 1].
        sharp: (B, 3, H, W) in [-1, 1].
    """
    terms = [weight * CONTENT[name](restored.float(), sharp.float()) for name, weight in weights.items()]
    return torch.stack(terms).sum()
