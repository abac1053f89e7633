"""SRN's weights at half size: what they compute before any training."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from deblurers import _tensor_bundle, fastsrn, fastsrn_task, fastsrn_task_small, srn
from detbench import registry
from detbench.gan import discriminators, losses


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


def test_pruning_leaves_the_channels_that_count():
    """A narrow network, scattered over the channels of a wide one whose others are next to nothing, is found again."""
    pytest.importorskip("torch_pruning")
    torch.manual_seed(0)
    narrow = fastsrn_task_small.PrunedFastSRN()
    assert sum(parameter.numel() for parameter in narrow.parameters()) <= 2_000_000
    places = {width // 2: torch.randperm(width)[: width // 2].sort().values for width in srn.WIDTHS}
    wide = {name: 1e-6 * torch.randn_like(t) for name, t in fastsrn.FastSRN().state_dict().items()}
    for name, tensor in narrow.state_dict().items():
        index = [places.get(side, torch.arange(side)) for side in tensor.shape[:2]]
        wide[name][index[0] if tensor.ndim == 1 else torch.meshgrid(*index, indexing="ij")] = tensor
    made = fastsrn_task_small.PrunedFastSRN()
    made.adopt(wide)
    wanted = narrow.state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in made.state_dict().items())


@pytest.mark.parametrize("name", [n for n in registry.entries() if registry.find(n).stated("family") == "task-driven"])
def test_its_recipe_can_be_trained(name):
    spec = registry.get(name)
    if name == "fastsrn":
        assert spec.presets["default"].recipe is None
        return
    preset = spec.presets[spec.preset]
    recipe = preset.recipe
    assert recipe.crop % preset.multiple_of == 0
    assert recipe.detector and recipe.detector_features and recipe.detector_classes and recipe.detector_boxes
    assert recipe.content.keys() <= losses.CONTENT.keys()
    assert recipe.object_motion + recipe.uniform_blur <= 1
    assert (recipe.schedule, recipe.setting) == ("cosine", "corrected")
    assert recipe.warmup and recipe.clip_gradient
    if recipe.adversarial:
        assert recipe.adversarial in losses.ADVERSARIAL
        assert discriminators.build(recipe.crop, **recipe.discriminator)
    start = registry.get(recipe.init_from)
    theirs, mine = (each.build(**each.presets[each.preset].options) for each in (start, spec))
    shapes = [{name: t.shape for name, t in net.state_dict().items()} for net in (theirs, mine)]
    assert hasattr(mine, "adopt") or shapes[0] == shapes[1]
