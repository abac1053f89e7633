"""deepdeblur: Nah et al.'s multi-scale network, the peer that all tables name.

Nah, Kim and Lee, "Deep Multi-Scale Convolutional Neural Network for Dynamic Scene Deblurring", CVPR 2017: three scales
from coarse to fine, each a stack of 5x5 residual blocks without normalisation that also sees the coarser scale's
result; a mean squared error at every scale (eq. 5) and a small adversarial loss (eq. 7).

Interpretations: the finest scale's scores come from a PatchGAN, since the authors' discriminator is not in our texts;
frames are reduced by area; the coarser result comes up through a transposed convolution, as theirs does.

``compact`` has half of the blocks, which see 2x2 pixels as one place, and convolutions of 3x3. Each scale adds to its
input (the authors' network gives the frame itself, which takes long to learn), He's initialisation with each scale's
last layer near zero keeps what goes through its layers from fading away, and the error is absolute; synthetic blur
joins the real pairs. It has seen three times the crops of the other short trainings, nearly twice as wide, and blur of
up to 28 px, the 95th percentile of REDS's. The rest is what all compact presets share, in :mod:`deblurers._protocol`.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detbench.gan.recipe import Recipe
from detbench.types import DeblurerSpec, Preset

from ._protocol import PROTOCOL


class DeepDeblur(nn.Module):
    """Coarse to fine: each scale restores its reduced frame, given the coarser scale's result.

    Args:
        width: channels of all layers; 64 in the paper.
        blocks: residual blocks a scale; 19 in the paper.
        kernel: side of the convolutions; 5 in the paper.
        scales: 3 in the paper, each twice as large as the one before.
        residual: add each scale's reduced frame to what the layers make of it; not in the paper.
        block: side of the blocks of pixels that a scale's layers see as one place with more channels; 1, as in the
            paper, for none.
    """

    def __init__(
        self,
        width: int = 64,
        blocks: int = 19,
        kernel: int = 5,
        scales: int = 3,
        residual: bool = False,
        block: int = 1,
    ) -> None:
        super().__init__()

        def conv(into: int, out: int) -> nn.Conv2d:
            return nn.Conv2d(into, out, kernel, padding=kernel // 2)

        self.up = nn.ModuleList(
            nn.ConvTranspose2d(3, 3, kernel, stride=2, padding=kernel // 2, output_padding=1) for _ in range(scales - 1)
        )
        self.scales = nn.ModuleList(
            nn.Sequential(
                conv((3 if i == 0 else 6) * block**2, width),
                *(Block(width, kernel) for _ in range(blocks)),
                conv(width, 3 * block**2),
            )
            for i in range(scales)
        )
        self.residual = residual
        self.block = block

    @property
    def last_layers(self) -> list[nn.Module]:
        """Of each scale, what gives its result: for :func:`detbench.gan.initialise.initialise_he`."""
        return [list(layers.children())[-1] for layers in self.scales]

    def forward(self, blurred: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(B, 3, H, W) in [-1, 1] to the same; H and W divisible by ``block`` * 2**(scales - 1).

        While training: the results of all scales, from coarse to fine.
        """
        results: list[Tensor] = []
        for i, layers in enumerate(self.scales):
            factor = 2 ** (len(self.scales) - 1 - i)
            reduced = F.avg_pool2d(blurred, factor) if factor > 1 else blurred
            x = torch.cat([reduced, self.up[i - 1](results[-1])], dim=1) if i else reduced
            restored = F.pixel_shuffle(layers(F.pixel_unshuffle(x, self.block)), self.block)
            results.append(reduced + restored if self.residual else restored)
        return tuple(results) if self.training else results[-1]


class Block(nn.Module):
    """Adds to its input what two convolutions with a ReLU between them make of it; no normalisation, no ReLU after."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        padding = kernel // 2
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, kernel, padding=padding),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel, padding=padding),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept."""
        return x + self.layers(x)


PAPER = Recipe(
    content={"l2": 0.5},  # eq. 5 has 1 / 2K, and the mean over the K scales is taken already
    adversarial="bce",
    adversarial_weight=1e-4,
    discriminator={"kind": "patch", "width": 64, "conditional": False},
    iterations=900_000,
    decay_from=1.0,
    learning_rate=5e-5,
    betas=(0.9, 0.999),
    batch=2,
    crop=256,
    real_pairs=1.0,
)

COMPACT = replace(
    PAPER,
    **{**PROTOCOL, "learning_rate": 5e-4, "blur_extent": (4.0, 28.0)},
    content={"l1": 100.0},
    adversarial_weight=0.1,
    discriminator={**PAPER.discriminator, "width": 16},
    adversarial_from=0.97,
    iterations=12_000,
    schedule="cosine",
    warmup=300,
    clip_gradient=50.0,
    real_pairs=0.25,
    shaken_pairs=0.5,
    object_motion=0.2,
    uniform_blur=0.4,
    init="he",
)

SPEC = DeblurerSpec(
    build=DeepDeblur,
    presets={
        "paper": Preset({"width": 64}, multiple_of=4, recipe=PAPER),
        "compact": Preset(
            {"width": 64, "blocks": 9, "kernel": 3, "residual": True, "block": 2}, multiple_of=8, recipe=COMPACT
        ),
    },
    preset="compact",
    value_range=(-1.0, 1.0),
    paper="Nah, Kim, Lee: Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring, CVPR 2017",
    family="multi-scale",
)
