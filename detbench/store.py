"""A run's directory: written so that a kill at any moment loses at most the frame in work.

While a run goes on, each scored frame is one line of ``journal.jsonl``. When all are there, the tables that others
read are written from it, ``manifest.json`` last and by an atomic rename: where it lies, the run is complete.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from detbench.data import coco, images
from detbench.files import replacing, write_file
from detbench.signature import CONVENTIONS
from detbench.types import SCHEMA, DetbenchError, Detections, FrameScore, RunResult, RunSpec

TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape"}
"""Names of files need be no UTF-8: they are written as the bytes that they are."""

FAILED = "failed.json"
"""Of a directory: the frames that its run cannot be scored on, after all were tried."""

SEEN = ("blurred", "restored")
"""What a detector looks at of each frame, beside the sharp one that is the reference."""

OWN_ID = re.compile(r'"id": (\d+)')
"""The number of an object among those of its frame, in a row's text."""

FLOOR = 0.01
"""Detections are kept down to this score, so that other thresholds can be tried and AP computed without a new run."""


def kept_from(spec: RunSpec) -> float:
    """The score from which on a run keeps detections, in [0, 1]."""
    return min(spec.conf, FLOOR)


def detections_to_json(detections: Detections) -> dict[str, Any]:
    """Detections as plain data, exact to the last digit."""
    return {field: getattr(detections, field).tolist() for field in ("xyxy", "score", "label")}


def detections_from_json(data: Mapping[str, Any]) -> Detections:
    """The inverse of :func:`detections_to_json`."""
    xyxy = np.array(data["xyxy"], np.float32).reshape(-1, 4)
    return Detections(xyxy, np.array(data["score"], np.float32), np.array(data["label"], np.int64))


def row(
    score: FrameScore, size: tuple[int, int], sharp: Detections, blurred: Detections, restored: Detections
) -> dict[str, Any]:
    """A scored frame as plain data, as :func:`finish` takes it.

    Args:
        score: of the frame.
        size: its height and width in pixels.
        sharp: what is to be found in it: the reference objects.
        blurred: what was seen in the blurred one, down to :data:`FLOOR`.
        restored: in the restored one.
    """
    # Text, which those make who score: one process finishes what many have scored, and numbers images and objects.
    objects = _text([coco.annotation(i, box) for i, box in enumerate(coco.boxes(0, coco.rows(sharp)), 1)])
    made: dict[str, Any] = {"score": {**vars(score)}, "size": size, "sharp": objects}
    return made | {
        side: _text(coco.boxes(0, coco.rows(seen))) for side, seen in zip(SEEN, (blurred, restored), strict=True)
    }


def finish(
    path: Path,
    spec: RunSpec,
    environment: Mapping[str, Any],
    rows: Iterable[Mapping[str, Any]],
    class_names: Mapping[int, str],
) -> None:
    """Write a complete run.

    Args:
        path: the run's directory.
        spec: what was run.
        environment: where and how.
        rows: of the frames in their order, as from :func:`row`.
        class_names: of the detector's labels.
    """
    names: list[str] = []
    sizes: list[tuple[int, int]] = []

    def after_objects() -> str:
        """The reference is COCO's ground truth, so that pycocotools can score the others against it."""
        whole = coco.ground_truth(names, sizes, class_names, f"what {spec.detector} sees in the sharp frames")
        del whole["annotations"]
        return "], " + json.dumps(whole)[1:]

    with ExitStack() as stack:
        table = stack.enter_context(_table(path))
        objects = stack.enter_context(_growing(path / "detections-sharp.json", '{"annotations": [', after_objects))
        seen = {
            side: stack.enter_context(_growing(path / f"detections-{side}.json", "[", lambda: "]")) for side in SEEN
        }
        count = 0
        for number, each in enumerate(rows, 1):
            table.writerow(each["score"])
            names.append(f"{each['score']['id']}.webp")
            sizes.append(tuple(each["size"]))
            numbered, found = OWN_ID.subn(_counted_from(count), each["sharp"])
            count += found
            for add, text in ((objects, numbered), *((seen[side], each[side]) for side in SEEN)):
                add(text.replace('"image_id": 0,', f'"image_id": {number},'))
    _write_json(path / "manifest.json", manifest(spec, environment, len(names)))


