"""The gate's judgement: every planted regression is caught, and noise and improvements pass."""

import dataclasses
import math
import shutil

import pytest
import torch
from conftest import BrightBoxes
from torch import nn
from unsharp import Net, half_a_pixel, noise

from detbench import baseline as baseline_module
from detbench import check, registry, runner, stats
from detbench.metrics import compared
from detbench.report import ci
from detbench.types import DeblurerSpec


def words(verdict):
    return {outcome.metric: outcome.word for outcome in verdict.outcomes}


def test_the_same_code_and_weights_pass_to_the_last_digit(baseline):
    verdict = baseline_module.check(baseline)
    assert verdict.passed
    assert set(words(verdict)) == {*compared(), "reference"}
    for outcome in verdict.outcomes:
        assert outcome.interval == stats.Interval(0, 0, 0, 1)
        assert outcome.now == outcome.baseline
    assert verdict.fallen == []
    assert 0 < verdict.outcomes[0].now < 1  # there is something to lose and something to win


@pytest.mark.slow("ten runs")
def test_ten_runs_with_other_thread_counts_pass(baseline):
    before = torch.get_num_threads()
    try:
        for threads in (2, 3, 4, 5, 6, 7, 8, 12, 16, 1):
            torch.set_num_threads(threads)
            verdict = baseline_module.check(baseline)
            assert verdict.passed, threads
            assert check.Change("threads", before, threads) in verdict.changes or threads == before
    finally:
        torch.set_num_threads(before)


REGRESSIONS = {
    "weights damaged slightly": (noise, None),
    "wrong colour order": (None, lambda frames: frames.flip(1)),
    "half a pixel off": (None, half_a_pixel),
    "a little darker": (None, lambda frames: frames * 0.98),
    "deblurs no more": (lambda name, tensor: tensor * 0, None),
}


@pytest.mark.parametrize("planted", REGRESSIONS)
def test_planted_regressions_are_caught(baseline, write_unsharp, monkeypatch, planted):
    weights, code = REGRESSIONS[planted]
    if weights:
        write_unsharp(weights)
    if code:
        monkeypatch.setattr(Net, "after", staticmethod(code))
    verdict = baseline_module.check(baseline)
    assert not verdict.passed
    assert words(verdict)["psnr_db"] == "failed"
    assert verdict.outcomes[-1].now == 1  # the detector is not to blame
    assert len(verdict.fallen) > len(verdict.now.scores) / 2
    if weights:
        assert [change.what for change in verdict.changes] == ["deblurer"]


def test_the_detector_seeing_less_is_caught_by_the_counts(baseline, monkeypatch):
    """Fainter frames: the detector misses more objects."""
    monkeypatch.setattr(Net, "after", staticmethod(lambda frames: frames * 0.85))
    assert {"f1", "recall"} <= {outcome.metric for outcome in baseline_module.check(baseline).failures}


def test_an_improvement_passes_and_is_called_one(unsharp_spec, write_unsharp, tmp_path):
    write_unsharp(lambda name, tensor: tensor * 0.3 if name.startswith("body.2") else tensor)  # deblurs less
    baseline_module.update(tmp_path / "baseline", runner.run(unsharp_spec, tmp_path / "runs"))
    write_unsharp()
    verdict = baseline_module.check(tmp_path / "baseline")
    assert verdict.passed
    assert words(verdict)["psnr_db"] == words(verdict)["ssim"] == "improved"


def test_drops_within_the_tolerance_pass(baseline, monkeypatch):
    monkeypatch.setattr(Net, "after", staticmethod(lambda frames: frames * 0.9995))
    verdict = baseline_module.check(baseline)
    assert verdict.passed
    assert verdict.outcomes[3].interval.estimate != 0


def test_a_detector_gone_blind_fails_although_nothing_is_missed(baseline, monkeypatch, home):
    """Where the reference is empty, F1 is 1: only the reference itself tells."""
    look = BrightBoxes.look
    monkeypatch.setattr(BrightBoxes, "look", lambda self, frame: look(self, frame // 2))
    shutil.rmtree(home / "detections")  # what was seen before is kept there
    verdict = baseline_module.check(baseline)
    assert words(verdict)["f1"] != "failed"
    assert words(verdict)["reference"] == "failed"
    seen = verdict.reference
    assert (seen.tp, seen.fp) == (0, 0)
    assert f"misses {seen.fn} of the baseline's {seen.fn} objects" in ci.summary(verdict)
    assert any(line.startswith("::warning") for line in ci.github(verdict))


def test_equal_frames_are_no_infinite_gain_or_loss(unsharp_spec, tmp_path, monkeypatch):
    given = dataclasses.replace(unsharp_spec, input="sharp", weights=None)
    monkeypatch.setattr(registry, "get", lambda name: DeblurerSpec(nn.Identity))
    result = runner.run(given, tmp_path / "runs")
    assert result.scores[0].psnr_db == math.inf
    baseline_module.update(tmp_path / "baseline", result)
    assert words(baseline_module.check(tmp_path / "baseline")) == dict.fromkeys((*compared(), "reference"), "passed")
    monkeypatch.setattr(registry, "get", lambda name: DeblurerSpec(lambda: nn.AvgPool2d(3, 1, 1)))
    verdict = baseline_module.check(tmp_path / "baseline")
    assert words(verdict)["psnr_db"] == "failed"
    assert "inf" in ci.summary(verdict)
