"""Breakdowns against literal tables, naive loops and pycocotools."""

import dataclasses
import math

import numpy as np
import pytest
from conftest import boxes
from hypothesis import given, settings
from hypothesis import strategies as st

from detbench import tide
from detbench.counts import Counts
from detbench.match import score_frame
from detbench.report import breakdown
from detbench.report.breakdown import Cell
from detbench.tide import Errors
from detbench.types import Detections, FrameScore

NONE = Detections.empty()


def squares(*left, side=10, **more):
    """Boxes of one size at y = 0."""
    return boxes(*[(x, 0, x + side, side) for x in left], **more)


def random_frames(seed, frames=6, classes=3):
    """Detections near reference objects, several to each, with few distinct scores, so that they compete and tie."""
    rng = np.random.default_rng(seed)
    detections, reference = [], []
    for _ in range(frames):
        objects = rng.integers(0, 10)
        corner, side = rng.uniform(0, 150, (objects, 2)), rng.uniform(20, 60, (objects, 2))
        truth = np.hstack([corner, corner + side])
        label = rng.integers(0, classes, objects)
        copied = np.repeat(np.arange(objects), 3)
        score = np.sort(rng.integers(1, 20, len(copied)) / 20)[::-1]
        moved = truth[copied] + rng.normal(0, 6, (len(copied), 4))
        moved[rng.random(len(copied)) < 0.1] += 300  # where nothing is
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 5)
        guess = np.where(rng.random(len(copied)) < 0.7, label[copied], rng.integers(0, classes, len(copied)))
        detections.append(Detections(moved.astype(np.float32), score.astype(np.float32), guess))
        reference.append(Detections(truth.astype(np.float32), np.ones(objects, np.float32), label))
    return detections, reference


def rematched(detections, reference, match_iou, conf):
    """Tp, fp and fn in total: each frame's detections filtered, then matched."""
    counts = np.zeros(3, int)
    for seen, truth in zip(detections, reference, strict=True):
        kept = [i for i in range(len(seen)) if seen.score[i] >= np.float32(conf)]
        seen = Detections(seen.xyxy[kept], seen.score[kept], seen.label[kept])
        got = score_frame(seen, NONE, truth, match_iou)
        counts += got.tp, got.fp, got.fn
    return counts.tolist()


# Sweeps


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), match_iou=st.sampled_from([0.1, 0.5, 0.75]))
def test_matching_once_is_matching_at_each_confidence(seed, match_iou):
    detections, reference = random_frames(seed)
    confidences = np.linspace(0, 1, 21)  # most of them some detection's score
    sweep = breakdown.confidence_sweep(detections, reference, match_iou, confidences)
    assert sweep.counts.columns().tolist() == [rematched(detections, reference, match_iou, c) for c in confidences]


def test_a_detection_counts_at_its_own_score():
    sweep = breakdown.confidence_sweep([squares(0, 50, score=[0.3, 0.1])], [squares(0, 20)], 0.5, [0.1, 0.3, 0.31])
    assert sweep.counts.columns().tolist() == [[1, 1, 1], [1, 0, 1], [0, 0, 2]]
    assert sweep.counts.precision.tolist() == [0.5, 1, 1]  # nothing detected: nothing invented
    assert sweep.counts.recall.tolist() == [0.5, 0.5, 0]
    assert sweep.counts.f1.tolist() == [0.5, pytest.approx(2 / 3), 0]


def test_who_leads_at_which_confidence():
    def sweep(*found):
        counts = np.array([[tp, 0, 10 - tp] for tp in found])
        return breakdown.Sweep(np.array([0.1, 0.2, 0.3, 0.4, 0.5]), Counts.of(counts))

    sweeps = {"a": sweep(5, 5, 5, 1, 9), "b": sweep(4, 5, 6, 6, 0)}
    assert breakdown.leaders(sweeps, 0, 1) == {"a": 3, "b": 2}
    assert breakdown.leaders(sweeps, 0.1, 0.2) == {"a": 2}  # of equals the first


def test_the_default_confidences_hold_the_usual_ones():
    assert {0.01, 0.25, 0.5, 0.99} <= set(breakdown.CONFIDENCES.round(10).tolist())
    frames = [squares(0, score=[0.25])]
    sweep = breakdown.confidence_sweep(frames, frames, 0.5)
    assert sweep.thresholds[sweep.counts.tp == 1].max() == pytest.approx(0.25)


