"""A publication's GAN with a frozen detector in its loss: what dc250_task and deblurgan_task share.

The terms of :mod:`detbench.gan.detector` as :mod:`deblurers.fastsrn_task` has them, twice as heavy since L1 is so here,
beside the publication's own losses and discriminator, and from the weights that these made. Not in any publication.
"""

from collections.abc import Mapping
from typing import Any

from detbench.types import DeblurerSpec, Preset

from ._variant import variant

TASK: dict[str, Any] = {
    "detector": ("yolo26n",),
    "detector_features": 10.0,
    "detector_classes": 2.0,
    "detector_boxes": 2.0,
    "l1_until": 0.0,
    "adversarial_from": 0.95,
    "schedule": "cosine",
    "warmup": 100,
    "learning_rate": 2.5e-4,
    "clip_gradient": 50.0,
    "batch": 2,
    "crop": 256,
    "object_crops": 0.6,
    "blur_extent": (4.0, 20.0),
    "object_motion": 0.2,
    "uniform_blur": 0.4,
    "real_pairs": 0.2,
    "redraw_above": 35.0,
    "shaken_pairs": 0.5,
}
"""Fields of their recipes."""


def with_detector(base: DeblurerSpec, **recipe: Any) -> Mapping[str, Preset]:
    """A deblurer's presets with a frozen detector in the loss.

    Args:
        base: the deblurer.
        recipe: further fields of the recipes: what the weights begin as, how long, and when the discriminator joins.
    """
    return variant(base, recipe={**TASK, **recipe}).presets
