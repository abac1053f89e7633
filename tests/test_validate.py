"""Which weights are the best: by what detectors see in whole frames."""

import pytest
import torch
from torch import nn

from detbench.gan import validate
from detbench.gan.detector import FrozenDetector
from detbench.gan.recipe import Recipe
from detbench.gan.sources import Sources

CPU = torch.device("cpu")


@pytest.mark.slow("three validations with a detector")
def test_weights_are_judged_by_what_detectors_see(traffic):
    import cv2

    recipe = Recipe({}, detector=("yolo26n",), detector_classes=1.0, detector_imgsz=320, crop=64)
    detectors = [FrozenDetector("yolo26n", CPU)]
    verdicts = []
    for sigma in (0, 1, 4):
        pairs = [(cv2.GaussianBlur(frame, (0, 0), sigma) if sigma else frame, frame) for frame in traffic[:2]]
        frames = validate.Frames(Sources(pairs=pairs), recipe, detectors, 1, "fp32")
        net = nn.Conv2d(3, 3, 1, bias=False)
        net.weight.data = torch.eye(3)[..., None, None]
        verdicts.append(frames(net))
    assert verdicts[0].score == 0
    assert verdicts[0].row["f1_validation"] == 1
    assert verdicts[0].row["f1_validation"] > verdicts[1].row["f1_validation"] > verdicts[2].row["f1_validation"]
    assert verdicts[0].score > verdicts[1].score > verdicts[2].score
    assert all(verdict.score == -verdict.row["task_validation"] for verdict in verdicts)
    assert [frame.shape for frame in verdicts[0].restored] == [(64, 64, 3)] * 2
