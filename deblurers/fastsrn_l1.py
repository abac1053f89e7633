"""fastsrn_l1: fastsrn trained on with L1 alone: the control of fastsrn_task, which has a detector besides.

The recipe of :mod:`deblurers.fastsrn_task` without its detector: the same pictures, blur, rate and number of iterations
from the same weights, so that the difference between the two is the detector's part, in the loss and in the choice of
crops: without one they are cut anywhere, not around objects. A control of this project, with no publication's claim.
"""

from dataclasses import replace

from . import fastsrn_task

RECIPE = replace(fastsrn_task.RECIPE, detector=(), detector_features=0.0, detector_classes=0.0, detector_boxes=0.0)

SPEC = replace(
    fastsrn_task.SPEC,
    presets={"default": replace(fastsrn_task.SPEC.presets["default"], recipe=RECIPE)},
)
