"""COCO's JSON: boxes that people drew, read as what is to be found; and what was detected, for other tools."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detbench import classes
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

    Images are matched to frames by name (:func:`detbench.data.pairing.ids_of`), categories to classes likewise
    (:func:`detbench.classes.labels`).

    Args:
        path: a JSON file as COCO's ``instances_*.json``.
        ids: of the frames, each of which the file must have an image of.
        class_names: of the detector's labels.

    Raises:
        DetbenchError: it cannot be read or is not COCO's; it is of other images; none of its categories is a class of
            the detector.
    """
    data = read(path)
    frames = _frames(path, data["images"], ids)
    labels = classes.labels([category["name"] for category in data["categories"]], class_names)
    known = {category["id"]: next(iter(labels[category["name"]]), None) for category in data["categories"]}
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


def read(path: Path) -> dict[str, Any]:
    """A file of images, categories and annotations.

    Raises:
        DetbenchError: it cannot be read, or is not COCO's.
    """
    try:
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
        for key, fields in {
            "images": ("id", "file_name"),
            "categories": ("id", "name"),
            "annotations": ("image_id", "category_id", "bbox"),
        }.items():
            for row in data[key]:
                for field in fields:
                    hash(tuple(row[field]) if field == "bbox" else row[field])
        for row in data["annotations"]:
            x, y, width, height = map(float, row["bbox"])
            if not math.isfinite(x + y + width + height):
                raise DetbenchError(f"{path} has a box of {row['bbox']}: give four numbers.")
        for row, field in [*((r, "file_name") for r in data["images"]), *((r, "name") for r in data["categories"])]:
            if not isinstance(row[field], str):
                raise DetbenchError(f"{path} has {row[field]!r} as {field}: give a name.")
    except json.JSONDecodeError as error:
        raise DetbenchError(f"{path} cannot be read as JSON: {error}.") from error
    except KeyError as error:
        raise DetbenchError(f"{path} is not COCO's JSON of boxes: {error} is missing.") from error
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DetbenchError(f"{path} is not COCO's JSON of boxes: {error}.") from error
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


def ground_truth(
    names: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    class_names: Mapping[int, str],
    description: str,
    frames: Sequence[Detections] = (),
) -> dict[str, Any]:
    """Boxes as COCO's ground truth, with all that the tools of the field look for.

    Args:
        names: the images' files, relative to the folder of images.
        sizes: (height, width) of each in pixels.
        class_names: of the boxes' labels.
        description: what they are.
        frames: the boxes in each; none for who adds them.
    """
    found = [box for number, frame in enumerate(frames, 1) for box in boxes(number, rows(frame))]
    return {
        "info": {"description": description, "version": "1"},  # pycocotools 2.0.9 and later want it
        "licenses": [],
        "images": [
            {"id": number, "file_name": name, "height": height, "width": width}
            for number, (name, (height, width)) in enumerate(zip(names, sizes, strict=True), 1)
        ],
        "categories": [{"id": label, "name": name, "supercategory": ""} for label, name in class_names.items()],
        # From 1: pycocotools takes a match with id 0 for none.
        "annotations": [annotation(i, box) for i, box in enumerate(found, 1)],
    }


def annotation(id: int, box: Mapping[str, Any]) -> dict[str, Any]:
    """A box, as from :func:`boxes`, as an object of COCO's ground truth."""
    x, y, width, height = box["bbox"]
    outline = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    return {"id": id, "area": width * height, "iscrowd": 0, "segmentation": outline, **box}


def boxes(image: int, rows: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """Rows as from :func:`rows`, of the image with this number, in COCO's results format."""
    return [{"image_id": image, "category_id": label, "bbox": box, "score": score} for label, *box, score in rows]


def rows(seen: Detections) -> list[list[float]]:
    """Label, x, y, width, height and score of each detection, rounded as in COCO's files here."""
    return [
        [label, round(x0, 3), round(y0, 3), round(x1 - x0, 3), round(y1 - y0, 3), round(score, 6)]
        for (x0, y0, x1, y1), score, label in zip(
            seen.xyxy.tolist(), seen.score.tolist(), seen.label.tolist(), strict=True
        )
    ]
