"""srn: scale-recurrent network, one encoder-decoder at three scales, with its published weights.

Tao, Gao, Shen, Wang and Jia, "Scale-recurrent Network for Deep Image Deblurring", CVPR 2018: the network restores the
frame at a quarter of its size, then at half, then in full, each time given the blurred frame and what it made of it at
the scale before. This is the variant without a recurrent state, as the weights are. Layers and padding follow the
authors' code (models/model.py of github.com/jiangsutx/SRN-Deblur), and names follow its TensorFlow checkpoint, which is
read as a package on PyPI redistributes it.

Frames are resized as TensorFlow 1 does it, in which the authors trained (upper left corners are places of pixels); on
REDS that gave 0.06 dB more than taking centres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from detbench.types import DeblurerSpec, Preset

from . import _tensor_bundle

WIDTHS = (32, 64, 128)
"""Channels of the encoder's levels, from the outermost: at full, half and quarter size."""

BLOCKS = 3
"""Residual blocks of a level, in the encoder and in the decoder."""


class HalvingConv(nn.Conv2d):
    """A 5x5 convolution with stride 2 and TensorFlow's SAME padding of even sides.

    Each axis takes three zeros, of which two go to the right or bottom. The ``padding`` of torch puts as many on each
    side.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 5, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (1, 2, 1, 2)))


class ResBlock(nn.Module):
    """Two 5x5 convolutions around a ReLU, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 5, padding=2)
        self.conv2 = nn.Conv2d(channels, channels, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x).relu_()).add_(x)


class EncoderDecoder(nn.Module):
    """The network of one scale: 6.9 million parameters.

    An encoder of three levels, each half as large as the one before, and a decoder that adds the encoder's levels to
    its own. The layers bear the checkpoint's names: ``enc2_1`` leads into the encoder's second level, ``dec2_4`` into
    the decoder's; the decoder counts down.

    Args:
        channels_in: of the input.
        channels_out: of the output.
        widths: channels of the levels.
        blocks: residual blocks a level, in the encoder and in the decoder.
    """

    def __init__(
        self, channels_in: int, channels_out: int, widths: Sequence[int] = WIDTHS, blocks: int = BLOCKS
    ) -> None:
        super().__init__()
        self.blocks = range(1, blocks + 1)
        layers: dict[str, nn.Module] = {"enc1_1": nn.Conv2d(channels_in, widths[0], 5, padding=2)}
        for level, width in enumerate(widths, 1):
            if level > 1:
                narrower = widths[level - 2]
                layers[f"enc{level}_1"] = HalvingConv(narrower, width)
                layers[f"dec{level - 1}_4"] = nn.ConvTranspose2d(width, narrower, 4, stride=2, padding=1)
            for i in self.blocks:
                layers[f"enc{level}_{i + 1}"] = ResBlock(width)
                layers[f"dec{level}_{i}"] = ResBlock(width)
        layers["dec1_0"] = nn.Conv2d(widths[0], channels_out, 5, padding=2)
        self.layers = nn.ModuleDict(layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, h, w) to (B, channels_out, h, w); h and w divisible by 4."""
        skips = []
        for level in (1, 2, 3):
            x = self.layers[f"enc{level}_1"](x).relu_()
            for i in self.blocks:
                x = self.layers[f"enc{level}_{i + 1}"](x)
            skips.append(x)
        for level in (3, 2, 1):
            if level < 3:
                x = skips[level - 1] + self.layers[f"dec{level}_4"](x).relu_()
            for i in reversed(self.blocks):
                x = self.layers[f"dec{level}_{i}"](x)
        return self.layers["dec1_0"](x)


class SRN(EncoderDecoder):
    """Tao et al.'s network without a recurrent state: one encoder-decoder for all scales.

    Args:
        divisors: of the frame's size, one a scale, from coarse to fine, each half of the one before; the last is 1.
    """

    def __init__(self, divisors: Sequence[int] = (4, 2, 1)) -> None:
        super().__init__(6, 3)
        self.divisors = divisors

    def forward(self, blurred: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to the same, unclamped; H and W divisible by 4 times the first divisor."""
        restored = None
        for divisor in self.divisors:
            reduced = blurred[:, :, ::divisor, ::divisor]
            before = reduced if restored is None else double(restored)
            restored = super().forward(torch.cat([reduced, before], dim=1))
        assert restored is not None
        return restored


def double(images: Tensor) -> Tensor:
    """(B, C, H, W) to twice the size as TensorFlow 1 resizes: pixels stay at even places, means of neighbours between.

    The network was trained with it; downwards, the same rule takes every second pixel.
    """
    for axis in (2, 3):
        following = torch.cat([images.narrow(axis, 1, images.shape[axis] - 1), images.narrow(axis, -1, 1)], dim=axis)
        images = torch.stack([images, (images + following) / 2], dim=axis + 1).flatten(axis, axis + 1)
    return images


def state_dict(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    """The checkpoint's tensors (``g_net/enc2_2/conv1/weights``, ...) as :class:`SRN` names and stores them.

    TensorFlow's convolutions are (height, width, in, out) and its transposed ones (height, width, out, in), torch's are
    (out, in, height, width) and (in, out, height, width): for both, the axes are reversed and height and width kept.
    """
    found = {}
    for name, array in tensors.items():
        ours = name.replace("g_net/", "layers/").replace("weights", "weight").replace("biases", "bias")
        tensor = torch.from_numpy(array)
        found[ours.replace("/", ".")] = tensor.permute(3, 2, 0, 1).contiguous() if tensor.ndim == 4 else tensor
    return found


def convert(paths: Sequence[Path]) -> dict[str, Tensor]:
    """The state dict from the checkpoint's two files, the index and the data.

    Raises:
        ValueError: a file is damaged; the message names it.
    """
    index, data = paths
    return state_dict(_tensor_bundle.read(index, data))


SPEC = DeblurerSpec(
    build=SRN,
    presets={"default": Preset(multiple_of=16)},
    value_range=(0.0, 1.0),
    paper="Tao, Gao, Shen, Wang, Jia: Scale-recurrent Network for Deep Image Deblurring, CVPR 2018",
    licence="MIT (metadata) or GPL-3.0 (licence file)",
    assets=("srn-index", "srn-data"),
    convert=convert,
    family="multi-scale",
)
