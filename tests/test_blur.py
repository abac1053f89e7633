"""Motion blur: the trajectories' published properties, and averaging against plain loops."""

import numpy as np
import pytest
import torch

from detbench.data import blur


def naive_trajectory(rng, steps, length):
    """Algorithm 1 of DeblurGAN, one path, one step at a time."""
    speed = length / (steps - 1)
    inertia, big_shake, gaussian = rng.uniform(0, 0.7), rng.uniform(0, 0.2), rng.uniform(0, 0.7)
    velocity = speed * np.exp(1j * rng.uniform(0, 2 * np.pi))
    path = [0j]
    for _ in range(steps - 1):
        jolt = 0
        if rng.random() < big_shake * 0.001:
            jolt = 2 * velocity * np.exp(1j * (np.pi + rng.random() - 0.5))
        push = gaussian * (rng.standard_normal() + 1j * rng.standard_normal()) - inertia * path[-1]
        velocity += jolt + 0.001 * push * speed
        velocity *= speed / abs(velocity)
        path.append(path[-1] + velocity)
    return np.array(path)


def test_every_step_of_a_trajectory_has_the_same_length():
    paths = blur.trajectories(5, np.random.default_rng(0), steps=400, length=60)
    assert paths.shape == (5, 400)
    assert np.allclose(np.abs(np.diff(paths, axis=1)), 60 / 399)


def test_trajectories_are_distributed_as_the_algorithm_says():
    rng = np.random.default_rng(1)
    loop = np.array([naive_trajectory(rng, 2000, 60) for _ in range(120)])
    ours = blur.trajectories(1200, rng)
    spans = [np.ptp(np.stack([p.real, p.imag]), axis=2).max(axis=0) for p in (loop, ours)]
    for q in (0.25, 0.5, 0.75):
        assert np.quantile(spans[0], q) == pytest.approx(np.quantile(spans[1], q), rel=0.12)


def test_an_exposure_is_centred_and_has_its_extent():
    paths = blur.trajectories(8, np.random.default_rng(2))
    extent = np.linspace(1, 20, 8)
    shifts = blur.exposure(paths, 49, extent)
    assert shifts.shape == (8, 49, 2)
    assert np.abs(shifts.mean(axis=1)).max() < 1e-9
    assert np.allclose(np.ptp(shifts, axis=1).max(axis=1), extent)


def test_a_whole_shift_moves_pixels_right_and_down():
    image = torch.rand(1, 3, 20, 30)
    moved = blur.warp(image, torch.tensor([[3.0, 2.0]]), torch.zeros(1))
    assert torch.allclose(moved[..., 2:, 3:], image[..., :-2, :-3], atol=1e-5)


def test_a_quarter_turn_keeps_the_centre_and_the_aspect():
    image = torch.rand(1, 3, 21, 21)
    turned = blur.warp(image, torch.zeros(1, 2), torch.tensor([np.pi / 2]))
    assert torch.allclose(turned, torch.rot90(image, -1, (2, 3)), atol=1e-4) or torch.allclose(
        turned, torch.rot90(image, 1, (2, 3)), atol=1e-4
    )
    wide = torch.zeros(1, 1, 41, 81)
    wide[..., 20, 60] = 1  # 20 px right of the centre: a quarter turn puts it 20 px above or below
    turned = blur.warp(wide, torch.zeros(1, 2), torch.tensor([np.pi / 2]))
    assert max(turned[0, 0, 0, 40], turned[0, 0, 40, 40]) > 0.9


def test_shake_is_the_mean_of_the_sub_frames():
    image = torch.rand(2, 3, 16, 16)
    shifts = torch.tensor([[[1.0, 0], [-1, 0]], [[0, 2.0], [0, -2]]])
    got = blur.camera_shake(image, shifts, torch.zeros(2, 2))
    inner = (..., slice(2, -2), slice(2, -2))
    first = (image[0].roll(1, 2) + image[0].roll(-1, 2)) / 2
    second = (image[1].roll(2, 1) + image[1].roll(-2, 1)) / 2
    assert torch.allclose(got[0][inner], first[inner], atol=1e-5)
    assert torch.allclose(got[1][inner], second[inner], atol=1e-5)


def test_an_object_leaves_the_rest_of_the_scene_alone():
    image, mask = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    mask[..., 12:20, 12:20] = 1
    shifts = torch.tensor([[[-4.0, 0], [0, 0], [4, 0]]])
    got = blur.object_motion(image, mask, shifts)
    assert torch.allclose(got[..., :10, :], image[..., :10, :], atol=1e-5)
    assert not torch.allclose(got[..., 14, 8:12], image[..., 14, 8:12], atol=1e-3)
    assert torch.allclose(blur.object_motion(image, torch.ones_like(mask), shifts * 0), image, atol=1e-5)


def test_gamma_is_undone():
    values = torch.linspace(0, 1, 256)
    assert torch.allclose(blur.to_display(blur.to_linear(values)), values, atol=1e-6)


def test_frames_are_averaged_in_linear_light():
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert (blur.average_frames([black, white]) == round(255 * 0.5 ** (1 / 2.2))).all()
    assert (blur.average_frames([white] * 3) == 255).all()


def test_slow_motion_puts_a_moving_edge_between():
    def frame(left):
        x = np.arange(96)
        profile = 200 / (1 + np.exp(-(x - left) / 3)) + 20
        texture = np.random.default_rng(0).integers(0, 20, (64, 1))
        return np.repeat((profile + texture).astype(np.uint8)[..., None], 3, axis=2)

    first, second = frame(40), frame(44)
    slow = blur.slow_motion([first, second], 4)
    assert len(slow) == 5
    assert (slow[0] == first).all()
    assert (slow[-1] == second).all()
    halfway = np.abs(slow[2].astype(int) - frame(42)).mean()
    assert halfway < np.abs(first.astype(int) - frame(42)).mean() / 3


def test_a_kernel_splats_each_sub_frame_over_four_pixels():
    shifts = torch.tensor([[[0.25, -1.5], [2.0, 1.0]]])
    expected = torch.zeros(7, 7)
    for (row, column), share in {(1, 3): 0.375, (1, 4): 0.125, (2, 3): 0.375, (2, 4): 0.125, (4, 5): 1.0}.items():
        expected[row, column] = share / 2
    assert torch.allclose(blur.kernels(shifts, 7)[0], expected)


def test_convolution_is_that_of_a_loop():
    torch.manual_seed(0)
    images, kernels = torch.rand(2, 3, 12, 14), torch.rand(2, 5, 5)
    got = blur.convolve(images, kernels)
    for i in range(2):
        expected = torch.zeros(3, 12, 14)
        for row in range(5):
            for column in range(5):
                expected += kernels[i, row, column] * images[i].roll((row - 2, column - 2), dims=(-2, -1))
        assert torch.allclose(got[i], expected, atol=1e-5)


def test_one_kernel_is_what_shake_without_rotation_sees():
    torch.manual_seed(0)
    images = torch.nn.functional.interpolate(torch.rand(1, 3, 10, 10), size=(40, 40), mode="bicubic").clamp(0, 1)
    shifts = torch.randn(1, 12, 2) * 2
    shaken = blur.camera_shake(images, shifts, torch.zeros(1, 12))
    convolved = blur.convolve(images, blur.kernels(shifts, 21))
    assert (shaken - convolved)[..., 10:-10, 10:-10].abs().max() < 0.01
