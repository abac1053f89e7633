"""dc250p: the dark-channel GAN with a perceptual loss beside its dark channel.

Zhang et al.'s third row: :mod:`deblurers.dc250` with a perceptual loss "as in DeblurGAN". Its form and weight are not
published: here 100 times the mean squared difference of VGG19's conv3_3, an interpretation, and one that outweighs all
the rest (reports/training/dc250.md). Which VGG19 it was is in the record of the weights.
"""

from . import dc250
from ._variant import variant

SPEC = variant(dc250.SPEC, recipe={"content": {"perceptual": 100.0}})
