"""Datasets: a card or a folder becomes checked pairs of sharp and blurred frames.

A card is a TOML file in ``datasets/`` that says which frames of which pinned assets to take and how to blur them. It
is built once, into the cache. Its identity is the hash of the card, of its assets and of the builder's version: what
was asked for. The pixels' own hash is recorded too, for diagnosis only, since another build of OpenCV may round a
grey level differently.
"""

from __future__ import annotations

import importlib.resources
import io
import json
import shutil
import tomllib
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from detbench import assets
from detbench.data.images import image_size, list_images, read_image, write_image
from detbench.data.pairing import pair_up
from detbench.files import file_hash
from detbench.progress import say, track
from detbench.types import DetbenchError, FramePair, canonical_hash

BUILDER_VERSION = 1
"""Raise this when the same card and assets would give other frames."""

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Card:
    """A dataset's card.

    Attributes:
        name: the file's name.
        title: one line for listings.
        role: ``evaluation`` (sharp and blurred frames) or ``training`` (sharp photographs).
        licence: of the frames.
        data: everything the file says.
    """

    name: str
    title: str
    role: Literal["evaluation", "training"]
    licence: str
    data: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """SHA-256 (hexadecimal) of what the card asks for: the card, its assets' hashes and the builder's version."""
        pins = {part["asset"]: assets.find(part["asset"]).sha256 for part in [*self.photos, *self.videos]}
        return canonical_hash([self.data, pins, BUILDER_VERSION])

    @property
    def photos(self) -> list[dict[str, Any]]:
        """The card's parts that are photographs."""
        return list(self.data.get("photos", []))

    @property
    def videos(self) -> list[dict[str, Any]]:
        """The card's parts that are videos."""
        return list(self.data.get("video", []))


@dataclass(frozen=True)
class Dataset:
    """Frames to evaluate on.

    Attributes:
        name: of the card or folder.
        identity: SHA-256 (hexadecimal) that two runs must share to be comparable.
        pairs: the frames, in a fixed order.
        pixels: SHA-256 (hexadecimal) of the files themselves, for diagnosis.
    """

    name: str
    identity: str
    pairs: tuple[FramePair, ...]
    pixels: str


def cards() -> dict[str, Card]:
    """All cards by name."""
    folder: Traversable = importlib.resources.files("detbench") / "_datasets"
    if not folder.is_dir():  # a source checkout or an editable install
        folder = Path(__file__).parents[2] / "datasets"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {f.name.removesuffix(".toml"): _parse(f.name.removesuffix(".toml"), f.read_text("utf-8")) for f in files}


def load(name: str) -> Dataset:
    """Find a dataset for evaluation, building it on first use.

    Args:
        name: of a card, or a folder that holds ``sharp/`` and ``blur/`` with one file a frame in each.

    Raises:
        DetbenchError: an unknown name, a card that is not for evaluation, or a folder whose frames do not pair up.
    """
    known = cards()
    if name in known:
        if known[name].role != "evaluation":
            raise DetbenchError(f"{name} is training material: evaluating on it would flatter what was trained on it.")
        return _built(known[name])
    if Path(name).is_dir():
        return from_folder(Path(name))
    raise DetbenchError(f"There is no dataset {name!r}, nor a folder of that name. There are {', '.join(known)}.")


def from_folder(folder: Path) -> Dataset:
    """A user's own frames: ``sharp/`` and ``blur/``, matched by file stem; every frame counts as its own clip.

    With one level of folders below both, each such folder is a clip (a video).

    Raises:
        DetbenchError: naming the frames that are unpaired, share a stem, or differ in size.
    """
    for side in ("sharp", "blur"):
        if not (folder / side).is_dir():
            raise DetbenchError(f"{folder / side} does not exist: a dataset folder holds sharp/ and blur/.")
    found, _ = pair_up(
        [path for side in ("sharp", "blur") for path in list_images(folder / side, recursive=True)], folder
    )
    pairs, ids = [], dict[str, Path]()
    for pair in found:
        if image_size(pair.sharp) != image_size(pair.blurred):
            (h, w), (hb, wb) = image_size(pair.sharp), image_size(pair.blurred)
            raise DetbenchError(
                f"{pair.sharp} is {w}x{h} but {pair.blurred} is {wb}x{hb}: a pair must show the same pixels."
            )
        id = pair.name.replace("/", "-")
        if id in ids:
            raise DetbenchError(f"{pair.sharp} and {ids[id]} get the same name, {id}: rename one.")
        ids[id] = pair.sharp
        pairs.append(FramePair(id, pair.sharp, pair.blurred, clip=pair.name.rpartition("/")[0] or pair.name))
    pixels = _hash_files([path for pair in pairs for path in (pair.sharp, pair.blurred)], folder)
    return Dataset(folder.resolve().name, pixels, tuple(pairs), pixels)


