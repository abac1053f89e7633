"""Frames that measure sharp are left alone: where a person deblurs, and where that is scored."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import scene
from typer.testing import CliRunner

from detbench import benchmarks, best, cli, quality, restorers, runner
from detbench.data.images import read_image, write_image
from detbench.lineup import name
from detbench.restorers import OnlyBlurred
from detbench.types import DetbenchError, RunSpec


@pytest.fixture
def spec(pairs, bright_boxes):
    """Two of the six frames are as grainy as what is in focus."""
    for i in (1, 4):
        grain = np.random.default_rng(i).integers(0, 60, (48, 64, 1), np.uint8)
        write_image(pairs / "blur" / f"frame{i}.png", scene(i) - grain)
    return RunSpec("unsharp", dataset=str(pairs), conf=0.5, device="cpu", only_blurred=True)


def sharp_ones(pairs):
    """Ids of the blurred frames that measure sharp."""
    frames = {path.stem: read_image(path) for path in sorted((pairs / "blur").iterdir())}
    found = {id for id, frame in frames.items() if quality.blurriness(frame) <= quality.BLURRED}
    assert found == {"frame1", "frame4"}
    return found


def test_only_blurred_frames_are_restored(traffic):
    blurred = cv2.GaussianBlur(traffic[0], (0, 0), 5)
    only = OnlyBlurred(lambda frames: [255 - frame for frame in frames])
    sharp, restored = only([traffic[0], blurred])
    assert sharp is traffic[0]
    np.testing.assert_array_equal(restored, 255 - blurred)
    assert only.left == 1


def test_a_run_scores_them_so(spec, pairs, tmp_path):
    """Also after a run without that, whose restored frames are kept."""
    found = benchmarks.benchmark([replace(spec, only_blurred=False), spec], tmp_path / "runs")
    floor, (bare, only) = found.floor, found.models
    left = sharp_ones(pairs)
    for before, all_of_them, some in zip(floor.scores, bare.scores, only.scores, strict=True):
        assert some.psnr_db == (before if some.id in left else all_of_them).psnr_db
        assert all_of_them.psnr_db != before.psnr_db


def test_runs_are_told_apart_and_share_floor_and_ceiling(spec, tmp_path):
    whole = replace(spec, only_blurred=False)
    found = benchmarks.benchmark([spec, whole], tmp_path / "runs")
    assert len(list((tmp_path / "runs").iterdir())) == 4
    assert not found.floor.spec.only_blurred
    assert {name(run) for run in found.models} == {"unsharp", "unsharp where blurred"}
    (board,) = best.of_folder(tmp_path / "runs")
    assert [score.deblurer for score in board.scores] == ["unsharp"]


def test_of_such_runs_alone_there_is_nothing_to_take(spec, tmp_path):
    benchmarks.benchmark(spec, tmp_path / "runs")
    done = CliRunner().invoke(cli.app, ["best", "--budget-ms", "100", "--runs", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.output
    assert "Take none" in done.stdout


def test_frames_as_a_person_sees_them(spec, pairs, tmp_path):
    restored = dict(runner.restored_frames(spec))
    left = sharp_ones(pairs)
    for pair, frame in restored.items():
        assert (pair.id in left) == np.array_equal(frame, read_image(pair.blurred))


def test_the_command_names_them(spec, pairs):
    arguments = ["run", "--dataset", str(pairs), "--deblurer", "unsharp", "--only-blurred", "--device", "cpu"]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    assert "unsharp where blurred" in done.stdout
    alone = CliRunner().invoke(cli.app, [*arguments, "--dataset", str(pairs / "blur")])
    assert alone.exit_code == 0, alone.output
    assert "unsharp where blurred" in alone.stdout


def test_a_function_that_was_handed_over_is_asked_for_blurred_ones_alone(spec, pairs, tmp_path):
    given = []

    def invert(frame):
        given.append(frame)
        return 255 - frame

    runner.run(replace(spec, deblurer="mine"), tmp_path / "runs", deblurer=invert)
    assert len(given) == 6 - len(sharp_ones(pairs))


def test_backends_are_timed_on_frames_that_are_restored(spec, monkeypatch, traffic):
    """Or those that are left alone would make each of them look fast."""
    made = []

    def choose(name, make, frames, **_):
        made.append(make("torch", "fp32"))
        return "torch", "fp32"

    monkeypatch.setattr("detbench.backends.choose", choose)
    restore = restorers.restorer(RunSpec("unsharp", device="cpu", backend="auto", precision="auto", only_blurred=True))
    kept, _ = restore([traffic[0], cv2.GaussianBlur(traffic[0], (0, 0), 5)])
    assert kept is traffic[0]
    assert not isinstance(made[0], OnlyBlurred)


def test_frames_from_elsewhere_are_as_they_are(spec, pairs, tmp_path):
    with pytest.raises(DetbenchError, match="leave out --only-blurred"):
        runner.run(replace(spec, deblurer=f"frames:{pairs / 'blur'}"), tmp_path / "runs")
