"""How far a detector's features of restored frames are from those of the sharp ones, and what that tells."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from conftest import CLIPS

from detbench import benchmarks, features, restorers, runner, stats
from detbench.data import images
from detbench.features import Distances
from detbench.gan.detector import FrozenDetector, terms
from detbench.lineup import Lineup
from detbench.report import features as words
from detbench.types import RunSpec


@pytest.fixture
def lineup(traffic, stocked, tmp_path):
    for i, frame in enumerate(traffic):
        images.write_image(tmp_path / "data" / "sharp" / f"{i}.png", frame)
        images.write_image(tmp_path / "data" / "blur" / f"{i}.png", cv2.GaussianBlur(frame, (0, 0), 2))
    spec = RunSpec("unsharp", dataset=str(tmp_path / "data"), imgsz=320, device="cpu")
    return benchmarks.benchmark(spec, tmp_path / "runs")


def test_it_is_the_term_of_the_loss_frame_by_frame(lineup, traffic):
    found = features.measure(lineup)
    detector = FrozenDetector("yolo26n", torch.device("cpu"))

    def view(frame):
        with torch.no_grad():
            (seen,) = detector.look(torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 127.5 - 1, [1.0])
        return seen

    blurred = [cv2.GaussianBlur(frame, (0, 0), 2) for frame in traffic]
    expected = [float(terms(view(b), view(s))["features"]) for b, s in zip(blurred, traffic, strict=True)]
    np.testing.assert_allclose(found.blurred, expected, rtol=1e-4)
    assert list(found.restored) == ["unsharp"]
    assert 0 < found.restored["unsharp"].sum() < found.blurred.sum()
    change = found.change("unsharp")
    assert change.estimate == pytest.approx(found.restored["unsharp"].sum() / found.blurred.sum() - 1)
    assert np.isnan(change.low)  # one clip


def test_kept_frames_are_not_restored_again(lineup, monkeypatch):
    first = [frame for _, frame in runner.restored_frames(lineup.models[0].spec)]
    monkeypatch.setattr(restorers, "restorer", lambda spec: pytest.fail("restored again"))
    again = [frame for _, frame in runner.restored_frames(lineup.models[0].spec)]
    assert all(map(np.array_equal, first, again))


def test_how_many_clips_it_takes(run):
    """Going by F1, twelve clips with a known interval; going by the distance, a difference that is the same in all."""
    runs = [run(name, found) for name, found in (("better", 0.8), ("worse", 0.4))]
    lineup = Lineup(run(), tuple(runs), run("jpeg95", input="sharp"))
    rng = np.random.default_rng(0)
    blurred = rng.uniform(1, 2, 24)
    near, far = 0.5 * blurred + rng.normal(0, 0.02, 24), 0.9 * blurred + rng.normal(0, 0.02, 24)
    distances = Distances(blurred, {"better": near, "worse": far}, CLIPS)
    found = features.needed(lineup, distances)
    counts = [np.array([(s.tp, s.fp, s.fn) for s in each.scores], float) for each in runs]
    gain = stats.bootstrap_difference(*counts, lambda c: 2 * c[..., 0] / (2 * c[..., 0] + c[..., 1] + c[..., 2]), CLIPS)
    assert found.f1[0] == pytest.approx(12 * ((gain.high - gain.low) / 2 / gain.estimate) ** 2)
    assert found.distance[0] < 0.5  # a difference of 40 % that hardly varies
    even = dataclasses.replace(distances, restored={"better": near, "worse": near})
    assert features.needed(lineup, even).distance[0] == float("inf")


def test_words_and_table(run):
    shares = {"a": 0.9, "b": 0.8, "c": 0.6, "d": 0.5, "e": 0.4}
    lineup = Lineup(run(), tuple(run(name, found) for name, found in shares.items()), run("jpeg95", input="sharp"))
    blurred = np.random.default_rng(0).uniform(1, 2, 24)
    distances = Distances(blurred, {name: (1.2 - share) * blurred for name, share in shares.items()}, CLIPS)
    table = words.table(lineup, distances)
    assert [row[0] for row in table.parts[0].rows] == list("abcde")
    assert [row[2] for row in table.parts[0].rows] == pytest.approx([0.3, 0.4, 0.6, 0.7, 0.8])
    first, second = words.sentences(lineup, distances)
    assert first.startswith("Over 5 deblurers the distance ranks as F1 does: Spearman +1.00 [")
    assert "in the median of 10 pairs" in second
    assert words.sentences(Lineup(lineup.floor, lineup.models[:2], lineup.ceiling), distances) == []
