"""A full disk, processes at once, and whatever the machine's clock, locale and threads are."""

import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
import videos
from conftest import scene
from faulty import child
from test_kills import bytes_of

from detbench import runner
from detbench.data import images
from detbench.deblur import deblur
from detbench.results import Results
from detbench.types import DetbenchError, RunSpec

pytestmark = pytest.mark.slow("processes of their own")


def writers(tmp_path, run):
    """What writes files of some size, by name: a function of the target, and the target's suffix."""
    frame = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    source = videos.write(tmp_path / "in.mp4", [frame] * 8)
    results = Results(tmp_path / "runs")
    results.measured("noise", lambda: np.random.default_rng(0).random(5000))
    return {
        "pictures": (lambda target: images.write_image(target, frame), ".png"),
        "videos": (lambda target: deblur(source, target, lambda frames: frames, overwrite=True), ".mp4"),
        "results": (lambda target: results.save(target, []), ".tar.xz"),
    }


def test_a_full_disk(data, tmp_path, tries, tally, bright_boxes):
    """By the largest file that a process may write, at a limit that is drawn: one line, and the old file stays."""
    rng = np.random.default_rng(4)
    for what, (write, suffix) in writers(tmp_path, None).items():
        count, target = tally(f"a full disk: {what}"), tmp_path / what / f"a{suffix}"
        target.parent.mkdir(exist_ok=True)
        for _ in range(tries(50)):
            target.write_bytes(b"old")
            most = int(rng.integers(100, 20_000))

            def work(write=write, target=target, limit=most):
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                try:
                    write(target)
                except (DetbenchError, OSError):
                    os._exit(7)

            status = os.waitstatus_to_exitcode(os.waitpid(child(work), 0)[1])
            assert status == 7, status
            assert target.read_bytes() == b"old"
            assert [path.name for path in target.parent.iterdir()] == [target.name]
            count["one line, the old file stays"] += 1


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


RESTORED = """
import sys
import cv2, torch
threads = int(sys.argv[2])
cv2.setNumThreads(threads)
torch.set_num_threads(threads)
import numpy as np
from detbench import runner
from detbench.types import RunSpec
np.save(sys.argv[3], runner.restorer(RunSpec("dc0", device="cpu"))([np.load(sys.argv[1])])[0])
"""


def test_threads_hash_seeds_and_kinds_of_processors(tmp_path, tally):
    """A network's sums are rounded as its kernels have them: pixels may differ by a level, here and there."""
    np.save(tmp_path / "frame.npy", scene(2, 96, 128))

    def restored(threads=1, **environment):
        out = tmp_path / "made.npy"
        command = [sys.executable, "-c", RESTORED, str(tmp_path / "frame.npy"), str(threads), str(out)]
        subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)
        return np.load(out).astype(int)

    first = restored(PYTHONHASHSEED="0")
    count = tally("PYTHONHASHSEED, threads 1, 2 and 4, kernels for other processors")
    assert (restored(PYTHONHASHSEED="1") == first).all()
    count["the same pixels"] += 1
    kinds = ({"ATEN_CPU_CAPABILITY": "default"}, {"ATEN_CPU_CAPABILITY": "avx2"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"})
    for other in (restored(threads=2), restored(threads=4), *(restored(**kind) for kind in kinds)):
        difference = np.abs(other - first)
        assert difference.max() <= 1
        assert difference.mean() < 0.001
        count["the same pixels" if not difference.any() else "one level in less than one value of a thousand"] += 1
