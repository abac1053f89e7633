"""deblurgan_task: deblurgan_comb with a frozen detector's view of the sharp frame beside its own losses.

The network, losses and critic of :mod:`deblurers.deblurgan_comb`, from its weights on, and the terms that
:mod:`deblurers._task` adds.
"""

from dataclasses import replace

from . import deblurgan_comb
from ._task import with_detector

SPEC = replace(
    deblurgan_comb.SPEC,
    presets=with_detector(deblurgan_comb.SPEC, init_from="deblurgan_comb", iterations=1_200),
    family="task-driven",
)
