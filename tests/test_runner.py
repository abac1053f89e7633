"""The loop: the same numbers however often it is interrupted, and clear words when something is wrong."""

import dataclasses
import math
import time

import numpy as np
import pytest
import torch
from conftest import BrightBoxes, interrupted_after, stand_in

from detbench import benchmarks, detectors, loop, match, quality, registry, resolve, restorers, runner, store, table
from detbench.data import images
from detbench.files import code
from detbench.journal import Journal
from detbench.lineup import Lineup, name
from detbench.signature import Signature
from detbench.types import DeblurerSpec, DetbenchError, RunSpec

TIMES = {"restore_ms": 0.0, "detect_ms": 0.0}


def untimed(result):
    return [dataclasses.replace(score, **TIMES) for score in result.scores]


@pytest.fixture
def spec(pairs, bright_boxes):
    return RunSpec("unsharp", dataset=str(pairs), conf=0.55, device="cpu")


@pytest.fixture
def nothing_kept(monkeypatch):
    """Every frame is restored by every run."""
    monkeypatch.setenv("DETBENCH_CACHE_GB", "0")


def test_scores_are_what_the_parts_say(spec, pairs, tmp_path):
    result = runner.run(spec, tmp_path / "runs")
    detector = BrightBoxes(None, conf=0.55, nms_iou=0.7, imgsz=640, device="cpu")
    restore = restorers.restorer(spec)
    assert [score.id for score in result.scores] == [f"frame{i}" for i in range(6)]
    for score in result.scores:
        sharp, blurred = (images.read_image(pairs / side / f"{score.id}.png") for side in ("sharp", "blur"))
        restored = restore([blurred])[0]
        counts = match.score_frame(*detector([restored, blurred, sharp]), 0.5)
        assert {field: getattr(score, field) for field in dataclasses.asdict(counts)} == dataclasses.asdict(counts)
        assert store.preview(result.path, score.id).exists()
        assert score.psnr_db == quality.psnr_db(restored, sharp)
        assert score.ssim == quality.ssim(restored, sharp)
    assert result.total("tp") > 0
    assert result.total("fn") > 0


def test_seeding_draws_as_torch_does_and_notes_nothing_for_later():
    queued = len(torch.cuda._queued_calls)
    loop.seed("7 frame0")
    drawn = torch.rand(4)
    assert len(torch.cuda._queued_calls) == queued
    torch.manual_seed(code("7 frame0"))
    assert torch.equal(torch.rand(4), drawn)


def test_a_finished_run_answers_from_disk(spec, tmp_path, monkeypatch):
    first = runner.run(spec, tmp_path / "runs")
    monkeypatch.setattr(detectors, "resolve", stand_in(None))
    assert runner.run(spec, tmp_path / "runs") == first


@pytest.mark.parametrize("finished", [0, 1, 3, 5])
def test_an_interrupted_run_goes_on_to_the_same_result(spec, tmp_path, monkeypatch, nothing_kept, finished):
    whole = runner.run(spec, tmp_path / "whole")
    add = Journal.add
    monkeypatch.setattr(Journal, "add", interrupted_after(finished))
    with pytest.raises(KeyboardInterrupt):
        runner.run(spec, tmp_path / "runs")
    monkeypatch.setattr(Journal, "add", add)
    with pytest.raises(DetbenchError, match="no finished run"):
        store.read(tmp_path / "runs" / whole.path.name)
    resumed = runner.run(spec, tmp_path / "runs")
    assert untimed(resumed) == untimed(whole)
    assert resumed.environment["resumed_after"] == finished
    for side in ("sharp", "blurred", "restored"):
        file = f"detections-{side}.json"
        assert (resumed.path / file).read_bytes() == (whole.path / file).read_bytes()


def test_batches_of_a_gpu_give_the_same_numbers(spec, tmp_path, monkeypatch, nothing_kept):
    alone = runner.run(spec, tmp_path / "alone")
    monkeypatch.setattr(loop, "BATCH", {"cpu": 4})
    assert untimed(runner.run(spec, tmp_path / "batched")) == untimed(alone)


def test_more_threads_that_score_give_the_same_numbers(spec, tmp_path, monkeypatch, nothing_kept):
    few = runner.run(spec, tmp_path / "few")
    monkeypatch.setattr(loop, "helpers", lambda device: loop.HELPERS)
    assert untimed(runner.run(spec, tmp_path / "many")) == untimed(few)


