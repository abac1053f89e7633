"""The bootstrap against a naive loop, against theory, and at its edges."""

import math
import statistics

import numpy as np
import pytest

from detbench import stats
from detbench.stats import Interval, bootstrap_difference, f1, mean, precision, recall
from detbench.types import FrameScore, RunResult, RunSpec


def random_counts(frames, seed):
    return np.random.default_rng(seed).integers(0, 8, (frames, 3))


def values(x):
    """The sums that ``mean`` wants: a value and 1 a frame."""
    x = np.asarray(x, float)
    return np.stack([x, np.ones_like(x)], axis=1)


@pytest.mark.parametrize(
    ("tp", "fp", "fn", "expected"),
    [
        (0, 0, 0, (1, 1, 1)),  # nothing to find, nothing found
        (0, 3, 0, (0, 1, 0)),  # nothing to find
        (0, 0, 3, (1, 0, 0)),  # nothing detected
        (3, 0, 0, (1, 1, 1)),
        (6, 2, 4, (0.75, 0.6, 12 / 18)),
    ],
)
def test_statistics_of_counts(tp, fp, fn, expected, tmp_path):
    sums = np.array([tp, fp, fn], float)
    assert [float(s(sums)) for s in (precision, recall, f1)] == pytest.approx(expected)
    score = FrameScore("a", "a", tp, fp, fn, 0, 0, 0, 30.0, 0.9, 1.0, 1.0)
    result = RunResult(RunSpec("identity"), {}, (score,), tmp_path)
    assert (result.precision, result.recall, result.f1) == pytest.approx(expected)


def test_statistics_keep_the_leading_axes():
    sums = np.array([[[6, 2, 4], [0, 0, 0]]], float)
    assert f1(sums).tolist() == [[12 / 18, 1]]
    assert mean(np.array([[10, 4], [3, 2]], float)).tolist() == [2.5, 1.5]
    assert math.isnan(mean(np.zeros(2)))


def naive(a, b, statistic, resamples, seed, clips=None, level=0.95):
    """Draw the same frames or clips, gather their rows one by one, and sum them."""
    rng = np.random.default_rng(seed)
    groups = [[i] for i in range(len(a))]
    if clips is not None:
        groups = [[i for i, c in enumerate(clips) if c == name] for name in sorted(set(clips))]
    differences = []
    for _ in range(resamples):
        rows = [i for group in rng.integers(len(groups), size=len(groups)) for i in groups[group]]
        differences.append(float(statistic(a[rows].sum(axis=0))) - float(statistic(b[rows].sum(axis=0))))
    estimate = float(statistic(a.sum(axis=0))) - float(statistic(b.sum(axis=0)))
    tail = 100 * (1 - level) / 2
    return Interval(estimate, *np.percentile(differences, [tail, 100 - tail]))


@pytest.mark.parametrize("statistic", [f1, precision, recall])
@pytest.mark.parametrize("clips", [None, list("aabbbcdeefgghhhhijkl")])
@pytest.mark.parametrize("level", [0.95, 0.5])
def test_counts_equal_the_naive_loop(statistic, clips, level):
    a, b = random_counts(20, 1), random_counts(20, 2)
    expected = naive(a, b, statistic, 300, seed=7, clips=clips, level=level)
    interval = bootstrap_difference(a, b, statistic, clips, resamples=300, seed=7, level=level)
    assert vars(interval) == pytest.approx(vars(expected), abs=1e-12)
    assert interval.low < interval.high


def test_means_equal_the_naive_loop():
    rng = np.random.default_rng(0)
    a, b = values(rng.normal(27, 2, 30)), values(rng.normal(26, 2, 30))
    clips = [f"clip {i // 4}" for i in range(30)]  # the last clip is shorter: the mean weighs frames, not clips
    expected = naive(a, b, mean, 300, seed=3, clips=clips)
    assert vars(bootstrap_difference(a, b, mean, clips, 300, seed=3)) == pytest.approx(vars(expected), abs=1e-9)


def test_the_draws_do_not_depend_on_how_many_fit_into_memory(monkeypatch):
    a, b = random_counts(15, 1), random_counts(15, 2)
    whole = bootstrap_difference(a, b, f1, resamples=1000)
    monkeypatch.setattr(stats, "_CHUNK", 7)
    assert bootstrap_difference(a, b, f1, resamples=1000) == whole


