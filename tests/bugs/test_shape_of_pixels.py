"""Videos whose pixels are no squares came out squeezed, and turned ones lay on their side."""

from fractions import Fraction

import av
import pytest
import videos

from detbench.data.video import Reader
from detbench.deblur import deblur


def test_the_aspect_ratio_of_pixels_is_kept(tmp_path):
    source = videos.write(tmp_path / "in.mp4", videos.frames(3), sample_aspect_ratio=Fraction(4, 3))
    deblur(source, tmp_path / "out.mp4", lambda frames: frames)
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert out.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_video_stands_upright(tmp_path, degrees):
    import numpy as np

    upright = videos.frames(3)
    source = videos.write(tmp_path / "in.mp4", upright, rotation=degrees)
    found = list(Reader(source))
    turned = [np.rot90(frame, degrees // 90) for frame in upright]
    assert found[1].shape == turned[1].shape
    assert videos.psnr(found[1], turned[1]) > 35
    deblur(source, tmp_path / "out.mp4", lambda frames: frames)
    assert videos.psnr(next(iter(Reader(tmp_path / "out.mp4"))), turned[0]) > 35
