"""Matching beside pycocotools, the bootstrap beside a naive loop, in turn. Run by name: ``pytest -s tests/speed``."""

import contextlib
import io
from time import process_time  # of all threads; other work on the machine does not count

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from ratios import in_turn

from detbench.match import match
from detbench.types import Detections

FRAMES, BOXES, CLASSES = 1000, 15, 5


def frames():
    """(detections, reference) of each frame; a third of the detections are misplaced."""
    rng = np.random.default_rng(0)
    for _ in range(FRAMES):
        corner, size = rng.uniform(0, 600, (BOXES, 2)), rng.uniform(20, 120, (BOXES, 2))
        moved = corner + rng.normal(0, rng.choice([3, 60], (BOXES, 1), p=[2 / 3, 1 / 3]), (BOXES, 2))
        label = rng.integers(0, CLASSES, BOXES)
        score = np.sort(rng.random(BOXES).astype(np.float32))[::-1]
        yield tuple(Detections(np.hstack([at, at + size]).astype(np.float32), score, label) for at in (moved, corner))


def coco(per_frame):
    """The detections of all frames in one pycocotools object."""
    made = COCO()
    made.dataset = {
        "images": [{"id": image} for image in range(FRAMES)],
        "categories": [{"id": label} for label in range(CLASSES)],
        "annotations": [
            {"id": image * BOXES + i + 1, "image_id": image, "category_id": int(seen.label[i]), "iscrowd": 0}
            | {"bbox": [*box[:2], box[2] - box[0], box[3] - box[1]], "score": float(seen.score[i])}
            | {"area": (box[2] - box[0]) * (box[3] - box[1])}
            for image, seen in enumerate(per_frame)
            for i, box in enumerate(seen.xyxy.astype(float).tolist())
        ],
    }
    made.createIndex()
    return made


def test_matching():
    pairs = list(frames())
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(*(coco([pair[side] for pair in pairs]) for side in (1, 0)), "bbox")
    evaluation.params.iouThrs = np.array([0.5])
    evaluation.params.areaRng = [[0, 1e10]]
    evaluation.params.maxDets = [1000]

    def ours():
        return sum(int((match(*pair, 0.5) >= 0).sum()) for pair in pairs)

    def theirs():
        """Only the matching: neither building the index before nor the precision-recall curves after."""
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.evaluate()
        return sum(int((image["dtMatches"] > 0).sum()) for image in evaluation.evalImgs if image)

    assert 0 < ours() == theirs() < FRAMES * BOXES
    own, other = in_turn(ours, theirs, 9, process_time)
    print(
        f"\nMatching {FRAMES} frames of {BOXES} boxes: {other / own:.1f}x faster than pycocotools (need 5x), "
        f"{own * 1e3:.0f} against {other * 1e3:.0f} ms"
    )
    assert other / own >= 5
