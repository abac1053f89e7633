"""Equal frames gave other bytes now and then: x264's macroblock tree read memory that nobody wrote (AVX-512)."""

from fractions import Fraction

import cv2
import numpy as np

from detbench.data.video import Writer


def test_equal_frames_give_equal_bytes(tmp_path):
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(0, 256, (30, 60, 3), np.uint8), (480, 240))
    places = np.clip(rng.integers(-8, 9, (24, 2)).cumsum(0) + 60, 0, 190)  # a camera that shakes
    shown = [np.ascontiguousarray(ground[y : y + 48, x : x + 192]) for y, x in places]
    made, kept = set(), []
    for _ in range(20):
        with Writer(tmp_path / "a.mp4", (48, 192), Fraction(30), crf="20") as writer:
            for i, frame in enumerate(shown):
                writer.write(frame, Fraction(i, 30))
        made.add((tmp_path / "a.mp4").read_bytes())
        kept = [rng.bytes(int(size)) for size in rng.integers(1000, 300_000, 20)]  # memory is not what it was
    assert kept
    assert len(made) == 1
