"""Interlaced video came out as no frames, or as memory that nobody had written to, with exit 0."""

import numpy as np
import pytest
import videos

from detbench.data.video import Reader


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("h264.mp4", {"x264_params": "interlaced=1:tff=1"}),
        ("mpeg2.mpg", {"codec": "mpeg2video", "flags": "+ildct+ilme"}),
        ("dv.avi", {"codec": "dvvideo", "rate": 25}),
    ],
)
def test_it_is_deinterlaced_and_said(tmp_path, capsys, name, options):
    size = (576, 720) if "dv" in name else (96, 160)
    shown = videos.frames(8, *size)
    reader = Reader(videos.write(tmp_path / name, shown, **options))
    found = list(reader)
    assert len(found) == len(shown)
    assert not reader.damage
    assert min(videos.psnr(a, b) for a, b in zip(found, shown, strict=True)) > 32
    assert "is interlaced: its frames are deinterlaced" in capsys.readouterr().err
    list(reader)
    assert "interlaced" not in capsys.readouterr().err  # once is enough


def test_fields_of_two_moments_do_not_comb(tmp_path):
    """Odd and even rows of two moments, as a camera of the kind makes them; a comb has strong rows to and fro."""
    moments = videos.frames(16, step=8)
    woven = []
    for first, second in zip(moments[::2], moments[1::2], strict=True):
        frame = first.copy()
        frame[1::2] = second[1::2]
        woven.append(frame)
    found = list(Reader(videos.write(tmp_path / "woven.mp4", woven, x264_params="interlaced=1:tff=1", crf="1")))

    def comb(frame):
        return np.abs(np.diff(frame.astype(float).mean(axis=2), 2, axis=0)).mean()

    assert comb(found[4]) < 0.5 * comb(woven[4])
