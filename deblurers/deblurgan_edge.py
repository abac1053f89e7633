"""deblurgan_edge: DeblurGAN with the blurred frame's Canny edges as a fourth channel.

Lenka, section 4.1.5. Her text extracts the edges of the *sharp* frame, which a deblurer does not have; these are the
blurred frame's. The preset ``oracle`` is trained as the text has it: on the sharp crops' edges. It is validated and run
on the blurred frame's all the same, as nothing else is there. Otherwise as :mod:`deblurers.deblurgan_comb`.
"""

from dataclasses import replace

from . import deblurgan_comb
from ._variant import variant

_BLURRED = variant(deblurgan_comb.SPEC, options={"edges": True})
_ORACLE = variant(_BLURRED, recipe={"setting": "oracle"}).presets["compact"]

SPEC = replace(_BLURRED, presets={**_BLURRED.presets, "oracle": _ORACLE})
