"""A card → frames in the cache: built once, whole or not at all.

The pixels' own hash is recorded too, for diagnosis only, since another build of OpenCV may round a grey level
differently.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detbench import assets
from detbench.data.cards import Card
from detbench.data.hashes import hash_files
from detbench.data.images import write_image
from detbench.data.video import Reader
from detbench.files import code
from detbench.progress import say, track

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Shot:
    """A frame of an evaluation card that is to be made.

    Attributes:
        id: of the frame.
        clip: that it is from.
        frame: its number or name in the asset.
        part: of the card, that asks for it.
        extent_px: least and largest extent of the shake's path.
        severity: what the card calls that; empty if it has no severities.
    """

    id: str
    clip: str
    frame: int | str
    part: Mapping[str, Any]
    extent_px: tuple[float, float]
    severity: str = ""


def ensure(name: str, identity: str, build: Callable[[Path], list[dict[str, Any]]]) -> Path:
    """The folder of made frames in the cache; made under another name and renamed when whole, by one process at a time.

    Args:
        name: of the dataset.
        identity: SHA-256 (hexadecimal) of what it is made from.
        build: called with a folder, writes files into it and returns what is to be known of each frame.
    """
    from filelock import FileLock

    folder = assets.home() / "datasets" / f"{name}-{identity[:8]}"
    if _is_whole(folder):  # without the lock: a shared cache may be read-only
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not _is_whole(folder):
            partial = folder.with_suffix(".part")
            say(f"Building dataset {name}: done once, and kept in {folder}")
            for leftover in (partial, folder):
                shutil.rmtree(leftover, ignore_errors=True)
            partial.mkdir()
            frames = build(partial)
            pixels = hash_files(sorted(p for p in partial.rglob("*") if p.is_file()), partial)
            (partial / "built.json").write_text(json.dumps({"pixels": pixels, "frames": frames}), "utf-8")
            partial.rename(folder)
    return folder


def pairs(card: Card, folder: Path) -> list[dict[str, str]]:
    """Write the frames of an evaluation card into ``sharp/`` and ``blur/``.

    Returns:
        Id, clip and severity of each.
    """
    frames = []
    made = track(shoot(card), len(shots(card)), f"building dataset {card.name}")
    for shot, sharp, blurred in made:
        write_image(folder / "sharp" / f"{shot.id}.png", sharp)
        write_image(folder / "blur" / f"{shot.id}.png", blurred)
        frames.append({"id": shot.id, "clip": shot.clip, "severity": shot.severity})
    return frames


def photos(card: Card, folder: Path) -> list[dict[str, str]]:
    """Write the photographs of a training card as they are into ``photos/``.

    Returns:
        Id and clip of each.
    """
    frames = []
    for part in card.photos:
        with zipfile.ZipFile(assets.fetch(part["asset"])) as archive:
            for frame in part["frames"]:
                member = part["member"].format(frame)
                id = _clip(part, frame)
                target = folder / "photos" / (id + Path(member).suffix)
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(archive.read(member))
                frames.append({"id": id, "clip": id})
    return frames


def shots(card: Card) -> list[Shot]:
    """All frames of an evaluation card, in its order, with the blur that each is to get.

    Severities take turns from frame to frame; where the card says ``each_severity``, each frame is made at all.
    """
    severities: Mapping[str, Any] = card.data.get("severity", {})
    turns = cycle(severities)
    made = []
    for part in [*card.photos, *card.videos]:
        for frame in part["frames"]:
            clip = _clip(part, frame)
            id = clip if "member" in part else f"{clip}-{frame:05d}"
            if not severities:
                made.append(Shot(id, clip, frame, part, tuple(part["shake_px"])))
            elif card.data.get("each_severity"):
                made += [Shot(f"{id}-{name}", clip, frame, part, tuple(px), name) for name, px in severities.items()]
            else:
                name = next(turns)
                made.append(Shot(id, clip, frame, part, tuple(severities[name]), name))
    return made


def shoot(card: Card) -> Iterator[tuple[Shot, Frame, Frame]]:
    """Sharp and blurred frame of everything on an evaluation card."""
    every = shots(card)
    for part in card.photos:
        with zipfile.ZipFile(assets.fetch(part["asset"])) as archive:
            for shot in (shot for shot in every if shot.part is part):
                sharp = _photo(archive.read(part["member"].format(shot.frame)), tuple(part["size"]))
                yield shot, sharp, _blurred(sharp, card, shot, _rng(card, shot))
    for part in card.videos:
        of_part = [shot for shot in every if shot.part is part]
        reach = part["exposure"][1] // 2 // part["slow_motion"] + 1
        windows = _windows(assets.fetch(part["asset"]), [int(shot.frame) for shot in of_part], reach)
        for shot, around in zip(of_part, windows, strict=True):
            rng = _rng(card, shot)
            yield shot, around[reach], _blurred(_exposed(around, part, rng), card, shot, rng)


def _clip(part: Mapping[str, Any], frame: int | str) -> str:
    return str(part["clip"]).format(frame).replace("/", "-")


def _is_whole(folder: Path) -> bool:
    """Whether made frames are there and unharmed."""
    try:
        made = json.loads((folder / "built.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "built.json")
    return bool(hash_files(files, folder) == made["pixels"])


def _rng(card: Card, shot: Shot) -> np.random.Generator:
    """Random numbers that depend on the card's seed and the frame alone: its path is the same at each severity."""
    frame = shot.id.removesuffix(f"-{shot.severity}")
    return np.random.default_rng([card.data["seed"], code(frame)])


def _photo(data: bytes, size: tuple[int, int]) -> Frame:
    """Decode a photograph and reduce it to (width, height) pixels."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize(size, Image.Resampling.LANCZOS))


MOST_STEEP = np.deg2rad(20)
"""How far from the horizontal an object in a street moves."""


def _blurred(frame: Frame, card: Card, shot: Shot, rng: np.random.Generator) -> Frame:
    """A frame as a shaking camera sees it; one object moves besides, and there is noise, if the card wants that."""
    from detbench.data import blur, degrade

    part = shot.part
    path, extent = blur.trajectories(1, rng), rng.uniform(*shot.extent_px)
    degrees = rng.uniform(-1, 1) * part["shake_degrees"]
    box = part.get("moving", {}).get(str(shot.frame))
    moving = (box, rng.uniform(*shot.extent_px), rng.uniform(-MOST_STEEP, MOST_STEEP)) if box else None
    blurred = degrade.shaken(frame, path, extent, degrees, part["sub_frames"], moving)
    has_noise = rng.random() < card.data.get("noise_share", 0)
    return degrade.noisy(blurred, card.data["noise_variance"], rng) if has_noise else blurred


def _exposed(around: list[Frame], part: Mapping[str, Any], rng: np.random.Generator) -> Frame:
    """What one long exposure around the middle frame sees: an odd number of slow-motion frames, averaged."""
    from detbench.data import blur

    least, most = part["exposure"]
    half = int(rng.integers(least // 2, most // 2 + 1))
    middle = len(around) // 2 * part["slow_motion"]
    return blur.average_frames(blur.slow_motion(around, part["slow_motion"])[middle - half : middle + half + 1])


def _windows(path: Path, centres: list[int], reach: int) -> Iterator[list[Frame]]:
    """The ``2 * reach + 1`` frames around each of some frames of a video, given in rising order."""
    reader, last = Reader(path), -1
    kept: deque[Frame] = deque(maxlen=2 * reach + 1)
    for centre in centres:
        while last < centre + reach:
            last += 1
            kept.append(reader.frame(last))
        yield list(kept)
