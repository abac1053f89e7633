"""deblurgan_edge: DeblurGAN with the blurred frame's Canny edges as a fourth channel.

Lenka, section 4.1.5. Her text extracts the edges of the *sharp* frame, which a deblurrer does not have; these are the
blurred frame's. Otherwise as :mod:`deblurers.deblurgan_comb`.
"""

from . import deblurgan_comb
from ._variant import variant

SPEC = variant(deblurgan_comb.SPEC, options={"edges": True})
