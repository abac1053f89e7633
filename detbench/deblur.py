"""Deblur a person's own files: an image, a folder of images, or a video."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detbench.data import images, video
from detbench.data.images import IMAGE_SUFFIXES, VIDEO_SUFFIXES, read_image, write_image
from detbench.data.video import Reader, Writer, ahead, media
from detbench.progress import track
from detbench.types import DetbenchError

Frame = NDArray[np.uint8]
Restore = Callable[[list[Frame]], list[Frame]]


def deblur(source: Path, target: Path, restore: Restore, overwrite: bool = False, codec: str = "libx264") -> int:
    """Restore a file or folder.

    Args:
        source: an image, a video, or a folder of images and videos (searched below, too).
        target: where the result goes: a file for a file, a folder for a folder. A file may also go into an
            existing folder, under its own name.
        restore: (H, W, 3) uint8 RGB frames of one size to the same.
        overwrite: take the place of files that are there.
        codec: FFmpeg's name of the encoder of videos.

    Returns:
        How many frames there are.

    Raises:
        DetbenchError: nothing to restore, an unreadable file, a target that would overwrite the source, or another
            file without ``overwrite``; or a damaged video, whose frames up to there are restored all the same.
    """
    if not source.exists():
        raise DetbenchError(f"{source} does not exist.")
    if source.is_dir():
        return _folder(source, target, restore, overwrite, codec)
    is_video = source.suffix.lower() in VIDEO_SUFFIXES
    if target.is_dir():
        target = target / _named(source)
    if is_video and target.suffix.lower() not in video.WRITTEN:
        raise DetbenchError(f"{target}: a video becomes a file that ends in {', '.join(video.WRITTEN)}.")
    _free({source: target}, overwrite)
    if source.suffix.lower() in IMAGE_SUFFIXES:
        write_image(target, restore([read_image(source)])[0])
        return 1
    if is_video:
        return _video(source, target, restore, codec)
    known = ", ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
    raise DetbenchError(f"{source} is neither an image nor a video that detbench reads ({known}).")


def _named(source: Path) -> str:
    """What a restored file is called: as it was, or .png or .mp4 where its kind is read and not written."""
    suffix = source.suffix.lower()
    if suffix in {*images.WRITTEN, *video.WRITTEN}:
        return source.name
    return f"{source.stem}{'.mp4' if suffix in VIDEO_SUFFIXES else '.png'}"


def _free(targets: Mapping[Path, Path], overwrite: bool) -> None:
    """See that no file is lost.

    Raises:
        DetbenchError: an output is an input, is there already, or is that of two inputs.
    """
    inputs: dict[Path, Path] = {}
    for source, target in targets.items():
        if target.exists() and target.samefile(source):
            raise DetbenchError(f"{target} is the input itself: choose another output.")
        if other := inputs.get(target):
            raise DetbenchError(f"{other} and {source} would both become {target}: rename one, or restore them apart.")
        inputs[target] = source
    there = [target for target in targets.values() if target.exists()]
    if there and not overwrite:
        more = f" and {len(there) - 1} more are" if len(there) > 1 else " is"
        raise DetbenchError(f"{there[0]}{more} there already: give --overwrite, or choose another output.")


def _folder(source: Path, target: Path, restore: Restore, overwrite: bool, codec: str) -> int:
    """Restore all images and videos below a folder; what cannot be read is named when the others are done."""
    if target.is_file():
        raise DetbenchError(f"{target} is a file, but {source} is a folder: name a folder.")
    if target.resolve().is_relative_to(source.resolve()):
        raise DetbenchError(f"{target} lies in the input {source}: choose a folder outside.")
    films, stills = media(source)
    paths, failures, count = [*stills, *films], [], 0
    targets = {path: target / path.relative_to(source).with_name(_named(path)) for path in paths}
    _free(targets, overwrite)
    for path in track(stills, len(stills), f"deblurring {source.name}") if stills else ():
        try:
            frame = read_image(path)
        except DetbenchError as error:
            failures.append(str(error))
        else:
            write_image(targets[path], restore([frame])[0])
            count += 1
    for path in films:
        try:
            count += _video(path, targets[path], restore, codec)
        except DetbenchError as error:
            failures.append(str(error))
    if failures:
        reasons = "\n".join(failures)
        kinds = "images" if not films else "files"
        raise DetbenchError(f"{len(failures)} of {len(paths)} {kinds} could not be restored, or not wholly:\n{reasons}")
    return count


def _video(source: Path, target: Path, restore: Restore, codec: str) -> int:
    """Restore a video frame by frame; decoding, restoring and encoding go on at once.

    Raises:
        DetbenchError: it cannot be read or written; or it is damaged, and what could be decoded is written.
    """
    reader, count = Reader(source), 0
    with ExitStack() as stack:
        writer = None
        for frame, time in track(ahead(reader.timed()), reader.count, f"deblurring {source.name}"):
            restored = restore([frame])[0]
            if writer is None:
                writer = stack.enter_context(Writer(target, restored.shape[:2], reader.rate, source, codec))
            writer.write(restored, time)
            count += 1
    if not count:
        raise DetbenchError(f"{source} holds no frames that can be read. {reader.damage}".strip())
    if reader.damage:
        of = f" of about {reader.count}" if reader.count > count else ""
        raise DetbenchError(f"{source}: {count}{of} frames are restored, in {target}: {reader.damage}.")
    return count
