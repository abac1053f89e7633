"""Names of classes: which class of one detector, or of a file of boxes, is which of another."""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detbench.types import Detections

UNUSED = "N/A"
"""What an output is called that no class has."""


@functools.cache
def _data() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def named(which: str) -> dict[int, str]:
    """A list of classes by their numbers.

    Args:
        which: ``coco`` (80 classes, from 0), ``coco91`` (the same under COCO's own ids), ``voc`` or ``bdd``.

    Raises:
        KeyError: there is no such list.
    """
    if which == "coco91":
        unused, names = _data()["coco91_unused"], iter(_data()["coco"])
        return {id: UNUSED if id in unused else next(names) for id in range(91)}
    return dict(enumerate({name: _data()[name] for name in ("coco", "voc", "bdd")}[which]))


def canonical(name: str) -> str:
    """COCO's name of a class that has one, else its own, in small letters with blanks for underscores."""
    plain = name.casefold().replace("_", " ").strip()
    return _synonyms().get(plain, plain)


@functools.cache
def _synonyms() -> dict[str, str]:
    return {other: name for name, others in _data()["synonyms"].items() for other in others}


def labels(names: Iterable[str], class_names: Mapping[int, str]) -> dict[str, list[int]]:
    """A detector's labels of classes that are known by name.

    A class of exactly this name, whatever the case of its letters, comes before those that mean the same.

    Args:
        names: of classes.
        class_names: of the detector's labels.

    Returns:
        For each name the labels, by rising number; none where the detector has no such class.
    """
    exact, meant = _by(str.casefold, class_names), _by(canonical, class_names)
    return {name: exact.get(name.casefold()) or meant.get(canonical(name), []) for name in names}


def relabelled(
    frames: Sequence[Detections], class_names: Mapping[int, str], wanted: Mapping[int, str]
) -> list[Detections]:
    """Detections under the labels of another detector; those of classes that it does not have keep no label of it.

    Args:
        frames: detections, one a frame.
        class_names: of their labels.
        wanted: of the labels that they get. Other classes get labels above these, since they are still detections.
    """
    if class_names == wanted:
        return list(frames)
    known, beyond = labels(class_names.values(), wanted), max(wanted) + 1
    to = {label: known[name][0] if known[name] else beyond + label for label, name in class_names.items()}
    return [
        dataclasses.replace(each, label=np.array([to[i] for i in each.label.tolist()], np.int64)) for each in frames
    ]


def _by(key: Any, class_names: Mapping[int, str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for label, name in sorted(class_names.items()):
        if name != UNUSED:
            found.setdefault(key(name), []).append(label)
    return found
