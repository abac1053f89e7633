"""What each deblurer brings, as pictures: every mark is the verdict's, and colour says nothing alone."""

import math

from detbench.best import Board, Score
from detbench.report import gains
from detbench.stats import Interval
from detbench.verdict import HARMS, HELPS, SAME, UNKNOWN, Verdict


def score(name, gain, word):
    return Score(name, 0.5 + gain, Verdict(word, Interval(gain, gain - 0.02, gain + 0.02)))


def board(detector, *scores):
    return Board("street", 66, detector, 640, 0.5, scores)


def test_the_matrix_marks_each_cell_and_has_the_best_on_top():
    one = board("one", score("good", 0.1, HELPS), score("odd", -0.05, HARMS), score("alone", 0.3, HELPS))
    other = board("other", score("odd", 0.0004, SAME), score("good", -0.0001, UNKNOWN))
    (axes,) = gains.matrix([one, other]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["good", "odd"]  # what all boards have
    assert [label.get_text() for label in axes.get_xticklabels()] == ["one\n640 px", "other\n640 px"]
    cells = {text.get_position(): text for text in axes.texts}
    assert cells[0, 0].get_text() == f"+.100 {gains.MARKS[HELPS]}"
    assert cells[1, 0].get_text() == "+.000 ?"  # not -.000
    assert cells[0, 1].get_text() == f"-.050 {gains.MARKS[HARMS]}"
    assert cells[1, 1].get_text() == "+.000 ="
    assert [cells[0, 0].get_fontweight(), cells[1, 0].get_fontweight()] == ["bold", "normal"]
    assert len(set(gains.MARKS.values())) == 4


def test_the_forest_is_hollow_where_the_verdict_is_not_sure():
    judged = {
        "unsure": Verdict(UNKNOWN, Interval(0.05, 0.01, 0.09)),  # its interval alone would say more
        "sure": Verdict(HELPS, Interval(0.1, 0.05, 0.15)),
        "few": Verdict(UNKNOWN, Interval(0.2)),
    }
    (axes,) = gains.forest(judged, 0.4, "blurred", "sharp").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["unsure", "sure", "few"]  # from below
    points = {round(float(line.get_xdata()[0]), 2): line for line in axes.lines if line.get_marker() == "o"}
    assert points[0.05].get_markerfacecolor() == points[0.2].get_markerfacecolor() == "white"
    assert points[0.1].get_markerfacecolor() == gains.COLOURS[HELPS]
    ranges = [list(line.get_xdata()) for line in axes.lines if line.get_marker() != "o"]
    assert [0.05, 0.15] in ranges
    assert not any(math.isnan(x) for pair in ranges for x in pair)
    assert [0.4, 0.4] in ranges
    words = [text.get_text() for text in axes.texts]
    assert words == ["? not known", f"{gains.MARKS[HELPS]} helps", "? not known"]


def test_one_deblurer_without_any_gain_can_be_drawn():
    only = score("only", 0.0, UNKNOWN)
    gains.matrix([board("one", only)]).draw_without_rendering()
    gains.forest({"only": only.verdict}, 0.4, "a", "b").draw_without_rendering()
