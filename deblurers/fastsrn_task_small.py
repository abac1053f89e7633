"""fastsrn_task_small: fastsrn_task on blocks of 4x4 pixels, its innermost level narrower, trained on with L1.

A quarter of fastsrn_task's blocks, a twentieth of srn's time and 1.9 million parameters. What a network knows
of blur survives a smaller frame better than fewer channels (reports/training/task.md), so the two outer levels are
fastsrn_task's, moved once more as :mod:`deblurers.fastsrn` moves srn's; the innermost, a sixteenth of the frame a
side, learns from fastsrn_task's with ``python -m detbench.gan.distil``, whose weights the training starts ``--from``.
Tuned through a detector, it has fewer decibels and no more detections: that takes a larger network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from detbench.types import Preset

from . import fastsrn, fastsrn_task, srn

BLOCK = 2 * fastsrn.BLOCK
"""Side of the blocks of pixels that become channels."""

WIDTHS = (*srn.WIDTHS[:2], 24)
"""Channels of the levels; srn's 128 of the innermost hold seven tenths of its parameters."""


INNERMOST = ("layers.enc3", "layers.dec3", "layers.dec2_4")
"""How the names of the innermost level's weights begin."""


class SmallFastSRN(srn.EncoderDecoder):
    """SRN's encoder-decoder on blocks of 4x4 pixels, each given as its mean and its pixels' differences to it.

    Sixteen nearly equal channels a colour, each read with a sixteenth of a weight, would be lost within a few hundred
    steps of Adam, which moves small weights as far as large ones. The correction of the mean is enlarged smoothly: one
    that jumps from block to block is a grid that detectors mind more than the blur that it takes away.

    Args:
        widths: channels of the levels.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        channels = 3 + 3 * BLOCK**2
        super().__init__(channels, channels, widths)

    def forward(self, blurred: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to the same, unclamped; H and W divisible by 16."""
        mean = F.avg_pool2d(blurred, BLOCK)
        differences = F.pixel_unshuffle(blurred, BLOCK) - mean.repeat_interleave(BLOCK**2, dim=1)
        restored = super().forward(torch.cat([mean, differences], dim=1))
        correction = F.interpolate(restored[:, :3] - mean, scale_factor=BLOCK, mode="bilinear")
        return blurred + correction + F.pixel_shuffle(restored[:, 3:], BLOCK)

    def adopt(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of a network like this, or of a FastSRN, without its innermost level if that is wider.

        Raises:
            RuntimeError: the weights are of another kind of network.
        """
        mine = self.state_dict()
        first = "layers.enc1_1.weight"
        moved = dict(state) if state[first].shape == mine[first].shape else at_half_size(state)
        inner = {name: tensor for name, tensor in mine.items() if name.startswith(INNERMOST)}
        if any(moved[name].shape != tensor.shape for name, tensor in inner.items()):
            moved |= inner
        self.load_state_dict(moved)


def at_half_size(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """FastSRN's weights for blocks of twice the side, which so sees the frame as the mean of 2x2 pixels.

    It gives the same mean of each block; differences within a block are neither read nor made, until it is trained.
    """
    moved = dict(state)
    few, many = fastsrn.BLOCK**2, 3 * BLOCK**2
    read = state["layers.enc1_1.weight"]
    read = read.view(len(read), 3, few, *read.shape[2:]).sum(2)
    moved["layers.enc1_1.weight"] = torch.cat([read, read.new_zeros(len(read), many, *read.shape[2:])], dim=1)
    for part in ("weight", "bias"):
        written = state[f"layers.dec1_0.{part}"]
        written = written.view(3, few, *written.shape[1:]).mean(1)
        moved[f"layers.dec1_0.{part}"] = torch.cat([written, written.new_zeros(many, *written.shape[1:])])
    return moved


RECIPE = replace(
    fastsrn_task.RECIPE,
    detector=(),
    detector_features=0.0,
    detector_classes=0.0,
    detector_boxes=0.0,
    init_from="fastsrn_task",
    iterations=4_000,
    learning_rate=1.5e-4,
    batch=4,
)

SPEC = replace(fastsrn_task.SPEC, build=SmallFastSRN, presets={"default": Preset(multiple_of=16, recipe=RECIPE)})
