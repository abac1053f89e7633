"""srn_task: srn at full size, one scale in place of three, tuned as fastsrn_task is.

Three quarters of srn's time. From srn's weights: before any training it is srn's pass at full size, given the blurred
frame for what the coarser scales would have made of it.
"""

from dataclasses import replace

from detbench.types import Preset

from . import fastsrn_task
from .srn import SRN

SPEC = replace(
    fastsrn_task.SPEC,
    build=SRN,
    presets={
        "default": Preset(
            {"divisors": (1,)},
            multiple_of=4,
            recipe=replace(fastsrn_task.RECIPE, init_from="srn", crop=192, iterations=8_000),
        )
    },
)
