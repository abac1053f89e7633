"""`detbench deblur clip.avi folder/` wrote over another video's clip.mp4, and two inputs over one output."""

import pytest
import videos

from detbench.data import images
from detbench.deblur import deblur
from detbench.types import DetbenchError


def same(frames):
    return frames


def test_a_file_that_is_there_is_kept(tmp_path):
    source = videos.write(tmp_path / "clip.avi", videos.frames(3))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "clip.mp4").write_bytes(b"another video")
    with pytest.raises(DetbenchError, match=r"clip\.mp4 is there already: give --overwrite"):
        deblur(source, tmp_path / "out", same)
    assert (tmp_path / "out" / "clip.mp4").read_bytes() == b"another video"
    assert deblur(source, tmp_path / "out", same, overwrite=True) == 3


def test_two_inputs_do_not_become_one_output(tmp_path):
    (tmp_path / "in").mkdir()
    for suffix in (".avi", ".mp4"):
        videos.write(tmp_path / "in" / f"clip{suffix}", videos.frames(3))
    with pytest.raises(DetbenchError, match=r"would both become"):
        deblur(tmp_path / "in", tmp_path / "out", same)
    assert not (tmp_path / "out").exists()


def test_a_folder_is_restored_again_only_if_asked(tmp_path):
    for name in "ab":
        images.write_image(tmp_path / "in" / f"{name}.png", videos.frames(1)[0])
    assert deblur(tmp_path / "in", tmp_path / "out", same) == 2
    with pytest.raises(DetbenchError, match=r"a\.png and 1 more are there already"):
        deblur(tmp_path / "in", tmp_path / "out", same)
    assert deblur(tmp_path / "in", tmp_path / "out", same, overwrite=True) == 2


def test_a_link_to_the_input_is_the_input(tmp_path):
    source = videos.write(tmp_path / "clip.mp4", videos.frames(3))
    (tmp_path / "link.mp4").symlink_to(source)
    with pytest.raises(DetbenchError, match="is the input itself"):
        deblur(source, tmp_path / "link.mp4", same, overwrite=True)


def test_what_a_killed_one_left_is_cleared_by_the_next(tmp_path):
    source = videos.write(tmp_path / "clip.mp4", videos.frames(3))

    def broken(frames):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deblur(source, tmp_path / "out.mp4", broken)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4"]
    (tmp_path / ".out.part.mp4").write_bytes(b"left by a process that was killed")
    deblur(source, tmp_path / "out.mp4", same)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "out.mp4"]
