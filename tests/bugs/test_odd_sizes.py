"""Videos with odd sides lost a row or a column, or were not written at all."""

import videos

from detbench.data.video import Reader
from detbench.deblur import deblur


def test_every_row_and_column_is_kept(tmp_path, capsys):
    source = videos.write(tmp_path / "in.mp4", videos.frames(5, 97, 161), pix_fmt="yuv444p")
    deblur(source, tmp_path / "out.mp4", lambda frames: frames)
    found = list(Reader(tmp_path / "out.mp4"))
    assert {frame.shape for frame in found} == {(97, 161, 3)}
    assert min(map(videos.psnr, found, Reader(source))) > 40
    assert "161x97 is odd, which yuv444p keeps" in capsys.readouterr().err
