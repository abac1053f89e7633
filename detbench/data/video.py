"""Videos in: where they are, and their frames one after another, so that memory does not grow with their length."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detbench.data.images import VIDEO_SUFFIXES, list_images
from detbench.types import DetbenchError


def media(place: Path) -> tuple[list[Path], list[Path]]:
    """The videos and the pictures in a folder and below, or the one file.

    Raises:
        DetbenchError: there is nothing, or none of either.
    """
    if place.is_file():
        return ([place], []) if place.suffix.lower() in VIDEO_SUFFIXES else ([], [place])
    if not place.is_dir():
        raise DetbenchError(f"{place} does not exist: give a picture, a video or a folder of these.")
    films = sorted(path for path in place.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    try:
        return films, list_images(place, recursive=True)
    except DetbenchError:
        if not films:
            raise
        return films, []


class Reader:
    """A video's frames, read forwards.

    Args:
        path: of the video.

    Raises:
        DetbenchError: this OpenCV cannot decode it.
    """

    def __init__(self, path: Path) -> None:
        import cv2

        self._path, self._capture, self._next = path, cv2.VideoCapture(str(path)), 0
        self.count = max(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        """How many frames there are, as the file says."""
        self.frames_a_second: float = self._capture.get(cv2.CAP_PROP_FPS)
        """As the file says."""
        if not self._capture.isOpened() or not self.count:
            raise DetbenchError(f"{path} cannot be read as a video: is it whole, and can this OpenCV decode it?")

    def frame(self, number: int) -> NDArray[np.uint8]:
        """One frame, (H, W, 3) uint8 RGB; those before it are passed over, and to go back begins again.

        Raises:
            DetbenchError: the video ends before it.
        """
        import cv2

        if number < self._next:
            self._capture.release()
            self._capture, self._next = cv2.VideoCapture(str(self._path)), 0
        while self._next <= number:
            if not self._capture.grab():
                raise DetbenchError(
                    f"{self._path} ends before frame {number}: this OpenCV cannot decode all of it, or it is cut short."
                )
            self._next += 1
        return np.asarray(cv2.cvtColor(self._capture.retrieve()[1], cv2.COLOR_BGR2RGB), np.uint8)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """All frames that can be decoded, in order: the file may say more than there are."""
        number = 0
        while True:
            try:
                frame = self.frame(number)
            except DetbenchError:
                return
            yield frame
            number += 1
