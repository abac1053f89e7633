"""rir: Lenka's residual-in-residual network with a perceptual loss.

Lenka, "Blind Deblurring using GANs", the first row of Table 2: residual-in-residual blocks, channel attention in each,
self-attention at the bottleneck, spectral normalisation of both networks, a global residual; trained for 300 epochs.
:class:`deblurers._rir.ResidualInResidual` lists what was left open; the PatchGAN and its loss are those of her pix2pix,
as the text names no other (an interpretation). ``faithful`` averages input and output, as her code does.
``compact`` is trained as her pix2pix are here, but with Adam (reports/training/pix2pix.md).
"""

from dataclasses import replace

from detbench.types import DeblurerSpec, Preset

from . import pix2pix
from ._rir import ResidualInResidual

PAPER = replace(
    pix2pix.PAPER,
    content={"perceptual": 100.0},
    discriminator={**pix2pix.PAPER.discriminator, "spectral_norm": True},
    iterations=630_900,
)

COMPACT = replace(
    pix2pix.COMPACT,
    optimizer="adam",
    content=PAPER.content,
    discriminator={**PAPER.discriminator, "width": 16},
)

SPEC = DeblurerSpec(
    build=ResidualInResidual,
    presets={
        "paper": Preset({"norm": "batch_statistics"}, multiple_of=16, recipe=PAPER),
        "faithful": Preset(
            {"norm": "batch_statistics", "global_residual": "mean"},
            multiple_of=16,
            recipe=replace(PAPER, setting="faithful"),
        ),
        "compact": Preset(
            {"width": 16, "widest": 4, "spectral_norm_last": False, "norm": "layer"}, multiple_of=16, recipe=COMPACT
        ),
    },
    preset="compact",
    value_range=(-1.0, 1.0),
    paper="Lenka: Blind Deblurring using GANs",
    family="residual in residual",
)
