"""pix2pix_sa_ca_gr_sn_perc: pix2pix with all additions and a perceptual loss.

The last row of Lenka's Table 1: self-attention and channel attention, a global residual, spectral normalisation of both
networks, and a perceptual loss on VGG19's conv3_3 in place of L1, with the same weight 100 (an interpretation: the
weight is not published).
"""

from . import pix2pix_sa_gr
from ._variant import variant

SPEC = variant(
    pix2pix_sa_gr.SPEC,
    recipe={"content": {"l1": None, "perceptual": 100.0}, "discriminator": {"spectral_norm": True}},
    options={"channel_attention": True, "spectral_norm": True},
)
