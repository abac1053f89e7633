"""DeblurGAN's generator, its ConvLSTM and its edges, against naive loops and OpenCV."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from torch import nn

from deblurers._canny import canny
from deblurers._deblurgan import ConvLSTM, DeblurGAN
from deblurers.deblurgan_edge import SPEC
from detbench.gan.data import Batch
from detbench.gan.step import Stage, step, training_state


def naive_convolution(image, weight, bias):
    """(C, H, W) with (out, C, 3, 3), zeros around."""
    out, _, _, _ = weight.shape
    _, height, width = image.shape
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    result = np.zeros((out, height, width))
    for o, y, x in np.ndindex(out, height, width):
        result[o, y, x] = (padded[:, y : y + 3, x : x + 3] * weight[o]).sum() + bias[o]
    return result


def test_the_convlstm_is_shis_equation_3():
    torch.manual_seed(0)
    lstm = ConvLSTM(2, iterations=3).double()
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64)

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    weight, bias = lstm.gates.weight.detach().numpy(), lstm.gates.bias.detach().numpy()
    hidden = cell = np.zeros((2, 4, 5))
    for _ in range(3):
        gates = naive_convolution(np.concatenate([x[0].numpy(), hidden]), weight, bias)
        i, f, o, g = gates[:2], gates[2:4], gates[4:6], gates[6:]
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
    with torch.no_grad():
        assert lstm(x)[0].numpy() == pytest.approx(hidden, abs=1e-12)


def test_edges_are_where_opencv_sees_them():
    rng = np.random.default_rng(0)
    shapes = np.full((120, 160, 3), 60, np.uint8)
    for _ in range(12):
        centre = tuple(int(v) for v in rng.integers(15, 105, 2))
        cv2.circle(shapes, centre, int(rng.integers(6, 20)), [int(v) for v in rng.integers(0, 256, 3)], -1)
    x = torch.from_numpy(shapes).permute(2, 0, 1)[None].float() / 127.5 - 1
    mine = canny(x)[0, 0].numpy() > 0
    smooth = cv2.GaussianBlur(cv2.cvtColor(shapes, cv2.COLOR_RGB2GRAY), (5, 5), 1.4)
    theirs = cv2.Canny(smooth, 100, 200) > 0
    near = cv2.dilate(theirs.astype(np.uint8), np.ones((3, 3))) > 0
    also = cv2.dilate(mine.astype(np.uint8), np.ones((3, 3))) > 0
    assert theirs.sum() > 200
    assert near[mine].mean() > 0.97
    assert also[theirs].mean() > 0.97
    assert 0.8 < mine.sum() / theirs.sum() < 1.25  # as thin as theirs


def test_an_even_frame_has_no_edges():
    assert not canny(torch.zeros(1, 3, 20, 20)).any()


def test_dropout_at_test_is_random_and_seeded():
    torch.manual_seed(0)
    net = DeblurGAN(width=4, blocks=2, dropout_at_test=True).eval()
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        assert not torch.equal(net(x), net(x))
        torch.manual_seed(3)
        first = net(x)
        torch.manual_seed(3)
        assert torch.equal(net(x), first)
        steady = DeblurGAN(width=4, blocks=2).eval()
        assert torch.equal(steady(x), steady(x))


@pytest.mark.parametrize("options", [{}, {"edges": True}, {"feedback": 4}, {"norm": "layer", "skips": True}])
def test_all_parameters_are_trained(options):
    net = DeblurGAN(width=4, blocks=1, **options)
    net(torch.rand(2, 3, 16, 16) * 0.2).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    assert all(p.grad.any() for p in net.parameters() if p.ndim > 1)


def test_skips_go_around_the_coarser_features():
    torch.manual_seed(0)
    x, y = (torch.rand(2, 1, 3, 16, 16) - 0.5) * 0.1
    for skips in (False, True):
        net = DeblurGAN(width=4, blocks=1, norm="layer", skips=skips).eval()
        for parameter in net.encode_quarter.parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            same = torch.allclose(net(x) - x, net(y) - y, atol=1e-5)
        assert same != skips, "what is left sees the frame through the skips alone"


def test_layer_normalisation_treats_a_crop_as_the_whole_frame():
    torch.manual_seed(0)
    x = torch.rand(1, 3, 256, 256) * 2 - 1
    inner = slice(100, 120)
    for norm, alike in (("layer", True), ("instance", False)):
        net = DeblurGAN(width=4, blocks=1, norm=norm).eval()
        with torch.no_grad():
            whole, crop = net(x)[..., inner, inner], net(x[..., 60:160, 60:160])[..., 40:60, 40:60]
        assert torch.allclose(whole, crop, atol=1e-5) == alike


def test_an_oracle_is_trained_on_the_sharp_frames_edges():
    torch.manual_seed(0)
    net = DeblurGAN(width=4, blocks=1, edges=True).eval()
    blurred, sharp = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    sharp[..., 16:] = 1
    with torch.no_grad():
        assert torch.equal(net(blurred), net(blurred, blurred))
        assert not torch.equal(net(blurred), net(blurred, sharp))


def test_the_oracle_setting_gives_the_sharp_crops_to_the_generator():
    given = []

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, blurred, outlined=None):
            given.append(outlined)
            return self.conv(blurred)

    blurred, sharp = torch.rand(2, 1, 3, 16, 16)
    batch = Batch(blurred, sharp, (1.0,))
    fabric = Fabric(accelerator="cpu")
    for preset in ("oracle", "compact"):
        recipe = replace(SPEC.presets[preset].recipe, content={"l1": 1.0})
        step(training_state(Net(), recipe, fabric), recipe, Stage(recipe.content, False, recipe.ema), batch, fabric)
    assert torch.equal(given[0], sharp)
    assert given[1] is None
