"""A network of another value range, made fit for training."""

import numpy as np
import torch
from torch import nn

from detbench.gan.prepare import between_minus_one_and_one
from detbench.restore import Restorer


class Darker(nn.Module):
    """Takes and gives [0, 1], from coarse to fine; not an odd function, so that a wrong range shows."""

    def __init__(self, coarse=False):
        super().__init__()
        self.factor, self.coarse = nn.Parameter(torch.tensor(0.5)), coarse

    def forward(self, x):
        assert x.min() >= 0
        y = self.factor * x**2
        return (y[..., ::2, ::2], y) if self.coarse else y


def test_a_network_in_another_range_is_trained_in_minus_one_to_one():
    frame = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    (wanted,) = Restorer(Darker(), multiple_of=1, value_range=(0.0, 1.0))([frame])
    net = between_minus_one_and_one(Darker(), (0.0, 1.0))
    (made,) = Restorer(net, multiple_of=1, value_range=(-1.0, 1.0))([frame])
    assert np.abs(made.astype(int) - wanted).max() <= 1
    assert made.mean() < 60
    assert list(net.state_dict()) == ["factor"]
    coarse = between_minus_one_and_one(Darker(coarse=True), (0.0, 1.0))(torch.full((1, 3, 4, 4), -1.0))
    assert [(y.shape[-1], y.unique().tolist()) for y in coarse] == [(2, [-1.0]), (4, [-1.0])]
    same = Darker()
    assert not between_minus_one_and_one(same, (-1.0, 1.0))._forward_hooks
