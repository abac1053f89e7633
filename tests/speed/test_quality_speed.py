"""PSNR and SSIM beside scikit-image's, in turn in one process. Run by name: ``pytest -s tests/speed``."""

import statistics
from time import process_time  # of all threads; other work on the machine does not count

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from detbench.quality import psnr_db, ssim

REPEATS = 9


def ours(restored, sharp):
    return psnr_db(restored, sharp), ssim(restored, sharp)


def theirs(restored, sharp):
    psnr = peak_signal_noise_ratio(sharp, restored, data_range=255)
    return psnr, structural_similarity(
        restored, sharp, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2, data_range=255
    )


@pytest.fixture(params=["one thread", "default threads"])
def threads(request):
    default = cv2.getNumThreads()
    if request.param == "one thread":
        cv2.setNumThreads(1)
    yield request.param
    cv2.setNumThreads(default)


def test_psnr_and_ssim_at_720p(threads):
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    restored = cv2.GaussianBlur(sharp, (0, 0), 1)
    assert ours(restored, sharp) == pytest.approx(theirs(restored, sharp), abs=1e-9)

    seconds = {ours: [], theirs: []}
    for _ in range(REPEATS):
        for measure, taken in seconds.items():
            start = process_time()
            measure(restored, sharp)
            taken.append(process_time() - start)
    own, other = (statistics.median(taken) for taken in seconds.values())
    print(
        f"\nPSNR+SSIM 720p, {threads}: {other / own:.1f}x faster than skimage (need 6x), "
        f"{own * 1e3:.0f} against {other * 1e3:.0f} ms"
    )
    assert other / own >= 6