def test_the_seed_decides():
    a, b = random_counts(15, 1), random_counts(15, 2)
    assert bootstrap_difference(a, b, f1, resamples=200) == bootstrap_difference(a, b, f1, resamples=200)
    assert bootstrap_difference(a, b, f1, resamples=200) != bootstrap_difference(a, b, f1, resamples=200, seed=1)


def test_the_interval_of_a_mean_is_the_textbook_one():
    """Of many frames it is the difference -+ 1.96 standard errors of the paired differences."""
    rng = np.random.default_rng(0)
    b = rng.normal(0, 50, 2000)
    gain = rng.normal(1, 2, 2000)
    interval = bootstrap_difference(values(b + gain), values(b), mean)
    error = 1.96 * gain.std() / math.sqrt(2000)
    assert interval.estimate == pytest.approx(gain.mean())
    assert interval.low == pytest.approx(gain.mean() - error, abs=0.05 * error)
    assert interval.high == pytest.approx(gain.mean() + error, abs=0.05 * error)


def test_frames_of_one_clip_count_as_one_observation():
    """Copying every frame nine times adds no knowledge; only the clustered interval knows that."""
    rng = np.random.default_rng(0)
    a, b = values(rng.normal(1, 2, 100)), values(np.zeros(100))
    once = bootstrap_difference(a, b, mean)
    copied = np.repeat(a, 9, axis=0), np.repeat(b, 9, axis=0)
    clustered = bootstrap_difference(*copied, mean, clips=np.repeat([f"{i:03}" for i in range(100)], 9))
    pretended = bootstrap_difference(*copied, mean)
    assert vars(clustered) == pytest.approx(vars(once), abs=1e-9)
    assert pretended.high - pretended.low == pytest.approx((once.high - once.low) / 3, rel=0.1)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = []
    for seed in range(200):
        gain = rng.normal(0.5, 1, 60)
        interval = bootstrap_difference(values(gain), values(np.zeros(60)), mean, resamples=300, seed=seed, level=0.8)
        covered.append(interval.low <= 0.5 <= interval.high)
    assert statistics.mean(covered) == pytest.approx(0.8, abs=0.09)


def test_equal_runs_do_not_differ():
    a = random_counts(30, 1)
    assert bootstrap_difference(a, a.copy(), f1, resamples=100) == Interval(0, 0, 0)


@pytest.mark.parametrize(
    ("a", "clips"),
    [
        pytest.param([[1, 2, 3]], None, id="one frame"),
        pytest.param([[1, 1, 3], [0, 1, 0]], ["a", "a"], id="one clip"),
    ],
)
def test_one_cluster_is_not_enough_for_an_interval(a, clips):
    a = np.array(a)
    interval = bootstrap_difference(a, np.zeros_like(a), f1, clips)
    assert interval.estimate == pytest.approx(2 / 7 - 1)
    assert math.isnan(interval.low) and math.isnan(interval.high)


def test_no_frames():
    interval = bootstrap_difference(np.zeros((0, 3)), np.zeros((0, 3)), f1)
    assert interval.estimate == 0
    assert math.isnan(interval.low) and math.isnan(interval.high)


def test_the_psnr_of_equal_frames_has_no_interval():
    a, b = values([math.inf, 30, 31]), values([28, 29, 30])
    interval = bootstrap_difference(a, b, mean)
    assert interval.estimate == math.inf
    assert math.isnan(interval.low) and math.isnan(interval.high)
    assert math.isnan(bootstrap_difference(a, a, mean).estimate)


@pytest.mark.parametrize(
    ("a", "b", "clips", "named"),
    [
        (np.zeros((4, 3)), np.zeros((5, 3)), None, r"\(4, 3\).*\(5, 3\)"),
        (np.zeros(4), np.zeros(4), None, r"\(4,\)"),
        (np.zeros((4, 3)), np.zeros((4, 3)), ["a"], "4 frames and 1 clips"),
    ],
)
def test_runs_that_cannot_be_paired_are_refused(a, b, clips, named):
    with pytest.raises(ValueError, match=named):
        bootstrap_difference(a, b, f1, clips)
