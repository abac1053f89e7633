"""Processes at once, and whatever the machine's clock, locale and threads are."""

import os
import shutil
import subprocess
import sys

import cv2
import pytest
from faulty import child
from test_kills import bytes_of

from detbench import runner, store
from detbench.data import images
from detbench.types import RunSpec

pytestmark = [pytest.mark.slow("processes of their own"), pytest.mark.timeout(3600)]


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_at_once(data, tmp_path, tries, tally, bright_boxes, monkeypatch, processes):
    monkeypatch.setenv("DETBENCH_CACHE_GB", "0")
    spec = RunSpec("unsharp", dataset=str(data), conf=0.6, device="cpu")
    wanted = bytes_of(runner.run(spec, tmp_path / "whole").path)
    count = tally(f"{processes} processes with one spec and one cache")
    for i in range(tries(100) // 10):
        out = tmp_path / str(i)
        numbers = [child(lambda out=out: runner.run(spec, out)) for _ in range(processes)]
        for number in numbers:
            assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 0
        assert bytes_of(runner.run(spec, out).path) == wanted
        count["the same bytes"] += 1


def test_the_clock_set_back(data, tmp_path, tally, bright_boxes, monkeypatch):
    import time

    monkeypatch.setenv("DETBENCH_CACHE_GB", "0")
    spec = RunSpec("unsharp", dataset=str(data), conf=0.6, device="cpu")
    wanted = bytes_of(runner.run(spec, tmp_path / "whole").path)
    now, calls = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: now() - 3600 * next(calls))
    assert bytes_of(runner.run(spec, tmp_path / "back").path) == wanted
    tally("the clock set back an hour at each look")["the same digits"] += 1


RUN = """
import sys
from pathlib import Path
import cv2, torch
data, threads, out = sys.argv[1:]
cv2.setNumThreads(int(threads))
torch.set_num_threads(int(threads))
from detbench import runner
from detbench.types import RunSpec
runner.run(RunSpec("dc0", dataset=data, imgsz=320, device="cpu"), Path(out))
"""


def test_threads_hash_seeds_and_kinds_of_processors(stocked, traffic, tmp_path, tries, tally, monkeypatch):
    """Sums are rounded as a processor's kernels have them: the counts are the same, and PSNR to a ten-thousandth."""
    monkeypatch.setenv("DETBENCH_CACHE_GB", "0")
    for i, frame in enumerate(traffic):
        images.write_image(tmp_path / "data" / "sharp" / f"{i}.png", frame)
        images.write_image(tmp_path / "data" / "blur" / f"{i}.png", cv2.blur(frame, (9, 1)))
    runs = iter(range(100))

    def scores(threads=1, **environment):
        shutil.rmtree(stocked / "detections", ignore_errors=True)
        out = tmp_path / f"{next(runs)}"
        command = [sys.executable, "-c", RUN, str(tmp_path / "data"), str(threads), str(out)]
        subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)
        (path,) = out.iterdir()
        found = store.read(path)
        return found.counts, [score.psnr_db for score in found.scores], (path / "detections-restored.json").read_bytes()

    counts, psnr, seen = scores(PYTHONHASHSEED="0")
    assert counts.tp
    count = tally("PYTHONHASHSEED, threads 1, 2 and 4, kernels for other processors: a run")
    assert scores(PYTHONHASHSEED="1") == (counts, psnr, seen)
    count["the same bytes"] += 1
    kinds = ({"ATEN_CPU_CAPABILITY": "default"}, {"ATEN_CPU_CAPABILITY": "avx2"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"})
    for setting in [{"threads": 4}, *kinds, {"threads": 2}][: tries(5, least=2)]:
        other = scores(**setting)
        assert other[0] == counts
        assert other[1] == pytest.approx(psnr, abs=1e-4)
        count["the same bytes" if other[2] == seen else "the same counts, and PSNR to a ten-thousandth"] += 1
