"""Matching against literal tables and against pycocotools."""

import contextlib
import doctest
import io

import numpy as np
import pytest
from conftest import boxes
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import detbench.match
from detbench.match import FrameCounts, confirmed, iou, match, score_frame
from detbench.types import Detections

NONE = Detections.empty()


def coco(detections):
    """The detections of one image as pycocotools wants them, both as ground truth and as results."""
    made = COCO()
    sizes = np.hstack([detections.xyxy[:, :2], detections.xyxy[:, 2:] - detections.xyxy[:, :2]]).astype(np.float64)
    made.dataset = {
        "images": [{"id": 1}],
        "categories": [{"id": label} for label in range(3)],
        "annotations": [
            # Ids from 1: pycocotools takes a match with id 0 for none.
            {"id": i + 1, "image_id": 1, "category_id": label, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            | {"score": score}
            for i, (box, label, score) in enumerate(
                zip(sizes.tolist(), detections.label.tolist(), detections.score.tolist(), strict=True)
            )
        ],
    }
    made.createIndex()
    return made


def pycocotools_match(detections, reference, iou_threshold):
    """What ``match`` returns, by COCOeval."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco(reference), coco(detections), "bbox")
        evaluation.params.iouThrs = np.array([iou_threshold])
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.maxDets = [1000]
        evaluation.evaluate()
    matched = np.full(len(detections), -1)
    for image in filter(None, evaluation.evalImgs):
        matched[np.array(image["dtIds"], int) - 1] = image["dtMatches"][0].astype(int) - 1
    return matched.tolist()


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 10, 10), (5, 5, 15, 15), 25 / 175),
        ((0, 0, 10, 10), (2, 2, 8, 8), 0.36),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),  # they touch
        ((0, 0, 10, 10), (20, 20, 30, 30), 0.0),  # apart in both directions: no negative times negative
        ((5, 5, 5, 5), (5, 5, 5, 5), 0.0),  # no area
        ((0, 5, 10, 5), (0, 0, 10, 10), 0.0),  # a line
        ((-5.5, 0, 4.5, 1), (-0.5, 0, 9.5, 1), 1 / 3),
    ],
)
def test_iou_of_two_boxes(a, b, expected):
    assert iou(np.array([a], np.float32), np.array([b], np.float32)).tolist() == [[pytest.approx(expected, abs=1e-15)]]


def test_iou_has_a_row_for_each_box_of_the_first_set():
    a = np.array([[0, 0, 2, 2], [0, 0, 1, 2]], np.float32)
    b = np.array([[0, 0, 2, 2], [5, 5, 6, 6], [0, 0, 2, 1]], np.float32)
    assert iou(a, b).tolist() == [[1, 0, 0.5], [0.5, 0, pytest.approx(1 / 3)]]
    assert iou(a, b[:0]).shape == (2, 0)
    assert iou(a[:0], b).shape == (0, 3)


SQUARE = (0, 0, 10, 10)


@pytest.mark.parametrize(
    ("detections", "reference", "threshold", "expected"),
    [
        pytest.param(NONE, NONE, 0.5, [], id="nothing anywhere"),
        pytest.param(NONE, boxes(SQUARE), 0.5, [], id="nothing detected"),
        pytest.param(boxes(SQUARE), NONE, 0.5, [-1], id="nothing to find"),
        pytest.param(boxes(SQUARE, SQUARE), boxes(SQUARE), 0.5, [0, -1], id="each object once"),
        pytest.param(boxes(SQUARE, SQUARE, score=[0.3, 0.8]), boxes(SQUARE), 0.5, [-1, 0], id="the surer one first"),
        pytest.param(boxes(SQUARE, SQUARE, score=[0.5, 0.5]), boxes(SQUARE), 0.5, [0, -1], id="equally sure: in order"),
        pytest.param(boxes(SQUARE, label=[1]), boxes(SQUARE), 0.5, [-1], id="another class"),
        pytest.param(boxes((0, 0, 10, 5)), boxes(SQUARE), 0.5, [0], id="exactly the threshold"),
        pytest.param(boxes((0, 0, 10, 4.9)), boxes(SQUARE), 0.5, [-1], id="below the threshold"),
        pytest.param(boxes(SQUARE), boxes((0, 0, 10, 8), (0, 0, 10, 9)), 0.5, [1], id="the larger IoU"),
        pytest.param(boxes(SQUARE), boxes((0, 0, 10, 8), (0, 2, 10, 10)), 0.5, [1], id="equal IoU: the last"),
        pytest.param(
            boxes(SQUARE, SQUARE), boxes((0, 0, 10, 9), (0, 0, 10, 8)), 0.5, [0, 1], id="the best one that is free"
        ),
        pytest.param(
            boxes((0, 0, 10, 9), SQUARE), boxes(SQUARE, (0, 0, 10, 4)), 0.5, [0, -1], id="greedy, not optimal"
        ),
        pytest.param(boxes((3, 3, 3, 3)), boxes((3, 3, 3, 3)), 0.5, [-1], id="no area"),
        pytest.param(boxes(SQUARE), boxes(SQUARE), 1.0, [0], id="equal boxes reach 1"),
        pytest.param(boxes((50, 0, 60, 10)), boxes(SQUARE), 0.0, [0], id="at 0 anything of the class"),
        pytest.param(boxes((50, 0, 60, 10), label=[2]), boxes(SQUARE), 0.0, [-1], id="at 0 still of the class"),
    ],
)
def test_match(detections, reference, threshold, expected):
    matched = match(detections, reference, threshold)
    assert (matched.tolist(), matched.dtype) == (expected, np.int64)
    assert pycocotools_match(detections, reference, threshold) == expected


@st.composite
def frames(draw, largest=8):
    """Boxes on a coarse grid, so that duplicates, equal IoUs, equal scores and boxes without area are common."""
    n = draw(st.integers(0, largest))

    def column(values):
        return draw(st.lists(st.sampled_from(values), min_size=n, max_size=n))

    left, top = np.array(column([0, 1, 2, 2.5, 4])), np.array(column([0, 1, 3]))
    corners = np.stack([left, top, left + column([0, 2, 3, 4]), top + column([1, 2, 3.5])], axis=1)
    return boxes(*corners, score=column([0.3, 0.5, 0.7, 0.9]), label=column([0, 0, 0, 1, 2]))


thresholds = st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.6, 0.75, 1.0])


@given(frames(), frames(), thresholds)
@settings(deadline=None, max_examples=250)
def test_match_equals_pycocotools(detections, reference, threshold):
    assert match(detections, reference, threshold).tolist() == pycocotools_match(detections, reference, threshold)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_match_equals_pycocotools_on_crowded_frames(seed):
    """Fractional corners, a few dozen boxes: rounding of the IoU has to agree too."""
    rng = np.random.default_rng(seed)

    def crowd():
        corner, size = rng.uniform(0, 60, (40, 2)), rng.uniform(5, 40, (40, 2))
        return boxes(*np.hstack([corner, corner + size]), score=rng.random(40), label=rng.integers(0, 3, 40))

    detections, reference = crowd(), crowd()
    expected = pycocotools_match(detections, reference, 0.3)
    assert match(detections, reference, 0.3).tolist() == expected
    counts = score_frame(detections, NONE, reference, 0.3)
    tp = sum(index >= 0 for index in expected)
    assert (counts.tp, counts.fp, counts.fn) == (tp, 40 - tp, 40 - tp)


FAR = (100, 0, 110, 10)
FARTHER = (200, 0, 210, 10)
NEAR = (1, 0, 11, 10)  # overlaps SQUARE by 9/11


@pytest.mark.parametrize(
    ("restored", "blurred", "sharp", "expected"),
    [
        pytest.param(NONE, NONE, NONE, FrameCounts(0, 0, 0, 0, 0, 0), id="nothing anywhere"),
        pytest.param(NONE, NONE, boxes(SQUARE), FrameCounts(0, 0, 1, 0, 0, 0), id="never found"),
        pytest.param(boxes(SQUARE), NONE, boxes(SQUARE), FrameCounts(1, 0, 0, 1, 0, 0), id="recovered"),
        pytest.param(NONE, boxes(SQUARE), boxes(SQUARE), FrameCounts(0, 0, 1, 0, 1, 0), id="lost"),
        pytest.param(boxes(NEAR), boxes(SQUARE), boxes(SQUARE), FrameCounts(1, 0, 0, 0, 0, 0), id="kept"),
        pytest.param(boxes(SQUARE), NONE, NONE, FrameCounts(0, 1, 0, 0, 0, 1), id="hallucinated"),
        pytest.param(boxes(NEAR), boxes(SQUARE), NONE, FrameCounts(0, 1, 0, 0, 0, 0), id="the blur's phantom"),
        pytest.param(
            boxes(SQUARE, NEAR), NONE, boxes(SQUARE), FrameCounts(1, 1, 0, 1, 0, 0), id="a second box on an object"
        ),
        pytest.param(
            boxes(SQUARE, NEAR), boxes(SQUARE), NONE, FrameCounts(0, 2, 0, 0, 0, 0), id="two boxes on a phantom"
        ),
        pytest.param(
            boxes(SQUARE, label=[1]),
            boxes(SQUARE),
            boxes(SQUARE),
            FrameCounts(0, 1, 1, 0, 1, 1),
            id="turned into another",
        ),
        pytest.param(
            boxes(SQUARE, FAR),
            boxes(FAR, FARTHER),
            boxes(SQUARE, FARTHER),
            FrameCounts(1, 1, 1, 1, 1, 0),
            id="all at once",
        ),
    ],
)
def test_score_frame(restored, blurred, sharp, expected):
    assert score_frame(restored, blurred, sharp, 0.5) == expected


@pytest.mark.parametrize(
    ("restored", "blurred", "witness", "added", "vouched"),
    [
        pytest.param(NONE, NONE, NONE, [], [], id="nothing anywhere"),
        pytest.param(NONE, boxes(SQUARE), boxes(SQUARE), [], [], id="nothing restored"),
        pytest.param(boxes(SQUARE), NONE, NONE, [True], [False], id="nobody vouches"),
        pytest.param(boxes(SQUARE), NONE, boxes(NEAR), [True], [True], id="vouched for"),
        pytest.param(boxes(SQUARE), boxes(NEAR), boxes(SQUARE), [False], [False], id="seen before: not added"),
        pytest.param(boxes(SQUARE), boxes(SQUARE, label=[1]), NONE, [True], [False], id="another class before"),
        pytest.param(
            boxes(SQUARE), NONE, boxes(SQUARE, label=[1]), [True], [False], id="the witness sees another class"
        ),
        pytest.param(boxes((0, 0, 10, 5)), NONE, boxes(SQUARE), [True], [True], id="exactly the threshold"),
        pytest.param(boxes((0, 0, 10, 4.9)), boxes(SQUARE), boxes(SQUARE), [True], [False], id="below the threshold"),
        pytest.param(boxes(SQUARE, NEAR), NONE, boxes(SQUARE), [True, True], [True, True], id="two boxes on an object"),
        pytest.param(
            boxes(SQUARE, FAR, FARTHER),
            boxes(FAR),
            boxes(SQUARE, FAR),
            [True, False, True],
            [True, False, False],
            id="all at once",
        ),
    ],
)
def test_confirmed(restored, blurred, witness, added, vouched):
    found = confirmed(restored, blurred, witness, 0.5)
    assert [part.tolist() for part in found] == [added, vouched]
    assert all(part.dtype == np.bool_ for part in found)


@given(frames(), frames(), frames(), thresholds)
@settings(deadline=None, max_examples=150)
def test_the_counts_balance(restored, blurred, sharp, threshold):
    counts = score_frame(restored, blurred, sharp, threshold)
    before = score_frame(blurred, blurred, sharp, threshold)
    assert counts.tp + counts.fp == len(restored)
    assert counts.tp + counts.fn == len(sharp)
    assert counts.tp - before.tp == counts.recovered - counts.lost
    assert before.recovered == before.lost == 0
    assert counts.hallucinated <= counts.fp
    assert min(vars(counts).values()) >= 0


def test_the_examples_in_the_documentation():
    result = doctest.testmod(detbench.match)
    assert result.attempted > 0
    assert result.failed == 0
