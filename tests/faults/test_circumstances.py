"""A full disk, processes at once, and whatever the machine's clock, locale and threads are."""

import os
import resource
import signal

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


SCORED = """
import sys
import cv2, torch
threads = int(sys.argv[2])
cv2.setNumThreads(threads)
torch.set_num_threads(threads)
from detbench import registry
from detbench.restore import Restorer
import numpy as np
deblurer = registry.load("dc0")
restore = Restorer(deblurer.build(), multiple_of=16, value_range=(-1, 1), device="cpu", precision="fp32")
made = restore([np.load(sys.argv[1])])[0]
import hashlib
print(hashlib.sha256(made.tobytes()).hexdigest(), int(made.astype(int).sum()))
"""


def test_threads_and_hash_seeds(tmp_path, tally):
    """A network's pixels may differ by its kernels, and then by a level here and there; not by the hash seed."""
    import subprocess
    import sys

    np.save(tmp_path / "frame.npy", scene(2, 96, 128))
    found = {}
    for threads in (1, 2):
        for seed in ("0", "1"):
            environment = {**os.environ, "PYTHONHASHSEED": seed}
            command = [sys.executable, "-c", SCORED, str(tmp_path / "frame.npy"), str(threads)]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
            found[threads, seed] = done.stdout.split()
    count = tally("PYTHONHASHSEED 0 and 1, one thread and two")
    for threads in (1, 2):
        assert found[threads, "0"] == found[threads, "1"]
        count["the same digits"] += 1
    one, two = int(found[1, "0"][1]), int(found[2, "0"][1])
    assert abs(one - two) <= 96 * 128 * 3 / 1000  # of threads: a level in one value of a thousand, at most
    count["the same digits" if found[1, "0"] == found[2, "0"] else "a level in one value of a thousand"] += 1
