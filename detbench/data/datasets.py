"""Datasets: a card or a folder becomes checked pairs of sharp and blurred frames."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detbench.counts import counted
from detbench.data import build, layouts, make, protocols
from detbench.data.cards import Card, cards
from detbench.data.clips import EACH, by_number, by_pattern
from detbench.data.hashes import hash_files, once
from detbench.data.images import image_size, read_image, write_image
from detbench.files import code
from detbench.progress import say, track
from detbench.types import DetbenchError, FramePair, RunSpec, canonical_hash

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


def load(name: str, clips: str = "", blur: str = "", lenient: bool = False) -> Dataset:
    """Find a dataset for evaluation, building it on first use.

    Args:
        name: of a card; or ``BENCHMARK:DIR``, for a published benchmark's data; or a folder in one of the layouts of
            :mod:`detbench.data.layouts`, or RealBlur's list; or, with ``blur``, a folder of sharp pictures or a video.
        clips: pattern with a group ``clip``, which says what clip a frame is of, from its path below the folder of
            blurred frames, without suffix. Empty for what the layout says.
        blur: how sharp frames are blurred that have no blurred ones, as for :func:`detbench.data.make.parse`.
        lenient: let frames of a folder pass that cannot be read, or differ in size from their partner.

    Raises:
        DetbenchError: an unknown name, a card that is not for evaluation, or a folder whose frames do not pair up.
    """
    known = cards()
    benchmark, colon, root = name.partition(":")
    if benchmark in known and known[benchmark].role == "protocol":
        if not colon:
            raise DetbenchError(
                f"{name} is for you to get, and then to give as {name}:DIR. {_first_upper(known[name])}."
            )
        return _benchmark(known[benchmark], Path(root), clips)
    if name in known:
        if known[name].role != "evaluation":
            raise DetbenchError(f"{name} is training material: evaluating on it would flatter what was trained on it.")
        if clips or blur:
            given = "--clips" if clips else "--blur"
            raise DetbenchError(f"{name} says itself what its clips and their blur are: leave out {given}.")
        return _built(known[name])
    place = Path(name)
    if place.is_dir() or place.is_file():
        return from_folder(place, clips, blur, lenient)
    if place.suffix or len(place.parts) > 1:
        raise DetbenchError(f"There is no file or folder {name}.")
    near = difflib.get_close_matches(name, known, n=3)
    names = f"Did you mean {', '.join(near)}?" if near else "`detbench list datasets` names them."
    raise DetbenchError(f"There is no dataset {name!r}, nor a folder of that name. {names}")


def of(spec: RunSpec) -> Dataset:
    """The dataset of a run."""
    return load(spec.dataset, spec.clips, spec.blur, lenient=spec.on_error == "skip" or bool(spec.skipped))


def frames(spec: RunSpec, dataset: Dataset | None = None) -> tuple[FramePair, ...]:
    """The pairs that a run scores, in order; of its dataset, if that is at hand."""
    pairs = (dataset or of(spec)).pairs[: spec.limit]
    return tuple(pair for pair in pairs if pair.id not in spec.skipped) if spec.skipped else pairs


def absolute(name: str) -> str:
    """What a dataset is called from any folder: a card by its name, a benchmark or a folder by the whole path."""
    benchmark, colon, root = name.partition(":")
    known = cards()
    if name in known:
        return name
    return f"{benchmark}:{Path(root).resolve()}" if colon and benchmark in known else str(Path(name).resolve())


def from_folder(folder: Path, clips: str = "", blur: str = "", lenient: bool = False) -> Dataset:
    """A user's own frames, in a layout that is recognised.

    Args:
        folder: or file, as for :func:`load`; and so are the others.
        clips: see there.
        blur: see there.
        lenient: see there.

    Raises:
        DetbenchError: naming the frames that are unpaired, share a name, or differ in size; or no layout fits.
    """
    layout = layouts.recognise(folder)
    if blur and layout:
        raise DetbenchError(f"{folder} has blurred frames of its own ({layout.name} layout): leave out --blur.")
    if blur:
        return _made(folder, make.parse(blur), clips)
    if layout is None:
        raise DetbenchError(
            f"{folder} holds no frames in a layout that is known: put the sharp ones into {folder / 'sharp'} and the"
            f" blurred ones, of the same names, into {folder / 'blur'}; or give sharp ones alone, with --blur shake."
        )
    return _laid_out(folder, layout, clips, lenient)


def _benchmark(card: Card, root: Path, clips: str) -> Dataset:
    """A published benchmark's frames, as its papers evaluate them."""
    if card.data["layout"] == protocols.PICTURES:
        protocols.load(card, root)  # for its checks
        return replace(_made(root, make.parse(card.data["blur"]), clips or EACH), name=card.name)
    return replace(_laid_out(root, protocols.load(card, root), clips), name=card.name)


def _first_upper(card: Card) -> str:
    """Where to get a benchmark, as a sentence."""
    obtain = str(card.data["obtain"])
    return obtain[0].upper() + obtain[1:]


