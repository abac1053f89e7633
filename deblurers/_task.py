"""A publication's GAN with a frozen detector in its loss: what dc250_task and deblurgan_task share.

The terms of :mod:`detbench.gan.detector` as :mod:`deblurers.fastsrn_task` has them, twice as heavy since L1 is so here,
beside the publication's own losses and discriminator, which joins late, and from the weights that these made. Not in
any publication.
"""

from typing import Any

TASK: dict[str, Any] = {
    "detector": ("yolo26n",),
    "detector_features": 10.0,
    "detector_classes": 2.0,
    "detector_boxes": 2.0,
    "l1_until": 0.0,
    "adversarial_from": 0.95,
    "schedule": "cosine",
    "warmup": 100,
    "learning_rate": 5e-4,
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
