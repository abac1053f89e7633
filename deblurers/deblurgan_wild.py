"""deblurgan_wild: DeblurGAN trained on real blur alone: averaged frames.

Its training on 1000 images of GoPro. Where the training data hold no pairs, objects that move over a resting scene
stand in for them. Otherwise as :mod:`deblurers.deblurgan_comb`.
"""

from . import deblurgan_comb
from ._variant import variant

SPEC = variant(deblurgan_comb.SPEC, recipe={"real_pairs": 1.0, "object_motion": 1.0, "uniform_blur": 0.0})
