"""deblurgan_comb: DeblurGAN trained on synthetic and real blur, two to one.

Kupyn et al., "DeblurGAN: Blind Motion Deblurring Using Conditional Adversarial Networks", CVPR 2018: a residual
generator with a global skip, WGAN-GP with an unconditional PatchGAN critic (five critic steps to one of the generator)
and 100 times a perceptual loss on VGG19's conv3_3. Blur comes from Algorithm 1's kernels and from averaged frames.

``paper`` has the sizes and the schedule of the text, 300 epochs of GoPro's 1000 images; as in the code, one batch
serves all five critic steps. Where text and code disagree it follows the text: features after the ReLU of normalised
input, the gradient penalty's norm over a whole image. ``faithful`` follows the code, which produced the published
numbers: features before the ReLU of input as it is, the penalty's norm per pixel, dropout at test time.

``compact`` is what ships, for a CPU's budget. Its departures are our choice:

- width 16, and no dropout: with one result a frame, randomness only adds noise;
- layer normalisation, which sees one pixel, so that small crops and whole frames are treated alike; encoder features
  added to the decoder's, He's initialisation: without skips the network does no more than copy for 1,000 iterations;
- L1 beside a lighter perceptual loss, which says little of a colour's level; L1 alone for the first 90 % of the
  iterations, which recipes that differ in their losses only can share, and the critic for the last 2.5 %;
- the generator's optimizer is Muon in place of Adam, with which a third of the iterations do
  (reports/training/dc250.md);
- a narrower critic, smaller crops, and what all compact presets share, in :mod:`deblurers._protocol`: noise, blur,
  the critic's Adam.
"""

from dataclasses import replace

from detbench.gan.recipe import Recipe
from detbench.types import DeblurerSpec, Preset

from ._deblurgan import DeblurGAN
from ._protocol import SHORT

PAPER = Recipe(
    content={"perceptual": 100.0},
    adversarial="wgan",
    gradient_penalty=10.0,
    discriminator={"kind": "patch", "width": 64, "conditional": False, "norm": "instance", "padding": 2},
    discriminator_steps=5,
    iterations=300_000,
    decay_from=0.5,
    learning_rate=1e-4,
    betas=(0.5, 0.999),
    batch=1,
    crop=256,
    real_pairs=1 / 3,
    object_motion=0.0,
    uniform_blur=1.0,
)

FAITHFUL = replace(PAPER, content={"perceptual_as_coded": 100.0}, penalty_per_pixel=True, setting="faithful")

COMPACT = replace(
    PAPER,
    **SHORT,
    content={"l1": 100.0, "perceptual": 5.0},
    discriminator={**PAPER.discriminator, "width": 16},
    l1_until=0.9,
    init="he",
)

SPEC = DeblurerSpec(
    build=DeblurGAN,
    presets={
        "paper": Preset({"width": 64}, multiple_of=4, recipe=PAPER),
        "faithful": Preset({"width": 64, "dropout_at_test": True}, multiple_of=4, recipe=FAITHFUL),
        "compact": Preset({"width": 16, "dropout": 0.0, "norm": "layer", "skips": True}, multiple_of=4, recipe=COMPACT),
    },
    preset="compact",
    value_range=(-1.0, 1.0),
    paper="Kupyn, Budzan, Mykhailych, Mishkin, Matas: DeblurGAN, CVPR 2018",
    family="DeblurGAN",
)