def write_scores(path: Path, scores: Iterable[FrameScore]) -> None:
    """Write the scores of a finished run in place of its own: of the same frames."""
    with _table(path) as table:
        table.writerows(map(vars, scores))


def manifest(spec: RunSpec, environment: Mapping[str, Any], frames: int) -> dict[str, Any]:
    """What a run says of itself, as plain data."""
    return {"schema": SCHEMA, "spec": dataclasses.asdict(spec), "frames": frames, "environment": environment}


def write_failed(path: Path, failed: Mapping[str, str]) -> None:
    """Keep which frames of a run cannot be scored, and why, when all were tried."""
    write_file(path / FAILED, json.dumps(failed, indent=1) + "\n")


def read_failed(path: Path) -> dict[str, str]:
    """What :func:`write_failed` kept.

    Raises:
        DetbenchError: it is damaged.
    """
    failed: dict[str, str] = _read_json(path / FAILED)
    return failed


def link(source: Path, target: Path) -> None:
    """Make a file appear in a second place, as the same file where the file system can."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def is_complete(path: Path) -> bool:
    """Whether a run's directory holds a finished run."""
    return (path / "manifest.json").exists()


def is_scored(path: Path) -> bool:
    """Whether no frame of a run's directory is left to be scored: it is finished, or all were tried."""
    return is_complete(path) or (path / FAILED).exists()


def read(path: Path) -> RunResult:
    """Read a finished run.

    Raises:
        DetbenchError: the run is unfinished, of another schema, or damaged; the message names file and line.
    """
    if not is_complete(path):
        if not path.is_dir():
            raise DetbenchError(f"{path} is no run's directory, which `detbench run` names when it is done.")
        raise DetbenchError(f"{path} holds no finished run (manifest.json is missing): run it again to finish it.")
    try:
        told = json.loads((path / "manifest.json").read_text("utf-8"))
        schema, spec, frames = told["schema"], RunSpec(**told["spec"]), told["frames"]
    except (ValueError, KeyError, TypeError) as error:
        raise DetbenchError(
            f"{path / 'manifest.json'} is damaged ({error}): remove {path} and run it again."
        ) from error
    if schema != SCHEMA:
        raise DetbenchError(
            f"{path} was written with schema {schema}, and this detbench reads {SCHEMA}: remove it and run again."
        )
    measured = ("psnr_db", "ssim", "restore_ms", "detect_ms")
    kinds = dict.fromkeys(("id", "clip", "severity"), str) | dict.fromkeys(measured, float)
    names = [field.name for field in dataclasses.fields(FrameScore)]
    later = {"severity": ""}  # fields that runs did not have at first
    scores = []
    if not (path / "frames.csv").exists():
        raise DetbenchError(f"{path / 'frames.csv'} is missing: remove {path} and run it again.")
    with (path / "frames.csv").open(newline="", **TEXT) as file:
        for row in (reader := csv.DictReader(file)):
            try:
                whole = later | row
                values: dict[str, Any] = {name: kinds.get(name, int)(whole[name]) for name in names}
            except (KeyError, TypeError, ValueError) as error:
                raise DetbenchError(
                    f"{file.name}, line {reader.line_num} is damaged ({error}): remove {path} and run it again."
                ) from error
            scores.append(FrameScore(**values))
    if len(scores) != frames:
        raise DetbenchError(
            f"{path / 'frames.csv'} has {len(scores)} frames in place of {frames}: remove {path} and run it again."
        )
    # What runs did not write down at first: all were scored by the same conventions.
    defaults = {"dataset": Path(spec.dataset).name, "conventions": CONVENTIONS}
    return RunResult(spec, defaults | told["environment"], tuple(scores), path)


