"""pix2pix: Lenka's plain pix2pix: a U-Net, a conditional PatchGAN, BCE + 100 L1.

Lenka, "Blind Deblurring using GANs": the baseline of her Table 1, trained on GoPro's 256x256 crops for 50 epochs
(105,150 iterations of one crop). ``paper`` follows the text, with ReLU in the encoder; ``faithful`` the public code,
with LeakyReLU there and, in the variants that have a global residual, the mean of input and output in place of the sum.
:class:`deblurers._pix2pix.Pix2Pix` lists what was left open.

``compact`` is what ships, for a CPU's budget. Its departures are our choice: six halvings from width 40 on, of at most
120 channels, layer normalisation, He's initialisation and no dropout, attention from an eighth of the frame on, a last
layer that is never spectrally normalised (so that with a global residual it starts by copying), a narrower
discriminator; L1 for the first 90 % of the iterations in the variants with another loss, too; Muon in place of Adam for
the generator (reports/training/dc250.md); and what all compact presets share, in :mod:`deblurers._protocol`: noise,
blur, the discriminator's Adam.
"""

from dataclasses import replace

from detbench.gan.recipe import Recipe
from detbench.types import DeblurerSpec, Preset

from ._pix2pix import Pix2Pix
from ._protocol import SHORT

PAPER = Recipe(
    content={"l1": 100.0},
    adversarial="bce",
    discriminator={"kind": "patch", "width": 64},
    iterations=105_150,
    decay_from=1.0,
    learning_rate=2e-4,
    betas=(0.5, 0.999),
    batch=1,
    crop=256,
    real_pairs=1.0,
)

FAITHFUL = replace(PAPER, setting="faithful")

COMPACT = replace(
    PAPER,
    **SHORT,
    discriminator={**PAPER.discriminator, "width": 16},
    l1_until=0.9,
    real_pairs=0.25,
    uniform_blur=0.6,
    init="he",
)

SPEC = DeblurerSpec(
    build=Pix2Pix,
    presets={
        "paper": Preset({"norm": "batch_statistics"}, multiple_of=256, recipe=PAPER),
        "faithful": Preset({"norm": "batch_statistics", "leak": 0.2}, multiple_of=256, recipe=FAITHFUL),
        "compact": Preset(
            {
                "width": 40,
                "levels": 6,
                "widest": 3,
                "attend_from": 3,
                "spectral_norm_last": False,
                "norm": "layer",
                "dropout_blocks": 0,
                "leak": 0.2,
            },
            multiple_of=64,
            recipe=COMPACT,
        ),
    },
    preset="compact",
    value_range=(-1.0, 1.0),
    paper="Lenka: Blind Deblurring using GANs (pix2pix: Isola, Zhu, Zhou, Efros, CVPR 2017)",
    family="pix2pix",
)
