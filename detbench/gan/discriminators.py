"""Discriminators: networks that tell restored frames from sharp ones.

All take (blurred, candidate), (B, 3, H, W) in [-1, 1] each, and return scores before any sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as normalise_spectrum


class ScoreDiscriminator(nn.Module):
    """The conditional discriminator of Zhang et al. (dark-channel GAN), from their code: one score an image.

    Blurred frame and candidate are stacked to six channels; 5x5 convolutions of width 1, 2 and 4 with stride 2,
    then 8 with stride 1; batch normalisation in all but the first; LeakyReLU 0.2; a fully connected layer to
    one score, whose sigmoid is the probability that the candidate is sharp.

    Args:
        crop: side of the square crops it will see, which fixes the last layer's size; a multiple of 8.
        width: channels after the first convolution; 64 in the paper.
    """

    def __init__(self, crop: int = 256, width: int = 64) -> None:
        super().__init__()
        widths, strides = [6, width, 2 * width, 4 * width, 8 * width], [2, 2, 2, 1]
        layers: list[nn.Module] = []
        for i, stride in enumerate(strides):
            layers.append(nn.Conv2d(widths[i], widths[i + 1], 5, stride, padding=2))
            if i > 0:
                layers.append(nn.BatchNorm2d(widths[i + 1]))
            layers.append(nn.LeakyReLU(0.2))
        self.features = nn.Sequential(*layers)
        self.score = nn.Linear(8 * width * (crop // 8) ** 2, 1)

    def forward(self, blurred: Tensor, candidate: Tensor) -> Tensor:
        """(B, 3, H, W) twice, in [-1, 1], to (B, 1) scores before the sigmoid."""
        return self.score(self.features(torch.cat([blurred, candidate], dim=1)).flatten(1))


class PatchDiscriminator(nn.Module):
    """The PatchGAN of pix2pix (Isola et al.) and, as critic, of DeblurGAN: one score for each 70x70 patch.

    4x4 convolutions of width 1, 2, 4 (stride 2), 8 and a single channel (stride 1); LeakyReLU 0.2; normalised in all
    but the first and the last.

    Args:
        width: channels after the first convolution; 64 in the papers.
        conditional: whether it sees the blurred frame too, stacked to six channels. DeblurGAN's does not.
        norm: ``batch`` (pix2pix), ``instance`` (DeblurGAN) or ``none``.
        padding: of the convolutions: 1 in pix2pix (30x30 scores of 256x256 pixels), 2 in DeblurGAN's code (35x35).
        spectral_norm: of all convolutions' weights, by one power iteration a step.
    """

    def __init__(
        self,
        width: int = 64,
        conditional: bool = True,
        norm: str = "batch",
        padding: int = 1,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        normalise = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d, "none": nn.Identity}[norm]
        widths = [6 if conditional else 3, width, 2 * width, 4 * width, 8 * width, 1]
        layers: list[nn.Module] = []
        for i, stride in enumerate([2, 2, 2, 1, 1]):
            conv = nn.Conv2d(widths[i], widths[i + 1], 4, stride, padding)
            layers.append(normalise_spectrum(conv) if spectral_norm else conv)
            if 0 < i < 4:
                layers.append(normalise(widths[i + 1]))
            if i < 4:
                layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers)
        self.conditional = conditional

    def forward(self, blurred: Tensor, candidate: Tensor) -> Tensor:
        """(B, 3, H, W) twice, in [-1, 1], to (B, 1, h, w) scores."""
        return self.layers(torch.cat([blurred, candidate], dim=1) if self.conditional else candidate)


KINDS: dict[str, Callable[..., nn.Module]] = {
    "score": ScoreDiscriminator,
    "patch": lambda crop, **options: PatchDiscriminator(**options),  # works on crops of any size
}
"""Discriminators by name, called with the side of the crops and a recipe's options."""


def build(crop: int, kind: str, **options: Any) -> nn.Module:
    """A recipe's discriminator.

    Args:
        crop: side of the square crops it will see, in pixels.
        kind: a name in :data:`KINDS`.
        options: its keyword arguments.
    """
    return KINDS[kind](crop, **options)
