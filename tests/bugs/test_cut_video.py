"""Of a video that was cut short, or damaged in the middle, a part was written with exit 0, or nothing at all."""

import pytest
import videos

from detbench.data.video import Reader
from detbench.deblur import deblur
from detbench.types import DetbenchError


@pytest.fixture
def whole(tmp_path):
    return videos.write(tmp_path / "whole.mp4", videos.frames(60), file={"movflags": "faststart"}, g="10", bf="0")


def test_what_can_be_decoded_is_written_and_the_rest_said(whole, tmp_path):
    # The index first, as in a download that broke off.
    data = whole.read_bytes()
    media = data.index(b"mdat")
    cut = tmp_path / "cut.mp4"
    assert data.index(b"moov") < media
    cut.write_bytes(data[: media + (len(data) - media) // 2])
    with pytest.raises(DetbenchError, match=r"\d\d of about 60 frames are restored, .* 00:00:0\d\.\d"):
        deblur(cut, tmp_path / "out.mp4", lambda frames: frames)
    written = Reader(tmp_path / "out.mp4")
    assert 10 < len(list(written)) < 50
    assert not written.damage
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_what_follows_damage_is_decoded(whole, tmp_path):
    data = bytearray(whole.read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 3
    data[middle : middle + 300] = b"\xff" * 300
    hurt = tmp_path / "hurt.mp4"
    hurt.write_bytes(data)
    reader = Reader(hurt)
    found = list(reader)
    assert len(found) > 40
    assert videos.psnr(found[-1], videos.frames(60)[-1]) > 30


def test_no_duration_is_no_negative_number(tmp_path):
    source = videos.write(tmp_path / "in.ts", videos.frames(5))
    assert Reader(source).count >= 0
    assert deblur(source, tmp_path / "out.mp4", lambda frames: frames) == 5
