"""deblurgan_tv: DeblurGAN with total variation as a regulariser.

The ablation that its section 4 reports (27.9 against 28.7 dB). Neither form nor weight is published: here 100 times the
anisotropic total variation, an interpretation; with 1 it is a thousandth of the losses, and changes nothing. Otherwise
as :mod:`deblurers.deblurgan_comb`.
"""

from . import deblurgan_comb
from ._variant import variant

SPEC = variant(deblurgan_comb.SPEC, recipe={"content": {"tv": 100.0}})
