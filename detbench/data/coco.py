"""COCO's JSON of boxes that people drew: read as what is to be found, in a detector's classes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detbench.data.pairing import ids_of, some
from detbench.types import DetbenchError, Detections


@dataclass(frozen=True, eq=False)
class Truth:
    """What is to be found in each frame, whatever a detector sees in it.

    Attributes:
        objects: of each frame's id, in pixels of the frame; their score is 1.
        crowds: regions of many objects: detections in these are neither right nor wrong.
        ignored: names of the categories that the detector does not know, whose boxes are left out.
    """

    objects: Mapping[str, Detections]
    crowds: Mapping[str, Detections]
    ignored: tuple[str, ...]


def read_truth(path: Path, ids: Sequence[str], class_names: Mapping[int, str]) -> Truth:
    """Read boxes that people drew.

    Images are matched to frames by name (:func:`detbench.data.pairing.ids_of`), categories to classes likewise,
    whatever the case of their letters.

    Args:
        path: a JSON file as COCO's ``instances_*.json``.
        ids: of the frames, each of which the file must have an image of.
        class_names: of the detector's labels.

    Raises:
        DetbenchError: it cannot be read or is not COCO's; it is of other images; none of its categories is a class of
            the detector.
    """
    data = _load(path)
    frames = _frames(path, data["images"], ids)
    labels = {name.casefold(): label for label, name in class_names.items()}
    known = {category["id"]: labels.get(category["name"].casefold()) for category in data["categories"]}
    ignored = tuple(category["name"] for category in data["categories"] if known[category["id"]] is None)
    if len(ignored) == len(known):
        raise DetbenchError(
            f"{path} has no category that the detector knows: it has {', '.join(ignored[:5]) or 'none'}, the detector"
            f" {', '.join(list(class_names.values())[:5])} ..."
        )
    boxes: dict[tuple[str, bool], list[list[float]]] = defaultdict(list)
    for box in data["annotations"]:
        if box["image_id"] in frames and known.get(box["category_id"]) is not None:
            x, y, width, height = box["bbox"]
            label = float(known[box["category_id"]] or 0)
            boxes[frames[box["image_id"]], bool(box.get("iscrowd"))].append([x, y, x + width, y + height, label])
    sides = [{id: _detections(boxes[id, crowd]) for id in ids} for crowd in (False, True)]
    return Truth(sides[0], sides[1], ignored)


def _load(path: Path) -> dict[str, Any]:
    """The file's data, of the right shape."""
    try:
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
        for key, fields in {
            "images": ("id", "file_name"),
            "categories": ("id", "name"),
            "annotations": ("image_id", "category_id", "bbox"),
        }.items():
            for row in data[key]:
                for field in fields:
                    row[field]
    except (OSError, ValueError) as error:
        raise DetbenchError(f"{path} cannot be read as JSON: {error}.") from error
    except (KeyError, TypeError) as error:
        raise DetbenchError(f"{path} is not COCO's JSON of boxes: {error} is missing.") from error
    return data


def _frames(path: Path, images: Sequence[Mapping[str, Any]], ids: Sequence[str]) -> dict[int, str]:
    """The frame of each image of the file."""
    named = ids_of([image["file_name"] for image in images], ids)
    found = {image["id"]: id for image, id in zip(images, named, strict=True) if id}
    if missing := sorted(set(ids) - set(found.values())):
        raise DetbenchError(
            f"{path} has no image of {len(missing)} of the {len(ids)} frames: {some(missing)}. Its images are called"
            f" {', '.join(str(image['file_name']) for image in images[:2]) or 'nothing'} ...: name them as the frames."
        )
    return found


def _detections(rows: list[list[float]]) -> Detections:
    """Corners and labels as objects that are certain."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Detections(table[:, :4].astype(np.float32), np.ones(len(table), np.float32), table[:, 4].astype(np.int64))
