"""Formats that were not listed were left out without a word; folders of the system's own were scored."""

import numpy as np
import pytest
from PIL import Image, features

from detbench.data import images
from detbench.deblur import deblur
from detbench.types import DetbenchError


def picture(path, **options):
    ground = np.indices((48, 64)).sum(axis=0).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.stack([ground, ground[::-1], 255 - ground], axis=2)).save(path, **options)


@pytest.mark.parametrize("suffix", [".jfif", ".ppm", ".tga", ".jp2", ".gif", ".avif"])
def test_they_are_read(tmp_path, suffix):
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    picture(tmp_path / "in" / f"a{suffix}")
    assert [path.name for path in images.list_images(tmp_path / "in")] == [f"a{suffix}"]
    assert images.read_image(tmp_path / "in" / f"a{suffix}").shape == (48, 64, 3)
    assert deblur(tmp_path / "in", tmp_path / "out", lambda frames: frames) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


def test_what_is_left_out_is_counted_and_named(tmp_path, capsys):
    for name in ("a.png", "b.heic", "c.heic", "d.exr", "notes.txt", "clip.mp4"):
        picture(tmp_path / "in" / name, format="PNG")
    assert len(images.list_images(tmp_path / "in")) == 1
    assert "3 files skipped: .heic (2), .exr (1)" in capsys.readouterr().err
    (tmp_path / "in" / "a.png").unlink()
    with pytest.raises(DetbenchError, match=r"cannot be read: \.heic \(2\), \.exr \(1\)"):
        images.list_images(tmp_path / "in")


def test_folders_of_the_systems_own_are_none_of_ours(tmp_path):
    for folder in ("", "@eaDir", ".thumbnails", "__MACOSX"):
        picture(tmp_path / folder / "a.png")
    assert images.list_images(tmp_path, recursive=True) == [tmp_path / "a.png"]


def test_a_link_that_points_up_is_followed_once(tmp_path):
    """Three frames were scored as 123."""
    for name in "abc":
        picture(tmp_path / "in" / "deep" / f"{name}.png")
    (tmp_path / "in" / "deep" / "up").symlink_to(tmp_path / "in")
    assert len(images.list_images(tmp_path / "in", recursive=True)) == 3
    (tmp_path / "elsewhere").symlink_to(tmp_path / "in")
    assert len(images.list_images(tmp_path, recursive=True)) == 3  # two ways to one folder


@pytest.mark.parametrize(
    ("mode", "options"), [("P", {}), ("CMYK", {"format": "JPEG"}), ("RGBA", {}), ("L", {}), ("1", {}), ("LA", {})]
)
def test_every_mode_becomes_rgb(tmp_path, mode, options):
    ground = Image.fromarray(np.full((48, 64, 3), (200, 60, 20), np.uint8))
    ground.convert(mode).save(tmp_path / ("a.jpg" if options else "a.png"), **options)
    frame = images.read_image(tmp_path / ("a.jpg" if options else "a.png"))
    assert (frame.shape, frame.dtype) == ((48, 64, 3), np.uint8)
    if mode in ("P", "CMYK", "RGBA"):
        assert np.abs(frame.mean(axis=(0, 1)) - (200, 60, 20)).max() < 12
