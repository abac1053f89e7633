"""rir_large: Lenka's larger residual-in-residual network with an L1 loss.

The second row of her Table 2: one more encoder and one more decoder than :mod:`deblurers.rir`, and L1 in place of the
perceptual loss. ``compact`` is trained twice as long, since its curve still rose.
"""

from dataclasses import replace

from . import rir
from ._variant import variant

LARGER = variant(rir.SPEC, recipe={"content": {"perceptual": None, "l1": 100.0}}, options={"levels": 5})

PRESETS = {name: replace(preset, multiple_of=32) for name, preset in LARGER.presets.items()}

COMPACT = PRESETS["compact"]
assert COMPACT.recipe

SPEC = replace(
    LARGER,
    presets={**PRESETS, "compact": replace(COMPACT, recipe=replace(COMPACT.recipe, iterations=16_000))},
)
