"""Killed at any moment, and called again: the same bytes as without, times aside, and nothing half-written."""

import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import training
import videos
from conftest import scene
from faulty import kill_and_repeat, killed_after
from publishing import checkout, miniature

from detbench import publish, published, runner
from detbench.data import images, make
from detbench.data.video import Reader
from detbench.deblur import deblur
from detbench.gan import training as trainer
from detbench.gan import tune
from detbench.results import Results
from detbench.types import RunSpec

pytestmark = [pytest.mark.slow("kills processes at work"), pytest.mark.timeout(3600)]
TIMES = ("restore_ms", "detect_ms")


def bytes_of(folder):
    """All files below a folder by name; of scores without the times."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".lock")):
        name = str(path.relative_to(folder))
        if path.name == "frames.csv":
            found[name] = pd.read_csv(path).drop(columns=list(TIMES)).to_csv().encode()
        elif path.name not in ("manifest.json", "built.json"):
            found[name] = path.read_bytes()
    return found


def test_run(data, tmp_path, tries, tally, monkeypatch):
    monkeypatch.setenv("DETBENCH_CACHE_GB", "0")
    spec = RunSpec("unsharp", dataset=str(data), conf=0.6, device="cpu")
    count = tally("SIGKILL of a run, then run again")
    kill_and_repeat(lambda out: runner.run(spec, out), bytes_of, tmp_path / "runs", tries(50), count)


def test_deblur_a_video(tmp_path, tries, tally):
    source, frames = videos.write(tmp_path / "in.mp4", videos.frames(60)), []

    def work(out):
        if (out / "out.mp4").exists():
            frames.append(len(list(Reader(out / "out.mp4"))))  # no finished file is half-written
        deblur(source, out / "out.mp4", lambda frames: frames, overwrite=True)

    kill_and_repeat(work, bytes_of, tmp_path / "made", tries(50), tally("SIGKILL of `deblur`, then again"))
    assert set(frames) <= {60}


def test_make_data(tmp_path, tries, tally):
    for i in range(6):
        images.write_image(tmp_path / "in" / f"{i}.png", scene(i, 96, 128))
    blur = make.parse("shake:medium")
    count = tally("SIGKILL of `data make`, then again")
    kill_and_repeat(lambda out: make.make(tmp_path / "in", out, blur), bytes_of, tmp_path / "made", tries(50), count)


def test_keep_results(data, tmp_path, tries, tally):
    """What `publish` writes: the file is the old one or the new one."""
    results = Results(tmp_path / "runs")
    spec = RunSpec("unsharp", dataset=str(data), conf=0.6, device="cpu")
    run = results.run(spec)
    target = tmp_path / "kept" / "all.tar.xz"
    begun = time.monotonic()
    results.save(target, [run.path])
    took, old = time.monotonic() - begun, target.read_bytes()
    results.measured("more", lambda: np.arange(1000.0))
    results.save(tmp_path / "new.tar.xz", [run.path])
    new, count = (tmp_path / "new.tar.xz").read_bytes(), tally("SIGKILL while results are kept")
    rng = np.random.default_rng(0)
    for _ in range(tries(50)):
        target.write_bytes(old)
        was = killed_after(lambda: results.save(target, [run.path]), rng.uniform(0, 1.2 * took))
        assert target.read_bytes() in (old, new)
        count["killed, the old file or the new" if was else "finished before, the new file"] += 1


def test_publish(data, tmp_path, tries, tally, monkeypatch):
    """Runs, tables, figures and pages; by a clock in each thread that goes on by as much at each look."""
    clock = threading.local()

    def tick():
        clock.now = getattr(clock, "now", 0.0) + 1 / 128
        return clock.now

    def work(root):
        if not root.exists():
            checkout(root)
        publish.publish(root, root / "runs", "cpu")

    def made(root):
        """All but the runs and their archive, which tell how long they took; it can be read."""
        with tempfile.TemporaryDirectory() as scratch:
            Results.load(root / publish.RESULTS, Path(scratch))
        found = bytes_of(root)
        return {name: data for name, data in found.items() if not name.startswith(("runs/", "reports/results/"))}

    monkeypatch.setattr(time, "perf_counter", tick)
    monkeypatch.setattr(published, "DETECTORS", published.DETECTORS[:2])
    miniature(data, monkeypatch)
    kill_and_repeat(work, made, tmp_path / "made", tries(50, least=1), tally("SIGKILL of `publish`, then again"))


def weights(out):
    """The bytes of all tensors of the last weights, by name; nothing half-written lies there."""
    assert not list(out.rglob(".part-*"))
    return {name: tensor.numpy().tobytes() for name, tensor in training.tensors(out / "last.safetensors").items()}


def test_train(folder, tmp_path, tries, tally):
    """Its checkpoint is of every second iteration here."""
    torch.set_num_threads(1)  # threads do not live on in the process that is killed
    count = tally("SIGKILL of a training, then again")
    kill_and_repeat(
        lambda out: training.start(folder, out, every=2), weights, tmp_path / "made", tries(50), count, "weights"
    )


def test_tune(stocked, traffic, tmp_path, tries, tally, monkeypatch):
    """Six steps with a detector, with a checkpoint after three."""
    torch.set_num_threads(1)
    monkeypatch.setattr(tune, "CROP", 64)
    monkeypatch.setattr(trainer, "_affordable", lambda *_: (6, 3))
    for i, frame in enumerate(traffic):
        images.write_image(tmp_path / "footage" / f"{i}.png", frame)
    settings = {"data": [tmp_path / "footage"], "detectors": ["yolo26n"], "budget": 60.0, "imgsz": 320, "device": "cpu"}
    count = tally("SIGKILL of a tuning, then again")
    kill_and_repeat(
        lambda out: tune.tune("dc0", out, **settings), weights, tmp_path / "made", tries(50), count, "weights"
    )
