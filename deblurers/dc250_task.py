"""dc250_task: dc250 with a frozen detector's view of the sharp frame beside its own losses.

The network, losses and discriminator of :mod:`deblurers.dc250`, from its weights on, and the terms that
:mod:`deblurers._task` adds; the discriminator joins halfway. Its weights inherit what dc250's have seen, 13 dashcam
frames of BDD100K among it.
"""

from dataclasses import replace

from . import dc250
from ._task import with_detector

SPEC = replace(
    dc250.SPEC,
    presets=with_detector(dc250.SPEC, init_from="dc250", adversarial_from=0.5, iterations=5_000, warmup=200),
    family="task-driven",
)
