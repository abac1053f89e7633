"""Deblur a person's own files: an image, a folder of images, or a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detbench import quality
from detbench.data.images import IMAGE_SUFFIXES, VIDEO_SUFFIXES, list_images, read_image, write_image
from detbench.files import replacing
from detbench.progress import track
from detbench.types import DetbenchError

Frame = NDArray[np.uint8]
Restore = Callable[[list[Frame]], list[Frame]]


class OnlyBlurred:
    """Restores the frames that measure blurred, and leaves the others as they are.

    Args:
        restore: (H, W, 3) uint8 RGB frames of one size to the same.
        below: frames whose :func:`detbench.quality.sharpness` is below this are restored.

    Attributes:
        left: how many frames were left as they are.
    """

    def __init__(self, restore: Restore, below: float = quality.SHARP) -> None:
        self.left = 0
        self._restore, self._below = restore, below

    def __call__(self, frames: list[Frame]) -> list[Frame]:
        """The frames, restored or not."""
        made = [self._restore([f])[0] if quality.sharpness(f) < self._below else f for f in frames]
        self.left += sum(new is old for new, old in zip(made, frames, strict=True))
        return made


def deblur(source: Path, target: Path, restore: Restore) -> int:
    """Restore a file or folder.

    Args:
        source: an image, a video, or a folder of images (searched below, too).
        target: where the result goes: a file for a file, a folder for a folder. A file may also go into an
            existing folder, under its own name.
        restore: (H, W, 3) uint8 RGB frames of one size to the same.

    Returns:
        How many frames there are.

    Raises:
        DetbenchError: nothing to restore, an unreadable file, or a target that would overwrite the source.
    """
    if not source.exists():
        raise DetbenchError(f"{source} does not exist.")
    if source.is_dir():
        return _folder(source, target, restore)
    is_video = source.suffix.lower() in VIDEO_SUFFIXES
    if target.is_dir():
        target = target / (f"{source.stem}.mp4" if is_video else source.name)
    if target.exists() and target.samefile(source):
        raise DetbenchError(f"{target} is the input itself: choose another output.")
    if source.suffix.lower() in IMAGE_SUFFIXES:
        write_image(target, restore([read_image(source)])[0])
        return 1
    if is_video:
        return _video(source, target, restore)
    known = ", ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
    raise DetbenchError(f"{source} is neither an image nor a video that detbench reads ({known}).")


def _folder(source: Path, target: Path, restore: Restore) -> int:
    """Restore all images below a folder; those that cannot be read are named when the others are done."""
    if target.is_file():
        raise DetbenchError(f"{target} is a file, but {source} is a folder: name a folder.")
    if target.resolve().is_relative_to(source.resolve()):
        raise DetbenchError(f"{target} lies in the input {source}: choose a folder outside.")
    paths, failures = list_images(source, recursive=True), []
    for path in track(paths, len(paths), f"deblurring {source.name}"):
        try:
            frame = read_image(path)
        except DetbenchError as error:
            failures.append(str(error))
        else:
            write_image(target / path.relative_to(source), restore([frame])[0])
    if failures:
        reasons = "\n".join(failures)
        raise DetbenchError(f"{len(failures)} of {len(paths)} images could not be restored:\n{reasons}")
    return len(paths)


def _video(source: Path, target: Path, restore: Restore) -> int:
    """Restore a video frame by frame into an MP4 of the same size and frame rate; sound is not kept."""
    import cv2

    if target.suffix.lower() != ".mp4":
        raise DetbenchError(f"{target}: videos are written as .mp4.")
    capture = cv2.VideoCapture(str(source))
    size = tuple(int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if not capture.isOpened() or not all(size):
        raise DetbenchError(f"{source} cannot be read as a video: is it complete, and its codec known to OpenCV?")
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    count = 0
    with replacing(target) as partial:
        writer = cv2.VideoWriter(str(partial), cv2.VideoWriter.fourcc(*"mp4v"), rate, (size[0], size[1]))
        try:
            if not writer.isOpened():
                raise DetbenchError(f"{target} cannot be written: is the folder writable?")
            for frame in track(_frames(capture), total, f"deblurring {source.name}"):
                writer.write(cv2.cvtColor(restore([frame])[0], cv2.COLOR_RGB2BGR))
                count += 1
        finally:
            writer.release()
            capture.release()
        if not count:
            raise DetbenchError(f"{source} holds no frames that can be read.")
    return count


def _frames(capture) -> Iterator[Frame]:  # type: ignore[no-untyped-def]  # noqa: ANN001  (cv2 has no stubs)
    """RGB frames of an open video."""
    import cv2

    while True:
        ok, frame = capture.read()
        if not ok:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
