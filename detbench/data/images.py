"""Image files in and out: the only place that decodes or encodes one.

Every frame in the harness is an (H, W, 3) uint8 RGB array, whatever the file held:

- EXIF (or XMP) orientation is applied, so rows and columns are those a viewer shows. In a PNG it counts where it
  stands before the pixels, which is where browsers look for it too.
- 16-bit samples keep their high byte: exact for what was 8-bit once, within one grey level of rounding otherwise.
  Pillow does this to colour while decoding; grey is treated the same way here.
- Alpha is dropped, not composited: no background is truer than another, and the colours below it are the camera's.
- Grey, palette, CMYK and YCbCr become RGB; embedded colour profiles are ignored. Of an animation, the first frame.
"""

from __future__ import annotations

import io
import os
import re
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from detbench.counts import counted
from detbench.files import replacing
from detbench.progress import say
from detbench.types import DetbenchError

MIN_SIDE = 16
"""Images with a shorter side than this (in pixels) are refused."""

# PNG level 1 is five times as fast as the default on photographs, and the files are 2 % larger.
_ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".bmp": ("BMP", {}),
    ".jpeg": ("JPEG", {"quality": 95}),
    ".jpg": ("JPEG", {"quality": 95}),
    ".png": ("PNG", {"compress_level": 1}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".webp": ("WEBP", {"quality": 95, "method": 2}),  # half the time of the default, 1 % larger
}

MOST_PIXELS = {"JPEG": 65_500, "WEBP": 16_383}
"""How long a side may be, in pixels, by format."""

WRITTEN = frozenset(_ENCODERS)
"""Lower-case suffixes that :func:`write_image` writes."""

IMAGE_SUFFIXES = WRITTEN | {".jfif", ".jpe", ".jp2", ".j2k", ".ppm", ".pgm", ".pnm", ".tga", ".gif", ".avif"}
"""Lower-case suffixes that :func:`list_images` looks for, in any case."""

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm", ".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts"}
    | {".dv", ".wmv", ".flv", ".3gp", ".ogv"}
)
"""Lower-case suffixes of videos."""

OTHER_SUFFIXES = frozenset({".txt", ".json", ".csv", ".md", ".xml", ".yaml", ".yml", ".toml", ".html", ".log", ".py"})
"""Of files beside images that nobody takes for one; of all others it is said that they are left out."""

_FOREIGN = frozenset({"@eaDir", "#recycle", "__MACOSX", "$RECYCLE.BIN"})
"""Folders in which systems keep what is theirs."""

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})

