"""Published benchmarks: what their cards say of the data, and frames as the papers evaluate them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from detbench.data import alignment, build, layouts
from detbench.data.cards import Card
from detbench.data.hashes import hash_files
from detbench.data.images import image_size, list_images, read_image, write_image
from detbench.data.pairing import some
from detbench.files import code
from detbench.progress import track
from detbench.types import DetbenchError, FramePair, canonical_hash

VERSION = 1
"""Raise this when the same files would give other frames."""

PICTURES = "pictures"
"""The layout of benchmarks whose blur is made: a folder of sharp pictures."""

CHECKED_FOR_SHIFTS = 50
"""So many pairs tell whether a benchmark's frames are aligned."""


def problems(card: Card, root: Path) -> list[str]:
    """What of a benchmark is missing in a folder, or differs from what its card says; nothing if all is there.

    Args:
        card: of a protocol.
        root: where the data were unpacked.
    """
    try:
        layout = _layout(card, root)
    except DetbenchError as error:
        return [str(error)]
    found = []
    clips = Counter(pair.clip for pair in layout.pairs)
    for what, count in (("clips", len(clips)), ("pairs", len(layout.pairs))):
        if (wanted := card.data.get(what)) and wanted != count:
            found.append(f"there are {count:,} {what}, where the card says {wanted:,}")
    sizes: dict[tuple[int, int], list[str]] = {}
    for pair in track(layout.pairs, len(layout.pairs), f"checking {card.name}"):
        if not layout.halves and image_size(pair.sharp) != image_size(pair.blurred):
            found.append(f"{pair.blurred} and {pair.sharp} differ in size")
        height, width = image_size(pair.sharp)
        sizes.setdefault((width // (1 + layout.halves), height), []).append(pair.id)
    if wanted := card.data.get("size"):
        for (width, height), ids in sizes.items():
            if [width, height] != wanted:
                said = f"where the card says {wanted[0]}x{wanted[1]}"
                found.append(f"{len(ids):,} frames are {width}x{height}, {said}: {some(ids)}")
    if not found and not layout.halves and layout.name != PICTURES:
        shift = alignment.mean_shift(layout.pairs, CHECKED_FOR_SHIFTS)
        if shift > alignment.LARGEST_PX and not card.data.get("shifted"):
            found.append(
                f"blurred and sharp frames lie {shift:.1f} px apart, in the mean of {CHECKED_FOR_SHIFTS} pairs"
            )
    return found


def load(card: Card, root: Path) -> layouts.Layout:
    """A benchmark's frames as its papers evaluate them: reduced or noisy ones are made once, in the cache.

    Args:
        card: of a protocol.
        root: where the data were unpacked.

    Raises:
        DetbenchError: they are not there, or not all of them; the message says where to get them.
    """
    layout = _layout(card, root)
    wanted = card.data.get("pairs")
    if wanted and wanted != len(layout.pairs):
        raise DetbenchError(
            f"{root} holds {len(layout.pairs):,} pairs of {card.name}, of {wanted:,}: run `detbench data check"
            f" {card.name} --root {root}`, which says what is missing."
        )
    changes = {key: card.data[key] for key in ("scale", "resize", "noise_variance") if card.data.get(key)}
    if not changes:
        return layout
    files = [path for pair in layout.pairs for path in (pair.sharp, pair.blurred)]
    identity = canonical_hash([hash_files(files, root), changes, VERSION])
    made = build.ensure(card.name, identity, partial(_write, layout, changes))
    pairs = (
        replace(pair, sharp=made / "sharp" / f"{pair.id}.png", blurred=made / "blur" / f"{pair.id}.png", others=())
        for pair in layout.pairs
    )
    return replace(layout, pairs=tuple(pairs))


def _layout(card: Card, root: Path) -> layouts.Layout:
    """The layout of a folder, which must be the card's."""
    if not card.data["layout"]:
        raise DetbenchError(f"{card.name} cannot be had: {card.data['obtain']}")
    if card.data["layout"] == PICTURES:
        stills = list_images(root) if root.is_dir() else []
        if not stills:
            raise DetbenchError(f"{root} holds no pictures; to get {card.name}: {card.data['obtain']}")
        return layouts.Layout(PICTURES, tuple(FramePair(path.stem, path, path, path.stem) for path in stills))
    layout = layouts.recognise(root) if root.exists() else None
    if layout is None or layout.name != card.data["layout"]:
        there = f"has the {layout.name} layout" if layout else "holds none of it" if root.exists() else "does not exist"
        raise DetbenchError(f"{root} {there}; to get {card.name}: {card.data['obtain']}")
    return layout


def _write(layout: layouts.Layout, changes: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Write frames as a protocol wants them."""
    for pair in track(layout.pairs, len(layout.pairs), "preparing frames"):
        for side, path in (("sharp", pair.sharp), ("blur", pair.blurred)):
            frame = _reduced(read_image(path), changes)
            if side == "blur" and changes.get("noise_variance"):
                frame = _noisy(frame, pair, changes["noise_variance"])
            write_image(folder / side / f"{pair.id}.png", frame)
    return [{"id": pair.id, "clip": pair.clip} for pair in layout.pairs]


def _reduced(frame: Any, changes: dict[str, Any]) -> Any:
    """A frame in the protocol's size, by area averaging."""
    import cv2

    height, width = frame.shape[:2]
    size = changes.get("resize") or [round(side * changes.get("scale", 1)) for side in (width, height)]
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if size != [width, height] else frame


def _noisy(frame: Any, pair: FramePair, variance: float) -> Any:
    from detbench.data import degrade

    return degrade.noisy(frame, variance, np.random.default_rng(code(f"noise {pair.id}")))