def test_the_iou_sweep_matches_at_each_threshold():
    detections, reference = random_frames(3)
    sweep = breakdown.iou_sweep(detections, reference, conf=0.4)
    assert sweep.thresholds == pytest.approx([0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
    assert sweep.counts.columns().tolist() == [rematched(detections, reference, t, 0.4) for t in sweep.thresholds]
    assert sweep.counts.tp[0] > sweep.counts.tp[-1]


def test_a_box_passes_the_thresholds_below_its_overlap():
    sweep = breakdown.iou_sweep([boxes((0, 0, 10, 7))], [boxes((0, 0, 10, 10))], 0.25, [0.5, 0.69, 0.71])
    assert sweep.counts.columns().tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 1]]


def test_rescoring_counts_frame_by_frame():
    detections, reference = random_frames(5)
    got = breakdown.rescore(detections, reference, 0.5, 0.3)
    expected = [rematched([a], [b], 0.5, 0.3) for a, b in zip(detections, reference, strict=True)]
    assert got.columns().tolist() == expected


@pytest.mark.parametrize("function", [breakdown.matches, breakdown.rescore, tide.errors])
def test_each_frame_needs_a_reference(function):
    more = {breakdown.matches: (0.5,), breakdown.rescore: (0.5, 0.25), tide.errors: (0.25,)}[function]
    with pytest.raises(ValueError):
        function([NONE, NONE], [NONE], *more)


# Cells


def test_cells_by_class():
    detections = [squares(0, 20, 40, label=[0, 1, 7]), squares(0, score=[0.1], label=[0])]
    reference = [squares(0, 20, 60, label=[0, 0, 1]), squares(0, label=[0])]
    matches = breakdown.matches(detections, reference, 0.5, 0.25)
    assert breakdown.by_class(matches, {0: "car", 1: "person", 2: "bus"}) == [
        Cell("car", Counts(1, 0, 2)),  # the second frame's detection is below 0.25
        Cell("person", Counts(0, 1, 1)),
        Cell("class 7", Counts(0, 1, 0)),  # no bus: there is none
    ]


def test_cells_by_size_take_the_area_of_the_reference():
    def square(side, at=0):
        return (at, at, at + side, at + side)

    # Found: the reference box of 33 x 33 is medium, though the detection's 30 x 30 is small.
    detections = [boxes(square(30), square(31, 200), square(96, 500))]
    reference = [boxes(square(33), square(95.9, 1000), square(96, 1500))]
    matches = breakdown.matches(detections, reference, 0.5)
    assert breakdown.by_size(matches) == [
        Cell("small", Counts(0, 1, 0)),
        Cell("medium", Counts(1, 0, 1)),
        Cell("large", Counts(0, 1, 1)),
    ]


def test_cells_by_severity():
    detections = [squares(0), squares(0, 20), NONE]
    reference = [squares(0), squares(0), squares(0, 20)]
    matches = breakdown.matches(detections, reference, 0.5)
    assert breakdown.by_severity(matches, ["strong", "light", "medium"]) == [
        Cell("light", Counts(1, 1, 0)),
        Cell("medium", Counts(0, 0, 2)),
        Cell("strong", Counts(1, 0, 0)),
    ]
    assert breakdown.by_severity(matches, ["fog", "light", "fog"])[3] == Cell("fog", Counts(1, 0, 2))


def floor(psnr_db, severity=""):
    """Scores of blurred frames."""
    return [FrameScore("id", "clip", 0, 0, 0, 0, 0, 0, psnr, 0.9, 0.0, 0.0, severity) for psnr in psnr_db]


@pytest.mark.parametrize(
    ("psnr_db", "expected"),
    [
        ([], []),
        ([25], [0]),
        ([20, 30], [1, 0]),
        ([22, 21, 20, 25, 24, 23], [1, 2, 2, 0, 0, 1]),
        ([math.inf, math.inf, 30, 20], [0, 0, 1, 2]),
        ([25, 25, 25, 25, 25, 20], [0, 0, 0, 0, 0, 2]),  # equal frames are not torn apart
    ],
)
def test_severities_are_terciles(psnr_db, expected):
    assert breakdown.severities(floor(psnr_db)) == [breakdown.SEVERITIES[third] for third in expected]


def test_a_datasets_own_severities_come_before_terciles():
    known = floor([20, 30], "medium")
    assert breakdown.severities(known) == ["medium", "medium"]
    assert breakdown.severities([*known, *floor([40])]) == ["strong", "medium", "light"]  # where one does not say


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_cells_add_up_to_the_run(seed):
    detections, reference = random_frames(seed)
    total = rematched(detections, reference, 0.5, 0.3)
    matches = breakdown.matches(detections, reference, 0.5, 0.3)
    severity = breakdown.severities(floor(np.random.default_rng(seed).uniform(20, 30, len(reference))))
    for cells in (
        breakdown.by_class(matches, {}),
        breakdown.by_size(matches),
        breakdown.by_severity(matches, severity),
    ):
        assert sum((cell.counts for cell in cells), Counts(0, 0, 0)).columns().tolist() == total


