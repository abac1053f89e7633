"""The wrapper around networks: whatever the size, range and tiling, only the network changes pixels."""

import logging
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from detbench.restore import Restorer
from detbench.types import DetbenchError

SIZES = [(16, 16), (17, 33), (16, 300), (300, 16), (426, 640)]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Hundreds of small passes: threads would wait for each other longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Function(nn.Module):
    """Any function as a network that also remembers what it saw."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.inputs = []

    def forward(self, x):
        self.inputs.append(x.clone())
        return self.function(x)


def random_frames(count, height, width, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def conv(size=3, seed=0, **options):
    """A network of one zero-padded convolution: it looks ``size // 2`` pixels far and answers within the range."""
    torch.manual_seed(seed)
    net = nn.Conv2d(3, 3, size, padding=size // 2, bias=False, **options)
    with torch.no_grad():
        net.weight.uniform_(0, 1).div_(net.weight.sum((1, 2, 3), keepdim=True))
    return net


def difference(a, b):
    return np.abs(np.asarray(a).astype(int) - np.asarray(b).astype(int)).max()


@pytest.mark.parametrize("max_pixels", [2_000_000, 20_000, 1])
@pytest.mark.parametrize("multiple_of", [1, 16, 256])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_identity_is_exact(height, width, multiple_of, max_pixels):
    frames = random_frames(2, height, width)
    net = Function(lambda x: x)
    restored = Restorer(net, multiple_of=multiple_of, max_pixels=max_pixels)(frames)
    np.testing.assert_array_equal(restored, frames)
    assert all(frame.dtype == np.uint8 and frame.flags.c_contiguous and frame.flags.writeable for frame in restored)
    assert all(side % multiple_of == 0 for x in net.inputs for side in x.shape[2:])


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(16, 140),
    width=st.integers(16, 140),
    multiple_of=st.integers(1, 20),
    overlap=st.integers(0, 24),
    max_pixels=st.integers(1, 15_000),
)
def test_any_tiling_restores_the_identity(height, width, multiple_of, overlap, max_pixels):
    frames = random_frames(1, height, width, seed=height)
    net = Function(lambda x: x)
    restored = Restorer(net, multiple_of=multiple_of, overlap=overlap, max_pixels=max_pixels)(frames)
    np.testing.assert_array_equal(restored, frames)
    smallest = max(2 * (overlap + -overlap % multiple_of), multiple_of)
    for x in net.inputs:
        _, _, h, w = x.shape
        assert h % multiple_of == w % multiple_of == 0
        assert h * w <= max_pixels or h <= smallest or w <= smallest


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-0.3, 2.7)])
def test_every_grey_level_survives_every_range(value_range, precision):
    levels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    net = Function(lambda x: x)
    restored = Restorer(net, value_range=value_range, precision=precision)([levels])
    np.testing.assert_array_equal(restored[0], levels)
    (x,) = net.inputs
    assert (x.min().item(), x.max().item()) == pytest.approx(value_range, abs=1e-6)
    assert x.dtype == torch.float32


@pytest.mark.parametrize(("size", "padded"), [(16, 256), (17, 32), (100, 128)])
def test_padding_is_repeated_reflection_at_the_right_and_bottom(size, padded):
    net = Function(lambda x: x)
    frame = random_frames(1, size, 16)[0]
    Restorer(net, multiple_of=padded)([frame])
    mirror = [i if i < size else 2 * (size - 1) - i for i in range(2 * (size - 1))]
    expected = frame[[mirror[i % len(mirror)] for i in range(padded)], :]
    seen = net.inputs[0][0].permute(1, 2, 0).mul(255).round().numpy()
    np.testing.assert_array_equal(seen[:, :16], expected)


def test_values_are_clamped_and_rounded_half_to_even():
    frame = np.zeros((16, 16, 3), np.uint8)
    levels = torch.tensor([-300.0, -0.1, 0.5, 0.51, 1.5, 2.5, 100.49, 254.5, 254.51, 255.3, 9e9])

    def constant(x):
        y = torch.zeros_like(x)
        y[:, :, 0, : len(levels)] = levels / 256  # exact in binary
        return y

    restored = Restorer(Function(constant), value_range=(0.0, 255 / 256))([frame])
    assert restored[0][0, : len(levels), 0].tolist() == [0, 0, 0, 1, 2, 2, 100, 254, 255, 255, 255]


