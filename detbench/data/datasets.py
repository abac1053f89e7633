"""Datasets: a card or a folder becomes checked pairs of sharp and blurred frames."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detbench.data import build
from detbench.data.cards import Card, cards
from detbench.data.images import image_size, list_images, read_image
from detbench.data.pairing import pair_up
from detbench.types import DetbenchError, FramePair

Frame = NDArray[np.uint8]


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
    pixels = build.hash_files([path for pair in pairs for path in (pair.sharp, pair.blurred)], folder)
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
    return build.ensure(name, card.identity, partial(build.photos, card)) / "photos"


def _built(card: Card) -> Dataset:
    """A card's pairs, from the cache or built now."""
    folder = build.ensure(card.name, card.identity, partial(build.pairs, card))
    made = json.loads((folder / "built.json").read_text())
    pairs = tuple(
        FramePair(
            id=frame["id"],
            sharp=folder / "sharp" / f"{frame['id']}.png",
            blurred=folder / "blur" / f"{frame['id']}.png",
            clip=frame["clip"],
            severity=frame.get("severity", ""),
        )
        for frame in made["frames"]
    )
    return Dataset(card.name, card.identity, pairs, made["pixels"])
