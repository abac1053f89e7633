"""pix2pix_sa_sn: pix2pix with self-attention and spectral normalisation of both networks.

The fourth row of Lenka's Table 1. Otherwise as :mod:`deblurers.pix2pix_sa`.
"""

from . import pix2pix_sa
from ._variant import variant

SPEC = variant(pix2pix_sa.SPEC, recipe={"discriminator": {"spectral_norm": True}}, options={"spectral_norm": True})
