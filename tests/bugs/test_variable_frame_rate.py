"""Videos with a variable frame rate came out with a constant one, too fast here and too slow there."""

import pytest
import videos

from detbench.data.video import Reader
from detbench.deblur import deblur


def test_each_frame_keeps_its_time(tmp_path):
    times = [0, 0.1, 0.133, 0.5, 0.533, 1.2]
    source = videos.write(tmp_path / "in.mp4", videos.frames(6), times=times)
    deblur(source, tmp_path / "out.mp4", lambda frames: frames)
    for path in (source, tmp_path / "out.mp4"):
        assert [float(time) for _, time in Reader(path).timed()] == pytest.approx(times, abs=1e-3)