def read_blurred(pair: FramePair, noise: float = 0.0) -> Frame:
    """A pair's blurred frame, as the detector and the deblurers get it.

    Args:
        pair: which.
        noise: variance of the Gaussian noise to add, for values in [0, 1]. It depends on the frame's id alone.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    frame = read_image(pair.blurred)
    if not noise:
        return frame
    added = np.random.default_rng(zlib.crc32(f"noise {pair.id}".encode())).standard_normal(frame.shape, np.float32)
    return np.asarray((frame + 255 * noise**0.5 * added).round().clip(0, 255), np.uint8)


def training_folder(name: str) -> Path:
    """The folder in the cache that holds a training card's photographs.

    Raises:
        DetbenchError: an unknown name, or a card that is not for training.
    """
    card = cards().get(name)
    if card is None or card.role != "training":
        raise DetbenchError(f"There is no training dataset {name!r}.")
    return _ensure(card, _build_photos) / "photos"


def _parse(name: str, text: str) -> Card:
    """Read a card's text."""
    try:
        data = tomllib.loads(text)
        return Card(name, data["title"], data["role"], data["licence"], data)
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise DetbenchError(f"datasets/{name}.toml is not a dataset card: {error}.") from error


def _hash_files(files: list[Path], below: Path) -> str:
    """One hash for many files: their names and contents."""
    with ThreadPoolExecutor() as pool:  # hashing releases the GIL
        hashes = list(pool.map(file_hash, files))
    return canonical_hash([[path.relative_to(below).as_posix(), h] for path, h in zip(files, hashes, strict=True)])


# --- building a card ---------------------------------------------------------------------------------------------


def _built(card: Card) -> Dataset:
    """A card's pairs, from the cache or built now."""
    folder = _ensure(card, _build_pairs)
    made = json.loads((folder / "built.json").read_text())
    pairs = tuple(
        FramePair(f["id"], folder / "sharp" / f"{f['id']}.png", folder / "blur" / f"{f['id']}.png", f["clip"])
        for f in made["frames"]
    )
    return Dataset(card.name, card.identity, pairs, made["pixels"])


