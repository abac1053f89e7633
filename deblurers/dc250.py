"""dc250: dark-channel GAN, a U-Net trained with BCE + 100 L1 + 250 dark channel.

Zhang, Zhen and Stevenson, "GAN Based Image Deblurring Using Dark Channel Prior", Electronic Imaging 2019: 5x5
convolutions with stride 2 against a conditional discriminator; the generator's loss is BCE + 100 L1 + 250 dark channel
(eq. 5), with one discriminator step and then two generator steps a batch.

The ``paper`` preset has the width and depth of the authors' code. Its schedule is 15 epochs over GoPro's 2103 pairs and
DeblurGAN's synthetic set (here: 60,000 iterations, an interpretation, as that set's size is not published).

The ``compact`` preset is what ships, for a CPU's budget. It departs from the paper where that budget bites, and every
departure is our choice (data, which are not GoPro's, and the objects that move in some crops apart):

- six halvings from width 32 on, of at most 96 channels: depth, of which the paper has eight, counts for more than
  width (reports/training/dc250.md);
- a global skip, since a network without one first has to learn to copy its input;
- layer in place of batch normalisation: the statistics of a few crops are noise to a restorer
  (reports/training/dc250.md has the trials);
- no dropout: with one result a frame, randomness only adds noise;
- L1 alone for the first 95 % of the iterations, which dc0, dc250 and dc250p share: on two cores three whole trainings
  would each be a third as long, and the dark channel slows the start down (reports/training/dc250.md);
- the discriminator joins for the last 1.25 %, since an untrained generator learns textures from it before it learns to
  deblur;
- the generator's optimizer is Muon in place of Adam, with which a third of the iterations do
  (reports/training/dc250.md);
- most of the synthesised crops are convolved with one kernel, without rotation, which takes a tenth of the time;
- He's initialisation, smaller crops, a narrower discriminator, and what all compact presets share, in
  :mod:`deblurers._protocol`: noise, blur, the discriminator's Adam.
"""

from dataclasses import replace

from detbench.gan.recipe import Recipe
from detbench.types import DeblurerSpec, Preset

from ._protocol import SHORT
from ._unet import UNet

PAPER = Recipe(
    content={"l1": 100.0, "dark_channel": 250.0},
    adversarial="bce",
    discriminator={"kind": "score", "width": 64},
    discriminator_steps=1,
    generator_steps=2,
    iterations=60_000,
    decay_from=1.0,
    learning_rate=2e-4,
    betas=(0.5, 0.999),
    batch=1,
    crop=256,
    noise_variance=0.002,
)

COMPACT = replace(
    PAPER,
    **{**SHORT, "iterations": 48_000, "adversarial_from": 0.9875},
    discriminator={"kind": "score", "width": 16},
    l1_until=0.95,
    object_motion=0.15,
    uniform_blur=0.6,
    init="he",
)

SPEC = DeblurerSpec(
    build=UNet,
    presets={
        "paper": Preset({"width": 64, "levels": 8, "norm": "batch_statistics"}, multiple_of=256, recipe=PAPER),
        "compact": Preset(
            {"width": 32, "levels": 6, "widest": 3, "dropout_blocks": 0, "global_skip": True, "norm": "layer"},
            multiple_of=64,
            recipe=COMPACT,
        ),
    },
    preset="compact",
    value_range=(-1.0, 1.0),
    paper="Zhang, Zhen, Stevenson: GAN Based Image Deblurring Using Dark Channel Prior, Electronic Imaging 2019",
    family="dark channel",
)