def test_a_cell_needs_ten_objects_to_be_trusted():
    assert Cell("a", Counts(4, 0, 6)).enough
    assert not Cell("a", Counts(4, 100, 5)).enough


# Kinds of errors

OBJECT = boxes((0, 0, 10, 10))
TABLE = {
    "found": (boxes((0, 0, 10, 10)), OBJECT, {}),
    "classification": (boxes((0, 0, 10, 9), label=[1]), OBJECT, {"classification": 1}),
    "localisation": (boxes((0, 0, 10, 4)), OBJECT, {"localisation": 1}),
    "both": (boxes((0, 0, 10, 4), label=[1]), OBJECT, {"both": 1, "missed": 1}),
    "duplicate": (boxes((0, 0, 10, 10), (0, 0, 10, 9)), OBJECT, {"duplicate": 1}),
    "background": (boxes((40, 0, 50, 10)), OBJECT, {"background": 1, "missed": 1}),
    "missed": (NONE, OBJECT, {"missed": 1}),
    "on the foreground's edge": (boxes((0, 0, 10, 5), label=[1]), OBJECT, {"classification": 1}),
    "on the background's edge": (boxes((0, 0, 10, 1)), OBJECT, {"localisation": 1}),
    "below the background's edge": (boxes((0, 0, 10, 0.9)), OBJECT, {"background": 1, "missed": 1}),
    "a frame without objects": (boxes((0, 0, 10, 10)), NONE, {"background": 1}),
    "below the confidence": (boxes((0, 0, 10, 10), score=[0.2]), OBJECT, {"missed": 1}),
    "two errors on one object": (
        boxes((0, 0, 10, 4), (0, 0, 10, 10), label=[0, 1]),
        OBJECT,
        {"localisation": 1, "classification": 1},
    ),
    "localisation comes before classification": (
        boxes((0, 0, 10, 10), label=[1]),
        boxes((0, 0, 10, 10), (0, 0, 10, 40), label=[0, 1]),
        {"localisation": 1, "missed": 1},
    ),
    "a bad second box on a found object": (
        boxes((0, 0, 10, 10), (0, 0, 10, 4)),
        boxes((0, 0, 10, 10), (40, 0, 50, 10)),
        {"localisation": 1, "missed": 1},
    ),
    "all in one frame": (
        boxes(
            (0, 0, 10, 10), (0, 0, 10, 9),  # found, duplicate
            (100, 0, 110, 10),  # classification
            (200, 0, 210, 4),  # localisation
            (300, 0, 310, 4),  # both
            (900, 0, 910, 10),  # background
            label=[0, 0, 1, 0, 1, 0],
        ),
        squares(0, 100, 200, 300, 400),
        {"duplicate": 1, "classification": 1, "localisation": 1, "both": 1, "background": 1, "missed": 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_kinds_of_errors(case):
    detections, reference, expected = TABLE[case]
    zero = dict.fromkeys((field.name for field in dataclasses.fields(Errors)), 0)
    assert vars(tide.errors([detections], [reference], 0.25)) == zero | expected


def test_every_false_positive_is_of_one_kind():
    detections, reference = random_frames(2, frames=20)
    kinds = vars(tide.errors(detections, reference, 0.3))
    _, fp, fn = rematched(detections, reference, 0.5, 0.3)
    assert sum(kinds.values()) - kinds["missed"] == fp
    assert 0 < kinds["missed"] < fn
    assert min(kinds.values()) > 0


# Nothing there


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_runs_without_objects(frames):
    nothing = [NONE] * frames
    matches = breakdown.matches(nothing, nothing, 0.5)
    assert breakdown.by_class(matches, {0: "car"}) == []
    assert breakdown.by_size(matches) == [Cell(name, Counts(0, 0, 0)) for name in ("small", "medium", "large")]
    assert not any(cell.enough for cell in breakdown.by_severity(matches, ["light"] * frames))
    assert breakdown.rescore(nothing, nothing, 0.5, 0.25).columns().tolist() == [[0, 0, 0]] * frames
    assert breakdown.confidence_sweep(nothing, nothing, 0.5).counts.columns().tolist() == [[0, 0, 0]] * 99
    assert breakdown.iou_sweep(nothing, nothing, 0.25).counts.f1.tolist() == [1.0] * 10
    assert set(vars(tide.errors(nothing, nothing, 0.25)).values()) == {0}
