"""One frame, degraded: light is neither made nor moved."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detbench.data import blur, degrade


def picture(seed, height=48, width=64):
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 256, (height // 4, width // 4, 3)), np.ones((4, 4, 1))).astype(np.uint8)


def shaken(frame, seed):
    return degrade.shaken(frame, blur.trajectories(1, np.random.default_rng(seed)), 6.0, 0.3, 17)


WAYS = {
    "shaken": shaken,
    "psf": lambda frame, seed: degrade.psf_corrected(frame, 6.0, np.random.default_rng(seed)),
    "defocused": lambda frame, seed: degrade.defocused(frame, 1 + seed % 5),
}


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), level=st.integers(0, 255))
def test_constant_stays_constant(way, seed, level):
    made = WAYS[way](np.full((48, 64, 3), level, np.uint8), seed)
    assert np.abs(made.astype(int) - level).max() <= 1


@pytest.mark.parametrize("way", WAYS)
def test_light_is_kept(way):
    """The mean of linear light, borders apart; of display values it rises, as bright points spread."""
    frame = np.zeros((96, 96, 3), np.uint8)
    frame[40:56, 40:56] = 200
    made = WAYS[way](frame, 3)
    before, after = (((f / 255) ** blur.GAMMA).mean() for f in (frame, made))
    assert after == pytest.approx(before, rel=0.02)
    assert made.mean() > frame.mean()


@pytest.mark.parametrize("way", WAYS)
def test_nothing_moves(way):
    frame = np.zeros((97, 97, 3), np.uint8)
    frame[44:53, 44:53] = 255
    light = (WAYS[way](frame, 5) / 255.0).mean(axis=2) ** blur.GAMMA
    place = [float((light * axis).sum() / light.sum()) for axis in np.indices(light.shape)]
    assert place == pytest.approx([48, 48], abs=0.3)


@settings(max_examples=20, deadline=None)
@given(radius=st.floats(0.6, 12))
def test_a_disc_is_a_kernel(radius):
    disc = degrade.disc(radius)
    assert disc.sum() == pytest.approx(1)
    assert (disc >= 0).all()
    for turned in (disc[::-1], disc[:, ::-1], disc.T):
        assert np.allclose(disc, turned)
    area = (disc > 0.5 * disc.max()).sum()
    assert area == pytest.approx(np.pi * radius**2, rel=0.35, abs=3)


@pytest.mark.parametrize("axis", [0, 1])
def test_blur_commutes_with_flips(axis):
    frame = picture(0)
    flip = lambda f: np.ascontiguousarray(np.flip(f, axis))  # noqa: E731
    assert np.array_equal(degrade.defocused(flip(frame), 3.0), flip(degrade.defocused(frame, 3.0)))
    path = blur.trajectories(1, np.random.default_rng(1))
    mirrored = -path.conj() if axis else path.conj()  # y is the imaginary part
    one, other = degrade.shaken(flip(frame), mirrored, 8.0, 0.0, 17), flip(degrade.shaken(frame, path, 8.0, 0.0, 17))
    assert np.abs(one.astype(int) - other).max() <= 1


def test_what_the_public_code_does_is_another_blur():
    """Off its centre, and stretched: what it makes is not what its paper says."""
    frame = np.full((96, 96, 3), 100, np.uint8)
    frame[40:56, 40:56] = 140
    made = degrade.psf_faithful(frame, 10.0, np.random.default_rng(0))
    assert (made.min(), made.max()) == (0, 255)
    assert np.ptp(degrade.psf_corrected(frame, 10.0, np.random.default_rng(0))) <= 41


def test_a_moving_object_moves_and_the_rest_does_not():
    frame = picture(2, 96, 96)
    still = blur.trajectories(1, np.random.default_rng(0))
    alone = degrade.shaken(frame, still, 0.001, 0.0, 9)
    moved = degrade.shaken(frame, still, 0.001, 0.0, 9, ((30, 30, 60, 60), 12.0, 0.0))
    inside, outside = np.s_[40:50, 40:50], np.s_[:, :15]
    assert np.array_equal(alone[outside], moved[outside])
    assert np.abs(alone[inside].astype(int) - moved[inside]).mean() > 10


def test_noise_has_its_variance():
    frame = np.full((200, 200, 3), 128, np.uint8)
    noise = (degrade.noisy(frame, 0.001, np.random.default_rng(0)).astype(float) - 128) / 255
    assert noise.var() == pytest.approx(0.001, rel=0.03)
    assert abs(noise.mean()) < 0.001


def test_jpeg_leaves_less_the_lower_its_quality():
    frame = picture(1)
    losses = [np.abs(degrade.recompressed(frame, q).astype(int) - frame).mean() for q in (95, 50, 5)]
    assert 0 < losses[0] < losses[1] < losses[2]


def test_kernels_sum_to_one_and_are_centred():
    shifts = blur.exposure(blur.trajectories(8, np.random.default_rng(0)), 200, np.full(8, 9.0))
    kernels = blur.kernels(torch.from_numpy(shifts), 21)
    assert kernels.sum(dim=(1, 2)).tolist() == pytest.approx([1] * 8)
    y, x = torch.meshgrid(*[torch.arange(21.0, dtype=torch.float64)] * 2, indexing="ij")
    for axis in (x, y):
        assert (kernels * axis).sum(dim=(1, 2)).tolist() == pytest.approx([10] * 8, abs=1e-6)