def _ensure(card: Card, build: Callable[[Card, Path], list[dict[str, str]]]) -> Path:
    """The folder of a built card; built under another name and renamed when whole, by one process at a time."""
    from filelock import FileLock

    folder = assets.home() / "datasets" / f"{card.name}-{card.identity[:8]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not _is_whole(folder):
            partial = folder.with_suffix(".part")
            say(f"Building dataset {card.name}: done once, and kept in {folder}")
            for leftover in (partial, folder):
                shutil.rmtree(leftover, ignore_errors=True)
            partial.mkdir()
            frames = build(card, partial)
            pixels = _hash_files(sorted(p for p in partial.rglob("*") if p.is_file()), partial)
            (partial / "built.json").write_text(json.dumps({"pixels": pixels, "frames": frames}))
            partial.rename(folder)
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether a built card is there and unharmed."""
    try:
        made = json.loads((folder / "built.json").read_text())
    except (OSError, ValueError):
        return False
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "built.json")
    return bool(_hash_files(files, folder) == made["pixels"])


def _build_pairs(card: Card, folder: Path) -> list[dict[str, str]]:
    """Write ``sharp/`` and ``blur/``; returns id and clip of every frame."""
    frames = []
    total = sum(len(part["frames"]) for part in [*card.photos, *card.videos])
    for id, clip, sharp, blurred in track(_pairs(card), total, f"building dataset {card.name}"):
        write_image(folder / "sharp" / f"{id}.png", sharp)
        write_image(folder / "blur" / f"{id}.png", blurred)
        frames.append({"id": id, "clip": clip})
    return frames


def _build_photos(card: Card, folder: Path) -> list[dict[str, str]]:
    """Write the photographs of a training card as they are."""
    frames = []
    for part in card.photos:
        with zipfile.ZipFile(assets.fetch(part["asset"])) as archive:
            for frame in part["frames"]:
                member = part["member"].format(frame)
                id = part["clip"].format(frame).replace("/", "-")
                target = folder / "photos" / (id + Path(member).suffix)
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(archive.read(member))
                frames.append({"id": id, "clip": id})
    return frames


def _pairs(card: Card) -> Iterator[tuple[str, str, Frame, Frame]]:
    """Id, clip, sharp and blurred frame of everything on an evaluation card."""
    for part in card.photos:
        with zipfile.ZipFile(assets.fetch(part["asset"])) as archive:
            for frame in part["frames"]:
                id = part["clip"].format(frame).replace("/", "-")
                sharp = _photo(archive.read(part["member"].format(frame)), tuple(part["size"]))
                yield id, id, sharp, _shaken(sharp, part, _rng(card, id))
    for part in card.videos:
        reach = part["exposure"][1] // 2 // part["slow_motion"] + 1
        windows = _windows(assets.fetch(part["asset"]), part["frames"], reach)
        for frame, around in zip(part["frames"], windows, strict=True):
            id = f"{part['clip']}-{frame:05d}"
            rng = _rng(card, id)
            yield id, part["clip"], around[reach], _shaken(_exposed(around, part, rng), part, rng)


def _rng(card: Card, id: str) -> np.random.Generator:
    """Random numbers that depend on the card's seed and the frame alone."""
    return np.random.default_rng([card.data["seed"], zlib.crc32(id.encode())])


def _photo(data: bytes, size: tuple[int, int]) -> Frame:
    """Decode a photograph and reduce it to (width, height) pixels."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize(size, Image.Resampling.LANCZOS))


def _shaken(frame: Frame, part: Mapping[str, Any], rng: np.random.Generator) -> Frame:
    """A frame seen by a shaking camera, the shake drawn from the part's ranges."""
    import torch

    from detbench.data import blur

    path = blur.trajectories(1, rng)
    shifts = blur.exposure(path, part["sub_frames"], np.atleast_1d(rng.uniform(*part["shake_px"])))
    turn = np.deg2rad(rng.uniform(-1, 1) * part["shake_degrees"])
    angles = torch.linspace(-0.5, 0.5, part["sub_frames"])[None] * turn
    light = blur.to_linear(torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255)
    shaken = blur.to_display(blur.camera_shake(light, torch.from_numpy(shifts).float(), angles))
    return np.asarray((shaken[0] * 255).round().byte().permute(1, 2, 0).numpy())


def _exposed(around: list[Frame], part: Mapping[str, Any], rng: np.random.Generator) -> Frame:
    """What one long exposure around the middle frame sees: an odd number of slow-motion frames, averaged."""
    from detbench.data import blur

    least, most = part["exposure"]
    half = int(rng.integers(least // 2, most // 2 + 1))
    middle = len(around) // 2 * part["slow_motion"]
    return blur.average_frames(blur.slow_motion(around, part["slow_motion"])[middle - half : middle + half + 1])


def _windows(path: Path, centres: list[int], reach: int) -> Iterator[list[Frame]]:
    """The ``2 * reach + 1`` frames around each of some frames of a video, given in rising order."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    kept: deque[Frame] = deque(maxlen=2 * reach + 1)
    last = -1
    for centre in centres:
        while last < centre + reach:
            ok, frame = capture.read()
            if not ok:
                raise DetbenchError(f"{path} ends before frame {centre + reach}: this OpenCV cannot decode all of it.")
            kept.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
            last += 1
        yield list(kept)
    capture.release()
