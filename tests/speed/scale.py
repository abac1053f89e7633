"""What many frames, deblurers, detectors and GPUs come to, from what one machine measures."""

import time
from dataclasses import dataclass

import numpy as np

from detbench import bench, detectors, match, quality, registry, restorers
from detbench.data import images
from detbench.types import RunSpec

WIDTH, HEIGHT = 1280, 720
TFLOPS = 50.0
"""Assumed of a GPU, in practice: a quarter of what the data sheets of 2020's large ones promise in bf16."""

CORES = 8
"""Assumed beside each GPU."""

DISK = 500.0
"""Assumed of the storage that all share, in MB/s."""


@dataclass(frozen=True)
class Frame:
    """What one frame of 1280x720 costs.

    Attributes:
        restore_gflop: of a deblurer, in the mean of all that run.
        detect_gflop: of the detector.
        score_s: seconds of one core to decode, score and write.
        read_mb: of the two files that are read.
        written_mb: of the picture and the row that go to the driver.
        collect_s: seconds of the driver's core while others work.
        finish_s: when they have.
    """

    restore_gflop: float
    detect_gflop: float
    score_s: float
    read_mb: float
    written_mb: float
    collect_s: float
    finish_s: float


def seconds(frame, frames, deblurers, detectors_, gpus):
    """Seconds of each stage of a benchmark, were it alone: floor and ceiling are restored by nobody."""
    restored, looked = frames * deblurers, frames * detectors_ * (deblurers + 2)
    return {
        "networks": (restored * frame.restore_gflop + looked * frame.detect_gflop) / (TFLOPS * 1e3) / gpus,
        "decoding and scoring": looked * frame.score_s / (CORES * gpus),
        "storage": looked * (frame.read_mb + frame.written_mb) / DISK,
        "driver": looked * (frame.collect_s + frame.finish_s),
    }


def measured(street, folder, collect_s, finish_s):
    """What a frame costs here; the driver's part is measured elsewhere."""
    import cv2

    sharp, blurred = (
        cv2.resize(images.read_image(path), (WIDTH, HEIGHT))
        for path in (street.pairs[0].sharp, street.pairs[0].blurred)
    )
    files = [folder / "sharp.png", folder / "blurred.png"]
    for file, shown in zip(files, (sharp, blurred), strict=True):
        images.write_image(file, shown)
    rng = np.random.default_rng(0)
    detector = detectors.resolve("yolo26n").build(conf=0.01, nms_iou=0.7, imgsz=640, device="cpu")
    seen = detector([sharp])[0]

    def score():
        given, other = (images.read_image(file) for file in files)
        quality.psnr_db(given, other)
        quality.ssim(given, other)
        match.score_frame(seen, seen, seen, 0.5)
        images.write_image(folder / "shown.webp", given)

    score()
    started = time.process_time()
    for _ in range(5):
        score()
    taken = (time.process_time() - started) / 5
    gflop = []
    for name in registry.runnable():
        if registry.get(name).assets or registry.load(name, None).weights:
            restorer = restorers.restorer(RunSpec(name, device="cpu"))
            gflop.append(bench.gflop(restorer, rng.integers(0, 256, (180, 320, 3), np.uint8)) * 16)
    return Frame(
        float(np.mean(gflop)),
        5.4 * (HEIGHT / WIDTH),  # ultralytics' table: 5.4 GFLOP at 640x640
        taken,
        sum(file.stat().st_size for file in files) / 1e6,
        (folder / "shown.webp").stat().st_size / 1e6 + 0.008,
        collect_s,
        finish_s,
    )
