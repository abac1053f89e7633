"""fastsrn: srn's published weights at half the frame's resolution, one scale and one pass; not trained.

The encoder-decoder of :mod:`deblurers.srn` on the frame's 2x2 blocks (12 channels at half the size), which takes about
a fifth of srn's time. Its weights are srn's own, moved: before any training it is *srn, at one scale, on the frame
reduced to half its size by means of 2x2 pixels; its correction, enlarged by repeating pixels, is added to the frame*.
So the frame keeps what detail it has, and gets from srn what a frame of half the size can tell. An arrangement of this
project: where ``fastsrn_task`` and the others of its family start from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from detbench.types import DeblurerSpec, Preset

from . import srn

BLOCK = 2
"""Side of the blocks of pixels that become channels."""


class FastSRN(srn.EncoderDecoder):
    """SRN's encoder-decoder on blocks of 2x2 pixels: 6.9 million parameters at a quarter of the pixels.

    Args:
        widths: channels of the levels; SRN's by default.
        blocks: residual blocks a level, likewise.
    """

    def __init__(self, widths: Sequence[int] = srn.WIDTHS, blocks: int = srn.BLOCKS) -> None:
        super().__init__(3 * BLOCK**2, 3 * BLOCK**2, widths, blocks)

    def forward(self, blurred: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to the same, unclamped; H and W divisible by 8."""
        blocks = F.pixel_unshuffle(blurred, BLOCK)
        # The layers give the restored frame, as SRN's do; what they add to each block is its difference to the mean.
        mean = F.avg_pool2d(blurred, BLOCK).repeat_interleave(BLOCK**2, dim=1)
        return blurred + F.pixel_shuffle(super().forward(blocks) - mean, BLOCK)


def convert(paths: Sequence[Path]) -> dict[str, Tensor]:
    """SRN's weights as :class:`FastSRN` needs them, from the checkpoint's two files.

    Raises:
        ValueError: a file is damaged; the message names it.
    """
    state = srn.convert(paths)
    blurred, before = state["layers.enc1_1.weight"].chunk(2, dim=1)  # at one scale both are the frame
    state["layers.enc1_1.weight"] = (blurred + before).repeat_interleave(BLOCK**2, dim=1) / BLOCK**2
    for part in ("weight", "bias"):
        state[f"layers.dec1_0.{part}"] = state[f"layers.dec1_0.{part}"].repeat_interleave(BLOCK**2, dim=0)
    return state


SPEC = DeblurerSpec(
    build=FastSRN,
    presets={"default": Preset(multiple_of=8)},
    value_range=(0.0, 1.0),
    paper="Tao, Gao, Shen, Wang, Jia: Scale-recurrent Network for Deep Image Deblurring, CVPR 2018 (srn's weights)",
    licence="MIT (metadata) or GPL-3.0 (licence file)",
    assets=("srn-index", "srn-data"),
    convert=convert,
    family="task-driven",
)
