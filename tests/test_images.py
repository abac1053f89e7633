"""Image files: what every kind of file becomes, and what is refused."""

import errno
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image

from detbench.data import images
from detbench.data.images import image_size, list_images, read_image, write_image
from detbench.types import DetbenchError

ORIENTATION_TAG = 0x0112
RNG = np.random.default_rng(0)
FRAME = RNG.integers(0, 256, (20, 33, 3), dtype=np.uint8)


def save(path, frame, mode=None, **options):
    image = Image.fromarray(frame)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def test_colour_comes_back_in_rgb_order(tmp_path):
    frame = np.zeros((16, 16, 3), np.uint8)
    frame[...] = (255, 128, 0)
    cv2.imwrite(str(tmp_path / "a.png"), frame[..., ::-1])  # OpenCV writes BGR: an outside witness
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), frame)


def test_frames_are_contiguous_and_writable(tmp_path):
    for mode in ("RGB", "L", "CMYK"):
        frame = read_image(save(tmp_path / f"{mode}.tif", FRAME, mode))
        assert frame.dtype == np.uint8 and frame.flags.c_contiguous and frame.flags.writeable


# The letter F's corner: a bright upper left quarter. What a viewer shows, by the TIFF specification's table.
@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, 1)),  # shown turned clockwise, so stored turned anticlockwise
        (7, lambda a: np.rot90(a, 2).transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a, -1)),
    ],
)
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_orientation_is_applied(tmp_path, orientation, stored, suffix):
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[:16, :32] = 200
    path = save(tmp_path / f"a.{suffix}", np.ascontiguousarray(stored(frame)), exif=exif)
    assert image_size(path) == (32, 64)
    shown = read_image(path)
    assert shown.shape == frame.shape
    assert np.abs(shown.astype(int) - frame).mean() < 3  # JPEG and WebP lose a little at the edge


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_is_scaled_to_8(tmp_path, suffix, channels):
    deep = RNG.integers(0, 65536, (20, 33, channels), dtype=np.uint16)
    deep[0, :8] = np.array([0, 255, 256, 257, 32767, 32768, 65279, 65535], np.uint16)[:, None]
    path = tmp_path / f"a.{suffix}"
    assert cv2.imwrite(str(path), deep)
    frame = read_image(path)
    rgb = np.broadcast_to(deep[..., :3][..., ::-1], (20, 33, 3))
    assert frame.shape == (20, 33, 3)
    assert np.abs(frame - rgb / 257).max() < 1  # 257 = 65535 / 255
    assert frame[0, 0].tolist() == [0, 0, 0] and frame[0, 7].tolist() == [255, 255, 255]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_8_bit_levels_stored_in_16_bits_are_exact(tmp_path, suffix):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for deep in (levels, np.stack([levels] * 3, axis=2)):
        cv2.imwrite(str(tmp_path / f"a.{suffix}"), deep.astype(np.uint16) * 257)
        np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), np.stack([levels] * 3, axis=2))


def test_16_bit_grey_and_colour_agree(tmp_path):
    grey = RNG.integers(0, 65536, (20, 33), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    cv2.imwrite(str(tmp_path / "colour.png"), np.stack([grey] * 3, axis=2))
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), read_image(tmp_path / "colour.png"))


def test_grey_is_repeated_in_every_channel(tmp_path):
    grey = FRAME[..., 0]
    frame = read_image(save(tmp_path / "a.png", grey))
    np.testing.assert_array_equal(frame, np.stack([grey] * 3, axis=2))


def test_bilevel_is_black_and_white(tmp_path):
    frame = read_image(save(tmp_path / "a.png", (FRAME[..., 0] > 127).astype(np.uint8) * 255, "1"))
    np.testing.assert_array_equal(frame[..., 1], np.where(FRAME[..., 0] > 127, 255, 0))


def test_palette_becomes_its_colours(tmp_path):
    palette = Image.new("P", (33, 20), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "a.png")
    palette.save(tmp_path / "b.png", transparency=b"\x00\x80")  # Pillow would warn about these
    for name in ("a.png", "b.png"):
        assert (read_image(tmp_path / name) == (10, 20, 30)).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_alpha_is_dropped(tmp_path, suffix):
    rgba = np.dstack([FRAME, RNG.integers(0, 256, (20, 33), dtype=np.uint8)])
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    np.testing.assert_array_equal(read_image(save(tmp_path / f"a.{suffix}", rgba, **options)), FRAME)


def test_grey_alpha_is_dropped(tmp_path):
    la = Image.merge("LA", [Image.fromarray(FRAME[..., 0]), Image.fromarray(FRAME[..., 1])])
    la.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 2], FRAME[..., 0])


def test_cmyk_becomes_rgb(tmp_path):
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    frame = read_image(save(tmp_path / "a.jpg", red, "CMYK", quality=100))
    assert np.abs(frame.astype(int) - red).max() <= 4


@pytest.mark.parametrize(("suffix", "options"), [("png", {}), ("jpg", {}), ("bmp", {}), ("tif", {}), ("webp", {})])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.7, 0.98])
def test_truncated_files_are_refused_by_name(tmp_path, suffix, options, kept):
    path = save(tmp_path / f"cut.{suffix}", FRAME, **options)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(DetbenchError, match=rf"cut\.{suffix}.*(replace|remove)"):
        read_image(path)


