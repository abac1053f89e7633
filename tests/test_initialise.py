"""First weights."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deblurers.deepdeblur import DeepDeblur
from detbench.gan.initialise import INITIALISE


@pytest.mark.parametrize("init", INITIALISE)
def test_first_weights_have_the_said_spread(init):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(32, 64, 5), nn.BatchNorm2d(64), nn.ConvTranspose2d(64, 32, 5, 2), nn.Conv2d(32, 3, 3))
    INITIALISE[init](net)
    if init == "normal":
        assert net[0].weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert net[1].weight.mean().item() == pytest.approx(1, abs=0.01)
    else:
        assert net[0].weight.std().item() == pytest.approx((2 / 1.04 / 800) ** 0.5, rel=0.02)
        assert net[2].weight.std().item() == pytest.approx((2 / 1.04 / 400) ** 0.5, rel=0.02)
        assert net[3].weight.std().item() == pytest.approx(1e-3, rel=0.1)
    assert not net[0].bias.any()


def test_hes_first_weights_start_every_scale_near_its_input():
    torch.manual_seed(0)
    net = DeepDeblur(width=24, blocks=6, kernel=3, residual=True)
    INITIALISE["he"](net)
    frame = torch.rand(1, 3, 32, 32) * 2 - 1
    for result, factor in zip(net(frame), (4, 2, 1), strict=True):
        difference = (result - F.avg_pool2d(frame, factor)).std().item()
        assert 0.01 < difference < 0.5
