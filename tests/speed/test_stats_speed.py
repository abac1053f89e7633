"""The bootstrap of all statistics at once beside a naive loop. Run by name: ``pytest -s tests/speed``."""

import time
from time import process_time  # of all threads; other work on the machine does not count

import numpy as np
import pytest

from detbench import stats
from detbench.counts import Counts

STATISTICS = {
    "F1": lambda sums: Counts.of(sums).f1,
    "precision": lambda sums: Counts.of(sums).precision,
    "recall": lambda sums: Counts.of(sums).recall,
    "PSNR": lambda sums: stats.mean(sums[..., [3, 5]]),
    "SSIM": lambda sums: stats.mean(sums[..., [4, 5]]),
}


@pytest.mark.parametrize("clustered", [False, True], ids=["frames", "clips"])
def test_five_statistics_of_1111_frames(clustered, capsys):
    rng = np.random.default_rng(0)
    counts, measures = rng.integers(0, 8, (1111, 2, 3)), rng.normal(27, 2, (1111, 2, 2))
    table = np.concatenate([counts, measures, np.ones((1111, 2, 1))], axis=2)  # GoPro's test set, two runs
    clips = [f"{i // 10:03}" for i in range(1111)] if clustered else None

    def ours():
        sums, whole = stats.resampled_sums(table, clips), table.sum(axis=0)
        return {
            name: stats.interval(float(s(whole[0]) - s(whole[1])), s(sums[:, 0]) - s(sums[:, 1]))
            for name, s in STATISTICS.items()
        }

    def naive():
        draw, drawn = np.random.default_rng(0), {name: [] for name in STATISTICS}
        groups = [np.array([i]) for i in range(1111)]
        if clips:
            groups = [np.array([i for i in range(1111) if clips[i] == clip]) for clip in sorted(set(clips))]
        for _ in range(10_000):
            rows = np.concatenate([groups[group] for group in draw.integers(len(groups), size=len(groups))])
            sums = table[rows].sum(axis=0)
            for name, statistic in STATISTICS.items():
                drawn[name].append(float(statistic(sums[0])) - float(statistic(sums[1])))
        return {name: np.percentile(differences, [2.5, 97.5]) for name, differences in drawn.items()}

    taken = []
    for _ in range(5):
        started = time.perf_counter()
        got = ours()
        taken.append(time.perf_counter() - started)
    began = process_time()
    expected = naive()
    other = process_time() - began
    for name, ends in expected.items():
        assert [got[name].low, got[name].high] == pytest.approx(ends, abs=1e-10), name
    with capsys.disabled():
        print(
            f"\n10,000 resamples of 1,111 frames in {len(set(clips) if clips else table)} clips, five statistics:"
            f" {min(taken):.2f} s (need < 1), a naive loop {other:.1f} s"
        )
    assert min(taken) < 1
