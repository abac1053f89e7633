"""A deblurer that sleeps, and a detector that sees the same in every frame: what is left of a run is detbench's own.

``offer`` makes them plug-ins of every process whose PYTHONPATH has its folder.
"""

import os
import subprocess
import sys

import cv2
import numpy as np

from detbench.data import images

DEBLURER = '''"""asleep: gives back what it gets, after $ASLEEP seconds a frame."""
import os, time
from torch import nn
from detbench.types import DeblurerSpec


class Asleep(nn.Module):
    def forward(self, x):
        time.sleep(float(os.environ.get("ASLEEP", "0")) * len(x))
        return x * 0.99


SPEC = DeblurerSpec(build=Asleep)
'''

DETECTOR = '''"""blind: forty boxes, the same in every frame; it has no weights."""
import numpy as np
from detbench.types import Detections, DetectorSpec


class Blind:
    def __init__(self, weights, *, conf, nms_iou, imgsz, device):
        self.class_names = {0: "thing", 1: "other"}
        rng = np.random.default_rng(0)
        corner = rng.uniform(0, 30, (40, 2))
        xyxy = np.hstack([corner, corner + rng.uniform(2, 20, (40, 2))]).astype(np.float32)
        score = np.sort(rng.uniform(0.01, 1, 40))[::-1].astype(np.float32)
        self.seen = Detections(xyxy, score, rng.integers(0, 2, 40)).above(conf)

    def __call__(self, frames):
        return [self.seen for _ in frames]


SPEC = DetectorSpec(build=Blind)
'''

RUN = """
import resource, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from detbench import cluster, processes, runner
from detbench.types import RunSpec
data, out, how, count = sys.argv[1:]
count, out = int(count), Path(out)
spec = RunSpec("asleep", dataset=data, detector="blind", device="cpu", clips="(?P<clip>c[0-9]+)")
started = time.perf_counter()
if how == "ray":
    import ray
    ray.init(num_cpus=count, log_to_driver=False, logging_level="error", include_dashboard=False)
def computed():
    now = resource.getrusage(resource.RUSAGE_SELF)
    return now.ru_utime + now.ru_stime
before = computed()
if how == "ray":
    cluster.score(spec, out, cpus=1)
elif how == "processes":
    processes.score(spec, ["cpu"] * count, out)
scored = computed()
runner.run(spec, out, rerun=how == "alone")
wall, most = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(wall, most, scored - before, computed() - scored)
"""
"""Prints the seconds of a run, the megabytes that this process took at most, and the seconds that it computed: while
others scored, and then."""


LINKS = 30_000
"""Names of one file: file systems allow 65,000."""


def offer(folder):
    """Write the plug-ins, and give the environment of processes that are to have them."""
    info = folder / "asleep-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: asleep\nVersion: 1.0\n")
    points = "[detbench.deblurers]\nasleep = asleep_network\n[detbench.detectors]\nblind = asleep_detector\n"
    (info / "entry_points.txt").write_text(points)
    (folder / "asleep_network.py").write_text(DEBLURER)
    (folder / "asleep_detector.py").write_text(DETECTOR)
    there = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": there, "DETBENCH_CACHE_GB": "0"}


def tiny(folder, count):
    """So many pairs of 64x48, a hundred a clip: names of a few files."""
    rng = np.random.default_rng(0)
    shown = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (64, 48), interpolation=cv2.INTER_CUBIC)
    for side, frame in (("sharp", shown), ("blur", cv2.GaussianBlur(shown, (0, 0), 2))):
        for i in range(count):
            file = folder / side / f"c{i // 100}-{i % 100}.png"
            if i % LINKS == 0:
                first = file
                images.write_image(first, frame)
            else:
                file.hardlink_to(first)
    return folder


def run(environment, data, out, how="alone", count=1, seconds=0.0):
    """Seconds, peak megabytes and seconds of computing, twice, of a run whose deblurer sleeps so long a frame.

    ``alone`` in one process of its own; ``processes`` or ``ray`` with so many more for the frames.
    """
    command = [sys.executable, "-c", RUN, str(data), str(out), how, str(count)]
    there = environment | {"ASLEEP": str(seconds)}
    done = subprocess.run(command, env=there, check=True, capture_output=True, text=True)
    return tuple(map(float, done.stdout.split()[-4:]))
