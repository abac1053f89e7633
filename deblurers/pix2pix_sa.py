"""pix2pix_sa: pix2pix with self-attention after every three blocks.

The second row of Lenka's Table 1. Otherwise as :mod:`deblurers.pix2pix`.
"""

from . import pix2pix
from ._variant import variant

SPEC = variant(pix2pix.SPEC, options={"self_attention": True})
