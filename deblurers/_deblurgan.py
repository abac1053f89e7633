"""DeblurGAN's generator (Kupyn et al., CVPR 2018), with Lenka's edge channel and feedback module."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._canny import canny
from ._norm import NORMS


class DeblurGAN(nn.Module):
    """Two strided convolutions, residual blocks, two transposed convolutions, and a global skip ("ResOut").

    From the authors' code: reflection padding, 7x7 convolutions at both ends, instance normalisation without affine
    parameters, ReLU, dropout 0.5 in each block, tanh; the result is added to the input and clamped.

    Args:
        width: channels of the first layer; 64 in the paper.
        blocks: residual blocks; 9 in the paper.
        dropout: of the blocks' values; 0.5 in the paper.
        dropout_at_test: drop out when not training, too, as the authors do: the result is then random.
        edges: give the Canny edges of the blurred frame as a fourth channel (Lenka, 4.1.5).
        feedback: iterations of a convolutional LSTM between blocks and decoder (Lenka, 4.1.6; 4 there); 0 for none.
            Her code does not hold it, so this is an interpretation: the features of the frame stay the same over the
            iterations, and the decoder sees the last state.
        norm: name in ``NORMS``; ``instance`` in the paper. ``layer`` leaves out the first layer, in whose features it
            would make all contrasts alike.
        skips: add the encoder's features to the decoder's of the same size. Not in the paper.
    """

    def __init__(
        self,
        width: int = 64,
        blocks: int = 9,
        dropout: float = 0.5,
        dropout_at_test: bool = False,
        edges: bool = False,
        feedback: int = 0,
        norm: str = "instance",
        skips: bool = False,
    ) -> None:
        super().__init__()
        normalise = NORMS[norm]

        def up(into: int) -> nn.Sequential:
            conv = nn.ConvTranspose2d(into, into // 2, 3, stride=2, padding=1, output_padding=1)
            return nn.Sequential(*_normalised(conv, normalise))

        first = nn.Conv2d(4 if edges else 3, width, 7)
        self.encode_full = nn.Sequential(
            nn.ReflectionPad2d(3), *([first, nn.ReLU()] if norm == "layer" else _normalised(first, normalise))
        )
        self.encode_half = nn.Sequential(*_normalised(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), normalise))
        self.encode_quarter = nn.Sequential(
            *_normalised(nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1), normalise),
            *(ResidualBlock(4 * width, dropout, dropout_at_test, normalise) for _ in range(blocks)),
        )
        self.feedback = ConvLSTM(4 * width, feedback) if feedback else nn.Identity()
        self.decode_half, self.decode_full = up(4 * width), up(2 * width)
        self.last = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())
        self.skips = skips
        self.edges = edges

    def forward(self, blurred: Tensor, outlined: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to the same; H and W divisible by 4. Edges are those of ``outlined``, if given."""
        outlined = blurred if outlined is None else outlined
        x = torch.cat([blurred, 2 * canny(outlined) - 1], dim=1) if self.edges else blurred
        full = self.encode_full(x)
        half = self.encode_half(full)
        up = self.decode_half(self.feedback(self.encode_quarter(half)))
        up = self.decode_full(up + half if self.skips else up)
        return (blurred + self.last(up + full if self.skips else up)).clamp(-1, 1)


class ResidualBlock(nn.Module):
    """Adds to its input what two 3x3 convolutions make of it."""

    def __init__(
        self, channels: int, dropout: float, dropout_at_test: bool, normalise: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            *_normalised(nn.Conv2d(channels, channels, 3), normalise),
            AlwaysDropout(dropout) if dropout_at_test else nn.Dropout(dropout),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            normalise(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept."""
        return x + self.layers(x)


class AlwaysDropout(nn.Dropout):
    """Dropout that does not stop when training does."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept."""
        return F.dropout(x, self.p, training=True)


class ConvLSTM(nn.Module):
    """A convolutional LSTM (Shi et al. 2015, eq. 3 without peepholes) that sees the same features several times.

    Args:
        channels: of features, state and output.
        iterations: how often.
    """

    def __init__(self, channels: int, iterations: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * channels, 4 * channels, 3, padding=1)
        self.iterations = iterations

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same: the last hidden state."""
        hidden, cell = torch.zeros_like(x), torch.zeros_like(x)
        for _ in range(self.iterations):
            i, f, o, g = self.gates(torch.cat([x, hidden], dim=1)).chunk(4, dim=1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
        return hidden


def _normalised(conv: nn.Conv2d | nn.ConvTranspose2d, normalise: Callable[[int], nn.Module]) -> list[nn.Module]:
    return [conv, normalise(conv.out_channels), nn.ReLU()]
