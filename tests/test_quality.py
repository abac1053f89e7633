"""PSNR and SSIM against literal values and against scikit-image."""

import math
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from detbench.quality import GRID, grid_db, psnr_db, ssim


def skimage_ssim(a, b):
    return structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2, data_range=255
    )


def flat(*grey_levels, height=32, width=32):
    """A frame of upright stripes, one for each grey level."""
    columns = np.repeat(np.array(grey_levels, np.uint8), -(-width // len(grey_levels)))[:width]
    return np.tile(columns[None, :, None], (height, 1, 3))


def noisy(height, width, seed=0):
    """Two frames that are alike: smooth structure, and the same with noise."""
    rng = np.random.default_rng(seed)
    sharp = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3)).astype(np.float32), (0, 0), 2)
    sharp = cv2.normalize(sharp, None, 0, 255, cv2.NORM_MINMAX)
    restored = sharp + rng.normal(0, 10, sharp.shape)
    return tuple(np.clip(np.rint(frame), 0, 255).astype(np.uint8) for frame in (restored, sharp))


@pytest.mark.parametrize(
    ("restored", "sharp", "expected"),
    [
        (flat(0), flat(255), 0.0),
        (flat(100), flat(101), 48.130803608679074),  # 20 log10(255): an error of one everywhere
        (flat(0, 255), flat(255, 0), 0.0),
        (flat(100, 100), flat(101, 100), 51.14110356531889),  # half of the squared error: 10 log10(2) more
        (flat(7), flat(7), math.inf),
    ],
)
def test_psnr_of_flat_frames(restored, sharp, expected):
    assert psnr_db(restored, sharp) == pytest.approx(expected, abs=1e-12)


def test_psnr_counts_each_channel_alike():
    sharp = flat(100)
    restored = sharp.copy()
    restored[..., 1] += 3
    assert psnr_db(restored, sharp) == pytest.approx(10 * math.log10(255**2 / (9 / 3)), abs=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (37, 91), (300, 200)])
def test_psnr_equals_skimage(shape):
    restored, sharp = noisy(*shape) if shape != (1, 1) else (flat(1, height=1, width=1), flat(2, height=1, width=1))
    assert psnr_db(restored, sharp) == pytest.approx(peak_signal_noise_ratio(sharp, restored, data_range=255), abs=1e-9)


@pytest.mark.parametrize(
    "shape", [(11, 11), (16, 16), (11, 300), (300, 11), (137, 40), (138, 40), (139, 40), (300, 33)]
)
def test_ssim_equals_skimage_at_any_size(shape):
    """The sizes lie around the window's and around the height that is worked on at once."""
    restored, sharp = noisy(*shape)
    expected = skimage_ssim(restored, sharp)
    assert 0.2 < expected < 0.99
    assert ssim(restored, sharp) == pytest.approx(expected, abs=1e-9)


levels = st.lists(st.integers(0, 255), min_size=1, max_size=4)


@given(levels, levels, st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_ssim_equals_skimage_on_flat_areas(left, right, noise):
    """Flat areas are where variances cancel: single precision errs by 5e-5 here."""
    grain = np.random.default_rng(0).integers(0, noise + 1, (32, 32, 3))
    restored, sharp = flat(*left), np.minimum(flat(*right) + grain, 255).astype(np.uint8)
    assert ssim(restored, sharp) == pytest.approx(skimage_ssim(restored, sharp), abs=1e-9)


@pytest.mark.parametrize("grey", [0, 1, 128, 255])
def test_ssim_of_two_flat_frames_is_the_luminance_term(grey):
    c1 = (0.01 * 255) ** 2
    expected = (2 * grey * 10 + c1) / (grey**2 + 10**2 + c1)
    assert ssim(flat(grey), flat(10)) == pytest.approx(expected, abs=1e-9)


def test_ssim_of_equal_frames_is_one():
    frame, _ = noisy(40, 60)
    assert ssim(frame, frame) == 1.0


def test_ssim_of_a_negative_is_below_zero():
    _, frame = noisy(40, 60)
    assert ssim(255 - frame, frame) < 0


def test_frames_need_not_be_contiguous():
    restored, sharp = noisy(64, 64)
    views = restored[::2, 5:50, ::-1], sharp[::2, 5:50, ::-1]
    copies = tuple(np.ascontiguousarray(view) for view in views)
    assert psnr_db(*views) == psnr_db(*copies)
    assert ssim(*views) == ssim(*copies)


def test_the_arguments_are_left_alone():
    frames = noisy(40, 40)
    before = [frame.copy() for frame in frames]
    ssim(*frames), psnr_db(*frames)
    assert all(np.array_equal(frame, copy) for frame, copy in zip(frames, before, strict=True))


def test_threads_do_not_disturb_each_other_nor_opencv():
    pairs = [noisy(120, 160, seed) for seed in range(8)]
    threads = cv2.getNumThreads()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda pair: (ssim(*pair), psnr_db(*pair)), pairs))
    assert together == [(ssim(*pair), psnr_db(*pair)) for pair in pairs]
    assert cv2.getNumThreads() == threads


