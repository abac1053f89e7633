"""deblurgan_feedback: DeblurGAN with a ConvLSTM between encoder and decoder, iterated four times.

Lenka, section 4.1.6; see :class:`deblurers._deblurgan.DeblurGAN` for the interpretation. Otherwise as
:mod:`deblurers.deblurgan_comb`.
"""

from . import deblurgan_comb
from ._variant import variant

SPEC = variant(deblurgan_comb.SPEC, options={"feedback": 4})
