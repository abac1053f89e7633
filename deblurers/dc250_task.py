"""dc250_task: dc250 with a frozen detector's view of the sharp frame beside its own losses.

The network, losses and discriminator of :mod:`deblurers.dc250`, from its weights on, and the terms of
:mod:`detbench.gan.detector` as :mod:`deblurers.fastsrn_task` has them (twice as heavy, since L1 is so here). Not in the
publication. Its weights inherit what dc250's have seen, 13 dashcam frames of BDD100K among it.
"""

from dataclasses import replace

from . import dc250
from ._variant import variant

SPEC = replace(
    variant(
        dc250.SPEC,
        recipe={
            "detector": ("yolo26n",),
            "detector_features": 10.0,
            "detector_classes": 2.0,
            "detector_boxes": 2.0,
            "init_from": "dc250",
            "l1_until": 0.0,
            "adversarial_from": 0.5,
            "iterations": 5_000,
            "schedule": "cosine",
            "warmup": 200,
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
        },
    ),
    family="task-driven",
    paper="Zhang, Zhen, Stevenson: GAN Based Image Deblurring Using Dark Channel Prior, Electronic Imaging 2019",
)
