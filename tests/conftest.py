"""What the tests share: small synthetic frames, and a detector that needs no network."""

import dataclasses
import importlib
import os
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from faulty import tally, tries  # noqa: F401  (fixtures)
from unsharp import Net, sharpening

from detbench import assets, detectors, registry, runner
from detbench import baseline as gate
from detbench.data import datasets, images
from detbench.data.video import Reader
from detbench.journal import Journal
from detbench.types import DeblurerSpec, Detections, DetectorSpec, FrameScore, RunResult, RunSpec
from detbench.weights import save_weights

torch.set_num_threads(1)  # small arrays: more threads only get in each other's way


def pytest_xdist_auto_num_workers(config):
    """The whole suite is shared among workers; a part of it starts sooner in one process, and benchmarks need it so."""
    everything = {Path(argument).resolve() for argument in config.args} == {Path(__file__).parent}
    return None if everything else 0


def pytest_configure():
    """What a test starts has its worker's share of the cores, or each of them would take them all."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """No test leaves anything behind in the checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("DETBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def stocked(tmp_path, monkeypatch):
    """A cache that holds what was fetched, and nothing else."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "assets").symlink_to(assets.fetch("yolo26n").parent)
    monkeypatch.setenv("DETBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder that the real pip takes packages from, set as a user would: through pip's own configuration."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shelf"))
    (tmp_path / "shelf").mkdir()
    return tmp_path / "shelf"


@pytest.fixture(scope="session")
def street():
    """The default dataset, built on first use (about a minute) into the user's own cache."""
    return datasets.load("street")


@pytest.fixture(scope="session")
def chromium():
    """Headless Chromium, for the modules that :mod:`browser` marks."""
    from browser import launch

    driver = launch()
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def traffic():
    """Four sharp (224, 320, 3) uint8 frames of a motorway, in which every detector finds cars."""
    reader = Reader(assets.fetch("motorway-video"))
    halves = (reader.frame(number).reshape(240, 2, 427, 2, 3).mean(axis=(1, 3)) for number in (6, 90, 174, 258))
    return [half.round().astype(np.uint8)[8:232, 53:373] for half in halves]


def scene(seed, height=48, width=64):
    """A frame with a few bright boxes on grey, as the fake detector likes them."""
    rng = np.random.default_rng(seed)
    frame = np.full((height, width, 3), 60, np.uint8)
    for top, left in ((4, 4), (4, 34), (26, 18)):
        frame[top : top + 14, left : left + 18] = rng.integers(170, 255, 3)
    return frame


@pytest.fixture
def pairs(tmp_path):
    """A folder with sharp/ and blur/, six frames each; the more blurred, the fainter the boxes."""
    import cv2

    for i in range(6):
        sharp = scene(i)
        blurred = cv2.GaussianBlur(sharp, (0, 0), 1 + i)
        images.write_image(tmp_path / "data" / "sharp" / f"frame{i}.png", sharp)
        images.write_image(tmp_path / "data" / "blur" / f"frame{i}.png", blurred)
    return tmp_path / "data"


def boxes(*corners, score=None, label=None):
    """Detections with falling scores and class 0, unless told otherwise."""
    n = len(corners)
    return Detections(
        np.array(corners, np.float32).reshape(n, 4),
        np.linspace(0.9, 0.3, n).astype(np.float32) if score is None else np.array(score, np.float32),
        np.array([0] * n if label is None else label, np.int64),
    )


class BrightBoxes:
    """Stands in for YOLO: connected bright regions are objects, their mean brightness is the score."""

    class_names: ClassVar = {0: "box"}

    def __init__(self, weights, *, conf, nms_iou, imgsz, device):
        self.conf = conf

    def __call__(self, frames):
        return [self.look(frame) for frame in frames]

    def look(self, frame):
        import cv2

        grey = frame.mean(axis=2)
        _, regions = cv2.connectedComponents((grey > 120).astype(np.uint8))
        boxes, scores = [], []
        for region in range(1, regions.max() + 1):
            y, x = np.nonzero(regions == region)
            boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
            scores.append(grey[y, x].mean() / 255)
        if not boxes:
            return Detections.empty()
        order = np.argsort(scores)[::-1]
        kept = [i for i in order if scores[i] >= self.conf]
        return Detections(
            np.array(boxes, np.float32)[kept], np.array(scores, np.float32)[kept], np.zeros(len(kept), np.int64)
        )


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Write a module her_NAME and offer it in an entry-point group, as an installed package does; gives its file."""
    monkeypatch.syspath_prepend(str(tmp_path))
    installed = tmp_path / "her_package-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: her-package\nVersion: 1.0\n")

    def write(group, name, text):
        (tmp_path / f"her_{name}.py").write_text(text)
        (installed / "entry_points.txt").write_text(f"[{group}]\n{name} = her_{name}\n")
        importlib.invalidate_caches()
        return tmp_path / f"her_{name}.py"

    yield write
    for name in [name for name in sys.modules if name.startswith("her_")]:
        del sys.modules[name]


def stand_in(build, sha256=lambda name: "0" * 64):
    """What resolves every name to a detector made by ``build``, in place of :func:`detbench.detectors.resolve`."""
    spec = DetectorSpec(build)
    return lambda name, weights=None: detectors.Resolved(name, spec, Path(name), sha256(name), source="")


def interrupted_after(count):
    """A :meth:`detbench.journal.Journal.add` that interrupts a run after so many frames."""
    add, added = Journal.add, []

    def interrupt(journal, key, row):
        if journal.path.name == "journal.jsonl":
            if len(added) == count:
                raise KeyboardInterrupt
            added.append(key)
        add(journal, key, row)

    return interrupt


@pytest.fixture
def bright_boxes(home, monkeypatch):
    """Use :class:`BrightBoxes` in place of YOLO, with an empty cache."""
    monkeypatch.setattr(detectors, "resolve", stand_in(BrightBoxes))


@pytest.fixture
def data(tmp_path, bright_boxes):
    """Twelve pairs, each a clip."""
    import cv2

    for i, name in enumerate("abcdefghijkl"):
        images.write_image(tmp_path / "data" / "sharp" / f"scene-{name}.png", scene(i))
        blurred = cv2.GaussianBlur(scene(i), (0, 0), 1.2 + i / 12)
        images.write_image(tmp_path / "data" / "blur" / f"scene-{name}.png", blurred)
    return tmp_path / "data"


@pytest.fixture
def unsharp_data(tmp_path):
    """Twelve pairs, each a clip."""
    import cv2

    for i in range(12):
        sharp = scene(i)
        name = f"scene-{'abcdefghijkl'[i]}.png"
        images.write_image(tmp_path / "data" / "sharp" / name, sharp)
        images.write_image(tmp_path / "data" / "blur" / name, cv2.GaussianBlur(sharp, (0, 0), 1.2 + i / 12))
    return tmp_path / "data"


@pytest.fixture
def write_unsharp(tmp_path):
    """Writes the weights, changed by a function of each tensor, and gives the file."""

    def write(change=lambda name, tensor: tensor):
        net = Net()
        net.load_state_dict({name: change(name, tensor) for name, tensor in sharpening().items()})
        save_weights(tmp_path / "net.safetensors", net, {"deblurer": "unsharp", "preset": "default", "images_seen": 9})
        return str(tmp_path / "net.safetensors")

    return write


@pytest.fixture
def unsharp_spec(unsharp_data, write_unsharp, bright_boxes, monkeypatch):
    """A run of tests/unsharp.py's network, which sharpens."""
    monkeypatch.setattr(registry, "get", lambda name: DeblurerSpec(Net))
    monkeypatch.setattr(Net, "after", staticmethod(lambda frames: frames))
    return RunSpec("unsharp", dataset=str(unsharp_data), conf=0.77, device="cpu", weights=write_unsharp())


@pytest.fixture
def baseline(unsharp_spec, tmp_path):
    """A folder with this run as the gate's baseline."""
    gate.update(tmp_path / "baseline", runner.run(unsharp_spec, tmp_path / "runs"))
    return tmp_path / "baseline"


def crowd(rng, boxes, ties=False):
    """Boxes of two classes that overlap a lot, so that they compete for objects."""
    corner = rng.uniform(0, 40, (boxes, 2))
    xyxy = np.hstack([corner, corner + rng.uniform(15, 30, (boxes, 2))]).astype(np.float32)
    score = rng.choice([0.1, 0.3, 0.5, 0.7], boxes) if ties else rng.uniform(0.01, 1, boxes)
    score = np.sort(score)[::-1].astype(np.float32)
    return Detections(xyxy, score, rng.integers(0, 2, boxes))


FRAMES = 24
CLIPS = [f"clip{i // 2:02}" for i in range(FRAMES)]
SPEC = RunSpec(
    "identity",
    conf=0.25,
    imgsz=640,
    deblurer_hash="0" * 64,
    dataset_hash="d" * 64,
    detector_hash="e" * 64,
    device="cpu",
    dataset="street",
)


@pytest.fixture
def run(tmp_path):
    """Makes runs whose objects, six a frame, are found with a probability, at a PSNR and SSIM with some noise."""

    def make(deblurer="identity", found=0.5, psnr=25.0, ssim=0.8, draw=0, clips=CLIPS, **changes):
        common, own = np.random.default_rng(0), np.random.default_rng([draw, *deblurer.encode()])
        ease, rows = common.random((FRAMES, 6)), []
        for i, clip in enumerate(clips):
            tp = int((0.9 * ease[i] + 0.1 * own.random(6) < found).sum())
            noise = own.normal(0, 0.1)
            rows.append(
                FrameScore(f"f{i:02}", clip, tp, 1, 6 - tp, 0, 0, 0, psnr + noise, ssim + noise / 100, 5.0, 9.0)
            )
        spec = dataclasses.replace(SPEC, deblurer=deblurer, deblurer_hash=deblurer.ljust(64, "0"), **changes)
        environment = {"dataset": "street", "conventions": "p,r,f1:micro|psnr,ssim:rgb", "detbench": "1"}
        path = tmp_path / f"street-{deblurer}-{spec.hash8}-{draw}"
        return RunResult(spec, environment, tuple(rows), path)

    return make


@pytest.fixture
def folder(tmp_path):
    """Photographs with structure, and real pairs in a GoPro-like tree."""
    rng = np.random.default_rng(0)
    for i in range(4):
        photo = np.kron(rng.integers(0, 256, (20, 24, 3)), np.ones((6, 6, 1))).astype(np.uint8)
        images.write_image(tmp_path / "photos" / f"{i}.png", photo)
        for side in ("blur", "sharp"):
            images.write_image(tmp_path / "pairs" / "train" / "GOPR01" / side / f"{i}.png", photo[:60, :90] // 2)
    return tmp_path


@pytest.fixture
def eight_frames(stocked, traffic, tmp_path):
    """Eight frames of two clips, before a real detector, since the workers are other processes."""
    torch.set_num_threads(1)
    for i, frame in enumerate([*traffic, *(frame[:, ::-1] for frame in traffic)]):
        images.write_image(tmp_path / "data" / "sharp" / f"{i}.png", frame)
        images.write_image(tmp_path / "data" / "blur" / f"{i}.png", frame // 2)
    return RunSpec("unsharp", dataset=str(tmp_path / "data"), imgsz=320, device="cpu")
