"""fastsrn_task_small: fastsrn_task on blocks of 4x4 pixels, without a third of its blocks, tuned again.

1.8 million parameters at less than a thirtieth of srn's time. What a network knows of blur survives a smaller frame
better than fewer channels: with half of the channels and the pixels of fastsrn_task, 6,000 iterations of tuning helped
no detector (reports/training/task.md). So fastsrn_task's weights are moved once more, as :mod:`deblurers.fastsrn` moves
srn's. Then each level loses the innermost of its residual blocks, in the encoder and in the decoder, and the innermost
level most of its channels, whose weights' L2 norm decides which ones stay, over all layers that share them (Fang et
al., "DepGraph: Towards Any Structural Pruning", CVPR 2023; the package torch-pruning).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from detbench.types import DetbenchError, Preset

from . import fastsrn, fastsrn_task, srn

DOWNSCALE = 2 * fastsrn.BLOCK
"""Side of the blocks of pixels that become channels."""

WIDTHS = (*srn.WIDTHS[:2], 48)
"""Channels of the levels. The innermost has most of the parameters and, on a sixteenth of the frame, little to see."""

BLOCKS = 2
"""Residual blocks of a level, in the encoder and in the decoder."""


class SmallFastSRN(srn.EncoderDecoder):
    """SRN's encoder-decoder on blocks of 4x4 pixels, which can begin with :class:`deblurers.fastsrn.FastSRN`'s weights.

    What it adds to a block's mean is enlarged smoothly: a correction that jumps from block to block is a grid that
    detectors mind, at 4x4 pixels more than the blur that it takes away (F1 on the validation frames before any tuning
    .680 with the jumps, .736 without, .690 blurred).

    Args:
        widths: channels of the levels.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__(3 * DOWNSCALE**2, 3 * DOWNSCALE**2, widths, BLOCKS)

    def forward(self, blurred: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to the same, unclamped; H and W divisible by 16."""
        restored = super().forward(F.pixel_unshuffle(blurred, DOWNSCALE))
        mean = restored.unflatten(1, (3, DOWNSCALE**2)).mean(2)
        detail = F.pixel_shuffle(restored - mean.repeat_interleave(DOWNSCALE**2, dim=1), DOWNSCALE)
        correction = mean - F.avg_pool2d(blurred, DOWNSCALE)
        return blurred + detail + F.interpolate(correction, scale_factor=DOWNSCALE, mode="bilinear")

    def adopt(self, state: Mapping[str, Tensor]) -> None:
        """Take what fits: of the larger network, or of one like this.

        Raises:
            DetbenchError: torch-pruning is not installed.
        """
        first = "layers.enc1_1.weight"
        if state[first].shape == self.state_dict()[first].shape:  # its own, to be trained on
            self.load_state_dict(state)
            return
        larger = fastsrn.FastSRN(blocks=BLOCKS)
        larger.load_state_dict({name: state[name] for name in larger.state_dict()})
        self.load_state_dict(at_half_size(pruned(larger)))


def pruned(net: fastsrn.FastSRN) -> dict[str, Tensor]:
    """The weights that are left when the innermost level keeps its strongest channels only.

    Raises:
        DetbenchError: torch-pruning is not installed.
    """
    try:
        import torch_pruning
    except ImportError as error:
        raise DetbenchError("Pruning needs torch-pruning: pip install 'detbench[prune]'") from error
    innermost = [layer for name, layer in net.layers.items() if name.startswith(("enc3", "dec3"))]
    torch_pruning.MagnitudePruner(
        net.eval(),
        torch.zeros(1, 3, 32, 32),
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=0.0,
        pruning_ratio_dict=dict.fromkeys(innermost, 1 - WIDTHS[2] / srn.WIDTHS[2]),
    ).step()
    return net.state_dict()


def at_half_size(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """FastSRN's weights for blocks of twice the side, which so sees the frame as the mean of 2x2 pixels.

    It gives the same mean of each block; the pixels of a block no longer differ.
    """
    moved = dict(state)
    few, many = fastsrn.BLOCK**2, DOWNSCALE**2
    read = state["layers.enc1_1.weight"].unflatten(1, (3, few)).sum(2)
    moved["layers.enc1_1.weight"] = read.repeat_interleave(many, dim=1) / many
    for part in ("weight", "bias"):
        written = state[f"layers.dec1_0.{part}"].unflatten(0, (3, few)).mean(1)
        moved[f"layers.dec1_0.{part}"] = written.repeat_interleave(many, dim=0)
    return moved


SPEC = replace(
    fastsrn_task.SPEC,
    build=SmallFastSRN,
    presets={
        "default": Preset(
            multiple_of=16,
            recipe=replace(fastsrn_task.RECIPE, init_from="fastsrn_task", learning_rate=1e-4, iterations=4_000),
        )
    },
)
