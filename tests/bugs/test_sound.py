"""Restored videos were silent."""

import av
import pytest
import videos

from detbench.deblur import deblur


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


@pytest.mark.parametrize(("codec", "suffix"), [("aac", ".mp4"), ("libmp3lame", ".mkv"), ("libopus", ".mkv")])
def test_sound_is_copied_bit_by_bit(tmp_path, codec, suffix):
    source = videos.write(tmp_path / f"in{suffix}", videos.frames(30), sound=codec)
    deblur(source, tmp_path / f"out{suffix}", lambda frames: frames)
    assert packets(tmp_path / f"out{suffix}") == packets(source) != []


def test_what_the_file_cannot_hold_becomes_aac(tmp_path, capsys):
    source = videos.write(tmp_path / "in.avi", videos.frames(30), sound="adpcm_ms")
    deblur(source, tmp_path / "out.mp4", lambda frames: frames)
    assert "becomes AAC" in capsys.readouterr().err
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert out.streams.audio[0].codec_context.name == "aac"
        heard = sum(frame.samples for frame in out.decode(audio=0))
    assert heard == pytest.approx(48_000, rel=0.1)
