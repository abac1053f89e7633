"""Videos with more than 65.535 frames a second could not be written, and odd rates were rounded."""

from fractions import Fraction

import pytest
import videos

from detbench.data.video import Reader
from detbench.deblur import deblur


@pytest.mark.parametrize("rate", [Fraction(200, 3), Fraction(196_263, 1000), Fraction(24_000, 1001), Fraction(240)])
def test_any_rate_is_kept(tmp_path, rate):
    source = videos.write(tmp_path / "in.mp4", videos.frames(9), rate=rate)
    deblur(source, tmp_path / "out.mp4", lambda frames: frames)
    times = [time for _, time in Reader(tmp_path / "out.mp4").timed()]
    assert times == pytest.approx([float(i / rate) for i in range(9)], abs=2e-4)
    assert float(Reader(tmp_path / "out.mp4").rate) == pytest.approx(float(rate), rel=1e-3)
