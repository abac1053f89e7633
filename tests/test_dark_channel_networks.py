"""The dark-channel GAN's networks in the paper's size, and their normalisation."""

import numpy as np
import pytest
import torch
from torch import nn

from deblurers._norm import NORMS
from detbench import registry
from detbench.data import images
from detbench.gan.discriminators import ScoreDiscriminator
from detbench.gan.train import train
from detbench.weights import read_record


def test_the_papers_networks_have_the_papers_layers():
    spec = registry.get("dc250")
    net = spec.build(**spec.presets["paper"].options)
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert [m.out_channels for m in convolutions[:8]] == [64, 128, 256, 512, 512, 512, 512, 512]
    assert all(m.kernel_size == (5, 5) and m.stride == (2, 2) for m in convolutions)
    assert sum(isinstance(m, nn.Dropout) for m in net.modules()) == 3
    assert sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) == 13
    with torch.no_grad():
        assert net(torch.rand(2, 3, 256, 256) * 2 - 1).abs().max() <= 1
    judge = ScoreDiscriminator()
    assert [m.stride[0] for m in judge.modules() if isinstance(m, nn.Conv2d)] == [2, 2, 2, 1]
    assert judge(torch.rand(2, 3, 256, 256), torch.rand(2, 3, 256, 256)).shape == (2, 1)


@pytest.mark.slow("trains 85 million parameters")
def test_the_papers_size_trains_on_single_crops(tmp_path):
    images.write_image(
        tmp_path / "photos" / "0.png", np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    )
    photo = [tmp_path / "photos"]
    spec = registry.get("dc250")
    options = {"preset": "paper", "iterations": 1, "device": "cpu"}
    best = train("dc250", spec, tmp_path / "out", data=photo, validation=photo, **options)
    assert read_record(best)["preset"] == "paper"


def test_layer_normalisation_is_of_each_pixels_channels():
    x = torch.randn(2, 8, 3, 5)
    got = NORMS["layer"](8)(x).detach().numpy()
    for pixel in np.ndindex(2, 3, 5):
        values = x.numpy()[pixel[0], :, pixel[1], pixel[2]]
        expected = (values - values.mean()) / np.sqrt(values.var() + 1e-5)
        assert got[pixel[0], :, pixel[1], pixel[2]] == pytest.approx(expected, abs=1e-5)
