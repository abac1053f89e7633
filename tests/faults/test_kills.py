"""Killed at any moment, and called again: the same bytes as without, times aside, and nothing half-written."""

import time

import numpy as np
import pandas as pd
import pytest
import torch
import training
import videos
from conftest import scene
from faulty import killed_after

from detbench import runner
from detbench.data import images, make
from detbench.data.video import Reader
from detbench.deblur import deblur
from detbench.results import Results
from detbench.types import RunSpec

pytestmark = pytest.mark.slow("kills processes at work")
TIMES = ("restore_ms", "detect_ms")


def bytes_of(folder):
    """All files below a folder by name, but what a killed process left hidden; of scores without the times."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        name = str(path.relative_to(folder))
        if path.name == "frames.csv":
            found[name] = pd.read_csv(path).drop(columns=list(TIMES)).to_csv().encode()
        elif path.name not in ("manifest.json", "built.json"):
            found[name] = path.read_bytes()
    return found


def test_run(data, tmp_path, tries, tally, monkeypatch):
    monkeypatch.setenv("DETBENCH_CACHE_GB", "0")
    spec = RunSpec("unsharp", dataset=str(data), conf=0.6, device="cpu")
    begun = time.monotonic()
    wanted = bytes_of(runner.run(spec, tmp_path / "whole").path)
    took, count, rng = time.monotonic() - begun, tally("SIGKILL of a run, then run again"), np.random.default_rng(0)
    for i in range(tries(50)):
        out = tmp_path / str(i)
        was = killed_after(lambda out=out: runner.run(spec, out), rng.uniform(0, 1.2 * took))
        result = runner.run(spec, out)
        assert bytes_of(result.path) == wanted
        count["killed, the same bytes" if was else "finished before, the same bytes"] += 1


def test_deblur_a_video(tmp_path, tries, tally):
    source = videos.write(tmp_path / "in.mp4", videos.frames(60))

    def work(target):
        deblur(source, target, lambda frames: frames, overwrite=True)

    begun = time.monotonic()
    work(tmp_path / "whole.mp4")
    took, count, rng = time.monotonic() - begun, tally("SIGKILL of `deblur`, then again"), np.random.default_rng(1)
    for i in range(tries(50)):
        target = tmp_path / str(i) / "out.mp4"
        was = killed_after(lambda target=target: work(target), rng.uniform(0, 1.2 * took))
        if target.exists():
            assert len(list(Reader(target))) == 60  # no finished file is half-written
        work(target)
        assert target.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
        assert [path.name for path in target.parent.iterdir()] == ["out.mp4"]
        count["killed, the same bytes" if was else "finished before, the same bytes"] += 1


def test_make_data(tmp_path, tries, tally):
    for i in range(6):
        images.write_image(tmp_path / "in" / f"{i}.png", scene(i, 96, 128))
    blur = make.parse("shake:medium")

    def work(out):
        make.make(tmp_path / "in", out, blur)

    begun = time.monotonic()
    work(tmp_path / "whole")
    wanted = bytes_of(tmp_path / "whole")
    took, count, rng = time.monotonic() - begun, tally("SIGKILL of `data make`, then again"), np.random.default_rng(2)
    for i in range(tries(50)):
        out = tmp_path / str(i)
        was = killed_after(lambda out=out: work(out), rng.uniform(0, 1.2 * took))
        work(out)
        assert bytes_of(out) == wanted
        count["killed, the same bytes" if was else "finished before, the same bytes"] += 1


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
    new, count, rng = (
        (tmp_path / "new.tar.xz").read_bytes(),
        tally("SIGKILL while results are kept"),
        np.random.default_rng(3),
    )
    for _ in range(tries(50)):
        target.write_bytes(old)
        was = killed_after(lambda: results.save(target, [run.path]), rng.uniform(0, 1.2 * took))
        assert target.read_bytes() in (old, new)
        count["killed, the old file or the new" if was else "finished before, the new file"] += 1


def test_train(folder, tmp_path, tries, tally):
    """Its checkpoint is of every second iteration here; the weights are equal to the last digit."""
    torch.set_num_threads(1)  # threads do not live on in the process that is killed
    begun = time.monotonic()
    wanted = training.tensors(training.start(folder, tmp_path / "whole", every=2))
    took, count, rng = time.monotonic() - begun, tally("SIGKILL of a training, then again"), np.random.default_rng(5)
    for i in range(tries(50)):
        out = tmp_path / str(i)
        was = killed_after(lambda out=out: training.start(folder, out, every=2), rng.uniform(0, 1.2 * took))
        made = training.tensors(training.start(folder, out, every=2))
        assert made.keys() == wanted.keys()
        assert all((made[name] == wanted[name]).all() for name in wanted)
        count["killed, the same weights" if was else "finished before, the same weights"] += 1
