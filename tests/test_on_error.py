"""``--on-error skip``: a frame that fails is left out of all runs that are compared, and nothing else changes."""

import dataclasses
import shutil

import cv2
import numpy as np
import pytest
from conftest import BrightBoxes, interrupted_after
from test_shards import contents
from typer.testing import CliRunner

from detbench import benchmarks, cli, compare, detectors, loop, restorers, runner, store
from detbench.data import images
from detbench.journal import Journal
from detbench.shards import Shard, gather
from detbench.signature import Signature
from detbench.types import DetbenchError, RunSpec

TIMES = {"restore_ms": 0.0, "detect_ms": 0.0}
SKIP = {"on_error": "skip", "conf": 0.55, "device": "cpu"}


def scores(result):
    return [dataclasses.replace(score, **TIMES) for score in result.scores]


def ids(result):
    return [score.id for score in result.scores]


@pytest.fixture
def specs(pairs, bright_boxes, monkeypatch):
    """Two deblurers, of which the first fails on frame2, and on any batch with it."""
    broken, real = images.read_image(pairs / "blur" / "frame2.png"), restorers.restorer
    calls = []

    def restorer(spec, own=None):
        restore = real(spec, own)

        def wrapped(frames):
            calls.append(spec.deblurer)
            if spec.deblurer == "unsharp" and any(np.array_equal(frame, broken) for frame in frames):
                raise DetbenchError("The network returned NaN")
            return restore(frames)

        return wrapped

    monkeypatch.setattr(restorers, "restorer", restorer)
    made = [RunSpec(name, dataset=str(pairs), clips="(?P<clip>frame)", **SKIP) for name in ("unsharp", "jpeg95")]
    return made, calls


@pytest.fixture
def without(pairs, tmp_path):
    """The same folder without frame2."""
    rest = shutil.copytree(pairs, tmp_path / "rest")
    for side in ("sharp", "blur"):
        (rest / side / "frame2.png").unlink()
    return rest


@pytest.mark.parametrize("batch", [1, 4])
def test_all_runs_are_what_they_are_without_the_frame(specs, without, tmp_path, monkeypatch, batch, capsys):
    monkeypatch.setitem(loop.BATCH, "cpu", batch)
    found = benchmarks.benchmark(specs[0], tmp_path / "runs")
    fewer = [dataclasses.replace(spec, dataset=str(without), on_error="stop") for spec in specs[0]]
    expected = benchmarks.benchmark(fewer, tmp_path / "others")
    for mine, its in zip(found, expected, strict=True):
        assert ids(mine) == ["frame0", "frame1", "frame3", "frame4", "frame5"]
        assert scores(mine) == scores(its)
        assert store.preview(mine.path, "frame3").exists()
    assert "|skipped:1:" in str(found.signature)
    assert "skipped:1|" in found.signature.short
    said = capsys.readouterr().err
    assert "1 of 6 frames are left out of all runs here: frame2: unsharp failed on frame frame2: The network" in said


def test_without_skipping_it_stops(specs, tmp_path):
    with pytest.raises(DetbenchError, match="unsharp failed on frame frame2: The network returned NaN"):
        runner.run(dataclasses.replace(specs[0][0], on_error="stop"), tmp_path)


def test_where_nothing_fails_nothing_changes(specs, tmp_path):
    plain = dataclasses.replace(specs[0][1], on_error="stop")
    (skipping, stopping) = runner.run(specs[0][1], tmp_path / "a"), runner.run(plain, tmp_path / "b")
    assert skipping.path.name == stopping.path.name
    assert contents(skipping.path) == contents(stopping.path)
    assert {path.name for path in skipping.path.iterdir()} == {path.name for path in stopping.path.iterdir()}


def test_what_was_found_out_is_not_found_out_again(specs, tmp_path, monkeypatch):
    first = benchmarks.benchmark(specs[0], tmp_path)
    specs[1].clear()
    assert [*benchmarks.benchmark(specs[0], tmp_path)] == [*first]
    assert specs[1] == []
    # With another deblurer the same frames are left out, and what was tried is finished.
    more = [*specs[0], dataclasses.replace(specs[0][0], deblurer="identity")]
    assert [ids(result) for result in benchmarks.benchmark(more, tmp_path)] == [ids(first.floor)] * 4
    assert "unsharp" not in specs[1]


