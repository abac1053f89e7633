"""Reference boxes out, for people to look at and correct, and in again: what DeblurGAN calls verified visually."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detbench import assets, store
from detbench.data import coco, datasets
from detbench.data.images import read_image, write_image
from detbench.data.pairing import ids_of, some
from detbench.files import file_hash, write_file
from detbench.types import DetbenchError, Detections, RunResult

SHEET, SHEET_COLUMNS, SHEET_WIDTH = "contact-sheet.jpg", 4, 400
"""Of the contact sheet: its name, pictures in a row, and pixels of each."""

COLOUR = (77, 209, 77)
"""Of the boxes in the contact sheet."""

DUPLICATE_IOU = 0.95
"""Two boxes of one class that overlap as much are one object, drawn twice."""


def export(run: RunResult, out: Path) -> Path:
    """Write what a detector sees in a run's sharp frames, with the frames, as annotation tools read it.

    ``images/`` and ``annotations.json`` are COCO's, as CVAT, Label Studio and FiftyOne import them;
    ``contact-sheet.jpg`` shows all frames with their boxes.

    Args:
        run: a finished one.
        out: a folder.

    Returns:
        The annotations' file.

    Raises:
        DetbenchError: the dataset has changed since, or there is something in the folder already.
    """
    dataset = datasets.of(run.spec)
    if dataset.identity != run.spec.dataset_hash:
        raise DetbenchError(f"{dataset.name} has changed since {run.path} was made: run it again.")
    if out.exists() and {path.name for path in out.iterdir()} - {"images", SHEET}:
        raise DetbenchError(f"{out} is not empty: corrections may lie there. Give another folder.")
    pairs = {pair.id: pair for pair in dataset.pairs}
    class_names, sizes = store.read_frames(run.path)
    frames = store.read_detections(run.path)["sharp"]
    ids = [score.id for score in run.scores]
    for id in ids:
        write_image(out / "images" / f"{id}.png", read_image(pairs[id].sharp))
    names = [f"{id}.png" for id in ids]
    origin = f"{dataset.name}: what {run.spec.detector} sees in sharp frames, from a confidence of {run.spec.conf:g} on"
    truth = coco.ground_truth(names, sizes, class_names, origin, frames)
    write_image(out / SHEET, contact_sheet([read_image(pairs[id].sharp) for id in ids], frames))
    write_file(out / "annotations.json", json.dumps(truth) + "\n")
    return out / "annotations.json"


def contact_sheet(frames: Sequence[NDArray[np.uint8]], boxes: Sequence[Detections]) -> NDArray[np.uint8]:
    """All frames small, in rows, with their boxes.

    Args:
        frames: (H, W, 3) uint8 RGB each.
        boxes: of each.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    import cv2

    small = []
    for frame, of_frame in zip(frames, boxes, strict=True):
        scale = SHEET_WIDTH / frame.shape[1]
        size = (SHEET_WIDTH, round(frame.shape[0] * scale))
        picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        for x0, y0, x1, y1 in (of_frame.xyxy * scale).round().astype(int).tolist():
            cv2.rectangle(picture, (x0, y0), (x1, y1), COLOUR, 1)
        small.append(picture)
    height, rows = max(picture.shape[0] for picture in small), math.ceil(len(small) / SHEET_COLUMNS)
    sheet = np.zeros((rows * height, SHEET_COLUMNS * SHEET_WIDTH, 3), np.uint8)
    for i, picture in enumerate(small):
        top, left = i // SHEET_COLUMNS * height, i % SHEET_COLUMNS * SHEET_WIDTH
        sheet[top : top + picture.shape[0], left : left + SHEET_WIDTH] = picture
    return sheet


def take(path: Path, dataset: datasets.Dataset, now: datetime | None = None) -> Path:
    """Check boxes that people drew or corrected, and keep them, to be scored against.

    Args:
        path: COCO's JSON, as annotation tools export it.
        dataset: whose frames they are.
        now: when; the present by default.

    Returns:
        The kept file: the same, but for ``info``, which says when and from which file it came.

    Raises:
        DetbenchError: boxes of unknown images, outside their image, of no size, or drawn twice; the message lists them.
    """
    data = coco.read(path)
    found = problems(data, [pair.id for pair in dataset.pairs])
    if found:
        raise DetbenchError("\n".join([f"{path} cannot be taken:", *found]))
    when = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    data["info"] = {**data.get("info", {}), "imported": when, "from": path.name, "sha256": file_hash(path)}
    target = assets.home() / "references" / f"{dataset.name}-{dataset.identity[:8]}.json"
    write_file(target, json.dumps(data) + "\n")
    return target


def problems(data: dict[str, Any], ids: Sequence[str]) -> list[str]:
    """What is wrong with boxes, a line for each kind.

    Args:
        data: COCO's.
        ids: of the frames that they may be of.
    """
    images, categories = data["images"], {category["id"] for category in data["categories"]}
    named = ids_of([image["file_name"] for image in images], ids)
    sizes = {image["id"]: (image.get("width"), image.get("height")) for image in images}
    boxes = [(box, *box["bbox"]) for box in data["annotations"]]
    twice = [name for name, count in Counter(filter(None, named)).items() if count > 1]
    kinds = {
        "images that are no frame": [image["file_name"] for image, id in zip(images, named, strict=True) if not id],
        "images of one frame, more than once": twice,
        "boxes of no image": [box.get("id") for box, *_ in boxes if box["image_id"] not in sizes],
        "boxes of no category": [box.get("id") for box, *_ in boxes if box["category_id"] not in categories],
        "boxes without area": [box.get("id") for box, _, _, w, h in boxes if w <= 0 or h <= 0],
        "boxes outside their image": [
            box.get("id") for box, x, y, w, h in boxes if _is_outside(sizes.get(box["image_id"]), x, y, w, h)
        ],
        "boxes drawn twice": _duplicates(data["annotations"]),
    }
    return [f"{len(which)} {kind}: {some([str(each) for each in which])}" for kind, which in kinds.items() if which]


def _is_outside(size: tuple[int | None, int | None] | None, x: float, y: float, width: float, height: float) -> bool:
    """Whether a box reaches beyond its image by more than a pixel, which tools' rounding may do."""
    if size is None or size[0] is None or size[1] is None:
        return False
    return min(x, y) < -1 or x + width > size[0] + 1 or y + height > size[1] + 1


def _duplicates(boxes: Sequence[dict[str, Any]]) -> list[Any]:
    """Boxes of one image and class that are the same as one before."""
    from detbench.match import iou

    groups: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for box in boxes:
        groups.setdefault((box["image_id"], box["category_id"]), []).append(box)
    found = []
    for group in groups.values():
        xywh = np.array([box["bbox"] for box in group], np.float64)
        xyxy = np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])
        again = np.asarray(np.triu(iou(xyxy, xyxy) > DUPLICATE_IOU, k=1).any(axis=0))
        found += [box.get("id") for box, double in zip(group, again.tolist(), strict=True) if double]
    return found
