"""Counts of objects and detections, and the ratios of them."""

import numpy as np
import pytest

from detbench.counts import Counts, counted, ratio
from detbench.types import FrameScore, RunResult, RunSpec


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (Counts(0, 0, 0), (1, 1, 1)),  # nothing to find, nothing found
        (Counts(0, 3, 0), (0, 1, 0)),  # nothing to find
        (Counts(0, 0, 3), (1, 0, 0)),  # nothing detected
        (Counts(3, 0, 0), (1, 1, 1)),
        (Counts(6, 2, 4), (0.75, 0.6, 12 / 18)),
    ],
)
def test_ratios(counts, expected, tmp_path):
    assert [float(each) for each in (counts.precision, counts.recall, counts.f1)] == pytest.approx(expected)
    score = FrameScore("a", "a", counts.tp, counts.fp, counts.fn, 0, 0, 0, 30.0, 0.9, 1.0, 1.0)
    result = RunResult(RunSpec("identity"), {}, (score,), tmp_path)
    assert (result.precision, result.recall, result.f1) == pytest.approx(expected)


def test_arrays_keep_their_shape():
    counts = Counts.of(np.array([[[6, 2, 4], [0, 0, 0]]]))
    assert counts.f1.tolist() == [[12 / 18, 1]]
    assert counts[0, 0] == Counts(6, 2, 4)
    assert counts.columns().tolist() == [[[6, 2, 4], [0, 0, 0]]]
    assert counts.sum(axis=1).columns().tolist() == [[6, 2, 4]]


def test_sums_and_differences():
    more, less = Counts(5, 4, 5), Counts(1, 2, 3)
    assert more + less == Counts(6, 6, 8)
    assert more - less == Counts(4, 2, 2)
    assert (more.objects, more.detections) == (10, 9)
    assert more.map(float) == Counts(5.0, 4.0, 5.0)


def test_what_cannot_be_divided():
    assert ratio(np.array([1.0, 2.0]), np.array([0.0, 4.0]), otherwise=7).tolist() == [7, 0.5]
    assert float(ratio(3, 0, otherwise=1)) == 1


@pytest.mark.parametrize(("number", "words"), [(0, "0 clips"), (1, "1 clip"), (2, "2 clips"), (1234, "1,234 clips")])
def test_one_is_singular(number, words):
    assert counted(number, "clip") == words