def test_not_an_image(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_text("<html>404</html>")
    for read in (read_image, image_size):
        with pytest.raises(DetbenchError, match=r"a\.jpg is not an image"):
            read(path)


def test_empty_file(tmp_path):
    (tmp_path / "a.png").touch()
    for read in (read_image, image_size):
        with pytest.raises(DetbenchError, match=r"a\.png is empty"):
            read(tmp_path / "a.png")


def test_missing_file_and_folder_in_its_place(tmp_path):
    for read in (read_image, image_size):
        with pytest.raises(DetbenchError, match=r"b\.png does not exist"):
            read(tmp_path / "b.png")
        with pytest.raises(DetbenchError, match="cannot be read"):
            read(tmp_path)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (15, 100), (100, 15)])
def test_small_images_are_refused_with_their_size(tmp_path, height, width):
    path = save(tmp_path / "a.png", np.zeros((height, width, 3), np.uint8))
    for read in (read_image, image_size):
        with pytest.raises(DetbenchError, match=rf"a\.png is {width}x{height} pixels.*16x16"):
            read(path)


def test_16x16_is_large_enough(tmp_path):
    assert read_image(save(tmp_path / "a.png", FRAME[:16, :16])).shape == (16, 16, 3)


def test_samples_of_unknown_range_are_refused(tmp_path):
    path = save(tmp_path / "a.tif", np.zeros((16, 16), np.float32))
    with pytest.raises(DetbenchError, match=r"a\.tif.*8 or 16 bits"):
        read_image(path)


def test_decompression_bombs_are_refused_and_large_images_read_in_silence(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", FRAME)  # 660 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # Pillow warns above this ...
    assert read_image(path).shape == FRAME.shape
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)  # ... and refuses above twice this
    for read in (read_image, image_size):
        with pytest.raises(DetbenchError, match=r"a\.png is too large.*scale it down"):
            read(path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_damaged_exif_does_not_matter(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", FRAME, exif=b"Exif\0\0rubbish")
    assert image_size(path) == read_image(path).shape[:2] == (20, 33)


def test_image_size_decodes_no_pixels(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", FRAME)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    assert image_size(path) == (20, 33)


def test_threads_read_the_same(tmp_path):
    path = save(tmp_path / "a.png", FRAME)
    with ThreadPoolExecutor(8) as pool:
        frames = list(pool.map(read_image, [path] * 64))
    assert all((frame == FRAME).all() for frame in frames)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF", ".PNG"])
def test_lossless_formats_survive_a_round_trip(tmp_path, suffix):
    path = tmp_path / "new" / "folder" / f"a{suffix}"
    write_image(path, FRAME)
    np.testing.assert_array_equal(read_image(path), FRAME)


def test_jpeg_has_quality_95(tmp_path):
    write_image(tmp_path / "a.jpg", FRAME)
    save(tmp_path / "b.jpg", FRAME, quality=95)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_unknown_suffix_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(DetbenchError, match=r"a\.xyz.*\.png"):
        write_image(tmp_path / "sub" / "a.xyz", FRAME)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch, failure):
    path = tmp_path / "a.png"
    write_image(path, FRAME)

    def save_half(self, target, **options):
        target.write_bytes(b"half")
        raise failure

    monkeypatch.setattr(Image.Image, "save", save_half)
    with pytest.raises(DetbenchError if isinstance(failure, OSError) else KeyboardInterrupt) as caught:
        write_image(path, FRAME[::-1])
    if isinstance(failure, OSError):
        assert "a.png" in str(caught.value) and "No space left on device" in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(read_image(path), FRAME)


def test_listing_is_natural_and_by_suffix(tmp_path):
    names = ["10.png", "2.PNG", "1.jpeg", "a10b2.png", "a2b10.png", "a2b9.png", "B1.webp", "01.jpeg"]
    for name in [*names, "notes.txt", ".hidden.png", "._2.png", "10.png.tmp"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = [path.name for path in list_images(tmp_path)]
    assert found == ["01.jpeg", "1.jpeg", "2.PNG", "10.png", "a2b9.png", "a2b10.png", "a10b2.png", "B1.webp"]


def test_listing_subfolders_only_when_asked(tmp_path):
    for name in ["clip10/1.png", "clip2/10.png", "clip2/9.png", ".cache/1.png", "3.png"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path) == [tmp_path / "3.png"]
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path, recursive=True)]
    assert found == ["3.png", "clip2/9.png", "clip2/10.png", "clip10/1.png"]


def test_a_folder_below_a_hidden_one_can_be_listed(tmp_path):
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "1.png").touch()
    assert [path.name for path in list_images(tmp_path / ".cache")] == ["1.png"]


def test_no_images_and_no_folder(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DetbenchError, match=rf"{tmp_path.name} holds no images.*\.png"):
        list_images(tmp_path)
    for name, message in {"gone": "There is no folder .*gone", "notes.txt": r"notes\.txt is not a folder"}.items():
        with pytest.raises(DetbenchError, match=message):
            list_images(tmp_path / name)


def test_every_listed_suffix_can_be_written_and_read(tmp_path):
    for suffix in images.WRITTEN:
        write_image(tmp_path / f"a{suffix}", FRAME)
    assert [read_image(path).shape for path in list_images(tmp_path)] == [FRAME.shape] * 7


def test_importing_it_stays_light():
    code = "import sys, detbench.data.images; print([m for m in ('torch', 'cv2') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
