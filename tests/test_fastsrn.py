"""SRN's weights at half size: what they compute before any training."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from deblurers import _tensor_bundle, fastsrn, fastsrn_task, fastsrn_task_small, srn
from detbench import registry


@pytest.fixture
def checkpoint(monkeypatch):
    """Random weights of SRN, as its checkpoint would hold them; returns a network with them, at one scale."""
    torch.manual_seed(0)
    net = srn.SRN(divisors=(1,)).eval()
    for parameter in net.parameters():
        parameter.data.mul_(2).add_(0.01 * torch.randn_like(parameter))
    tensors = {}
    for name, tensor in net.state_dict().items():
        theirs = name.replace("weight", "weights").replace("bias", "biases").removeprefix("layers.").replace(".", "/")
        array = tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor
        tensors[f"g_net/{theirs}"] = np.ascontiguousarray(array.numpy())
    monkeypatch.setattr(_tensor_bundle, "read", lambda index, data: tensors)
    return net


@torch.inference_mode()
def test_it_is_srn_on_the_frame_at_half_size_with_its_correction_enlarged(checkpoint):
    net = fastsrn.FastSRN().double().eval()
    net.load_state_dict(fastsrn.convert(["some.index", "some.data"]))
    frame = torch.rand(2, 3, 48, 80, dtype=torch.float64)
    half = (frame[..., ::2, ::2] + frame[..., 1::2, ::2] + frame[..., ::2, 1::2] + frame[..., 1::2, 1::2]) / 4
    correction = checkpoint.double()(half) - half
    assert correction.std() > 0.01
    wanted = frame + F.interpolate(correction, scale_factor=2, mode="nearest")
    torch.testing.assert_close(net(frame), wanted, atol=1e-5, rtol=0)  # sums of weights are rounded


def test_it_follows_srns_pinned_weights():
    assert registry.get("fastsrn").assets == registry.get("srn").assets
    assert fastsrn_task.RECIPE.init_from == "fastsrn"
    task, base = (registry.get(name).build().state_dict() for name in ("fastsrn_task", "fastsrn"))
    assert {name: t.shape for name, t in task.items()} == {name: t.shape for name, t in base.items()}


def test_gradients_reach_every_layer_and_leave_the_input_alone():
    net = fastsrn.FastSRN()
    frames = torch.rand(1, 3, 16, 32)
    before = frames.clone()
    net(frames).square().sum().backward()
    assert torch.equal(frames, before)
    assert all(parameter.grad.isfinite().all() and parameter.grad.any() for parameter in net.parameters())


@torch.inference_mode()
def test_weights_at_half_size_see_the_means_of_pixels(checkpoint):
    state = {name: tensor.double() for name, tensor in fastsrn.convert(["some.index", "some.data"]).items()}
    net, coarse = fastsrn.FastSRN().double().eval(), fastsrn_task_small.SmallFastSRN(srn.WIDTHS).double().eval()
    net.load_state_dict(state)
    coarse.load_state_dict(fastsrn_task_small.at_half_size(state))
    frame = torch.rand(2, 3, 64, 96, dtype=torch.float64)
    half = F.avg_pool2d(frame, 2)
    correction = F.avg_pool2d(net(half) - half, 2)
    assert correction.std() > 0.01
    wanted = frame + F.interpolate(correction, scale_factor=4, mode="bilinear")
    torch.testing.assert_close(coarse(frame), wanted, atol=1e-5, rtol=0)


def test_a_smaller_network_begins_with_the_larger_ones_outer_levels_or_with_weights_of_its_own():
    larger, smaller, again = fastsrn.FastSRN(), fastsrn_task_small.SmallFastSRN(), fastsrn_task_small.SmallFastSRN()
    before = {name: tensor.clone() for name, tensor in smaller.state_dict().items()}
    smaller.adopt(larger.state_dict())
    mine, theirs = smaller.state_dict(), larger.state_dict()
    for name, tensor in mine.items():
        inner = name.startswith(fastsrn_task_small.INNERMOST)
        if not name.startswith(("layers.enc1_1", "layers.dec1_0")):
            assert torch.equal(tensor, before[name] if inner else theirs[name]), name
    again.adopt(mine)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in mine.items())
    with pytest.raises(RuntimeError, match="layers"):
        smaller.adopt({name: tensor for name, tensor in theirs.items() if "dec2_3" not in name})


@pytest.mark.parametrize("name", [n for n in registry.entries() if registry.find(n).stated("family") == "task-driven"])
def test_its_recipe_can_be_trained(name):
    spec = registry.get(name)
    if name == "fastsrn":
        assert spec.presets["default"].recipe is None
        return
    preset = spec.presets[spec.preset]
    recipe = preset.recipe
    if name in ("fastsrn_l1", "fastsrn_task_small"):  # the control; and too small for the terms of a detector
        assert not recipe.detector
    else:
        assert recipe.detector and recipe.detector_features and recipe.detector_classes and recipe.detector_boxes
    assert (recipe.schedule, recipe.setting) == ("cosine", "corrected")
    assert recipe.warmup and recipe.clip_gradient
    start = registry.get(recipe.init_from)
    theirs, mine = (each.build(**each.presets[each.preset].options) for each in (start, spec))
    shapes = [{name: t.shape for name, t in net.state_dict().items()} for net in (theirs, mine)]
    assert hasattr(mine, "adopt") or shapes[0] == shapes[1]
