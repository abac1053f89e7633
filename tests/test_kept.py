"""Restored frames in the cache: no work is done twice, and no number changes for it."""

import dataclasses
import json
import os
import re

import numpy as np
import pytest
import torch
from conftest import BrightBoxes, stand_in
from test_runner import Noise, untimed
from typer.testing import CliRunner

from detbench import benchmarks, cli, detectors, kept, loop, registry, restore, restorers, runner, store
from detbench.data import images
from detbench.types import DeblurerSpec, DetbenchError, RunSpec


class Threshold(BrightBoxes):
    """Detectors that differ: the name and the size say how bright a box must be."""

    def __init__(self, weights, *, conf, nms_iou, imgsz, device):
        super().__init__(weights, conf=conf, nms_iou=nms_iou, imgsz=imgsz, device=device)
        self.least = {"dim": 0.5, "bright": 0.7}[weights.name] + (imgsz - 640) / 6400

    def look(self, frame):
        return super().look(frame).above(self.least)


@pytest.fixture
def spec(pairs, bright_boxes, monkeypatch):
    monkeypatch.setattr(detectors, "resolve", stand_in(Threshold, lambda name: name.ljust(64, "0")))
    return RunSpec("unsharp", dataset=str(pairs), detector="dim", device="cpu")


@pytest.fixture
def restored(monkeypatch):
    """How many frames each call of a restorer got."""
    calls, call = [], restore.Restorer.__call__

    def count(self, frames):
        calls.append(len(frames))
        return call(self, frames)

    monkeypatch.setattr(restore.Restorer, "__call__", count)
    return calls


def files(home):
    return sorted((home / "restored").iterdir())


def saw(result):
    return [(path.name, path.read_bytes()) for path in sorted(result.path.glob("detections-*.json"))]


@pytest.mark.parametrize(
    "change",
    [{"detector": "bright"}, {"imgsz": 416}, {"conf": 0.6}, {"match_iou": 0.6}, {"nms_iou": 0.5}, {"limit": 3}],
)
def test_another_look_restores_nothing(spec, restored, tmp_path, monkeypatch, change):
    first = runner.run(spec, tmp_path / "runs")
    assert sum(restored) == 6
    other = dataclasses.replace(spec, **change)
    second = runner.run(other, tmp_path / "runs")
    assert sum(restored) == 6
    assert second.path != first.path
    times = {score.id: score.restore_ms for score in first.scores}
    assert all(score.restore_ms == times[score.id] > 0 for score in second.scores)
    for without in ("rerun", "0"):
        if without == "0":
            monkeypatch.setenv("DETBENCH_CACHE_GB", "0")
        fresh = runner.run(other, tmp_path / without, rerun=without == "rerun")
        assert untimed(fresh) == untimed(second)
        assert saw(fresh) == saw(second)
        for score in fresh.scores:
            assert store.preview(fresh.path, score.id).read_bytes() == store.preview(second.path, score.id).read_bytes()
    assert sum(restored) == 6 + 2 * len(second.scores)


@pytest.mark.parametrize(
    "change", [{"input": "sharp"}, {"noise": 0.001}, {"precision": "bf16"}, {"seed": 1}, {"deblurer": "jpeg95"}]
)
def test_what_changes_pixels_is_restored(spec, restored, tmp_path, change):
    other = dataclasses.replace(spec, **change)
    alone = runner.run(other, tmp_path / "alone", rerun=True)
    runner.run(spec, tmp_path / "runs")
    restored.clear()
    assert untimed(runner.run(other, tmp_path / "runs")) == untimed(alone)
    assert sum(restored) == 6


def test_other_weights_or_another_machine_restore_anew(spec, restored, tmp_path, monkeypatch):
    here = runner.environment.describe()
    runner.run(spec, tmp_path / "here")
    for told in ({"cpu": "another"}, {"threads": 64}, {"packages": {"torch": "0.1"}}):
        restored.clear()
        monkeypatch.setattr(runner.environment, "describe", lambda told=told: here | told)
        runner.run(spec, tmp_path / next(iter(told)))
        assert sum(restored) == 6
    restored.clear()
    monkeypatch.setattr(registry, "fingerprint", lambda *_: "f" * 64)
    runner.run(spec, tmp_path / "weights")
    assert sum(restored) == 6