_warnings_lock = threading.Lock()  # Python keeps warning filters per process, and frames are read by several threads


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Decode an image file, upright, as 8-bit RGB (see the module's docstring for every conversion).

    Args:
        path: an image file in any format Pillow reads; its content counts, not its suffix.

    Returns:
        (H, W, 3) uint8 RGB in [0, 255], contiguous and writable.

    Raises:
        DetbenchError: the file is missing, empty, truncated, not an image, smaller than 16x16, larger than Pillow's
            limit against decompression bombs, or holds samples without a known range (32-bit integers, floats).
    """
    with _opened(path) as (image, orientation):
        if orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
        return _to_rgb(image)


def image_size(path: str | Path) -> tuple[int, int]:
    """Read an image's size from its header, without decoding the pixels.

    Args:
        path: an image file.

    Returns:
        (H, W) in pixels, orientation applied: the shape :func:`read_image` would give.

    Raises:
        DetbenchError: as :func:`read_image`, but for what only the pixels show (a truncated file).
    """
    with _opened(path) as (image, orientation):
        width, height = image.size
        return (width, height) if orientation in _SIDEWAYS else (height, width)


def write_image(path: str | Path, frame: NDArray[np.uint8]) -> None:
    """Encode a frame into a file, which appears complete or not at all. Missing parent folders are made.

    Args:
        path: where to; the suffix (:data:`IMAGE_SUFFIXES`) names the format. JPEG and WebP get quality 95.
        frame: (H, W, 3) uint8 RGB.

    Raises:
        DetbenchError: an unknown suffix, or the file cannot be written (no space, no permission, ...).
    """
    path = Path(path)
    if path.suffix.lower() not in WRITTEN:
        raise DetbenchError(f"Cannot write {path}: name it with one of {', '.join(sorted(WRITTEN))}.")
    encoder, options = _ENCODERS[path.suffix.lower()]
    if max(frame.shape) > (most := MOST_PIXELS.get(encoder, 2**31)):
        height, width = frame.shape[:2]
        raise DetbenchError(
            f"Cannot write {path}: {width}x{height} is too large for {encoder} ({most:,} pixels a side). Name it .png."
        )
    try:
        with replacing(path) as partial:
            Image.fromarray(frame).save(partial, format=encoder, **options)
    except OSError as error:
        reason = error.strerror or error
        raise DetbenchError(f"Cannot write {path}: {reason}. Is there space, and may you write there?") from error


def pack(frame: NDArray[np.uint8]) -> bytes:
    """Encode a frame quickly and without loss: (H, W, 3) uint8 RGB of at most 16383 pixels a side."""
    # A photograph of 640x426 pixels takes 9 ms and 300 kB, and 5 ms to decode; as PNG of level 1, 17 ms, 430 kB, 7 ms.
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="WEBP", lossless=True, quality=0, method=0)
    return buffer.getvalue()


def unpack(data: bytes) -> NDArray[np.uint8]:
    """The inverse of :func:`pack`."""
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image)


def list_images(folder: str | Path, *, recursive: bool = False) -> list[Path]:
    """List the images of a folder in natural order (``2.png`` before ``10.png``).

    Args:
        folder: where to look for names with a suffix in :data:`IMAGE_SUFFIXES`, in any case. Hidden files and
            folders (names with a leading dot) are skipped: some systems leave files there that look like images.
        recursive: also look into its subfolders.

    Returns:
        Paths below ``folder``, at least one.

    Raises:
        DetbenchError: no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.exists():
        raise DetbenchError(f"There is no folder {folder}.")
    if not folder.is_dir():
        raise DetbenchError(f"{folder} is not a folder: give an existing folder of images.")
    found = below(folder) if recursive else (path for path in folder.iterdir() if path.is_file())
    files = [(path, parts) for path in found if not _hidden(parts := parts_below(path, folder))]
    suffixes = [path.suffix.lower() for path, _ in files]
    images = [each for each, suffix in zip(files, suffixes, strict=True) if suffix in IMAGE_SUFFIXES]
    known = IMAGE_SUFFIXES | VIDEO_SUFFIXES | OTHER_SUFFIXES
    others = Counter(suffix or "without a suffix" for suffix in suffixes if suffix not in known)
    kinds = ", ".join(f"{kind} ({count})" for kind, count in others.most_common())
    if not images:
        but = f"; what it holds cannot be read: {kinds}" if kinds else ""
        raise DetbenchError(
            f"{folder} holds no images: put some there ({_known_suffixes()}), or give another folder{but}."
        )
    if others:
        _say_once(f"{folder}: {counted(others.total(), 'file')} skipped: {kinds}")
    return [path for path, _ in sorted(images, key=lambda each: _natural_key(each[1]))]


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Image.Image, int]]:
    """Open an image; yield it with the EXIF orientation still to be applied (1: none).

    Whatever goes wrong before the end of the ``with`` block becomes a DetbenchError that names the file.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise DetbenchError(f"{path} is empty: replace it, or remove it.")
        with _warnings_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata, or large but within the limit: not worth a word
            image = Image.open(path)
            orientation = _orientation(image)
        with image:
            width, height = image.size
            if min(width, height) < MIN_SIDE:
                raise DetbenchError(
                    f"{path} is {width}x{height} pixels: images need at least {MIN_SIDE}x{MIN_SIDE}; remove it."
                )
            yield image, orientation
    except DetbenchError:
        raise
    except FileNotFoundError as error:
        raise DetbenchError(f"{path} does not exist: check the name.") from error
    except UnidentifiedImageError as error:
        raise DetbenchError(f"{path} is not an image that can be read: replace it, or remove it.") from error
    except Image.DecompressionBombError as error:
        raise DetbenchError(f"{path} is too large ({error}): scale it down.") from error
    except Exception as error:  # decoders meet damaged bytes with whatever exception comes first
        raise DetbenchError(f"{path} cannot be read ({error}): it may be damaged; replace it, or remove it.") from error


def _orientation(image: Image.Image) -> int:
    """The orientation Pillow leaves to us, from the header alone."""
    if image.format == "TIFF":  # turned while decoding, and the size is turned already
        return 1
    # Asked for a PNG's EXIF, Pillow decodes all pixels to see whether some follows them: hence the base class's method.
    with suppress(Exception):  # damaged metadata is no reason to refuse the pixels
        orientation = Image.Image.getexif(image).get(_ORIENTATION_TAG)
        if orientation in _UPRIGHT:
            return int(orientation)
    return 1


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode}: samples of unknown range, save it with 8 or 16 bits")
    if "transparency" in image.info:
        image = image.convert("RGBA")  # straight to RGB, Pillow would warn about the transparency it drops
    return np.array(image.convert("RGB"))


def below(folder: Path) -> Iterator[Path]:
    """All files below a folder, linked folders included (which ``rglob`` leaves out), each folder once."""
    seen, todo = {folder.resolve()}, [folder]
    while todo:
        here, folders = todo.pop(), list[Path]()
        entries = list[os.DirEntry[str]]()
        with suppress(OSError):  # what may not be read is nothing to us
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        for entry in entries:  # which know what they are, links apart: asking the disk takes half of a listing
            if os.path.isfile(entry) if entry.is_symlink() else entry.is_file():
                yield here / entry.name
            elif os.path.isdir(entry) if entry.is_symlink() else entry.is_dir():
                folders.append(here / entry.name)
        new = dict[Path, Path]()
        for each in sorted(folders, key=Path.is_symlink):
            new.setdefault(each.resolve(), each)  # two links may point at one folder
        todo += sorted((each for place, each in new.items() if place not in seen), reverse=True)  # or one may point up
        seen.update(new)


def parts_below(path: Path, folder: Path) -> tuple[str, ...]:
    """The parts of a path below a folder that it was found in: ``relative_to``'s, which takes most of a listing."""
    return path.parts[len(folder.parts) :]


def _hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith(".") or part in _FOREIGN for part in parts)


@lru_cache
def _say_once(message: str) -> None:
    say(message)


_DIGITS = re.compile(r"(\d+)")


def _natural_key(names: Sequence[str]) -> tuple[list[list[str | int]], str]:
    """Digits compare as numbers and case does not matter; the plain path decides between what is left equal.

    Two lines of our own, since natsort would be one package more on the bare machines that trainings must run on.
    """
    parts = [_DIGITS.split(part.casefold()) for part in names]
    return [[int(piece) if piece.isdecimal() else piece for piece in part] for part in parts], "/".join(names)


def _known_suffixes() -> str:
    return ", ".join(sorted(IMAGE_SUFFIXES))