@pytest.mark.parametrize("measure", [psnr_db, ssim])
@pytest.mark.parametrize(
    ("restored", "sharp", "named"),
    [
        (flat(0, width=20), flat(0, width=21), r"\(32, 20, 3\) uint8.*\(32, 21, 3\) uint8"),
        (flat(0).astype(np.float32), flat(0), r"\(32, 32, 3\) float32.*\(32, 32, 3\) uint8"),
        (flat(0).astype(np.int8), flat(0).astype(np.int8), "int8"),
        (flat(0)[..., 0], flat(0)[..., 0], r"\(32, 32\)"),
        (flat(0)[..., :2], flat(0)[..., :2], r"\(32, 32, 2\)"),
        (flat(0)[:0], flat(0)[:0], r"\(0, 32, 3\)"),
    ],
)
def test_anything_but_two_frames_of_one_shape_is_refused(measure, restored, sharp, named):
    with pytest.raises(ValueError, match=named):
        measure(restored, sharp)


def test_ssim_refuses_frames_smaller_than_its_window():
    with pytest.raises(ValueError, match="at least 11x11 pixels: these are 20x10"):
        ssim(flat(0, height=10, width=20), flat(0, height=10, width=20))


def gridded(period, amplitude=4.0):
    """Two frames that differ in noise and in a pattern that repeats every so many pixels."""
    rng = np.random.default_rng(period)
    sharp = rng.integers(60, 200, (200, 333, 3), np.uint8)
    pattern = np.tile(rng.normal(0, 1, (period, period)), (200, 333))[:200, :333, None] if period > 1 else 0.0
    restored = sharp + rng.normal(0, 10, sharp.shape) + amplitude * pattern
    return restored.round().clip(0, 255).astype(np.uint8), sharp


@pytest.mark.parametrize("period", [2, 4, 8, 16])
def test_a_grid_stands_out(period):
    restored, sharp = gridded(period)
    assert grid_db(restored, sharp) > 10
    shifted = [np.ascontiguousarray(frame[3:-5, 7:]) for frame in (restored, sharp)]
    assert grid_db(*shifted) > 10, "wherever the frame was cut"


@pytest.mark.parametrize("period", [1, 3, 5, 7])
def test_errors_that_are_no_grid_do_not(period):
    assert abs(grid_db(*gridded(period))) < 2


def test_a_grid_is_told_whatever_the_size_of_the_error():
    rng = np.random.default_rng(0)
    sharp = np.full((256, 256, 3), 128, np.uint8)
    error = rng.normal(0, 6, (256, 256, 1))
    small, large = ((128 + k * error).round().clip(0, 255).astype(np.uint8) * np.ones(3, np.uint8) for k in (1, 3))
    assert grid_db(small, sharp) == pytest.approx(grid_db(large, sharp), abs=0.1)
    assert grid_db(sharp, sharp) == 0
    with pytest.raises(ValueError, match=f"at least {8 * GRID} pixels"):
        grid_db(sharp[:100], sharp[:100])
