"""Folders as the field's datasets are published: which frames are partners, and which come from one clip.

Each recogniser takes a folder and gives its pairs, or nothing where it is not of that layout. Where the papers say
which part is for tests, that part is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detbench.data.images import image_size, list_images, read_image
from detbench.data.pairing import pair_folders, refuse_lonely, some
from detbench.types import DetbenchError, FramePair

ALIKE = 0.9
"""Correlation from which two halves, reduced to a few pixels, show the same: blur changes that little."""

SIDE_BY_SIDE_SAMPLE = 8
"""So many images are looked at to tell whether images hold a blurred and a sharp half."""


@dataclass(frozen=True)
class Layout:
    """What was found in a folder.

    Attributes:
        name: of the layout.
        pairs: the frames.
        halves: whether ``blurred`` and ``sharp`` are one image of both halves, which are to be cut apart.
        flat: whether frames that lie in no folder of their own may be of one clip all the same.
        note: what was chosen where there was a choice.
    """

    name: str
    pairs: tuple[FramePair, ...]
    halves: bool = False
    flat: bool = False
    note: str = ""


def recognise(folder: Path) -> Layout | None:
    """The layout of a folder; None if it is none of these.

    Raises:
        DetbenchError: two layouts at once, half a tree, or a list that names missing files.
    """
    found = [layout for recogniser in RECOGNISERS if (layout := recogniser(folder))]
    if len(found) > 1:
        names = " and ".join(layout.name for layout in found)
        raise DetbenchError(f"{folder} has the layouts of {names} at once: give the folder of one of them.")
    return found[0] if found else None


def plain(folder: Path) -> Layout | None:
    """Two folders, ``blur/`` and ``sharp/`` or ``input/`` and ``target/``; folders below these are clips.

    Where there are none below, numbered images of one name are frames of one clip.
    """
    for blurred, sharp in (("blur", "sharp"), ("input", "target")):
        there = [(folder / side).is_dir() for side in (blurred, sharp)]
        if all(there):
            return Layout("pairs", _matched(folder / blurred, folder / sharp), flat=True)
        if any(there):
            missing = folder / (blurred if there[1] else sharp)
            alone = "" if there[0] else f" Sharp frames alone: --dataset {folder / sharp} --blur shake."
            raise DetbenchError(f"{missing} does not exist: a dataset folder holds {sharp}/ and {blurred}/.{alone}")
    return None


def gopro(folder: Path) -> Layout | None:
    """Nah et al. 2017, GOPRO_Large: ``test/CLIP/{blur,blur_gamma,sharp}``; a single clip's parent does, too.

    ``blur_gamma`` is taken only where there is no ``blur``, as in papers that do not say which they took.
    """
    return _by_clip(folder, "GoPro", ("blur", "blur_gamma"), "sharp")


def dvd(folder: Path) -> Layout | None:
    """Su et al. 2017, DeepVideoDeblurring: ``quantitative_datasets/CLIP/{input,GT}``."""
    inner = folder / "quantitative_datasets"
    return _by_clip(inner if inner.is_dir() else folder, "DVD", ("input",), "GT")


def reds(folder: Path) -> Layout | None:
    """Nah et al. 2019: ``val/val_blur/SEQUENCE`` and ``val/val_sharp/SEQUENCE``; of several parts, not ``train``."""
    for part in ("val", "test", "train"):
        for base in (folder / part, folder):
            blurred, sharp = base / f"{part}_blur", base / f"{part}_sharp"
            if blurred.is_dir() and sharp.is_dir():
                return Layout("REDS", _matched(blurred, sharp), note=f"{part}_blur and {part}_sharp")
            if blurred.is_dir():  # of the official test part no sharp frames are public
                raise DetbenchError(f"{blurred} has no {sharp} beside it: add the sharp frames.")
    return None


def hide(folder: Path) -> Layout | None:
    """Shen et al. 2019: blurred frames in ``test/`` and folders below, sharp ones of the same name in ``GT/``.

    A frame is called ``7fromGOPR0950.png``: what it is from is its clip.
    """
    blurred, sharp = folder / "test", folder / "GT"
    if not (blurred.is_dir() and sharp.is_dir()):
        return None
    by_name = {path.stem: path for path in list_images(sharp)}
    frames = list_images(blurred, recursive=True)
    refuse_lonely([path for path in frames if path.stem not in by_name], sharp)
    pairs = []
    for path in frames:
        clip = re.match(r"\d+from(.+)", path.stem)
        pairs.append(FramePair(path.stem, by_name[path.stem], path, clip[1] if clip else path.stem))
    return Layout("HIDE", tuple(pairs))


def realblur(folder: Path) -> Layout | None:
    """Rim et al. 2020: ``RealBlur_J_test_list.txt``, each line a sharp and a blurred file below the list's folder.

    The list itself may be given in place of its folder, which it must be where there are several. A scene is a clip.
    """
    lists = [folder] if folder.is_file() and folder.suffix == ".txt" else []
    lists = lists or (sorted(folder.glob("*_test_list.txt")) if folder.is_dir() else [])
    if not lists:
        return None
    if len(lists) > 1:
        names = ", ".join(path.name for path in lists)
        raise DetbenchError(f"{folder} holds several lists: give one of them as the dataset: {names}.")
    rows = [line.split() for line in lists[0].read_text("utf-8").splitlines() if line.strip()]
    if not rows or any(len(row) < 2 for row in rows):
        raise DetbenchError(f"{lists[0]} is no list of pairs: each line names a sharp and a blurred file.")
    pairs = []
    for row in rows:
        sharp, blurred = (lists[0].parent / name for name in row[:2])
        scene = sharp.parent.parent.name
        pairs.append(FramePair(f"{scene}-{blurred.stem}", sharp, blurred, scene))
    if missing := [path for pair in pairs for path in (pair.sharp, pair.blurred) if not path.is_file()]:
        raise DetbenchError(f"{lists[0]} names {len(missing)} files that are not there: {some(missing)}.")
    return Layout("RealBlur", tuple(pairs))


def kohler(folder: Path) -> Layout | None:
    """Köhler et al. 2012: ``Blurry1_2.png`` of image 1 and trajectory 2, ``Image1/Kernel2/GroundTruth1_2_N.png``.

    The middle frame of the trajectory is the sharp one that detectors look at; PSNR and SSIM are those of the frame
    that is nearest to the restored one. The four images are the clips.
    """
    base = folder / "BlurryImages" if (folder / "BlurryImages").is_dir() else folder
    if not base.is_dir():
        return None
    pairs = []
    for path in sorted(base.glob("Blurry*_*.png")):
        if not (numbers := re.fullmatch(r"Blurry(\d+)_(\d+)", path.stem)):
            continue
        image, kernel = map(int, numbers.groups())
        place = folder / f"Image{image}" / f"Kernel{kernel}"
        frames = list_images(place) if place.is_dir() else []
        if not frames:
            raise DetbenchError(
                f"{path} has no sharp frames: unpack them (GroundTruth_pngs_Image{image}.zip) to {place}."
            )
        middle = (len(frames) - 1) // 2
        others = tuple(frames[:middle] + frames[middle + 1 :])
        pairs.append(FramePair(path.stem, frames[middle], path, f"image{image}", others=others))
    return Layout("Köhler", tuple(pairs)) if pairs else None


def side_by_side(folder: Path) -> Layout | None:
    """DeblurGAN's: each image holds the blurred frame on the left and the sharp one on the right."""
    if not folder.is_dir() or any(path.is_dir() for path in folder.iterdir()):
        return None
    try:
        files = list_images(folder)
    except DetbenchError:
        return None
    sizes = {image_size(path) for path in islice(files, SIDE_BY_SIDE_SAMPLE)}
    if not all(width % 2 == 0 and width >= 1.8 * height for height, width in sizes):
        return None
    sample = [read_image(path) for path in files[:: max(len(files) // SIDE_BY_SIDE_SAMPLE, 1)][:SIDE_BY_SIDE_SAMPLE]]
    left, right = zip(*(halves(image) for image in sample), strict=True)
    if min(map(_alike, left, right)) < ALIKE:
        return None
    if sum(map(_edges, left)) > sum(map(_edges, right)):
        raise DetbenchError(
            f"{folder} holds images of two halves, but the left ones are sharper: DeblurGAN's have the blurred frame"
            " there. Write them to sharp/ and blur/."
        )
    pairs = (FramePair(path.stem, path, path, path.stem) for path in files)
    return Layout("DeblurGAN's side by side", tuple(pairs), halves=True)


RECOGNISERS: Sequence[Callable[[Path], Layout | None]] = (plain, gopro, dvd, reds, hide, realblur, kohler, side_by_side)


def halves(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The left and the right half of a (H, 2 W, 3) image: (H, W, 3) each."""
    middle = image.shape[1] // 2
    return image[:, :middle], image[:, middle:]


def _by_clip(folder: Path, name: str, blurred: Sequence[str], sharp: str) -> Layout | None:
    """Folders that each hold a folder of blurred and one of sharp frames; below ``test/`` if they are there."""
    if not folder.is_dir():
        return None
    bases = [base for base in (folder / "test", folder) if base.is_dir()]
    for base in bases:
        clips = [path for path in sorted(base.iterdir()) if path.is_dir() and (path / sharp).is_dir()]
        sides = [next((clip / side for side in blurred if (clip / side).is_dir()), None) for clip in clips]
        if not any(sides):
            continue
        if half := [clip for clip, side in zip(clips, sides, strict=True) if side is None]:
            raise DetbenchError(f"{half[0]} has {sharp}/ and no {' or '.join(f'{side}/' for side in blurred)}: add it.")
        pairs: list[FramePair] = []
        for clip, side in zip(clips, sides, strict=True):
            assert side is not None
            pairs += _matched(side, clip / sharp, clip.name)
        used = sorted({side.name for side in sides if side})
        return Layout(name, tuple(pairs), note=f"blurred frames from {' and '.join(used)}" if len(blurred) > 1 else "")
    return None


def _matched(blurred: Path, sharp: Path, clip: str = "") -> tuple[FramePair, ...]:
    """Frames of the same path below two folders, as one clip or with a clip for each folder below."""
    pairs = []
    for pair in pair_folders(blurred, sharp):
        of = clip or pair.name.rpartition("/")[0].replace("/", "-") or pair.name
        id = f"{clip}-{pair.name}" if clip else pair.name
        pairs.append(FramePair(id.replace("/", "-"), pair.sharp, pair.blurred, of))
    return tuple(pairs)


def _alike(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Correlation of two frames of one size, each reduced to a few pixels."""
    from PIL import Image

    few = [np.asarray(Image.fromarray(frame).convert("L").resize((32, 32)), np.float64).ravel() for frame in (a, b)]
    return 1.0 if min(grey.std() for grey in few) == 0 else float(np.asarray(np.corrcoef(few))[0, 1])


def _edges(frame: NDArray[np.uint8]) -> float:
    """How much neighbouring pixels differ, in the mean."""
    grey = frame.mean(axis=2)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())
