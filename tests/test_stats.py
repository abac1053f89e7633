"""The bootstrap against a naive loop, against theory, and at its edges."""

import math
import statistics

import numpy as np
import pytest
import scipy.stats

from detbench import stats
from detbench.counts import Counts
from detbench.stats import (
    Interval,
    bootstrap_difference,
    bootstrap_rank_correlation,
    holm,
    interval,
    mean,
    rank_correlation,
    resampled_sums,
)


def f1(sums):
    """As a statistic of (..., 3) sums of tp, fp and fn."""
    return Counts.of(sums).f1


def precision(sums):
    return Counts.of(sums).precision


def recall(sums):
    return Counts.of(sums).recall


def random_counts(frames, seed):
    return np.random.default_rng(seed).integers(0, 8, (frames, 3))


def values(x):
    """The sums that ``mean`` wants: a value and 1 a frame."""
    x = np.asarray(x, float)
    return np.stack([x, np.ones_like(x)], axis=1)


def test_statistics_keep_the_leading_axes():
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
    return Interval(estimate, *naive_ends(differences, level), naive_p(differences))


def naive_ends(differences, level):
    tail = 100 * (1 - level) / 2
    return np.percentile(differences, [tail, 100 - tail])


def naive_p(differences):
    """Twice the smaller tail, each with one resample more."""
    below, above = 1, 1
    for difference in differences:
        below += difference < 1e-12
        above += difference > -1e-12
    return min(1, 2 * min(below, above) / (len(differences) + 1))


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
    a, b = values(rng.normal(27, 2, 43)), values(rng.normal(26, 2, 43))
    clips = [f"clip {i // 4}" for i in range(43)]  # the last clip is shorter: the mean weighs frames, not clips
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


def test_the_interval_of_a_few_values_is_students():
    found = stats.student([1.0, 2.0, 3.0])
    assert (found.estimate, found.low, found.high) == pytest.approx((2.0, 2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert found.p == pytest.approx(0.0741799)
    assert stats.student([1.0]).estimate == 1.0
    assert math.isnan(stats.student([1.0]).low)
    with pytest.raises(ValueError, match="no values"):
        stats.student([])


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
    assert bootstrap_difference(a, a.copy(), f1, resamples=100) == Interval(0, 0, 0, 1)


def no_interval(interval):
    return all(math.isnan(value) for value in (interval.low, interval.high, interval.p))


@pytest.mark.parametrize("clips", [None, "abcdefghij"], ids=["frames", "clips"])
def test_below_ten_clips_there_is_no_interval(clips):
    a, b = random_counts(10, 1), random_counts(10, 2)
    enough = bootstrap_difference(a, b, f1, clips and list(clips))
    assert enough.low < enough.estimate < enough.high
    few = bootstrap_difference(a, b, f1, list("abcdefghii")) if clips else bootstrap_difference(a[:9], b[:9], f1)
    assert math.isfinite(few.estimate)
    assert no_interval(few)
    assert "not enough data" in str(few)


def test_ten_are_enough_for_nine_times_out_of_ten():
    """Why the minimum is what it is: of fewer observations, a 95 % interval holds the truth too rarely."""
    rng = np.random.default_rng(0)

    def coverage(n, trials=1500):
        samples = rng.normal(0, 1, (n, trials))
        draws = rng.multinomial(n, np.full(n, 1 / n), 600) @ samples / n
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        return ((low <= 0) & (high >= 0)).mean()

    assert coverage(5) < 0.87
    assert coverage(stats.MINIMUM_CLIPS) > 0.89


def test_no_frames():
    interval = bootstrap_difference(np.zeros((0, 3)), np.zeros((0, 3)), f1)
    assert interval.estimate == 0
    assert no_interval(interval)


def test_the_psnr_of_equal_frames_has_no_interval():
    a, b = values([math.inf, *range(30, 50)]), values(range(29, 50))
    gain = bootstrap_difference(a, b, mean)
    assert gain.estimate == math.inf
    assert no_interval(gain)
    assert str(gain) == "+inf (no interval)"
    assert math.isnan(bootstrap_difference(a, a, mean).estimate)


def test_one_infinite_column_leaves_the_others_alone():
    table = np.random.default_rng(0).normal(size=(20, 3))
    whole = resampled_sums(table, resamples=50)
    table[7, 1] = math.inf
    sums = resampled_sums(table, resamples=50)
    assert np.isnan(sums[:, 1]).all()
    assert sums[:, [0, 2]] == pytest.approx(whole[:, [0, 2]])


def test_all_statistics_in_one_pass_equal_each_alone():
    rng = np.random.default_rng(0)
    table = np.concatenate([rng.integers(0, 8, (40, 2, 3)), rng.normal(27, 2, (40, 2, 2)), np.ones((40, 2, 1))], axis=2)
    clips = [f"{i // 3:02}" for i in range(40)]
    sums = resampled_sums(table, clips, 500, seed=5)
    for statistic, columns in [(f1, [0, 1, 2]), (recall, [0, 1, 2]), (mean, [3, 5]), (mean, [4, 5])]:
        alone = bootstrap_difference(table[:, 0, columns], table[:, 1, columns], statistic, clips, 500, seed=5)
        drawn = statistic(sums[:, 0][:, columns]) - statistic(sums[:, 1][:, columns])
        assert vars(interval(alone.estimate, drawn)) == pytest.approx(vars(alone), abs=1e-11)


@pytest.mark.parametrize(
    ("resampled", "p"),
    [
        ([1, 2, 3, 4], 2 / 5),  # none at or below 0 of four: never 0 itself
        ([-1, 2, 3, 4], 4 / 5),
        ([-1, -2, 3, 4], 1),
        ([-4, -3, -2, -1], 2 / 5),
        ([0, 0, 0, 0], 1),
        ([1e-15, 1e-15, 1e-15, 1e-15], 1),  # rounding is no difference
    ],
)
def test_p_values(resampled, p):
    assert interval(0.5, np.array(resampled, float)).p == pytest.approx(p)


def test_the_interval_excludes_zero_when_p_is_small():
    rng = np.random.default_rng(0)
    for shift in np.linspace(-0.6, 0.6, 25):
        gain = bootstrap_difference(values(rng.normal(shift, 1, 40)), values(np.zeros(40)), mean, resamples=2000)
        excluded = gain.low > 0 or gain.high < 0
        if abs(gain.p - 0.05) > 0.002:  # a resample or two may lie between
            assert (gain.p < 0.05) == excluded


def test_without_a_difference_p_is_small_as_rarely_as_it_says():
    rng = np.random.default_rng(1)
    p = [
        bootstrap_difference(values(rng.normal(0, 1, 60)), values(np.zeros(60)), mean, resamples=300, seed=i).p
        for i in range(300)
    ]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.055, abs=0.035)
    assert np.mean(np.array(p) < 0.5) == pytest.approx(0.5, abs=0.09)


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
        ([0.04, 0.03, 0.02, 0.01], [0.06, 0.06, 0.06, 0.04]),
        ([0.005, 0.011, 0.02, 0.04, 0.13], [0.025, 0.044, 0.06, 0.08, 0.13]),
        ([0.6, 0.7], [1, 1]),
        ([0.02, math.nan, 0.03], [0.04, math.nan, 0.04]),
        ([math.nan, math.nan], [math.nan, math.nan]),
    ],
)
def test_holm(p, adjusted):
    assert holm(p).tolist() == pytest.approx(adjusted, nan_ok=True)


