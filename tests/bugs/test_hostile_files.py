"""Files that would run code, leave their folder or take all of the memory."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import videos
from PIL import Image

from detbench import results
from detbench.data import images, video
from detbench.gan import checkpoint
from detbench.gan.sources import load_folders
from detbench.publish import RESULTS
from detbench.results import Results
from detbench.types import DetbenchError


class Evil:
    """Pickled, it makes a file when it is read."""

    def __reduce__(self):
        return (Path.touch, (Path("made").absolute(),))


def test_a_training_checkpoint_runs_no_code(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"record": Evil()}, path)
    with pytest.raises(DetbenchError, match="is damaged, or no checkpoint"):
        checkpoint.planned(tmp_path)
    assert not Path("made").exists()


@pytest.mark.parametrize("name", ["../evil", "/tmp/detbench-evil", "a/../../evil"])
def test_results_do_not_leave_their_folder(tmp_path, name):
    path = tmp_path / RESULTS.name
    with tarfile.open(path, "w:xz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"evil"))
    with pytest.raises(DetbenchError, match="holds no results"):
        Results.load(path, tmp_path / "out" / "deep")
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "out" / "evil").exists()
    assert not Path("/tmp/detbench-evil").exists()


def test_results_link_nowhere(tmp_path):
    path = tmp_path / RESULTS.name
    with tarfile.open(path, "w:xz") as archive:
        entry = tarfile.TarInfo("run")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(entry)
    with pytest.raises(DetbenchError, match="holds no results"):
        Results.load(path, tmp_path / "out")
    assert not os.path.lexists(tmp_path / "out" / "run")


def test_archives_that_swell_are_refused(tmp_path, monkeypatch):
    (tmp_path / "packs").mkdir()
    with zipfile.ZipFile(tmp_path / "packs" / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("photos/a.png", bytes(10_000_000))
    with pytest.raises(DetbenchError, match="would unpack to"):
        load_folders([tmp_path / "packs"])
    monkeypatch.setattr(results, "LARGEST", 1000)
    with tarfile.open(tmp_path / "bomb.tar.xz", "w:xz") as archive:
        entry = tarfile.TarInfo("run/frames.csv")
        entry.size = 2000
        archive.addfile(entry, io.BytesIO(bytes(2000)))
    with pytest.raises(DetbenchError, match="unpack to more than"):
        Results.load(tmp_path / "bomb.tar.xz", tmp_path / "out")
    assert not (tmp_path / "out" / "run").exists()


def test_pictures_and_videos_of_any_size_are_refused(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DetbenchError, match="too large"):
        images.read_image(tmp_path / "a.png")
    source = videos.write(tmp_path / "a.mp4", videos.frames(2))
    monkeypatch.setattr(video, "PIXELS", 1000)
    with pytest.raises(DetbenchError, match="160x96 pixels: too large"):
        video.Reader(source)
