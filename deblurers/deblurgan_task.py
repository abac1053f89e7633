"""deblurgan_task: deblurgan_comb with a frozen detector's view of the sharp frame beside its own losses.

The network, losses and critic of :mod:`deblurers.deblurgan_comb`, from its weights on, and the terms of
:mod:`detbench.gan.detector` as :mod:`deblurers.dc250_task` has them; the critic joins for the last 5 %. Not in the
publication. Its weights inherit what deblurgan_comb's have seen, 13 dashcam frames of BDD100K among it.
"""

from dataclasses import replace

from . import deblurgan_comb
from ._variant import variant

SPEC = replace(
    variant(
        deblurgan_comb.SPEC,
        recipe={
            "detector": ("yolo26n",),
            "detector_features": 10.0,
            "detector_classes": 2.0,
            "detector_boxes": 2.0,
            "init_from": "deblurgan_comb",
            "l1_until": 0.0,
            "adversarial_from": 0.95,
            "iterations": 3_000,
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
        },
    ),
    family="task-driven",
    paper="Kupyn, Budzan, Mykhailych, Mishkin, Matas: DeblurGAN, CVPR 2018",
)