def naive_holm(p):
    """Step down: the smallest of what is left is multiplied by how many are left, and none falls below an earlier."""
    left, adjusted, floor = list(range(len(p))), [0.0] * len(p), 0.0
    while left:
        smallest = min(left, key=lambda i: p[i])
        floor = max(floor, min(1, p[smallest] * len(left)))
        adjusted[smallest] = floor
        left.remove(smallest)
    return adjusted


def test_holm_equals_the_naive_loop():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = np.round(rng.random(rng.integers(1, 12)) ** 3, 2).tolist()
        assert holm(p).tolist() == pytest.approx(naive_holm(p))


def test_ranks_against_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, (30, 8)), rng.normal(size=(30, 8))
    a[3] = 2  # all alike
    with pytest.warns(scipy.stats.ConstantInputWarning):
        expected = [scipy.stats.spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    assert rank_correlation(a, b).tolist() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("a", "b", "rho"),
    [
        ([1, 2, 3, 4, 5], [10, 20, 25, 26, 40], 1),
        ([1, 2, 3, 4, 5], [5, 4, 3, 2, 1], -1),
        ([1, 2, 3, 4, math.inf], [1, 2, 3, 4, 5], 1),
        ([1, 2, 3, 4, math.nan], [1, 2, 3, 4, 5], math.nan),
        ([1, 2, 3, 4], [1, 2, 3, 4], math.nan),
        ([5], [5], math.nan),
    ],
)
def test_rank_correlation(a, b, rho):
    assert float(rank_correlation(np.array(a), np.array(b))) == pytest.approx(rho, nan_ok=True)


def models_of_rising_quality(models, frames, noise):
    """(counts, PSNR) of models: the better of them find more and are closer, up to noise."""
    rng = np.random.default_rng(0)
    found = [rng.binomial(6, min(0.9, 0.4 + 0.1 * m), frames) for m in range(models)]
    counts = [np.stack([tp, np.ones_like(tp), 6 - tp], axis=1) for tp in found]
    return counts, [values(25 + 0.3 * m + rng.normal(0, noise, frames)) for m in range(models)]


def test_the_interval_of_a_rank_correlation_equals_the_naive_loop():
    counts, psnr = models_of_rising_quality(5, 36, noise=3)
    clips = [f"{i // 3:02}" for i in range(36)]
    rng = np.random.default_rng(4)
    drawn = []
    for _ in range(200):
        rows = [3 * clip + i for clip in rng.integers(12, size=12) for i in range(3)]
        by_f1 = [float(f1(c[rows].sum(axis=0))) for c in counts]
        by_psnr = [float(mean(p[rows].sum(axis=0))) for p in psnr]
        drawn.append(scipy.stats.spearmanr(by_f1, by_psnr).statistic)
    got = bootstrap_rank_correlation(counts, psnr, f1, mean, clips, 200, seed=4)
    assert [got.low, got.high, got.p] == pytest.approx([*naive_ends(drawn, 0.95), naive_p(drawn)])
    assert got.low < got.high


def test_clear_ranks_agree_for_sure_and_noisy_ones_do_not():
    sure = bootstrap_rank_correlation(*models_of_rising_quality(6, 200, noise=0.1), f1, mean, resamples=500)
    noisy = bootstrap_rank_correlation(*models_of_rising_quality(6, 20, noise=9), f1, mean, resamples=500)
    assert sure.estimate == 1
    assert sure.low > 0.9
    assert noisy.high - noisy.low > 0.5


@pytest.mark.parametrize(("models", "frames"), [(0, 20), (2, 20), (4, 9), (4, 1)])
def test_too_few_models_or_frames_have_no_rank_interval(models, frames):
    assert no_interval(bootstrap_rank_correlation(*models_of_rising_quality(models, frames, 1), f1, mean))


def test_rank_correlation_wants_the_same_models():
    counts, psnr = models_of_rising_quality(4, 20, 1)
    with pytest.raises(ValueError, match="4 and 3"):
        bootstrap_rank_correlation(counts, psnr[:3], f1, mean)


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
