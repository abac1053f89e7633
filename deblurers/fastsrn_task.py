"""fastsrn_task: fastsrn tuned so that a frozen detector sees in its frames what it sees in the sharp ones.

Task-driven restoration: beside L1, the loss compares what a frozen YOLO (yolo26n) makes of the restored and of the
sharp crop, as :mod:`detbench.gan.detector` has it, starting from :mod:`deblurers.fastsrn`. An arrangement of this
project, with no publication's claim behind it. Rates above 1e-4 destroy what the weights know within 300 iterations.
"""

from detbench.gan.recipe import Recipe
from detbench.types import DeblurerSpec, Preset

from .fastsrn import FastSRN

RECIPE = Recipe(
    content={"l1": 50.0},  # of values in [-1, 1]
    detector=("yolo26n",),
    detector_features=5.0,
    detector_classes=1.0,
    detector_boxes=1.0,
    init_from="fastsrn",
    iterations=8_000,
    schedule="cosine",
    warmup=200,
    learning_rate=5e-5,
    betas=(0.9, 0.999),
    clip_gradient=5.0,
    batch=2,
    crop=256,
    object_crops=0.6,
    blur_extent=(4.0, 20.0),
    object_motion=0.2,
    uniform_blur=0.4,
    real_pairs=0.2,
    redraw_above=35.0,
    shaken_pairs=0.5,
    noise_variance=0.002,
    noise_share=0.1,
    ema=0.999,
)

SPEC = DeblurerSpec(
    build=FastSRN,
    presets={"default": Preset(multiple_of=8, recipe=RECIPE)},
    value_range=(0.0, 1.0),
    paper="none: an arrangement of detbench, from the weights of Tao et al., CVPR 2018 (srn)",
    licence="AGPL-3.0-or-later; srn's weights, from which they are trained: MIT (metadata) or GPL-3.0 (licence file)",
    family="task-driven",
)
