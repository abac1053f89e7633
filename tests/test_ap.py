"""Average precision against literal cases, a naive loop and pycocotools."""

import contextlib
import dataclasses
import io
import math

import numpy as np
import pytest
from conftest import boxes, crowd
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from test_breakdown import NONE, random_frames, squares

from detbench.ap import AveragePrecision, average_precision
from detbench.match import match
from detbench.types import Detections


def test_perfect_detections_have_an_ap_of_one():
    frame = boxes((0, 0, 20, 20), (100, 0, 150, 50), (200, 0, 300, 100))
    assert vars(average_precision([frame], [frame])) == pytest.approx(dict.fromkeys(vars_of_ap(), 1.0))


def vars_of_ap():
    return [field.name for field in dataclasses.fields(AveragePrecision)]


def test_ap_is_taken_at_each_overlap():
    """A box with an IoU of .72 is right up to .70, which are five of the ten thresholds."""
    ap = average_precision([boxes((0, 0, 50, 36))], [boxes((0, 0, 50, 50))])
    assert (ap.ap, ap.ap50, ap.ap75) == pytest.approx((0.5, 1, 0))


def naive_ap50(detections, reference):
    """101-point interpolated AP at an IoU of one half, mean over the classes of the reference."""
    aps = []
    for label in sorted({x for frame in reference for x in frame.label.tolist()}):
        hits, objects = [], 0
        for seen, truth in zip(detections, reference, strict=True):
            matched = match(seen, truth, 0.5)
            hits += [(-s, m >= 0) for s, m, c in zip(seen.score, matched, seen.label, strict=True) if c == label]
            objects += int((truth.label == label).sum())
        correct = np.cumsum([hit for _, hit in sorted(hits, key=lambda pair: pair[0])])
        precision, recall = correct / np.arange(1, len(correct) + 1), correct / objects
        best = [max(precision[recall >= r], default=0) for r in np.linspace(0, 1, 101)]
        aps.append(np.mean(best))
    return np.mean(aps)


def test_ap_equals_a_naive_loop():
    detections, reference = random_frames(8, frames=12, classes=4)
    reference = [Detections(r.xyxy, r.score, np.minimum(r.label, 2)) for r in reference]  # class 3: only detected
    ap = average_precision(detections, reference)
    assert ap.ap50 == pytest.approx(naive_ap50(detections, reference))
    assert 0 < ap.ap < ap.ap50 < 1


def test_ap_prints_nothing(capfd):
    average_precision(*random_frames(1))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("detections", "reference", "expected"),
    [
        ([], [], math.nan),
        ([NONE], [NONE], math.nan),
        ([squares(0)], [NONE], math.nan),
        ([NONE], [squares(0)], 0),
        ([squares(0, label=[1])], [squares(0)], 0),
    ],
)
def test_ap_where_there_is_nothing(detections, reference, expected):
    ap = average_precision(detections, reference)
    assert (ap.ap, ap.ap50, ap.ap75) == pytest.approx((expected,) * 3, nan_ok=True)


def by_pycocotools(detections, reference):
    """Its AP, AP50, AP75 and AR of the classes that the reference has."""
    labels = sorted({label for frame in reference for label in frame.label.tolist()})
    with contextlib.redirect_stdout(io.StringIO()):
        judged = COCOeval(coco(reference, labels), coco(detections, labels), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return judged.stats[[0, 1, 2, 8]].tolist()


def coco(frames, labels):
    """Boxes as pycocotools wants them, be they ground truth or results."""
    made, found = COCO(), []
    for image, frame in enumerate(frames):
        for (x0, y0, x1, y1), label, score in zip(
            frame.xyxy.tolist(), frame.label.tolist(), frame.score.tolist(), strict=True
        ):
            box = {"image_id": image, "category_id": label, "score": score, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            found.append(box | {"id": len(found) + 1, "area": (x1 - x0) * (y1 - y0), "iscrowd": 0})
    images = [{"id": image} for image in range(len(frames))]
    made.dataset = {"images": images, "categories": [{"id": label} for label in labels], "annotations": found}
    made.createIndex()
    return made


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 5), st.booleans())
def test_it_is_what_pycocotools_says(seed, frames, classes, crowded):
    detections, reference = random_frames(seed, frames, classes)
    if crowded:
        rng = np.random.default_rng(seed)
        detections = [crowd(rng, int(rng.integers(0, 40)), ties=True) for _ in range(frames)]
        reference = [crowd(rng, int(rng.integers(0, 12)), ties=True) for _ in range(frames)]
    ours = dataclasses.astuple(average_precision(detections, reference))
    if any(map(len, reference)):
        assert ours == pytest.approx(by_pycocotools(detections, reference), abs=1e-9)
    else:
        assert np.isnan(ours).all()


def test_the_hundred_surest_of_a_class_count():
    """The object is found by what comes as the hundred and first of its class, and by the fortieth of another."""
    far = [(500 + i, 0, 520 + i, 20) for i in range(100)]
    score = np.linspace(0.9, 0.5, 101, dtype=np.float32)
    for place, least, most in ((100, 0, 0), (99, 0.001, 1)):
        corners = [*far]
        corners.insert(place, (0, 0, 20, 20))
        seen = Detections(np.array(corners, np.float32), score, np.zeros(101, np.int64))
        ap = average_precision([seen], [squares(0, side=20)])
        assert least <= ap.ap <= most
        assert ap.ar == (place < 100)
        assert dataclasses.astuple(ap) == pytest.approx(by_pycocotools([seen], [squares(0, side=20)]), abs=1e-9)
