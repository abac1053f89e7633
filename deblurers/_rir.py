"""The residual-in-residual network (RiR) of Lenka's "Blind Deblurring using GANs", in any width and depth."""

from __future__ import annotations

from torch import Tensor, nn

from ._attention import ChannelAttention, SelfAttention
from ._norm import NORMS
from ._pix2pix import GLOBAL_RESIDUALS, normalise_spectra
from ._unet import through


class ResBlock(nn.Module):
    """x + (convolution, channel attention, convolution, channel attention); no activations but those of attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            ChannelAttention(channels, 8),
            nn.Conv2d(channels, channels, 3, padding=1),
            ChannelAttention(channels, 8),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        return x + self.body(x)


class ResidualBlock(nn.Module):
    """One encoder or decoder: two res blocks and a change of size, beside a change of size alone; their sum.

    Args:
        into: channels of the input.
        out: channels of the output.
        conv: ``nn.Conv2d`` halves the sides, ``nn.ConvTranspose2d`` doubles them.
        norm: name in ``NORMS``.
    """

    def __init__(self, into: int, out: int, conv: type[nn.Conv2d | nn.ConvTranspose2d], norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(ResBlock(into), ResBlock(into), _resize(into, out, conv, norm))
        self.shortcut = _resize(into, out, conv, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, into, H, W) to (B, out, H / 2, W / 2) or (B, out, 2 H, 2 W)."""
        return self.body(x) + self.shortcut(x)


def _resize(into: int, out: int, conv: type[nn.Conv2d | nn.ConvTranspose2d], norm: str) -> nn.Sequential:
    return nn.Sequential(conv(into, out, 4, stride=2, padding=1), NORMS[norm](out), nn.ReLU())


class ResidualInResidual(nn.Module):
    """Encoder and decoder of residual-in-residual blocks, self-attention between them, skips, a global residual.

    From text and code: a 4x4 convolution with stride 2, encoders that double the channels and halve the sides,
    decoders that do the reverse, the last layer a transposed convolution with tanh; normalisation and ReLU after every
    change of size; channel attention with ratio 8 in the res blocks; spectral normalisation of all convolutions.

    Ours, where these leave something open or differ:

    - RiR has ``levels`` 4 and RiR-Large 5. The text gives no widths; the one published network has five halvings
      (64, then 128 to 1024 channels) and an L1 loss. So it takes RiR-Large's 1280x768 frames, but not RiR's 1280x720,
      whose sides allow four: we read it as RiR-Large, and RiR as the same without its last encoder and first decoder.
    - 3x3 convolutions in the res blocks, whose size the text does not give; the code's are 4x4, whose even kernels
      have no centre and reach further to one side with every block.
    - The last layer is not normalised, as in pix2pix; the code does it, by which all frames' corrections get one mean
      and one contrast.
    - Channel attention has no biases, as in equation (4); the code has them.

    Args:
        width: channels of the first layer; 64 in the code.
        levels: number of halvings: one by the first layer, one by each encoder.
        widest: the most channels, as a multiple of ``width``; 16 in the code.
        global_residual: as for ``Pix2Pix``: ``sum`` in the text, ``mean`` in the code.
        spectral_norm: whether all convolutions are spectrally normalised.
        spectral_norm_last: whether that goes for the last layer, too: if not, the global residual can start by copying.
        norm: name in ``NORMS``. The code takes the batch's own statistics at test time too (``batch_statistics``).
    """

    def __init__(
        self,
        width: int = 64,
        levels: int = 4,
        widest: int = 16,
        global_residual: str = "sum",
        spectral_norm: bool = True,
        spectral_norm_last: bool = True,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        widths = [width * min(2**i, widest) for i in range(levels)]
        self.encoder = nn.ModuleList([_resize(3, width, nn.Conv2d, norm)])
        for i in range(1, levels):
            self.encoder.append(ResidualBlock(widths[i - 1], widths[i], nn.Conv2d, norm))
        self.bottleneck = SelfAttention(widths[-1])
        self.decoder = nn.ModuleList()
        for i in reversed(range(levels)):
            into = widths[i] * (1 if i == levels - 1 else 2)  # all but the coarsest block also get a skip
            if i:
                self.decoder.append(ResidualBlock(into, widths[i - 1], nn.ConvTranspose2d, norm))
            else:
                self.decoder.append(nn.Sequential(nn.ConvTranspose2d(into, 3, 4, stride=2, padding=1), nn.Tanh()))
        self.global_residual = GLOBAL_RESIDUALS[global_residual]
        if spectral_norm:
            normalise_spectra(self, spectral_norm_last)

    def forward(self, blurred: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to the same, H and W divisible by 2**levels. Unclamped with the residual ``sum``."""
        x = through(self.encoder, self.bottleneck, self.decoder, blurred)
        return self.global_residual(blurred, x)
