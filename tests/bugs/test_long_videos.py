"""Memory grew with a video's length."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from detbench.data.video import Writer
from detbench.deblur import deblur
source, count = Path(sys.argv[1]), int(sys.argv[2])
frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
with Writer(source, frame.shape[:2], Fraction(30)) as writer:
    for i in range(count):
        writer.write(np.roll(frame, i, axis=1), Fraction(i, 30))
assert deblur(source, source.with_name("out.mp4"), lambda frames: frames, overwrite=True) == count
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow("videos of two lengths")
def test_memory_is_flat(tmp_path):
    peaks = []
    for count in (150, 1500):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / f"{count}.mp4"), str(count)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 20_000  # kilobytes; the frames of the longer one have 78,000 more
