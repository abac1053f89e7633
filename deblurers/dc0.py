"""dc0: the dark-channel GAN without its dark channel: BCE + 100 L1.

Zhang et al.'s own ablation of :mod:`deblurers.dc250`, from which it differs in this alone.
"""

from . import dc250
from ._variant import variant

SPEC = variant(dc250.SPEC, recipe={"content": {"dark_channel": None}})