@pytest.mark.parametrize(
    ("threads", "device", "helpers"), [(1, "cpu", 2), (16, "cpu", 4), (64, "cpu", 8), (6, "cuda", 6), (64, "cuda:1", 8)]
)
def test_threads_that_score_are_few_where_networks_need_them(monkeypatch, threads, device, helpers):
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    assert loop.helpers(device) == helpers


def test_floor_and_ceiling_frame_the_deblurer(spec, tmp_path):
    lineup = benchmarks.benchmark(spec, tmp_path / "runs")
    floor, result, ceiling = lineup
    assert [name(r) for r in lineup] == ["blurred", "unsharp", "sharp, JPEG 95"]
    assert floor.f1 <= result.f1 <= ceiling.f1
    assert (floor.total("recovered"), floor.total("lost"), floor.total("hallucinated")) == (0, 0, 0)
    assert result.total("tp") - floor.total("tp") == result.total("recovered") - result.total("lost")
    rows = table.rows(lineup)
    assert (rows[0]["gap_closed"], rows[-1]["gap_closed"]) == (0, 1)


def test_where_there_is_nothing_to_be_found_there_is_no_score(spec, tmp_path):
    nothing = dataclasses.replace(spec, conf=1.0)
    with pytest.raises(DetbenchError, match="nothing to be found: yolo26n sees none in 6 sharp frames. Give other"):
        benchmarks.benchmark(nothing, tmp_path / "runs")
    runs = [runner.run(dataclasses.replace(nothing, deblurer=name), tmp_path / "runs") for name in ("identity", "dc0")]
    for row in table.rows(Lineup(runs[0], (), runs[1])):
        assert [row[key] for key in ("precision", "recall", "f1", "gap_closed")] == [None] * 4
        assert table.cells(row, ("precision",))[1] == "-"


def test_the_floors_detections_have_the_time_that_they_took(spec, tmp_path, monkeypatch):
    look = BrightBoxes.look
    monkeypatch.setattr(BrightBoxes, "look", lambda self, frame: time.sleep(0.01) or look(self, frame))
    for folder in ("first", "from-the-cache"):
        floor = runner.run(dataclasses.replace(spec, deblurer="identity"), tmp_path / folder)
        assert min(score.detect_ms for score in floor.scores) >= 10


def test_references_are_detected_once(spec, tmp_path, monkeypatch):
    looked = []
    look = BrightBoxes.look
    monkeypatch.setattr(BrightBoxes, "look", lambda self, frame: looked.append(1) or look(self, frame))
    runner.run(spec, tmp_path / "runs")
    assert len(looked) == 3 * 6
    runner.run(dataclasses.replace(spec, match_iou=0.75), tmp_path / "runs")
    assert len(looked) == 4 * 6
    runner.run(dataclasses.replace(spec, deblurer="identity"), tmp_path / "runs")
    assert len(looked) == 4 * 6


def test_limit_scores_the_first_frames(spec, tmp_path):
    whole = runner.run(spec, tmp_path / "runs")
    part = runner.run(dataclasses.replace(spec, limit=2), tmp_path / "runs")
    assert untimed(part) == untimed(whole)[:2]
    assert part.path != whole.path
    assert "|limit:2|" in str(Signature.of(part))
    assert runner.run(dataclasses.replace(spec, limit=len(whole.scores)), tmp_path / "runs").path == whole.path


def test_noise_is_added_to_the_blurred_frames_alone(spec, tmp_path):
    plain = dataclasses.replace(spec, deblurer="identity")
    noisy = dataclasses.replace(plain, noise=0.001)
    clean, floor = (runner.run(each, tmp_path / "runs") for each in (plain, noisy))
    for before, after in zip(clean.scores, floor.scores, strict=True):
        assert after.psnr_db < before.psnr_db
        assert after.psnr_db < 30.5  # 10 log10(1 / 0.001)
    assert "|noise:0.001|" in str(Signature.of(floor))
    assert "noise" not in str(Signature.of(clean))
    sharp = [store.read_detections(result.path)["sharp"] for result in (clean, floor)]
    assert all(np.array_equal(a.xyxy, b.xyxy) for a, b in zip(*sharp, strict=True))
    again = runner.run(noisy, tmp_path / "again")
    assert untimed(again) == untimed(floor)
    with pytest.raises(DetbenchError, match=r"noise is 2: its variance must lie in 0\.\.0\.25"):
        dataclasses.replace(spec, noise=2)


