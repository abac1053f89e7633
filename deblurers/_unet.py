"""The U-Net of the dark-channel GAN (Zhang, Zhen and Stevenson), in any width and depth."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._norm import NORMS


def through(encoder: nn.ModuleList, bottleneck: nn.Module, decoder: nn.ModuleList, x: Tensor) -> Tensor:
    """Down the encoder, through the bottleneck and up the decoder, whose blocks but the first also get a skip.

    Args:
        encoder: blocks from fine to coarse.
        bottleneck: between the two.
        decoder: as many blocks, from coarse to fine.
        x: (B, C, H, W), what the first block takes.

    Returns:
        What the last block gives.
    """
    skips: list[Tensor] = []
    for block in encoder:
        x = block(x)
        skips.append(x)
    x = decoder[0](bottleneck(skips.pop()))
    for block in list(decoder)[1:]:
        x = block(torch.cat([x, skips.pop()], dim=1))
    return x


class UNet(nn.Module):
    """Encoder and decoder of 5x5 convolutions with stride 2, and skips between layers of one size.

    From the authors' text and code: widths 1, 2, 4 and then 8 times ``width``; batch normalisation in all but
    the first and last layer; LeakyReLU 0.2; dropout 0.5 in the decoder's first blocks; tanh. The coarsest layer of the
    encoder is not normalised either: with one crop a batch and 1x1 pixels there, the published code's normalisation
    subtracts each value from itself.

    Args:
        width: channels of the first layer; 64 in the paper.
        levels: number of halvings; 8 in the paper.
        widest: the most channels, as a multiple of ``width``.
        dropout_blocks: how many decoder blocks, from the coarsest, drop half of their channels' values; 3 in the paper.
        global_skip: the network gives a correction that is added to its input (DeblurGAN's ResOut), in place of
            the frame itself. Not in the paper.
        norm: ``batch`` normalisation as in the paper; ``batch_statistics``, which takes the batch's own statistics at
            test time too, as the published code does (the result then depends on what else is in the frame, so tiles
            of a large frame would not fit together); or ``layer`` normalisation of each pixel's channels.
    """

    def __init__(
        self,
        width: int = 64,
        levels: int = 8,
        widest: int = 8,
        dropout_blocks: int = 3,
        global_skip: bool = False,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        normalise = NORMS[norm]
        widths = [width * min(2**i, widest) for i in range(levels)]
        self.encoder = nn.ModuleList()
        for i, channels in enumerate(widths):
            before = [nn.LeakyReLU(0.2)] if i else []
            conv = nn.Conv2d(widths[i - 1] if i else 3, channels, 5, stride=2, padding=2)
            self.encoder.append(nn.Sequential(*before, conv, *([normalise(channels)] if 0 < i < levels - 1 else [])))
        self.decoder = nn.ModuleList()
        for i in reversed(range(levels)):
            into = widths[i] * (1 if i == levels - 1 else 2)  # all but the coarsest block also get a skip
            out = widths[i - 1] if i else 3
            conv_up = nn.ConvTranspose2d(into, out, 5, stride=2, padding=2, output_padding=1)
            drop = [nn.Dropout(0.5)] if levels - 1 - i < dropout_blocks else []
            after = [normalise(out), *drop] if i else [nn.Tanh()]
            self.decoder.append(nn.Sequential(nn.LeakyReLU(0.2), conv_up, *after))
        self.global_skip = global_skip

    def forward(self, blurred: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to the same, H and W divisible by 2**levels. Unclamped with a global skip."""
        x = through(self.encoder, nn.Identity(), self.decoder, blurred)
        return blurred + x if self.global_skip else x
