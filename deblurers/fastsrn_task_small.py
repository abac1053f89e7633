"""fastsrn_task_small: fastsrn_task on blocks of 4x4 pixels, tuned again.

A quarter of fastsrn_task's blocks and time, a twentieth of srn's. What a network knows of blur survives a smaller frame
better than fewer channels: with half of the channels and a third of the blocks pruned, 6,000 iterations of tuning
helped no detector (reports/training/task.md). So fastsrn_task's weights are moved once more, as
:mod:`deblurers.fastsrn` moves srn's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor
from torch.nn import functional as F

from detbench.types import Preset

from . import fastsrn, fastsrn_task, srn

BLOCK = 2 * fastsrn.BLOCK
"""Side of the blocks of pixels that become channels."""


class SmallFastSRN(srn.EncoderDecoder):
    """SRN's encoder-decoder on blocks of 4x4 pixels, which can begin with :class:`deblurers.fastsrn.FastSRN`'s weights.

    What it adds to a block's mean is enlarged smoothly: a correction that jumps from block to block is a grid that
    detectors mind more than the blur that it takes away (F1 on the validation frames before any tuning .680 with the
    jumps and .736 without them, blurred .690).
    """

    def __init__(self) -> None:
        super().__init__(3 * BLOCK**2, 3 * BLOCK**2)

    def forward(self, blurred: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to the same, unclamped; H and W divisible by 16."""
        restored = super().forward(F.pixel_unshuffle(blurred, BLOCK))
        mean = restored.reshape(len(restored), 3, BLOCK**2, *restored.shape[2:]).mean(2)
        detail = F.pixel_shuffle(restored - mean.repeat_interleave(BLOCK**2, dim=1), BLOCK)
        correction = mean - F.avg_pool2d(blurred, BLOCK)
        return blurred + detail + F.interpolate(correction, scale_factor=BLOCK, mode="bilinear")

    def adopt(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of a FastSRN, or of a network like this."""
        first = "layers.enc1_1.weight"
        self.load_state_dict(state if state[first].shape == self.state_dict()[first].shape else at_half_size(state))


def at_half_size(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """FastSRN's weights for blocks of twice the side, which so sees the frame as the mean of 2x2 pixels.

    It gives the same mean of each block; the pixels of a block no longer differ.
    """
    moved = dict(state)
    few, many = fastsrn.BLOCK**2, BLOCK**2
    read = state["layers.enc1_1.weight"]
    read = read.view(len(read), 3, few, *read.shape[2:]).sum(2)
    moved["layers.enc1_1.weight"] = read.repeat_interleave(many, dim=1) / many
    for part in ("weight", "bias"):
        written = state[f"layers.dec1_0.{part}"]
        written = written.view(3, few, *written.shape[1:]).mean(1)
        moved[f"layers.dec1_0.{part}"] = written.repeat_interleave(many, dim=0)
    return moved


SPEC = replace(
    fastsrn_task.SPEC,
    build=SmallFastSRN,
    presets={"default": Preset(multiple_of=16, recipe=replace(fastsrn_task.RECIPE, init_from="fastsrn_task"))},
)
