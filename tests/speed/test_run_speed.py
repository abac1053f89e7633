"""Benchmarks of a whole run; each prints what it measured."""

import subprocess
import sys
import time

import pytest
from ratios import tell

from detbench import kept, loop, runner
from detbench.data import images
from detbench.detectors.yolo import Yolo
from detbench.registry import Deblurer
from detbench.types import RunSpec


def test_time_is_spent_in_the_networks(tmp_path, monkeypatch):
    """From the first frame to the last, at most a twentieth of the time goes elsewhere than into forward passes."""
    spent = {"deblurer": 0.0}
    build, look = Deblurer.build, Yolo.__call__
    detectors = set()

    def timed_build(self):
        net, started = build(self), []
        net.register_forward_pre_hook(lambda *_: started.append(time.perf_counter()))

        def stop(*_):
            spent["deblurer"] += time.perf_counter() - started.pop()

        net.register_forward_hook(stop)
        return net

    def remember(self, frames):
        detectors.add(self)
        return look(self, frames)

    rows = loop.Loop.rows

    def timed_rows(self, pairs, done):
        started = time.perf_counter()
        yield from rows(self, pairs, done)
        spent["wall"] = time.perf_counter() - started

    monkeypatch.setattr(Deblurer, "build", timed_build)
    monkeypatch.setattr(Yolo, "__call__", remember)
    monkeypatch.setattr(loop.Loop, "rows", timed_rows)
    monkeypatch.setattr(runner, "_references", lambda *_: tmp_path / "references.jsonl")
    monkeypatch.setattr(kept.Frames, "find", lambda self, keys: None)  # all is restored, and kept
    runner.run(RunSpec("dc250", device="cpu", limit=75), tmp_path / "runs")
    detector = sum(d.forward_seconds for d in detectors)
    outside = 1 - (spent["deblurer"] + detector) / spent["wall"]
    words = f"deblurer {spent['deblurer'] / spent['wall']:.1%}, detector {detector / spent['wall']:.1%}"
    tell("wall time outside networks' forward passes, dc250 on 75 frames", "all of it", outside, most=0.05, words=words)


@pytest.mark.parametrize("arguments", [["--help"], ["list", "deblurers"]])
def test_listing_is_quick(arguments, capsys):
    """Fresh processes, the fastest of five: what remains when nothing else wants the processor."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "detbench", *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    with capsys.disabled():
        print(f"\ndetbench {' '.join(arguments)}: {min(times):.2f} s (need < 0.5 s)")
    assert min(times) < 0.5


PEAK = """
import resource, sys
from pathlib import Path
from detbench import runner
from detbench.types import RunSpec
runner.run(RunSpec("dc250", dataset=sys.argv[1], device="cpu"), Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_dataset(street, tmp_path, capsys):
    """Peak memory of a run over 8 frames and over 80."""
    pair = street.pairs[0]
    sharp, blurred = images.read_image(pair.sharp)[:208, :320], images.read_image(pair.blurred)[:208, :320]
    peaks = []
    for count in (8, 80):
        for i in range(count):
            images.write_image(tmp_path / f"data{count}" / "sharp" / f"{i}.png", sharp)
            images.write_image(tmp_path / f"data{count}" / "blur" / f"{i}.png", blurred)
        command = [sys.executable, "-c", PEAK, str(tmp_path / f"data{count}"), str(tmp_path / "runs")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(int(done.stdout))
    with capsys.disabled():
        print(f"\npeak memory: {peaks[0] / 1024:.0f} MiB for 8 frames, {peaks[1] / 1024:.0f} MiB for 80 (need < +10%)")
    assert peaks[1] < 1.1 * peaks[0]
