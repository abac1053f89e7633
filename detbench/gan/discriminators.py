"""Discriminators: networks that tell restored frames from sharp ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Discriminator(nn.Module):
    """The conditional discriminator of Zhang et al. (dark-channel GAN), from their code.

    Blurred frame and candidate are stacked to six channels; 5x5 convolutions of width 1, 2 and 4 with stride 2,
    then 8 with stride 1; batch normalisation in all but the first; LeakyReLU 0.2; a fully connected layer to
    one score, whose sigmoid is the probability that the candidate is sharp.

    Args:
        width: channels after the first convolution; 64 in the paper.
        crop: side of the square crops it will see, which fixes the last layer's size; a multiple of 8.
    """

    def __init__(self, width: int = 64, crop: int = 256) -> None:
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