def test_a_run_without_noise_keeps_the_name_it_had_before_there_was_noise(spec):
    assert RunSpec("dc250", conf=0.25, imgsz=640).hash8 == "1b5a8982"
    assert dataclasses.replace(spec, noise=0.001).hash8 != spec.hash8


def test_the_spec_names_the_directory(spec):
    assert dataclasses.replace(spec, dataset="by/another/path").hash8 == spec.hash8
    assert dataclasses.replace(spec, dataset_hash="f" * 64).hash8 != spec.hash8
    assert dataclasses.replace(spec, conf=0.3).hash8 != spec.hash8
    assert dataclasses.replace(spec, weights="elsewhere.safetensors").hash8 == spec.hash8


class NotANumber(torch.nn.Module):
    """A network whose training went wrong."""

    def forward(self, frames):
        return frames * math.nan


def test_nan_from_a_network_names_the_frame(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "get", lambda name: DeblurerSpec(NotANumber))
    with pytest.raises(DetbenchError, match=r"unsharp failed on frame frame0"):
        runner.run(spec, tmp_path / "runs")


class Noise(torch.nn.Module):
    """A stochastic deblurer, as those with dropout at test time are."""

    def forward(self, frames):
        return frames + 0.1 * torch.randn_like(frames)


def test_a_stochastic_deblurer_depends_on_the_seed_alone(spec, tmp_path, monkeypatch, nothing_kept):
    monkeypatch.setattr(registry, "get", lambda name: DeblurerSpec(Noise))
    first, again = (runner.run(spec, tmp_path / name) for name in ("first", "again"))
    assert untimed(first) == untimed(again)
    assert untimed(runner.run(dataclasses.replace(spec, seed=1), tmp_path / "other")) != untimed(first)
    add = Journal.add

    def interrupt(journal, key, row):
        if key == "frame3":
            raise KeyboardInterrupt
        add(journal, key, row)

    monkeypatch.setattr(Journal, "add", interrupt)
    with pytest.raises(KeyboardInterrupt):
        runner.run(spec, tmp_path / "cut")
    monkeypatch.setattr(Journal, "add", add)
    assert untimed(runner.run(spec, tmp_path / "cut")) == untimed(first)


def test_an_unreadable_frame_is_named_and_the_rest_is_kept(spec, pairs, tmp_path):
    broken = pairs / "blur" / "frame4.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DetbenchError, match=r"frame4\.png"):
        runner.run(spec, tmp_path / "runs")
    (journal,) = (tmp_path / "runs").glob("*/journal.jsonl")
    assert len(journal.read_text().splitlines()) == 4


def test_frames_of_several_sizes_in_one_dataset(spec, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "BATCH", {"cpu": 4})
    for side in ("sharp", "blur"):
        images.write_image(pairs / side / "frame1.png", np.full((16, 200, 3), 90, np.uint8))
    result = runner.run(spec, tmp_path / "runs")
    assert [score.id for score in result.scores] == [f"frame{i}" for i in range(6)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"deblurer": "dc205"}, "dc250"),
        ({"dataset": "stret"}, "street"),
        ({"dataset": "street_train"}, "training material"),
        ({"device": "cuda:77"}, "try --device cpu"),
        ({"device": "meta"}, "choose auto, cpu"),
        ({"weights": "missing.safetensors"}, r"missing\.safetensors do not exist"),
    ],
)
def test_mistakes_are_answered_with_the_remedy(spec, tmp_path, change, message):
    with pytest.raises(DetbenchError, match=message):
        runner.run(dataclasses.replace(spec, **change), tmp_path / "runs")


@pytest.mark.parametrize(
    "change", [{"conf": -0.1}, {"match_iou": 1.5}, {"imgsz": 1}, {"limit": 0}, {"precision": "fp8"}, {"input": "both"}]
)
def test_values_that_cannot_mean_anything_are_refused(change):
    with pytest.raises(DetbenchError, match=next(iter(change))):
        RunSpec("identity", **change)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"detector": "yolo27z"}, "yolo27z"), ({"truth": "nowhere.json"}, "There is no file nowhere.json")],
)
def test_what_is_quickly_found_to_be_wrong_comes_before_a_build(change, words, home, monkeypatch):
    monkeypatch.setattr("detbench.data.datasets.of", lambda spec: pytest.fail("the dataset was built"))
    with pytest.raises(DetbenchError, match=words):
        resolve.resolve(RunSpec("unsharp", device="cpu", **change))
