"""One matching for all thresholds, and a threshold that is chosen on other clips."""

import numpy as np
import pytest
from conftest import crowd

from detbench.counts import Counts
from detbench.match import match
from detbench.thresholds import THRESHOLDS, counts_by_threshold, leave_one_clip_out
from detbench.types import DetbenchError, Detections


@pytest.mark.parametrize("ties", [False, True])
def test_one_matching_serves_all_thresholds(ties):
    rng = np.random.default_rng(0)
    seen = [crowd(rng, rng.integers(0, 25), ties) for _ in range(60)]
    reference = [crowd(rng, rng.integers(0, 12)) for _ in range(60)]
    thresholds = np.array([0.0, 0.1, 0.25, 0.3, 0.5, 0.500001, 0.7, 0.99, 1.0])
    counted = counts_by_threshold(seen, reference, 0.4, thresholds)
    assert counted.tp.shape == (60, 9)
    again = np.zeros((60, 9, 3), int)
    for frame, (found_, objects) in enumerate(zip(seen, reference, strict=True)):
        for t, threshold in enumerate(thresholds):
            kept = found_.above(threshold)
            tp = int((match(kept, objects, 0.4) >= 0).sum())
            again[frame, t] = tp, len(kept) - tp, len(objects) - tp
    assert (counted.columns() == again).all()
    assert counted.tp[:, 0].sum() > counted.tp[:, 4].sum() > 0


def naive_loco(seen, reference, clips, match_iou, thresholds):
    def total(threshold, frames):
        kept = [seen[i].above(threshold) for i in frames]
        tp = sum(int((match(k, reference[i], match_iou) >= 0).sum()) for k, i in zip(kept, frames, strict=True))
        return tp, sum(map(len, kept)) - tp, sum(len(reference[i]) for i in frames) - tp

    rows = []
    for i, clip in enumerate(clips):
        others = [j for j, other in enumerate(clips) if other != clip]
        rows.append(total(max(thresholds, key=lambda t: Counts(*total(t, others)).f1), [i]))
    return rows


def test_loco_equals_the_naive_loop():
    rng = np.random.default_rng(1)
    seen = [crowd(rng, 12) for _ in range(14)]
    reference = [crowd(rng, 8) for _ in range(14)]
    clips = list("aabbbcdeefffgh")
    thresholds = np.arange(1, 20) / 20
    counted = leave_one_clip_out(seen, reference, clips, 0.3, thresholds)
    assert counted.columns().tolist() == [list(row) for row in naive_loco(seen, reference, clips, 0.3, thresholds)]


def boxes(scores, left):
    xyxy = np.array([[x, 0, x + 10, 10] for x in left], np.float32).reshape(-1, 4)
    return Detections(xyxy, np.array(scores, np.float32), np.zeros(len(left), np.int64))


def test_a_clips_own_frames_have_no_say_in_its_threshold():
    """Clip b alone would want 0.1, where its object is; a and c are best off above their false detections at 0.4."""
    good = boxes([0.9, 0.4], [0, 50])
    seen = [good, boxes([0.1], [0]), good]
    reference = [boxes([1], [0])] * 3
    assert leave_one_clip_out(seen, reference, list("abc"), 0.5, np.array([0.1, 0.5])).columns().tolist() == [
        [1, 1, 0],
        [0, 0, 1],
        [1, 1, 0],
    ]


def test_loco_of_nothing_and_of_one_clip():
    empty = [Detections.empty()] * 3
    assert leave_one_clip_out(empty, empty, list("abc"), 0.5).columns().tolist() == [[0, 0, 0]] * 3
    with pytest.raises(DetbenchError, match="only one"):
        leave_one_clip_out(empty, empty, list("aaa"), 0.5)


def test_two_clips_are_enough_and_every_hundredth_is_tried():
    assert THRESHOLDS.tolist() == [i / 100 for i in range(1, 100)]
    seen, reference = [boxes([0.9, 0.42], [0, 50]), boxes([0.43, 0.2], [0, 50])], [boxes([1], [0])] * 2
    counts = leave_one_clip_out(seen, reference, ["a", "b"], 0.5)
    assert counts.columns().tolist() == [[1, 1, 0], [1, 0, 0]]  # a from 0.21 on, b from 0.43