@pytest.mark.parametrize("multiple_of", [1, 16])
@pytest.mark.parametrize(("height", "width"), [(210, 330), (40, 700), (700, 40)])
def test_tiling_changes_nothing_for_a_local_network(height, width, multiple_of):
    frames = random_frames(1, height, width)
    net = Function(conv(9))  # looks 4 pixels far, a quarter of the overlap
    whole = Restorer(net, multiple_of=multiple_of)(frames)
    assert len(net.inputs) == 1
    tiled = Restorer(net, multiple_of=multiple_of, overlap=16, max_pixels=10_000)(frames)
    assert len(net.inputs) > 3
    assert difference(tiled, whole) <= 1
    assert (np.asarray(tiled) == np.asarray(whole)).mean() > 0.999


def test_tiles_keep_the_phase_of_strided_networks():
    frames = random_frames(1, 203, 301)
    net = nn.Sequential(nn.AvgPool2d(8), nn.Upsample(scale_factor=8))  # any shift by less than 8 shows
    whole = Restorer(net, multiple_of=8)(frames)
    tiled = Restorer(net, multiple_of=8, overlap=20, max_pixels=8_000)(frames)
    assert difference(tiled, whole) <= 1


def test_tiles_that_disagree_blend_without_a_seam():
    class Counter(nn.Module):
        """Each tile gets another grey level, as if a global layer had normalised it differently."""

        calls = 0

        def forward(self, x):
            self.calls += 1
            return torch.full_like(x, self.calls % 2)

    frame = np.zeros((64, 600, 3), np.uint8)
    restored = Restorer(Counter(), overlap=64, max_pixels=64 * 200)([frame])[0]
    assert restored.min() == 0 and restored.max() == 255
    steps = np.abs(np.diff(restored[:, :, 0].astype(int), axis=1))
    assert steps.max() <= 8  # 255 levels over half the overlap, 32 pixels
    assert (np.diff(restored.astype(int), axis=0) == 0).all()


def test_one_pass_never_exceeds_max_pixels_whatever_the_batch():
    net = Function(lambda x: x)
    restorer = Restorer(net, max_pixels=5_000, overlap=8)
    for count, size in [(8, 40), (3, 120)]:
        frames = random_frames(count, size, size)
        np.testing.assert_array_equal(restorer(frames), frames)
    assert max(x.shape[0] * x.shape[2] * x.shape[3] for x in net.inputs) <= 5_000
    assert net.inputs[0].shape[0] == 3  # of 1600 pixels each


@pytest.mark.parametrize(("height", "width"), [(40, 700), (700, 40), (141, 250)])
def test_tiles_are_as_large_as_allowed(height, width):
    net = Function(lambda x: x)
    Restorer(net, overlap=16, max_pixels=20_000)(random_frames(1, height, width))
    assert len(net.inputs) == 2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_results_do_not_depend_on_the_batch(precision):
    frames = random_frames(4, 37, 50)
    net = nn.Sequential(conv(), nn.InstanceNorm2d(3), nn.Sigmoid())
    restorer = Restorer(net, multiple_of=4, precision=precision)
    singles = [restorer([frame])[0] for frame in frames]
    assert difference(restorer(frames), singles) <= 1
    assert difference(singles[0], singles[1]) > 1


def test_bf16_stays_close_to_fp32_and_is_used():
    frames = random_frames(1, 64, 64)
    seen = []
    net = conv()
    net.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    results = [Restorer(net, precision=precision)(frames) for precision in ("fp32", "bf16")]
    assert seen == [torch.float32, torch.bfloat16]
    assert difference(*results) <= 2


