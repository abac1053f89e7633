"""dc250_task: dc250 with a frozen detector's view of the sharp frame beside its own losses.

The network, losses and discriminator of :mod:`deblurers.dc250`, from its weights on, and the terms that
:mod:`deblurers._task` adds.
"""

from dataclasses import replace

from . import dc250
from ._task import with_detector

SPEC = replace(
    dc250.SPEC,
    presets=with_detector(dc250.SPEC, init_from="dc250", iterations=2_400),
    family="task-driven",
)