def _laid_out(folder: Path, layout: layouts.Layout, clips: str, lenient: bool = False) -> Dataset:
    """The frames of a layout, checked, with their clips."""
    if layout.halves:
        layout = _cut_apart(folder, layout)
    _refuse_one_name(layout.pairs)
    pairs = list(layout.pairs)
    if clips:
        pairs = _patterned(pairs, clips)
    elif layout.flat:
        pairs = _numbered(folder, pairs)
    note = f" ({layout.note})" if layout.note else ""
    _say_once(folder, f"{layout.name} layout{note}: {_told(pairs)}")
    files = [path for pair in pairs for path in (pair.sharp, pair.blurred, *pair.others)]
    pixels = hash_files(files, Path(os.path.commonpath(files)))
    identity = canonical_hash([pixels, [pair.clip for pair in pairs]])
    if not lenient:
        once(identity, partial(_refuse_unequal, pairs))
    return Dataset((folder if folder.is_dir() else folder.parent).resolve().name, identity, tuple(pairs), pixels)


def _made(source: Path, blur: make.Blur, clips: str) -> Dataset:
    """Sharp pictures or videos, blurred now, in the cache."""
    identity = canonical_hash([make.asked(make.plan(source, blur), blur), clips])

    def some(made: Path) -> list[dict[str, Any]]:
        return [row for row in make.make(source, made, blur) if row["made"]]

    folder = build.ensure(source.stem, identity, some)
    found = _read_built(source.stem, identity, folder)
    pairs = _patterned(found.pairs, clips) if clips else _numbered(source, found.pairs)
    _say_once(source, f"blurred by {blur.kind}: {_told(pairs)}")
    return replace(found, pairs=tuple(pairs))


def _told(pairs: Sequence[FramePair]) -> str:
    return f"{counted(len({pair.clip for pair in pairs}), 'clip')}, {counted(len(pairs), 'pair')}"


@cache
def _say_once(folder: Path, line: str) -> None:
    """Say something of a folder, which is loaded more than once in a run."""
    say(line)


def _numbered(folder: Path, pairs: Sequence[FramePair]) -> list[FramePair]:
    """Pairs of which those that lie in no folder of their own may be of one clip."""
    lone = [pair.id for pair in pairs if pair.clip == pair.id]
    clips, note = by_number(lone)
    if note:
        _say_once(folder, note)
    known = dict(zip(lone, clips, strict=True))
    return [replace(pair, clip=known.get(pair.id, pair.clip)) for pair in pairs]


def _patterned(pairs: Sequence[FramePair], pattern: str) -> list[FramePair]:
    """Pairs with the clips that a user's pattern gives them."""
    clips = by_pattern([pair.id for pair in pairs], pattern)
    return [replace(pair, clip=clip) for pair, clip in zip(pairs, clips, strict=True)]


def _refuse_one_name(pairs: Sequence[FramePair]) -> None:
    """Stop if frames share a name."""
    ids: dict[str, Path] = {}
    for pair in pairs:
        if pair.id in ids:
            raise DetbenchError(f"{pair.sharp} and {ids[pair.id]} get the same name, {pair.id}: rename one.")
        ids[pair.id] = pair.sharp


def refuse_unequal(pair: FramePair, sharp: Sequence[int], blurred: Sequence[int]) -> None:
    """Stop if a pair's frames, of these heights and widths, do not show the same pixels."""
    (h, w), (hb, wb) = sharp, blurred
    if (h, w) != (hb, wb):
        raise DetbenchError(
            f"{pair.sharp} is {w}x{h} but {pair.blurred} is {wb}x{hb}: a pair must show the same pixels."
        )


def _refuse_unequal(pairs: Sequence[FramePair]) -> None:
    """Stop if a frame cannot be read, or differs in size from its partner."""
    for pair in pairs:
        refuse_unequal(pair, image_size(pair.sharp), image_size(pair.blurred))


def _cut_apart(folder: Path, layout: layouts.Layout) -> layouts.Layout:
    """Images of two halves as pairs of files in the cache."""

    def cut(made: Path) -> list[dict[str, str]]:
        for pair in track(layout.pairs, len(layout.pairs), "cutting images apart"):
            for side, half in zip(("blur", "sharp"), layouts.halves(read_image(pair.sharp)), strict=True):
                write_image(made / side / f"{pair.id}.png", half)
        return [{"id": pair.id, "clip": pair.clip} for pair in layout.pairs]

    identity = hash_files([pair.sharp for pair in layout.pairs], folder)
    made = build.ensure(folder.resolve().name, identity, cut)
    pairs = (
        replace(pair, sharp=made / "sharp" / f"{pair.id}.png", blurred=made / "blur" / f"{pair.id}.png")
        for pair in layout.pairs
    )
    return replace(layout, pairs=tuple(pairs), halves=False)


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
    added = np.random.default_rng(code(f"noise {pair.id}")).standard_normal(frame.shape, np.float32)
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


def evaluation_folder(name: str) -> Path:
    """The folder in the cache that holds an evaluation card's ``sharp/`` and ``blur/``, built now if it is not there.

    Raises:
        DetbenchError: an unknown name, or a card that is not for evaluation.
    """
    card = cards().get(name)
    if card is None or card.role != "evaluation":
        known = [each.name for each in cards().values() if each.role == "evaluation"]
        raise DetbenchError(f"There is no dataset {name!r} that is built here: there are {', '.join(known)}.")
    return _folder(card)


def _folder(card: Card) -> Path:
    """Where a card's pairs are in the cache, built now if they are not there."""
    return build.ensure(card.name, card.identity, partial(build.pairs, card))


def _built(card: Card) -> Dataset:
    """A card's pairs, from the cache or built now."""
    return _read_built(card.name, card.identity, _folder(card))


def _read_built(name: str, identity: str, folder: Path) -> Dataset:
    """The pairs of a folder in the cache."""
    made = json.loads((folder / "built.json").read_text("utf-8"))
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
    return Dataset(name, identity, pairs, made["pixels"])
