"""pix2pix_sa_gr: pix2pix with self-attention and a global residual.

The third row of Lenka's Table 1: the network makes a correction, which is added to its input (``faithful``: averaged
with it, as in the code). Otherwise as :mod:`deblurers.pix2pix_sa`.
"""

from . import pix2pix_sa
from ._variant import variant

SPEC = variant(pix2pix_sa.SPEC, options={"global_residual": "sum"}, faithful={"global_residual": "mean"})
