"""Whether blurred frames lie where the sharp ones do, told under shake."""

import numpy as np
import pytest

from detbench.data import alignment, blur, degrade
from detbench.data.images import read_image


def moved(frame, x, y):
    import cv2

    height, width = frame.shape[:2]
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(frame, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


@pytest.mark.slow("shakes and looks at 64 frames")
@pytest.mark.parametrize("px", [4, 8, 14, 20])
def test_planted_shifts_are_found_under_shake(street, px):
    rng = np.random.default_rng(px)
    for planted in (0, 0.5, 1, 2):
        errors = []
        for pair in [pair for pair in street.pairs if pair.clip != "motorway"][::12]:
            shaken = degrade.shaken(read_image(pair.sharp), blur.trajectories(1, rng), px, 0.2, 25)
            way = planted * np.exp(2j * np.pi * rng.random())
            found = alignment.shift(moved(shaken, way.real, way.imag), read_image(pair.sharp))
            errors.append(abs(complex(*found) - way))
        assert np.median(errors) <= 0.5, (planted, errors)
        assert np.median(errors) < 0.25 or px == 20


def test_frames_of_no_structure_are_not_shifted():
    flat = np.full((64, 64, 3), 90, np.uint8)
    assert alignment.shift(flat, flat) == (0, 0)


def test_the_mean_is_over_a_sample_of_all_clips(street, monkeypatch):
    looked = []
    monkeypatch.setattr(alignment, "shift", lambda blurred, sharp: looked.append(1) or (3.0, 4.0))
    assert alignment.mean_shift(street.pairs) == 5
    assert len(looked) == alignment.SAMPLE
    assert alignment.mean_shift(street.pairs[:3]) == 5
    assert len(looked) == alignment.SAMPLE + 3
