"""A word for each deblurer: Holm decides, and who cannot tell says what it would take."""

import math

import numpy as np
import pytest

from detbench import compare, stats, table
from detbench.lineup import Lineup
from detbench.stats import Interval
from detbench.types import DetbenchError
from detbench.verdict import HARMS, HELPS, MOST, SAME, UNKNOWN, Verdict, _verdict, needed, verdicts


@pytest.mark.parametrize(
    "gain, p_holm, word",
    [
        (Interval(0.1, 0.05, 0.15, 0.001), 0.002, HELPS),
        (Interval(-0.1, -0.15, -0.05, 0.001), 0.002, HARMS),
        (Interval(0.05, 0.001, 0.1, 0.04), 0.4, UNKNOWN),  # the interval alone would say that it helps
        (Interval(0.002, -0.004, 0.008, 0.5), 1.0, SAME),
        (Interval(0.002, -0.004, 0.012, 0.5), 1.0, UNKNOWN),  # more than a hundredth of F1 is in it
        (Interval(0.05), math.nan, UNKNOWN),  # too few clips for an interval
    ],
)
def test_the_word(gain, p_holm, word):
    assert _verdict(gain, p_holm, 66, 3).word == word


def test_each_model_has_a_verdict_of_its_own(run):
    floor, better, worse = run(), run("dc250", 0.75, 26), run("unsharp", 0.3, 24.8)
    found = verdicts(compare.compare([floor, better, worse], resamples=500))
    assert {name: verdict.word for name, verdict in found.items()} == {"dc250": HELPS, "unsharp": HARMS}
    assert all(verdict.clips is None for verdict in found.values())


@pytest.mark.parametrize("truth, models", [(0.05, 1), (0.05, 20), (0.0, 1)])
def test_so_many_clips_would_tell_four_times_in_five(truth, models):
    """Clips are drawn whose difference has a known mean and spread: as many as are said to be needed tell it mostly."""
    deviation, few = 0.3, 60
    se = deviation / math.sqrt(few)
    seen = Interval(truth, truth - 1.96 * se, truth + 1.96 * se, 0.5)
    number = int(needed(seen, few, models, 0.1 if truth == 0 else 0.01))
    rng = np.random.default_rng(0)
    means = rng.normal(truth, deviation, (4_000, number)).mean(axis=1)
    half = deviation / math.sqrt(number)
    normal = 2.2414 if models == 1 and truth == 0 else {1: 1.96, 20: 3.0233}[models]
    told = np.abs(means) > normal * half if truth else np.abs(means) < 0.1 - 1.96 * half
    least = 0.75 if truth else 0.55  # to lie within both ends is harder than to pass one
    assert least < told.mean() < 0.9
    assert number > few


def test_what_no_number_of_clips_would_tell():
    assert needed(Interval(0.0101, -0.2, 0.22, 0.9), 60, 30, 0.01) == math.inf
    assert needed(Interval(0.05), 5, 1, 0.01) is None
    assert needed(Interval(0.0, 0.0, 0.0, 1.0), 60, 1, 0.01) is None
    assert str(Verdict(UNKNOWN, Interval(0.05), math.inf)) == f"not known (over {MOST:,} clips would tell)"
    assert str(Verdict(UNKNOWN, Interval(0.05), 1200.0)) == "not known (1,200 clips would tell)"
    assert str(Verdict(HELPS, Interval(0.05))) == "helps"


def test_the_table_has_verdict_and_gain_and_the_best_first(run):
    floor, ceiling = run(), run("jpeg95", 0.95, 40, input="sharp")
    models = (run("unsharp", 0.3, 24.8), run("dc250", 0.75, 26))
    found = verdicts(compare.compare([floor, *models], resamples=200))
    rows = table.rows(Lineup(floor, Lineup(floor, models, ceiling).ranked, ceiling))
    shown = [table.cells(row, table.SHOWN, found.get(row["name"])) for row in rows]
    assert [row[:2] for row in shown] == [
        ["blurred", "-"],
        ["dc250", HELPS],
        ["unsharp", HARMS],
        ["sharp, JPEG 95", "-"],
    ]
    gain = found["dc250"].gain
    assert shown[1][3] == f"{gain.estimate:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
    assert [row[-1] for row in shown] == ["-", "5", "5", "-"]  # nobody deblurs with floor or ceiling
    few = Verdict(UNKNOWN, stats.Interval(0.0123))
    assert table.cells(rows[1], ("gain",), few) == ["dc250", "+0.012"]


def test_columns_are_chosen_by_key():
    assert table.chosen("all") == tuple(table.headings())
    assert table.chosen("f1, ssim, ms/frame, PSNR dB") == ("f1", "ssim", "restore_ms", "psnr_db")
    with pytest.raises(DetbenchError, match=r"no column 'p': choose all, or some of verdict, gain, precision"):
        table.chosen("f1,p")


def test_the_time_is_the_median_of_the_frames(run):
    from dataclasses import replace

    slow = run("dc250", 0.75, 26)
    first, *others = slow.scores
    slow = replace(slow, scores=(replace(first, restore_ms=5_000.0), *others))
    row = table.rows(Lineup(run(), (slow,), run("jpeg95", 0.95, 40, input="sharp")))[1]
    assert row["restore_ms"] == 5.0