def test_the_network_runs_in_eval_mode_without_gradients_and_keeps_its_weights():
    net = nn.Sequential(conv(), nn.BatchNorm2d(3), nn.Dropout(0.5)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    frames = random_frames(3, 40, 40)
    restorer = Restorer(net)
    assert not any(module.training for module in net.modules())
    np.testing.assert_array_equal(restorer(frames), restorer(frames))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())


def test_the_network_sees_channels_last_and_no_gradient():
    net = Function(lambda x: x)
    Restorer(net)(random_frames(2, 20, 24))
    (x,) = net.inputs
    assert x.is_contiguous(memory_format=torch.channels_last) and x.is_inference()
    strided = conv()
    Restorer(strided)
    assert strided.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("max_pixels", [2_000_000, 1])
def test_values_that_are_no_numbers_are_refused(bad, max_pixels):
    def spoil(x):
        x[-1, 0, 5, 5] = bad
        return x

    with pytest.raises(DetbenchError, match=r"NaN or infinity"):
        Restorer(Function(spoil), max_pixels=max_pixels, overlap=8)(random_frames(2, 40, 40))


@pytest.mark.parametrize(
    ("function", "made"),
    [
        (lambda x: x[:, :1], r"\(1, 1, 20, 24\)"),
        (lambda x: x[:, :, :16], r"\(1, 3, 16, 24\)"),
        (lambda x: x[0], r"\(3, 20, 24\)"),
        (lambda x: (x, x), "tuple"),
    ],
)
def test_another_shape_is_refused(function, made):
    with pytest.raises(DetbenchError, match=rf"made {made} of an input of shape \(1, 3, 20, 24\)"):
        Restorer(Function(function))(random_frames(1, 20, 24))


@pytest.mark.parametrize(
    "frames",
    [
        [np.zeros((20, 20, 3), np.uint8), np.zeros((20, 21, 3), np.uint8)],
        [np.zeros((20, 20, 3), np.float32)],
        [np.zeros((20, 20, 4), np.uint8)],
        [np.zeros((20, 20), np.uint8)],
    ],
)
def test_frames_of_other_kinds_are_refused(frames):
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8 of one size, not \(20, 20"):
        Restorer(nn.Identity())(frames)


def test_no_frames_give_no_frames():
    assert Restorer(nn.Identity())([]) == []


def test_frames_may_be_views_and_stay_unchanged():
    frame = random_frames(1, 40, 50)[0]
    view = frame[::-1, ::2]
    view.flags.writeable = False
    before = frame.copy()
    net = Function(lambda x: x.mul_(0))  # works in place, as nn.ReLU(inplace=True) does
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Restorer(net)([view])[0].max() == 0
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize(
    "options",
    [
        {"multiple_of": 0},
        {"max_pixels": 0},
        {"overlap": -1},
        {"value_range": (1.0, 1.0)},
        {"precision": "fp8"},
    ],
)
def test_meaningless_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Restorer(nn.Identity(), **options)


@pytest.mark.parametrize(
    ("count", "size", "overlap", "memory", "failures"),
    [(1, 200, 16, 20_000, 1), (8, 64, 16, 20_000, 1), (8, 64, 64, 5_000, 3)],  # from the batch's pixels down, by halves
)
def test_out_of_memory_goes_on_with_less_at_once(count, size, overlap, memory, failures, caplog):
    """As on a GPU with room for so many pixels: what failed is done again, and later calls know."""

    def hungry(x):
        if x.shape[0] * x.shape[2] * x.shape[3] > memory:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return x

    restorer = Restorer(Function(hungry), overlap=overlap)
    frames = random_frames(count, size, size)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(restorer(frames), frames)
        assert len(caplog.records) == failures
        np.testing.assert_array_equal(restorer(frames), frames)
        assert len(caplog.records) == failures


def test_too_little_memory_for_any_tile_is_an_error():
    def starved(x):
        raise torch.cuda.OutOfMemoryError("2 MiB free")

    net = Function(starved)
    with pytest.raises(DetbenchError, match=r"Not enough memory on cpu.*2 MiB free"):
        Restorer(net)(random_frames(2, 300, 300))
    assert 3 <= len(net.inputs) < 10
