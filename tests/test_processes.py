"""A run by a process for each of several devices: the same as by one; and what is refused."""

import os
import signal

import pytest
import torch
from test_shards import contents
from typer.testing import CliRunner

from detbench import cli, processes, runner, store
from detbench.types import DetbenchError

TWO = ["cpu", "cpu"]


@pytest.mark.slow("starts processes")
def test_the_same_as_by_one(eight_frames, tmp_path):
    whole = runner.run(eight_frames, tmp_path / "whole").path
    processes.score(eight_frames, TWO, tmp_path / "two")
    made = runner.run(eight_frames, tmp_path / "two").path
    assert made.name == whole.name
    assert contents(made) == contents(whole)
    assert [path.name for path in (made / "frames").iterdir()] != []
    before = {path.name: path.stat().st_mtime_ns for path in made.iterdir()}
    processes.score(eight_frames, TWO, tmp_path / "two")  # which is finished
    assert {path.name: path.stat().st_mtime_ns for path in made.iterdir()} == before


@pytest.mark.slow("starts processes")
def test_a_process_that_dies_is_told_and_loses_nothing(eight_frames, tmp_path, monkeypatch):
    started = processes._started

    def dies(spec, part, *others):
        process = started(spec, part, *others)
        if part.number == 2:
            os.kill(process.pid, signal.SIGKILL)
        return process

    with monkeypatch.context() as patch:
        patch.setattr(processes, "_started", dies)
        with pytest.raises(DetbenchError, match=r"Shard 2/2: it ended with -9"):
            processes.score(eight_frames, TWO, tmp_path / "two")
    processes.score(eight_frames, TWO, tmp_path / "two")
    assert contents(runner.run(eight_frames, tmp_path / "two").path) == contents(
        runner.run(eight_frames, tmp_path / "whole").path
    )


@pytest.mark.slow("starts processes")
def test_what_goes_wrong_in_one_is_said_in_a_line(eight_frames, tmp_path):
    (tmp_path / "data" / "blur" / "3.png").write_bytes((tmp_path / "data" / "blur" / "3.png").read_bytes()[:3000])
    with pytest.raises(DetbenchError, match=r"^Shard 2/2: .*3\.png cannot be read"):
        processes.score(eight_frames, TWO, tmp_path / "two")


@pytest.mark.slow("starts processes")
def test_the_command(eight_frames, tmp_path):
    arguments = [
        "run",
        "--deblurer",
        "unsharp",
        "--dataset",
        eight_frames.dataset,
        "--imgsz",
        "320",
        "--out",
        str(tmp_path),
    ]
    done = CliRunner().invoke(cli.app, [*arguments, "--device", "cpu,cpu"])
    assert done.exit_code == 0, done.output
    assert "unsharp on data, by 2 processes" in done.stderr
    runs = [path for path in tmp_path.glob("data-*")]
    assert len(runs) == 3
    assert all(store.is_complete(path) for path in runs)
    assert all(store.read(path).environment["resumed_after"] == 8 for path in runs)


@pytest.mark.parametrize("device", ["cuda:0,cuda:0", "cuda,cuda:1", "cpu,cuda:0", "mps,mps", "cuda:0,", "cpu,auto"])
def test_lists_that_are_none(device):
    with pytest.raises(DetbenchError, match="give cuda:0,cuda:1 or"):
        processes.several(device)
    done = CliRunner().invoke(cli.app, ["run", "--device", device])
    assert done.exit_code == 1
    assert "Traceback" not in done.output


def test_one_device_is_no_list():
    assert [processes.several(device) for device in ("auto", "cpu", "cuda:1")] == [[], [], []]
    assert processes.several("cuda:0, cuda:3") == ["cuda:0", "cuda:3"]


def test_each_process_sees_its_own_gpu_alone(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert processes._seen_by("cuda:3")["CUDA_VISIBLE_DEVICES"] == "3"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert processes._seen_by("cuda:1")["CUDA_VISIBLE_DEVICES"] == "5"
    assert processes._seen_by("cpu")["CUDA_VISIBLE_DEVICES"] == "2,5"
    with pytest.raises(DetbenchError, match="names 2"):
        processes._seen_by("cuda:2")


@pytest.mark.parametrize("others", [["--engine", "ray"], ["--shard", "1/2"], ["--config", "x.toml"]])
def test_what_does_not_go_together(others):
    done = CliRunner().invoke(cli.app, ["run", "--device", "cpu,cpu", *others])
    assert done.exit_code == 1
    assert "give one, with --engine ray" in done.stderr


def test_threads_are_shared(eight_frames, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(processes, "_started", lambda spec, part, out, threads, *others: given.append(threads) or 1 / 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    with pytest.raises(ZeroDivisionError):
        processes.score(eight_frames, TWO, tmp_path)
    assert given == [4]
