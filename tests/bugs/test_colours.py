"""Videos lost their colour range and matrix, and with them contrast and hue."""

import av
import pytest
import videos

from detbench.data.video import CRF, Reader, Writer
from detbench.deblur import deblur


@pytest.mark.parametrize(("range_", "matrix"), [(1, 1), (1, 6), (2, 1), (0, 2)])
def test_range_and_matrix_are_kept(tmp_path, range_, matrix):
    source = videos.write(tmp_path / "in.mp4", videos.frames(4), color_range=range_, colorspace=matrix, crf="1")
    deblur(source, tmp_path / "out.mp4", lambda frames: frames)
    with av.open(str(tmp_path / "out.mp4")) as out:
        context = out.streams.video[0].codec_context
        assert (context.color_range, context.colorspace) == (range_ or 1, matrix if matrix != 2 else 6)
    for one, other in zip(Reader(source), Reader(tmp_path / "out.mp4"), strict=True):
        # FFmpeg rounds the chroma of a full range down, by half a level; another matrix would shift it by ten.
        assert abs(one.reshape(-1, 3).mean(0) - other.reshape(-1, 3).mean(0)).max() < 2


def test_of_more_bits_the_upper_eight_are_read(tmp_path, capsys):
    source = videos.write(tmp_path / "in.mkv", videos.frames(3), pix_fmt="yuv420p10le", colorspace=6, color_range=1)
    found = list(Reader(source))
    assert videos.psnr(found[1], videos.frames(3)[1]) > 33
    assert "10 bits a channel: the upper 8 are kept" in capsys.readouterr().err


def test_what_is_decoded_is_near_what_was_encoded(tmp_path, street):
    """In luma and chroma, as the file has them: from the restored frame it is a third of its chroma away already."""
    from detbench.data import images

    assert CRF == "6"
    given = [images.read_image(pair.sharp) for pair in street.pairs[:6]]
    height, width = (min(frame.shape[side] for frame in given) // 2 * 2 for side in (0, 1))
    given = [frame[:height, :width] for frame in given]
    with Writer(tmp_path / "out.mp4", (height, width), 30) as writer:
        for i, frame in enumerate(given):
            writer.write(frame, i / 30)
    with av.open(str(tmp_path / "out.mp4")) as out:
        decoded = [frame.to_ndarray() for frame in out.decode(video=0)]
    for frame, found in zip(given, decoded, strict=True):
        encoded = av.VideoFrame.from_ndarray(frame.copy(), format="rgb24")
        encoded = encoded.reformat(format="yuv420p", dst_colorspace=6, dst_color_range=1).to_ndarray()
        assert videos.psnr(encoded, found) >= 45
