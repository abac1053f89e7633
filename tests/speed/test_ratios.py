"""What detbench takes beside what one would do without it. Run by name: ``pytest -s tests/speed``."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import torch
from asleep import offer, tiny
from asleep import run as asleep
from ratios import has_bf16, in_turn, reporting, tell

from detbench import assets, backends, bench, registry, restorers, runner, store
from detbench.ap import average_precision
from detbench.data import images
from detbench.report.breakdown import rescore
from detbench.restore import Restorer
from detbench.types import Detections, RunSpec

FASTER = 2.5 if has_bf16() else 1.35
"""How much faster the best backend has to be than torch in fp32."""


@pytest.fixture(autouse=True)
def _all_cores():
    torch.set_num_threads(os.cpu_count())


def wide():
    """DeblurGAN's generator at its paper's width, with He's weights and small corrections, as trained ones give."""
    torch.manual_seed(0)
    net = registry.get("deblurgan_comb").build(width=64)
    with torch.no_grad():
        [layer for layer in net.modules() if isinstance(layer, torch.nn.Conv2d)][-1].weight.mul_(0.05)
    return net


def frame(height=352, width=640):
    """Something like a photograph: smooth, with edges and a little noise."""
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.integers(0, 256, (9, 16, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(coarse + rng.normal(0, 3, coarse.shape), 0, 255).astype(np.uint8)


def best_of(make, given):
    """The fastest backend that proves itself, and torch in fp32, as functions of nothing."""
    found, _ = backends.attempts(
        make, dict.fromkeys([("torch", "fp32"), *backends.candidates("auto", "auto", "cpu")]), [given]
    )
    best = min((each for each in found if each.passes), key=lambda each: each.ms)
    fast, eager = make(best.backend, best.precision), make("torch", "fp32")
    return best, lambda: fast([given]), lambda: eager([given])


@pytest.fixture(scope="module")
def wide_made():
    """Makes restorers of the wide generator."""
    return lambda backend, precision: Restorer(
        wide(), multiple_of=4, value_range=(-1.0, 1.0), backend=backend, precision=precision
    )


def test_restoring_alone(wide_made, home):
    best, fast, eager = best_of(wide_made, frame())
    quick, slow = in_turn(fast, eager, 5)
    tell("restoring, DeblurGAN of width 64, 640x352", "torch eager in fp32", slow / quick, FASTER, words=best.called)


def test_share_of_the_machines_rate(wide_made, home):
    """While restoring, of what large matrices reach in the same precision, measured in turn."""
    given = frame()
    best, fast, _ = best_of(wide_made, given)
    gflop = bench.gflop(wide_made("torch", "fp32"), given)
    dtype = torch.bfloat16 if best.precision == "bf16" else torch.float32
    one = torch.rand(bench.SIDE, bench.SIDE).to(dtype)
    seconds, matrices = in_turn(fast, lambda: one @ one, 7)
    share = (gflop * 1e9 / seconds) / (2 * bench.SIDE**3 / matrices)
    tell("restoring's operations a second, DeblurGAN of width 64", "large matrices'", share, 0.75, words=best.called)


def test_the_smallest(home):
    def make(backend, precision):
        return restorers.restorer(RunSpec("fastsrn_task_small", device="cpu", backend=backend, precision=precision))

    best, fast, eager = best_of(make, frame(360))
    quick, slow = in_turn(fast, eager, 9)
    words = f"{best.called}: {1 / quick:.1f} frames a second"
    tell("fastsrn_task_small, 640x360", "torch eager in fp32", slow / quick, FASTER, words=words)


PLAIN = """
import contextlib, io, json, sys
from pathlib import Path
import numpy as np, torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from ultralytics import YOLO
from detbench import registry
data, weights, out = map(Path, sys.argv[1:])
torch.set_num_threads(2)
torch.manual_seed(0)
net = registry.get("deblurgan_comb").build(width=64).eval()
names = sorted(path.name for path in (data / "sharp").iterdir())
with torch.inference_mode():
    for name in names:
        x = torch.from_numpy(np.array(Image.open(data / "blur" / name))).permute(2, 0, 1)[None].float() / 127.5 - 1
        pad = (-x.shape[2] % 4, -x.shape[3] % 4)
        y = net(torch.nn.functional.pad(x, (0, pad[1], 0, pad[0]), mode="reflect"))[..., : x.shape[2], : x.shape[3]]
        made = ((y[0] + 1) * 127.5).clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(made).save(out / name)
yolo = YOLO(weights)
torch.set_num_threads(2)
folders = {"sharp": data / "sharp", "blur": data / "blur", "made": out}
seen = {}
for side, folder in folders.items():
    seen[side] = [yolo.predict(str(folder / name), conf=0.001, iou=0.7, verbose=False)[0].boxes for name in names]
    torch.set_num_threads(2)
for name in names:
    made, sharp = (np.array(Image.open(folder / name)) for folder in (out, data / "sharp"))
    peak_signal_noise_ratio(sharp, made)
    structural_similarity(sharp, made, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
def rows(boxes, least):
    for image, found in enumerate(boxes, 1):
        for (x0, y0, x1, y1), score, label in zip(found.xyxy.tolist(), found.conf.tolist(), found.cls.tolist()):
            if score >= least:
                box = {"image_id": image, "category_id": int(label), "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
                yield box | {"area": (x1 - x0) * (y1 - y0), "score": score}
truth = COCO()
truth.dataset = {
    "images": [{"id": i} for i in range(1, len(names) + 1)],
    "categories": [{"id": i} for i in yolo.names],
    "annotations": [box | {"id": i} for i, box in enumerate(rows(seen["sharp"], 0.25), 1)],
}
with contextlib.redirect_stdout(io.StringIO()):
    truth.createIndex()
    for side in ("blur", "made"):
        judged = COCOeval(truth, truth.loadRes(list(rows(seen[side], 0.001))), "bbox")
        judged.evaluate(); judged.accumulate(); judged.summarize()
"""

OURS = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(2)
from detbench import benchmarks, registry, runner
from detbench.types import DeblurerSpec, Preset, RunSpec
data, backend, precision, out = sys.argv[1:]
def build():
    torch.manual_seed(0)
    return registry.get("deblurgan_comb").build(width=64)
mine = DeblurerSpec(build, presets={"default": Preset(multiple_of=4)}, value_range=(-1.0, 1.0))
spec = RunSpec("wide", dataset=data, device="cpu", backend=backend, precision=precision)
floor, ceiling = benchmarks.floor_and_ceiling(spec)
runner.run(floor, Path(out))
runner.run(spec, Path(out), deblurer=mine)
"""


def test_a_whole_run(street, tmp_path, home):
    """Processes of their own, an empty cache: all that a frame needs, from torch's import to the scores."""
    (home / "assets").mkdir(parents=True, exist_ok=True)
    weights = assets.fetch("yolo26n")
    for pair in street.pairs[:40]:
        for side, path in (("sharp", pair.sharp), ("blur", pair.blurred)):
            shown = images.read_image(path)
            images.write_image(tmp_path / "data" / side / f"{pair.id}.png", cv2.resize(shown, (640, 426)))
    taken = {}
    choices = {"openvino": "bf16", "torch": "fp32"} if has_bf16() else {"openvino": "fp32", "torch": "fp32"}
    (tmp_path / "restored").mkdir()
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", PLAIN, str(tmp_path / "data"), str(weights), str(tmp_path / "restored")], check=True
    )
    taken["plain"] = time.perf_counter() - started
    for backend, precision in choices.items():
        started = time.perf_counter()
        command = [sys.executable, "-c", OURS, str(tmp_path / "data"), backend, precision, str(tmp_path / "runs")]
        subprocess.run(command, check=True, capture_output=True)
        taken[backend] = time.perf_counter() - started
    best = min(choices, key=taken.get)
    words = f"{best} in {choices[best]}"
    tell(
        "a whole run of 40 frames, DeblurGAN of width 64",
        "a plain script",
        taken["plain"] / taken[best],
        FASTER,
        words=words,
    )


def crowds(frames=1_111, classes=12):
    """Detections and objects of as many frames as GoPro's test set has."""
    rng = np.random.default_rng(0)

    def boxes(count):
        corner = rng.uniform(0, 1100, (count, 2))
        return np.hstack([corner, corner + rng.uniform(20, 150, (count, 2))])

    for _ in range(frames):
        objects, others = boxes(rng.integers(2, 16)), boxes(rng.integers(10, 60))
        label = rng.integers(0, classes, len(objects))
        xyxy = np.vstack([objects + rng.normal(0, 4, objects.shape), others]).astype(np.float32)
        score = np.sort(rng.uniform(0.01, 1, len(xyxy)).astype(np.float32))[::-1]
        seen = Detections(xyxy, score, np.concatenate([label, rng.integers(0, classes, len(others))]))
        yield seen, Detections(objects.astype(np.float32), np.ones(len(objects), np.float32), label)


def judged(coco, evaluation, detections, reference):
    """What a tool of the field takes for the same: boxes of all sizes, as a function of nothing."""

    def annotations(frames):
        for image, frame in enumerate(frames):
            for (x0, y0, x1, y1), label, score in zip(
                frame.xyxy.tolist(), frame.label.tolist(), frame.score.tolist(), strict=True
            ):
                box = {"image_id": image, "category_id": label, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
                yield box | {"area": (x1 - x0) * (y1 - y0), "score": score}

    def index(frames):
        made = coco()
        made.dataset = {
            "images": [{"id": image} for image in range(len(frames))],
            "categories": [{"id": label} for label in range(12)],
            "annotations": [box | {"id": i} for i, box in enumerate(annotations(frames), 1)],
        }
        made.createIndex()
        return made

    def judge():
        with contextlib.redirect_stdout(io.StringIO()):
            found = evaluation(index(reference), index(detections), "bbox")
            found.params.areaRng, found.params.areaRngLbl = [[0, 1e10]], ["all"]
            found.evaluate()
            found.accumulate()

    return judge


def test_average_precision_and_counts():
    from faster_coco_eval import COCO as FasterCOCO
    from faster_coco_eval import COCOeval_faster
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    detections, reference = zip(*crowds(), strict=True)
    ours, theirs = in_turn(
        lambda: average_precision(detections, reference), judged(COCO, COCOeval, detections, reference)
    )
    tell("COCO's AP and AR of 1,111 frames", "pycocotools", theirs / ours, 8)
    fewer = [frame.above(0.25) for frame in detections]
    ours, theirs = in_turn(
        lambda: rescore(detections, reference, 0.5, 0.25), judged(FasterCOCO, COCOeval_faster, fewer, reference)
    )
    tell("counts of 1,111 frames", "faster-coco-eval's evaluation", theirs / ours, 1)


def test_four_deblurers_in_one_run(street, tmp_path):
    """From a cache without what a detector saw, and runs that keep no restored frames."""
    names = ["dc0", "dc250", "deblurgan_comb", "pix2pix"]

    def run(names, folder):
        options = [option for name in names for option in ("--deblurer", name)]
        command = [sys.executable, "-m", "detbench", "run", *options, "--limit", "20", "--device", "cpu"]
        there = {"DETBENCH_HOME": str(folder), "DETBENCH_CACHE_GB": "0"}
        subprocess.run(
            [*command, "--out", str(folder / "runs")], check=True, capture_output=True, env=os.environ | there
        )

    taken = []
    for number, groups in enumerate([[names], [[name] for name in names]]):
        folder = tmp_path / str(number)
        for part in ("assets", "datasets"):
            shutil.copytree(assets.home() / part, folder / part, symlinks=True)
        started = time.perf_counter()
        for group in groups:
            run(group, folder)
        taken.append(time.perf_counter() - started)
    tell("four deblurers in one run of 20 frames", "four runs", taken[1] / taken[0], 1.15)


def test_memory_does_not_grow(tmp_path):
    environment = offer(tmp_path / "plug") | {"DETBENCH_HOME": str(tmp_path / "home")}
    many = 10_000 if reporting() else 1_000
    most = [asleep(environment, tiny(tmp_path / f"{n}", n), tmp_path / f"runs{n}")[1] for n in (100, many)]
    tell(f"peak memory of a run of {many:,} frames", "of 100", most[1] / most[0], most=1.1)


@pytest.mark.parametrize("arguments", [["--help"], ["list", "deblurers"]])
def test_listing(arguments):
    def start(*command):
        subprocess.run([sys.executable, *command], check=True, capture_output=True)

    ours, theirs = in_turn(lambda: start("-m", "detbench", *arguments), lambda: start("-c", "import typer, rich"), 7)
    tell(f"`detbench {' '.join(arguments)}`", "`import typer, rich`", ours / theirs, most=2)


def test_a_finished_run_is_found(tmp_path, home):
    """A thousand pairs: beside reading names, sizes and the run's manifest and scores alone."""
    shown = cv2.resize(frame(), (160, 96))
    for i in range(1000):
        for side in ("sharp", "blur"):
            images.write_image(tmp_path / "data" / side / f"{i:04}.png", shown)
    spec = RunSpec("identity", dataset=str(tmp_path / "data"), imgsz=64, device="cpu")
    path = runner.run(spec, tmp_path / "runs").path
    time.sleep(3)  # what changed just now is not remembered

    def alone():
        for side in ("sharp", "blur"):
            [entry.stat() for entry in sorted((tmp_path / "data" / side).iterdir())]
        store.read(path)

    ours, least = in_turn(lambda: runner.run(spec, tmp_path / "runs"), alone, 7)
    tell("a finished run of 1,000 frames, called again", "its folder's names and its files", ours / least, most=2)