def preview(path: Path, id: str, size: tuple[int, int] | None = None) -> Path:
    """Where a run keeps a restored frame for people to look at: a WebP of quality 95, not for scores.

    Args:
        path: the run's directory.
        id: of the frame.
        size: its height and width in pixels, where it is still to be written: a very large one becomes a PNG.
    """
    place = path / "frames" / f"{id}.webp"
    large = max(size) > images.MOST_PIXELS["WEBP"] if size else not place.exists() and _png(place).exists()
    return _png(place) if large else place


def _png(place: Path) -> Path:
    return place.with_name(f"{place.name.removesuffix('.webp')}.png")


def read_frames(path: Path) -> tuple[dict[int, str], list[tuple[int, int]]]:
    """The detector's class names by label, and (height, width) of each frame of a finished run, in order.

    Raises:
        DetbenchError: the file is missing or damaged.
    """
    truth = _read_json(path / "detections-sharp.json")
    with _undamaged(path / "detections-sharp.json"):
        names = {category["id"]: category["name"] for category in truth["categories"]}
        return names, [(image["height"], image["width"]) for image in truth["images"]]


def read_detections(path: Path) -> dict[str, list[Detections]]:
    """What was seen in each frame of a finished run, in the order of its scores.

    Returns:
        Lists of detections under ``sharp``, the reference objects, and ``blurred`` and ``restored``, whose scores
        reach down to :data:`FLOOR`: the run's own counts are of those above ``spec.conf``.

    Raises:
        DetbenchError: a file is missing or damaged.
    """
    found: dict[str, list[Detections]] = {}
    images: list[int] = []
    for side in ("sharp", "blurred", "restored"):
        file = path / f"detections-{side}.json"
        boxes = _read_json(file)
        with _undamaged(file):
            if side == "sharp":
                images, boxes = sorted(image["id"] for image in boxes["images"]), boxes["annotations"]
            by_image: dict[int, list[dict[str, Any]]] = {number: [] for number in images}
            for box in boxes:
                by_image[box["image_id"]].append(box)
            found[side] = [_from_coco(by_image[number]) for number in images]
    return found


@contextmanager
def _undamaged(path: Path) -> Iterator[None]:
    """Say of a file that it is damaged, if what is done with its content fails."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise DetbenchError(f"{path} is damaged ({error}): remove {path.parent} and run it again.") from error


def _read_json(path: Path) -> Any:
    with _undamaged(path):
        return json.loads(path.read_text("utf-8"))


def _from_coco(boxes: list[dict[str, Any]]) -> Detections:
    """Boxes of one frame, as x, y, width, height, to corners."""
    if not boxes:
        return Detections.empty()
    xywh = np.array([box["bbox"] for box in boxes], np.float32)
    score, label = (np.array([box[key] for box in boxes]) for key in ("score", "category_id"))
    xyxy = np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])
    return Detections(xyxy, score.astype(np.float32), label.astype(np.int64))


@contextmanager
def _written(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """A file to write to, that is there when all is written."""
    with replacing(path) as partial, partial.open("w", newline=newline, **TEXT) as file:
        yield file


@contextmanager
def _table(path: Path) -> Iterator[csv.DictWriter[str]]:
    """A run's file of scores, to write to."""
    with _written(path / "frames.csv", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in dataclasses.fields(FrameScore)])
        table.writeheader()
        yield table


@contextmanager
def _growing(path: Path, head: str, tail: Callable[[], str]) -> Iterator[Callable[[str], None]]:
    """Write JSON in which one list gets the items that are added, as from :func:`_text`: it may be large."""
    with _written(path) as file:
        file.write(head)
        between = ""

        def add(items: str) -> None:
            nonlocal between
            if items:
                file.write(between + items)
                between = ", "

        yield add
        file.write(tail() + "\n")


def _counted_from(count: int) -> Callable[[re.Match[str]], str]:
    """Makes an object's number one among those of all frames; from 1 on: pycocotools takes a match with 0 for none."""
    return lambda found: f'"id": {count + int(found[1])}'


def _text(items: list[Any]) -> str:
    """Items of a list in JSON."""
    return json.dumps(items)[1:-1]


def _write_json(path: Path, data: Any) -> None:
    write_file(path, json.dumps(data, indent=1 if path.name == "manifest.json" else None) + "\n")
