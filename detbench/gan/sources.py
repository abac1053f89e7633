"""Training material: photographs and pairs from folders, packs and videos, held in memory; what of it is held out."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from detbench.data import datasets
from detbench.data.images import VIDEO_SUFFIXES, list_images, read_image
from detbench.data.pairing import pair_up
from detbench.data.video import Reader
from detbench.files import file_hash
from detbench.types import DetbenchError, canonical_hash

Photo = NDArray[np.uint8]

Boxes = NDArray[np.float32]
"""(objects, 4) corners ``x0, y0, x1, y1`` in pixels."""

SWELL = 20
"""A pack that is so many times its size when unpacked is refused."""

VIDEO_FRAMES = 200
"""How many frames are taken of a video at most: neighbours teach next to nothing, and all are held in memory."""


@dataclass
class Sources:
    """Everything a training may draw from.

    Attributes:
        photos: sharp (H, W, 3) uint8 RGB pictures, whose blur will be synthesised.
        pairs: real (blurred, sharp) pictures of one size.
        record: for each folder its name, number of files and a hash of their contents.
        photo_clips: for each photograph the clip that it is from: its folder below the given one, its video, or, where
            it lies in the given folder itself, the file.
        pair_clips: likewise for each pair.
        photo_objects: the objects in each photograph, or nothing where nobody looked for them.
        pair_objects: likewise, in the sharp picture of each pair.
    """

    photos: list[Photo] = field(default_factory=list)
    pairs: list[tuple[Photo, Photo]] = field(default_factory=list)
    record: list[dict[str, str | int]] = field(default_factory=list)
    photo_clips: list[str] = field(default_factory=list)
    pair_clips: list[str] = field(default_factory=list)
    photo_objects: list[Boxes] = field(default_factory=list)
    pair_objects: list[Boxes] = field(default_factory=list)

    def chosen(self, photos: Sequence[bool], pairs: Sequence[bool]) -> Sources:
        """Some of the photographs and some of the pairs: those whose flag is set."""
        return replace(
            self,
            photos=list(compress(self.photos, photos)),
            photo_clips=list(compress(self.photo_clips, photos)),
            photo_objects=list(compress(self.photo_objects, photos)),
            pairs=list(compress(self.pairs, pairs)),
            pair_clips=list(compress(self.pair_clips, pairs)),
            pair_objects=list(compress(self.pair_objects, pairs)),
        )


DEFAULT = "street_train"
"""The card that is trained on where no data are given."""

HELD_OUT = 8
"""Of the clips, one in so many is for validation where nothing else is."""


def load_training(data: Sequence[Path] | None, validation: Sequence[Path] | None) -> tuple[Sources, Sources]:
    """What to train on and what to validate on.

    Args:
        data: folders and videos as for :func:`load_folders`; None for the photographs of the card ``street_train``.
        validation: likewise; None for every eighth clip of the data, which is then not trained on.
    """
    if data:
        sources = load_folders(data)
    else:
        sources = load_folders([datasets.training_folder(DEFAULT)])
        sources.record = [{**record, "folder": DEFAULT} for record in sources.record]
    return (sources, load_folders(validation)) if validation else split(sources)


def load_folders(given: Iterable[Path]) -> Sources:
    """Read photographs, pairs, a GoPro tree or videos into memory.

    Any folder among or below the given ones that holds both ``blur/`` and ``sharp/`` gives pairs, matched by their
    path below these (:func:`detbench.data.pairing.pair_up`); every other image is a photograph. A pack
    (``.zip``, from :mod:`detbench.gan.pack`) stands for the folder that it holds, a folder of packs for all of these.

    Raises:
        DetbenchError: a folder without images, an unpaired or unreadable file, a pair of different sizes.
    """
    sources = Sources()
    for folder in (each for place in given for each in sorted(place.glob("*.zip")) or [place]):
        if folder.suffix == ".zip":
            with TemporaryDirectory() as unpacked, zipfile.ZipFile(folder) as archive:
                if out := [n for n in archive.namelist() if Path(n).is_absolute() or ".." in Path(n).parts]:
                    raise DetbenchError(f"{folder} holds {out[0]}, which would lie outside of where it is unpacked.")
                size = sum(member.file_size for member in archive.infolist())
                if size > SWELL * folder.stat().st_size:  # packs hold pictures, which hardly shrink
                    raise DetbenchError(f"{folder} would unpack to {size / 1e9:,.1f} GB: it is no pack of pictures.")
                archive.extractall(unpacked)
                found = load_folders([Path(unpacked)])
            photos_, pairs_ = ([f"{folder.stem}-{i}" for i in range(len(each))] for each in (found.photos, found.pairs))
            record = [_record(folder.stem, [folder])]
            _add(sources, replace(found, record=record, photo_clips=photos_, pair_clips=pairs_))
            continue
        if folder.suffix.lower() in VIDEO_SUFFIXES:
            frames = _sampled(folder)
            record = [_record(folder.name, [folder])]
            _add(sources, Sources(frames, record=record, photo_clips=[folder.stem] * len(frames)))
            continue
        paired, photos = pair_up(list_images(folder, recursive=True), folder)
        pairs = [(pair.blurred, pair.sharp) for pair in paired]
        clips = ([_clip(path, folder) for path in paths] for paths in (photos, [sharp for _, sharp in pairs]))
        photo_clips, pair_clips = clips
        _add(sources, replace(_load(folder.name, photos, pairs), photo_clips=photo_clips, pair_clips=pair_clips))
    return sources


def split(sources: Sources) -> tuple[Sources, Sources]:
    """Pictures to train on and pictures to validate on.

    Every eighth clip is held out. Of a single clip it is the last eighth of its pictures, and the sixteenth before it
    is left out, so that no neighbours of trained frames are validated on.

    Raises:
        DetbenchError: fewer than two pictures.
    """
    clips = sorted({*sources.photo_clips, *sources.pair_clips})
    if len(clips) > 1:
        held_out = set(clips[::HELD_OUT])
        kept = [[clip not in held_out for clip in side] for side in (sources.photo_clips, sources.pair_clips)]
        return sources.chosen(*kept), sources.chosen(*([not keep for keep in side] for side in kept))
    count = len(sources.photos) + len(sources.pairs)
    if count < 2:
        raise DetbenchError("One picture cannot both be trained and validated on: give more --data.")
    last = max(1, round(count / HELD_OUT))
    before = max(1, count - last - math.ceil(last / 2))
    place = [range(len(sources.photos)), range(len(sources.photos), count)]
    train = [[i < before for i in side] for side in place]
    rest = [[i >= count - last for i in side] for side in place]
    return sources.chosen(*train), sources.chosen(*rest)


def _add(sources: Sources, found: Sources) -> None:
    sources.photos += found.photos
    sources.pairs += found.pairs
    sources.record += found.record
    sources.photo_clips += found.photo_clips
    sources.pair_clips += found.pair_clips


def _clip(path: Path, folder: Path) -> str:
    """What an image below a folder of training data belongs to."""
    parts = [part for part in path.relative_to(folder).parent.parts if part not in ("blur", "sharp")]
    return "-".join([folder.name, *(parts or [path.stem])])


def _sampled(video: Path) -> list[Photo]:
    """Frames of a video, evenly spread, :data:`VIDEO_FRAMES` at most.

    Raises:
        DetbenchError: this OpenCV cannot decode it.
    """
    reader = Reader(video)
    wanted = np.linspace(0, reader.count - 1, min(reader.count, VIDEO_FRAMES)).astype(int)
    frames = []
    for number in dict.fromkeys(wanted.tolist()):
        try:
            frames.append(reader.frame(number))
        except DetbenchError:  # a video may say more frames than it has
            if not frames:
                raise
            break
    return frames


def _load(name: str, photos: list[Path], pairs: list[tuple[Path, Path]]) -> Sources:
    """Read image files."""
    files = [*photos, *(path for pair in pairs for path in pair)]
    with ThreadPoolExecutor() as pool:  # decoding releases the GIL
        pictures = dict(zip(files, pool.map(read_image, files), strict=True))
    for blurred, sharp in pairs:
        if pictures[blurred].shape != pictures[sharp].shape:
            raise DetbenchError(f"{blurred} and {sharp} differ in size: a pair must show the same pixels.")
    return Sources(
        [pictures[path] for path in photos],
        [(pictures[blurred], pictures[sharp]) for blurred, sharp in pairs],
        [_record(name, files)],
    )


def _record(name: str, files: list[Path]) -> dict[str, str | int]:
    """What a training's record says of a folder."""
    return {"folder": name, "files": len(files), "sha256": canonical_hash(sorted(file_hash(path) for path in files))}
