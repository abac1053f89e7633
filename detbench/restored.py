"""Frames that somebody restored elsewhere, in the place of a deblurer: ``frames:DIR``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detbench.data import video
from detbench.data.hashes import hash_files
from detbench.data.images import VIDEO_SUFFIXES, read_image
from detbench.data.pairing import ids_of, some
from detbench.types import DetbenchError, FramePair

PREFIX = "frames:"
"""What the name of such a deblurer begins with; a folder or a video follows."""


def place(name: str) -> Path:
    """Where the frames lie.

    Raises:
        DetbenchError: there is nothing.
    """
    path = Path(name.removeprefix(PREFIX)).expanduser()
    if not path.is_dir() and not (path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES):
        raise DetbenchError(f"{name}: {path} is neither a folder of images nor a video.")
    return path


def fingerprint(name: str) -> str:
    """SHA-256 (hexadecimal) of the frames' files."""
    path = place(name)
    films, stills = video.media(path)
    return hash_files([*stills, *films], path if path.is_dir() else path.parent)


class RestoredFrames:
    """Gives the frames that lie in a folder, or in videos, in place of restoring any.

    Images are matched by name: their path below the folder without suffix, ``/`` as ``-``, is the frame's id, or, where
    that is in no id, the file's name alone. A video has the name of a clip and the clip's frames in their order; where
    a single video is given, the dataset's.

    Args:
        name: as for :func:`place`.
        pairs: of the dataset, all that are scored.

    Raises:
        DetbenchError: frames are missing, or files are named as no frame; the message lists them.
    """

    def __init__(self, name: str, pairs: Sequence[FramePair]) -> None:
        self._name, path = name, place(name)
        self._images: dict[str, Path] = {}
        self._videos: dict[str, tuple[video.Reader, int]] = {}
        if path.is_file():
            self._take_video(path, [pair.id for pair in pairs])
            return
        films, stills = video.media(path)
        ids = ids_of([file.relative_to(path).as_posix() for file in stills], [pair.id for pair in pairs])
        self._images = {id: file for id, file in zip(ids, stills, strict=True) if id}
        unknown = [file for id, file in zip(ids, stills, strict=True) if not id]
        for film in films:
            if of_clip := [pair.id for pair in pairs if pair.clip == film.stem]:
                self._take_video(film, of_clip)
            else:
                unknown.append(film)
        missing = [Path(pair.id) for pair in pairs if pair.id not in self._images and pair.id not in self._videos]
        if missing:
            strange = f" Files that are named as no frame: {some(unknown)}." if unknown else ""
            raise DetbenchError(f"{name} lacks {len(missing)} of {len(pairs)} frames: {some(missing)}.{strange}")

    def __call__(self, pairs: Sequence[FramePair], blurred: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """Frames of these pairs, which must have the size of the blurred ones: (H, W, 3) uint8 RGB each."""
        frames = [self._frame(pair.id) for pair in pairs]
        for pair, frame, given in zip(pairs, frames, blurred, strict=True):
            if frame.shape != given.shape:
                (height, width), (h, w) = frame.shape[:2], given.shape[:2]
                raise DetbenchError(f"{self._name}: {pair.id} is {width}x{height}, and the blurred frame {w}x{h}.")
        return frames

    def _frame(self, id: str) -> NDArray[np.uint8]:
        if id in self._images:
            return read_image(self._images[id])
        reader, number = self._videos[id]
        return reader.frame(number)

    def _take_video(self, path: Path, ids: Sequence[str]) -> None:
        reader = video.Reader(path)
        if reader.count != len(ids):
            raise DetbenchError(f"{path} has {reader.count} frames, and {len(ids)} are wanted: {ids[0]} to {ids[-1]}.")
        self._videos |= {id: (reader, number) for number, id in enumerate(ids)}
