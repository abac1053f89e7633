"""The pix2pix variants of Lenka's "Blind Deblurring using GANs": a U-Net, attention, a global residual."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils import parametrizations

from ._attention import ChannelAttention, SelfAttention
from ._norm import NORMS
from ._unet import through

GLOBAL_RESIDUALS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "none": lambda blurred, made: made,
    "sum": lambda blurred, made: blurred + made,
    "mean": lambda blurred, made: (blurred + made) / 2,
}
"""What a network returns, of the blurred frame and what its last layer made, by name."""


def normalise_spectra(net: nn.Module, last: bool) -> None:
    """Let every convolution divide its weight by its largest singular value: one power iteration a training step.

    Args:
        net: whose convolutions.
        last: whether the last of them does, too.
    """
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    for module in convolutions if last else convolutions[:-1]:
        parametrizations.spectral_norm(module, n_power_iterations=1)


class Pix2Pix(nn.Module):
    """U-Net of 4x4 convolutions with stride 2 and skips between layers of one size, with Lenka's additions.

    From text and code: widths 1, 2, 4 and then 8 times ``width``; batch normalisation in all but the first and last
    layer; ReLU; tanh; attention after every three blocks, which the code counts from both ends, so that of 8 levels
    encoders 4 and 7 and decoders 8, 5 and 2 attend before they convolve; channel attention with ratio 16.

    Ours, where these leave something open or differ:

    - ReLU in the encoder as in the text; the code has LeakyReLU 0.2 there (``leak``).
    - The coarsest layer of the encoder is not normalised: of one crop's 1x1 pixels nothing would be left.
    - With fewer levels, attention stays after every three blocks from either end; ``attend_from`` leaves out places
      so fine that attention, whose time grows with the square of the number of positions, would take longer than
      all the rest: at a quarter of a 1280x720 frame there are 57,600.
    - Channel attention between encoder and decoder belongs to ``channel_attention``, as in the text; the code never
      leaves it out.
    - Channel attention has the ReLU of equation (4), where the code has LeakyReLU.

    Args:
        width: channels of the first layer; 64 in the paper.
        levels: number of halvings; 8 in the paper.
        widest: the most channels, as a multiple of ``width``; 8 in the paper.
        self_attention: whether features attend to all positions, after every three blocks.
        channel_attention: whether channels are weighed, in the same places and between encoder and decoder.
        attend_from: after how many halvings features are coarse enough for attention; 2 in the paper.
        global_residual: ``none``; ``sum``, in which the network makes a correction that is added to its input, as in
            the text; or ``mean`` of the input and what the network makes, as in the code.
        spectral_norm: whether all convolutions are spectrally normalised.
        spectral_norm_last: whether that goes for the last layer, too: if not, a global residual can start by copying.
        norm: name in ``NORMS``. The code takes the batch's own statistics at test time too (``batch_statistics``).
        dropout_blocks: how many decoder blocks, from the coarsest, drop half of their channels' values; 3 in the code.
        leak: slope of the encoder's ReLU below 0.
    """

    def __init__(
        self,
        width: int = 64,
        levels: int = 8,
        widest: int = 8,
        self_attention: bool = False,
        channel_attention: bool = False,
        attend_from: int = 2,
        global_residual: str = "none",
        spectral_norm: bool = False,
        spectral_norm_last: bool = True,
        norm: str = "batch",
        dropout_blocks: int = 3,
        leak: float = 0.0,
    ) -> None:
        super().__init__()
        normalise = NORMS[norm]
        widths = [3, *(width * min(2**i, widest) for i in range(levels))]

        def attention(channels: int, blocks: int, halvings: int) -> list[nn.Module]:
            """What stands after so many blocks, on features that have been halved so often."""
            if blocks % 3 or halvings < attend_from:
                return []
            spatial: list[nn.Module] = [SelfAttention(channels)] if self_attention else []
            return [*spatial, ChannelAttention(channels, 16)] if channel_attention else spatial

        self.encoder = nn.ModuleList()
        for i, (into, out) in enumerate(pairwise(widths)):
            before = [nn.LeakyReLU(leak), *attention(into, i, i)] if i else []
            after = [normalise(out)] if 0 < i < levels - 1 else []
            self.encoder.append(nn.Sequential(*before, nn.Conv2d(into, out, 4, stride=2, padding=1), *after))
        self.bottleneck = ChannelAttention(widths[-1], 16) if channel_attention else nn.Identity()
        self.decoder = nn.ModuleList()
        for i, (into, out) in enumerate(pairwise(reversed(widths))):
            into *= 2 if i else 1  # all but the coarsest block also get a skip
            drop = [nn.Dropout(0.5)] if i < dropout_blocks else []
            after = [normalise(out), *drop] if i < levels - 1 else [nn.Tanh()]
            conv_up = nn.ConvTranspose2d(into, out, 4, stride=2, padding=1)
            self.decoder.append(nn.Sequential(nn.ReLU(), *attention(into, i, levels - i), conv_up, *after))
        self.global_residual = GLOBAL_RESIDUALS[global_residual]
        if spectral_norm:
            normalise_spectra(self, spectral_norm_last)

    def forward(self, blurred: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to the same, H and W divisible by 2**levels. Unclamped with the residual ``sum``."""
        x = through(self.encoder, self.bottleneck, self.decoder, blurred)
        return self.global_residual(blurred, x)
