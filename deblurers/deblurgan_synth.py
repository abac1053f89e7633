"""deblurgan_synth: DeblurGAN trained on synthetic blur alone: Algorithm 1's kernels.

The publication's is of COCO's images. Otherwise as :mod:`deblurers.deblurgan_comb`.
"""

from . import deblurgan_comb
from ._variant import variant

SPEC = variant(deblurgan_comb.SPEC, recipe={"real_pairs": 0.0})
