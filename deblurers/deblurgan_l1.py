"""deblurgan_l1: DeblurGAN with L1 as its content loss.

The classical choice that its section 3.1 argues against, since it leaves blur; no numbers are printed. The weight, 100,
is pix2pix's (an interpretation). Otherwise as :mod:`deblurers.deblurgan_comb`.
"""

from . import deblurgan_comb
from ._variant import variant

SPEC = variant(deblurgan_comb.SPEC, recipe={"content": {"perceptual": None, "perceptual_as_coded": None, "l1": 100.0}})