@pytest.mark.parametrize("finished", [1, 2, 3, 5])
def test_interrupted_it_goes_on_to_the_same(specs, tmp_path, monkeypatch, finished):
    whole = runner.run(specs[0][0], tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", interrupted_after(finished))
        with pytest.raises(KeyboardInterrupt):
            runner.run(specs[0][0], tmp_path / "cut")
    again = runner.run(specs[0][0], tmp_path / "cut")
    assert again.path.name == whole.path.name
    assert contents(again.path) == contents(whole.path)


def test_later_it_is_tried_again_without_skipping(specs, tmp_path, monkeypatch):
    runner.run(specs[0][0], tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(detectors, "resolve", lambda *_: None)
    with pytest.raises(AttributeError):  # it does try: the detector is asked for
        runner.run(dataclasses.replace(specs[0][0], on_error="stop"), tmp_path)


@pytest.mark.parametrize("damage", ["cut short", "empty", "of another size"])
def test_frames_that_cannot_be_read(specs, pairs, tmp_path, damage):
    file = pairs / "blur" / "frame4.png"
    if damage == "of another size":
        images.write_image(file, cv2.resize(images.read_image(file), (32, 32)))
    else:
        file.write_bytes(file.read_bytes()[: 200 if damage == "cut short" else 0])
    made = benchmarks.benchmark(specs[0], tmp_path / "runs")
    assert all(ids(result) == ["frame0", "frame1", "frame3", "frame5"] for result in made)
    with pytest.raises(DetbenchError, match=r"frame4"):
        benchmarks.benchmark(dataclasses.replace(specs[0][1], on_error="stop"), tmp_path / "others")


@pytest.mark.parametrize("error", [RuntimeError("Kernel size"), MemoryError(), ValueError("odd")])
def test_whatever_a_function_raises(pairs, bright_boxes, tmp_path, error):
    def fails(frame):
        if np.array_equal(frame, broken):
            raise error
        return frame

    broken = images.read_image(pairs / "blur" / "frame1.png")
    spec = RunSpec("mine", dataset=str(pairs), **SKIP)
    assert "frame1" not in ids(runner.run(spec, tmp_path, deblurer=fails))
    with pytest.raises(type(error)):
        runner.run(dataclasses.replace(spec, on_error="stop"), tmp_path / "again", deblurer=fails)


def test_a_detector_that_fails(specs, pairs, tmp_path, monkeypatch):
    broken, look = images.read_image(pairs / "sharp" / "frame0.png"), BrightBoxes.look

    def fails(self, frame):
        if np.array_equal(frame, broken):
            raise RuntimeError("no boxes")
        return look(self, frame)

    monkeypatch.setattr(BrightBoxes, "look", fails)
    made = benchmarks.benchmark(specs[0], tmp_path)
    assert all(ids(result) == ["frame1", "frame3", "frame4", "frame5"] for result in made)


def test_a_disk_that_is_full_is_no_frame_that_fails(specs, tmp_path, monkeypatch):
    def full(self, key, row):
        raise DetbenchError("The disk is full")

    monkeypatch.setattr(Journal, "add", full)
    with pytest.raises(DetbenchError, match="disk is full"):
        runner.run(specs[0][1], tmp_path)


def test_shards_leave_out_the_same(specs, tmp_path):
    whole = [result.path for result in benchmarks.benchmark(specs[0], tmp_path / "whole")]
    for spec in benchmarks.framed(specs[0], [{}]):
        for number in (1, 2, 3):
            runner.run_shard(spec, Shard(number, 3), tmp_path / "parts")
    merged = benchmarks.without_failing(gather([tmp_path / "parts"], tmp_path / "joined"), tmp_path / "joined")
    for spec in merged:
        made = runner.run(spec, tmp_path / "joined").path
        (its,) = (path for path in whole if path.name == made.name)
        assert contents(made) == contents(its)


def test_where_all_fail_there_is_nothing_left(pairs, bright_boxes, tmp_path):
    def fails(frame):
        raise DetbenchError("no")

    with pytest.raises(DetbenchError, match="no frame left: all 6 failed, frame0 as mine failed on frame frame0: no"):
        runner.run(RunSpec("mine", dataset=str(pairs), **SKIP), tmp_path, deblurer=fails)


def test_runs_without_other_frames_are_not_compared(specs, tmp_path):
    whole = runner.run(specs[0][1], tmp_path)
    fewer = runner.run(dataclasses.replace(specs[0][1], skipped=("frame2",)), tmp_path)
    assert Signature.of(whole) != Signature.of(fewer)
    with pytest.raises(DetbenchError, match=r"differ in skipped \(none and 1 frames left out\)"):
        compare.compare([whole, fewer])


def test_the_command(specs, pairs, tmp_path):
    arguments = ["run", "--deblurer", "unsharp", "--deblurer", "jpeg95", "--dataset", str(pairs), "--conf", "0.55"]
    done = CliRunner().invoke(cli.app, [*arguments, "--on-error", "skip", "--out", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.output
    assert "skipped:1" in done.stdout
    assert "1 of 6 frames are left out of all runs here: frame2" in done.stderr
    done = CliRunner().invoke(cli.app, ["report", str(tmp_path / "runs"), "--out", str(tmp_path / "report")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report" / "index.html").read_text()
    assert "unfinished" not in page
    assert "are left out of all: frame2." in page
    done = CliRunner().invoke(cli.app, [*arguments, "--out", str(tmp_path / "runs")])
    assert done.exit_code == 1
    assert "unsharp failed on frame frame2" in done.stderr
