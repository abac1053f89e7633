"""Cards: TOML files in ``datasets/`` that say which frames of which pinned assets to take, and how to blur them.

A card's identity is the hash of the card, of its assets and of the builder's version: what was asked for.
"""

from __future__ import annotations

import importlib.resources
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, get_args

from detbench import assets
from detbench.files import line_of
from detbench.types import DetbenchError, canonical_hash

BUILDER_VERSION = 1
"""Raise this when the same card and assets would give other frames."""

Role = Literal["evaluation", "training", "protocol"]

_CARD = {"title", "role", "licence", "seed"}
_PHOTOS = {"asset", "member", "clip", "frames"}
_BLUR = {"size", "shake_degrees", "sub_frames"}
_VIDEO = {"asset", "clip", "frames", "slow_motion", "exposure", "shake_degrees", "sub_frames"}
NEEDED: Mapping[tuple[Role, str], set[str]] = {
    ("evaluation", ""): _CARD,
    ("evaluation", "photos"): _PHOTOS | _BLUR,
    ("evaluation", "video"): _VIDEO,
    ("training", ""): _CARD,
    ("training", "photos"): _PHOTOS,
    ("protocol", ""): {"title", "role", "licence", "paper", "obtain", "layout", "protocol"},
}
"""Keys that a card, or a part of it, must have, by the card's role."""

POSSIBLE: Mapping[tuple[Role, str], set[str]] = {
    ("evaluation", ""): {"photos", "video", "severity", "each_severity", "noise_share", "noise_variance"}
    | {"photographs_of"},
    ("evaluation", "photos"): {"shake_px", "moving"},
    ("evaluation", "video"): {"shake_px", "size"},
    ("training", ""): {"photos"},
    ("protocol", ""): {"clips", "pairs", "size", "shifted", "scale", "resize", "noise_variance", "blur"},
}
"""Keys that it may have besides."""


@dataclass(frozen=True)
class Card:
    """A dataset's card.

    Attributes:
        name: the file's name.
        title: one line for listings.
        role: ``evaluation`` (sharp and blurred frames), ``training`` (sharp photographs), or ``protocol`` (a published
            benchmark, whose data a user has: what it holds and how it is evaluated).
        licence: of the frames.
        data: everything the file says.
    """

    name: str
    title: str
    role: Role
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


def cards() -> dict[str, Card]:
    """All cards by name.

    Raises:
        DetbenchError: one cannot be read, or has a missing or unknown key.
    """
    folder: Traversable = importlib.resources.files("detbench") / "_datasets"
    if not folder.is_dir():  # a source checkout or an editable install
        folder = Path(__file__).parents[2] / "datasets"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    texts = {f.name.removesuffix(".toml"): f.read_text("utf-8") for f in files}
    return dict(_parsed(tuple(texts.items())))


@lru_cache(4)  # by the texts: cards are asked for several times a run
def _parsed(named: tuple[tuple[str, str], ...]) -> dict[str, Card]:
    return {name: parse(name, text, dict(named)) for name, text in named}


def parse(name: str, text: str, others: Mapping[str, str] | None = None) -> Card:
    """Read a card's text.

    Args:
        name: of the card.
        text: of the file.
        others: texts of the cards whose photographs it may take over by ``photographs_of``.

    Raises:
        DetbenchError: it is no TOML, or has a missing or unknown key; the message has key and line.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DetbenchError(f"datasets/{name}.toml is not a dataset card: {error}.") from error
    role: Any = data.get("role")
    if role not in get_args(Role):
        line = line_of(text, "role") if "role" in data else 1
        raise DetbenchError(f"datasets/{name}.toml, line {line}: role is {role!r}; give {' or '.join(get_args(Role))}.")
    for table, part, line in _tables(data, text):
        needed = NEEDED.get((role, table), set())
        if missing := needed - part.keys():
            raise DetbenchError(
                f"datasets/{name}.toml, line {line}: {table or 'the card'} has no {', '.join(sorted(missing))}."
            )
        if unknown := sorted(part.keys() - needed - POSSIBLE.get((role, table), set())):
            raise DetbenchError(
                f"datasets/{name}.toml, line {line_of(text, unknown[0], line)}: there is no key {unknown[0]!r} in"
                f" {table or 'a card for ' + role}."
            )
    _check_blur(name, text, data)
    if base := data.get("photographs_of"):
        others = others or {}
        if base not in others:
            raise DetbenchError(
                f"datasets/{name}.toml, line {line_of(text, 'photographs_of')}: there is no card {base!r}."
            )
        data = {key: value for key, value in parse(base, others[base]).data.items() if key != "video"} | data
    return Card(name, data["title"], role, data["licence"], data)


def _check_blur(name: str, text: str, data: Mapping[str, Any]) -> None:
    """An evaluation card says how much its frames are blurred, once."""
    if data["role"] != "evaluation" or "photographs_of" in data:
        return
    for table, part, line in _tables(data, text)[1:]:
        if ("shake_px" in part) == ("severity" in data):
            which = "no shake_px, and the card no severity" if "severity" not in data else "shake_px beside severity"
            raise DetbenchError(f"datasets/{name}.toml, line {line}: {table} has {which}.")
    if ("noise_share" in data) != ("noise_variance" in data):
        raise DetbenchError(f"datasets/{name}.toml has noise_share without noise_variance, or the reverse.")


def _tables(data: Mapping[str, Any], text: str) -> list[tuple[str, Mapping[str, Any], int]]:
    """The card itself and its parts: the table's name, what it holds, and the line where it begins."""
    found: list[tuple[str, Mapping[str, Any], int]] = [("", data, 1)]
    for table in ("photos", "video"):
        begins = [i for i, line in enumerate(text.splitlines(), 1) if re.match(rf"\s*\[\[\s*{table}\s*\]\]", line)]
        parts = data.get(table, [])
        found += [(table, part, line) for part, line in zip(parts, begins, strict=False)]
    return found