def test_the_floor_is_not_kept(spec, home, tmp_path):
    runner.run(dataclasses.replace(spec, deblurer="identity"), tmp_path / "runs")
    assert not (home / "restored").exists()


def test_what_is_kept_has_no_loss(spec, home, tmp_path):
    restore_, frames = restorers.restorer(spec), kept.Frames("basis", 1e9)
    rng = np.random.default_rng(0)
    ramp = np.arange(70 * 90 * 3).reshape(70, 90, 3).astype(np.uint8)
    for frame in (rng.integers(0, 256, (17, 31, 3), np.uint8), ramp, restore_([ramp])[0]):
        (key,) = frames.keys("", [frame])
        frames.add(key, frame, 1 / 3)
        ((found, ms),) = frames.find([key])
        np.testing.assert_array_equal(found, frame)
        assert found.dtype == np.uint8
        assert ms == 1 / 3


@pytest.mark.parametrize("damage", ["pixels", "time", "cut", "empty", "folder"])
def test_a_damaged_file_is_restored_again(spec, home, restored, tmp_path, damage):
    whole = runner.run(spec, tmp_path / "first")
    path = files(home)[2]
    data = bytearray(path.read_bytes())
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        data[{"pixels": len(data) * 2 // 3, "time": 33}.get(damage, 0)] ^= 1
        path.write_bytes({"cut": data[: len(data) // 2], "empty": b""}.get(damage, data))
    restored.clear()
    again = runner.run(spec, tmp_path / "again")
    assert untimed(again) == untimed(whole)
    assert sum(restored) == 1
    if damage == "folder":
        return  # nothing can be kept there: that is said, and the run goes on
    restored.clear()
    runner.run(spec, tmp_path / "mended")
    assert sum(restored) == 0


def test_a_batch_of_which_a_frame_is_missing_is_restored_whole(spec, home, restored, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "get", lambda name: DeblurerSpec(Noise))
    monkeypatch.setattr(loop, "BATCH", {"cpu": 4})
    whole = runner.run(spec, tmp_path / "first")
    assert restored == [4, 2]
    next(path for path in files(home) if path.name.endswith("-3")).unlink()
    restored.clear()
    again = runner.run(spec, tmp_path / "again")
    assert restored == [4]
    assert untimed(again) == untimed(whole)


class Neighbours(torch.nn.Module):
    """A network whose result depends on the other frames of the batch, as rounding does on a GPU."""

    def forward(self, frames):
        return (frames + frames.mean()) / 2


def test_a_frame_in_another_batch_is_another_frame(spec, restored, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "get", lambda name: DeblurerSpec(Neighbours))
    monkeypatch.setattr(loop, "BATCH", {"cpu": 4})
    alone = runner.run(spec, tmp_path / "alone", rerun=True)
    runner.run(dataclasses.replace(spec, limit=5), tmp_path / "runs")  # its last batch holds one frame
    restored.clear()
    assert untimed(runner.run(spec, tmp_path / "runs")) == untimed(alone)
    assert restored == [2]


def test_stochastic_deblurers_draw_what_they_drew(spec, pairs, restored, tmp_path, monkeypatch):
    images.write_image(pairs / "blur" / "frame1.png", images.read_image(pairs / "blur" / "frame0.png"))
    monkeypatch.setattr(registry, "get", lambda name: DeblurerSpec(Noise))
    alone = runner.run(spec, tmp_path / "alone", rerun=True)
    for name in ("first", "again"):
        assert untimed(runner.run(spec, tmp_path / name)) == untimed(alone)
    assert sum(restored) == 12
    previews = [store.preview(alone.path, f"frame{i}").read_bytes() for i in range(2)]
    assert previews[0] != previews[1]  # of the same pixels, under other draws


def test_what_was_not_used_for_longest_goes_first(home):
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (64, 64, 3), np.uint8)
    size = 32 + 8 + len(images.pack(frame))
    names = list("abcde")
    frames = kept.Frames("basis", 5.5 * size)
    for i, name in enumerate(names):
        frames.add(name, frame, 1.0)
        os.utime(home / "restored" / name, (1000 + i, 1000 + i))
    assert frames.find(["a"])  # used: now b and c are the oldest
    frames.add("f", frame, 1.0)
    assert [path.name for path in files(home)] == ["a", "d", "e", "f"]  # 4 fill less than nine tenths, 5 do not
    assert frames.find(["b"]) is None
    other = kept.Frames("another", 3.5 * size)  # what others kept counts, too
    other.add("g", frame, 1.0)
    assert [path.name for path in files(home)] == ["a", "f", "g"]


def test_a_limit_smaller_than_a_run_changes_no_number(spec, home, tmp_path, monkeypatch):
    alone = runner.run(spec, tmp_path / "alone", rerun=True)
    monkeypatch.setenv("DETBENCH_CACHE_GB", "0.000004")
    for name in ("first", "again"):
        assert untimed(runner.run(spec, tmp_path / name)) == untimed(alone)
    assert sum(path.stat().st_size for path in files(home)) <= 4000


def test_a_full_disk_stops_the_keeping_alone(spec, home, tmp_path, monkeypatch, capsys):
    alone = runner.run(spec, tmp_path / "alone", rerun=True)
    (home / "restored").write_text("no folder")
    assert untimed(runner.run(spec, tmp_path / "runs")) == untimed(alone)
    assert capsys.readouterr().err.count("no more restored frames are kept") == 1


@pytest.mark.parametrize("value", ["much", "-1", "nan"])
def test_a_limit_that_cannot_mean_anything_is_refused(spec, tmp_path, monkeypatch, value):
    monkeypatch.setenv("DETBENCH_CACHE_GB", value)
    with pytest.raises(DetbenchError, match=rf"DETBENCH_CACHE_GB is '{value}'"):
        runner.run(spec, tmp_path / "runs")


def invoke(*arguments):
    done = CliRunner().invoke(cli.app, ["run", "--dataset", "data", "--device", "cpu", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_limit_is_in_the_help():
    text = " ".join(CliRunner().invoke(cli.app, ["run", "--help"]).stdout.split())
    assert f"{kept.LIMIT_GB:g} GB" in text
    assert "DETBENCH_CACHE_GB" in text


def timeless(text):
    """A table without its last column, which holds times."""
    return re.sub(r" +\d+$", "", text, flags=re.MULTILINE)


@pytest.mark.slow("ten commands")
def test_several_detectors_in_one_command(spec, restored):
    both = ["--deblurer", "unsharp", "--conf", "0.3", "--detector", "dim", "--detector", "bright"]
    sizes = ["--imgsz", "640", "--imgsz", "416"]
    text = invoke(*both, *sizes, "--out", "together")
    assert sum(restored) == 4 * 6 + 6 + 6  # the floor for each, the deblurer once, the ceiling once
    told = json.loads(invoke(*both, *sizes, "--out", "together", "--json"))
    look = "Look at all runs there: detbench report together --group\n"
    assert text.endswith(look)
    parts, expected, reports = text.split("\n\n"), [], []
    for detector in ("dim", "bright"):
        for imgsz in ("640", "416"):
            one = [*both[:4], "--detector", detector, "--imgsz", imgsz, "--out", "apart"]
            alone = invoke(*one).replace("apart", "together").removesuffix(look)
            expected.append(f"{detector}, imgsz {imgsz}\n{alone}")
            reports.append(json.loads(invoke(*one, "--json")))
            assert f"|{detector}:" in parts[len(expected) - 1]
    text, carried = text.removesuffix(look).split("\n\nWith several detectors:\n")
    assert timeless(f"{text}\n") == timeless("\n".join(expected))
    assert carried == "unsharp against blurred: not known with any of the detectors.\n"
    assert len({row["rows"][1]["recall"] for row in reports}) > 1  # or nothing was tested
    assert [(part["detector"], part["imgsz"]) for part in told] == [
        ("dim", 640),
        ("dim", 416),
        ("bright", 640),
        ("bright", 416),
    ]
    for part, report in zip(told, reports, strict=True):
        assert set(part) - set(report) == {"detector", "imgsz"}
        assert part["signature"] == report["signature"]
        assert part["differences"] == report["differences"]
        assert {k: v.replace("together", "apart") for k, v in part["runs"].items()} == report["runs"]


def test_a_mistake_in_the_last_detector_shows_first(spec, restored, monkeypatch):
    def resolve(name, weights=None):
        if name == "brihgt":
            raise DetbenchError("there is no asset 'brihgt'")
        return stand_in(Threshold)(name)

    monkeypatch.setattr(detectors, "resolve", resolve)
    with pytest.raises(DetbenchError, match="brihgt"):
        benchmarks.benchmarks([spec], [{"detector": "dim"}, {"detector": "brihgt"}])
    assert not restored
