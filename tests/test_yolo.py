"""The detector against YOLO.predict, on photographs with known objects, and what it must leave alone."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from detbench import assets, detectors
from detbench.detectors import yolo
from detbench.detectors.yolo import Yolo
from detbench.types import DetbenchError, Detections

Frame = NDArray[np.uint8]


@pytest.fixture(scope="module")
def yolo26n() -> Path:
    return assets.fetch("yolo26n")


@pytest.fixture(scope="module")
def detector(yolo26n: Path) -> Yolo:
    return load(yolo26n)


def load(weights: Path, conf: float = 0.25, nms_iou: float = 0.7, imgsz: int = 320) -> Yolo:
    return Yolo(weights, conf=conf, nms_iou=nms_iou, imgsz=imgsz, device="cpu")


def photo(width: int, height: int) -> Frame:
    """A woman in front of a shuttle."""
    return cv2.resize(data.astronaut(), (width, height), interpolation=cv2.INTER_AREA)


def assert_equal(a: Detections, b: Detections) -> None:
    np.testing.assert_array_equal(a.xyxy, b.xyxy)
    np.testing.assert_array_equal(a.score, b.score)
    np.testing.assert_array_equal(a.label, b.label)


def test_finds_what_is_there(detector: Yolo) -> None:
    woman, cup = detector([photo(512, 512), data.coffee()])
    assert detector.class_names[woman.label[0]] == "person"
    assert woman.score[0] > 0.7
    x0, y0, x1, y1 = woman.xyxy[0]  # her face lies around (225, 110), her suit reaches the lower edge
    assert 0 <= x0 < 170 and 280 < x1 <= 512 and 0 <= y0 < 60 and 480 < y1 <= 512
    assert "cup" in [detector.class_names[label] for label in cup.label]


@pytest.mark.parametrize(
    ("width", "height", "conf", "nms_iou", "imgsz"),
    [
        (512, 512, 0.25, 0.7, 320),
        (640, 426, 0.01, 0.7, 320),
        (640, 426, 0.01, 0.2, 320),
        (1280, 720, 0.05, 0.7, 640),
        (300, 451, 0.01, 0.5, 256),
        (16, 16, 0.0005, 0.7, 64),
    ],
)
def test_same_boxes_as_predict(
    yolo26n: Path, width: int, height: int, conf: float, nms_iou: float, imgsz: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    yolo._ultralytics()
    from ultralytics import YOLO

    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # YOLO() sets it: have it put back
    frame, threads = photo(width, height), torch.get_num_threads()
    try:
        bgr = np.ascontiguousarray(frame[..., ::-1])
        [result] = YOLO(yolo26n).predict(bgr, conf=conf, iou=nms_iou, imgsz=imgsz, device="cpu", verbose=False)
        [ours] = load(yolo26n, conf, nms_iou, imgsz)([frame])  # with as many threads as predict
    finally:
        torch.set_num_threads(threads)  # predict has set this to all cores but one
    assert len(ours) == len(result.boxes) > 0
    np.testing.assert_allclose(ours.xyxy, result.boxes.xyxy.numpy(), atol=1e-3)
    np.testing.assert_allclose(ours.score, result.boxes.conf.numpy(), atol=1e-6)
    np.testing.assert_array_equal(ours.label, result.boxes.cls.numpy())


@pytest.mark.slow("loads eight detectors")
def test_a_lower_threshold_only_adds_fainter_boxes(yolo26n: Path) -> None:
    """So runs may keep what is faint, and count at any threshold above without looking again."""
    for frame in (photo(640, 426), photo(512, 512)):
        for nms_iou in (0.3, 0.7):
            [faint] = load(yolo26n, conf=0.01, nms_iou=nms_iou)([frame])
            [strong] = load(yolo26n, conf=0.25, nms_iou=nms_iou)([frame])
            assert_equal(faint.above(0.25), strong)
            assert len(faint) > len(strong) > 0


def test_colours_are_rgb(detector: Yolo) -> None:
    rgb, bgr = detector([photo(512, 512), photo(512, 512)[..., ::-1]])
    assert rgb.score[0] > bgr.score[0] + 0.01


def test_a_frame_is_seen_alike_in_any_company(detector: Yolo) -> None:
    frames = [photo(320, 213), np.flip(photo(320, 213), 1), np.full((213, 320, 3), 90, np.uint8), photo(320, 213)]
    together, backwards = detector(frames), detector(frames[::-1])[::-1]
    for frame, one, other in zip(frames, together, backwards, strict=True):
        assert_equal(one, other)
        assert_equal(one, detector([frame])[0])
    assert len(together[0]) > 0
    assert detector([]) == []


@pytest.mark.parametrize("frame", [np.full((64, 64, 3), 114, np.uint8), np.zeros((16, 700, 3), np.uint8)])
def test_nothing_to_see(detector: Yolo, frame: Frame) -> None:
    [found], empty = detector([frame]), Detections.empty()
    assert_equal(found, empty)
    assert (found.xyxy.dtype, found.score.dtype, found.label.dtype) == (np.float32, np.float32, np.int64)


@pytest.mark.parametrize("size", [(16, 16), (64, 1280), (31, 97), (320, 320), (640, 426), (1280, 720)])
def test_boxes_lie_in_the_frame_and_scores_fall(yolo26n: Path, size: tuple[int, int]) -> None:
    width, height = size
    frame = photo(width, height)
    frame.setflags(write=False)
    [found] = load(yolo26n, conf=0.0005)([frame])
    assert 0 < len(found) <= 300
    assert found.xyxy.shape == (len(found), 4)
    assert (found.xyxy.dtype, found.score.dtype, found.label.dtype) == (np.float32, np.float32, np.int64)
    assert (found.xyxy >= 0).all() and (found.xyxy <= [width, height, width, height]).all()
    assert (found.xyxy[:, 2:] >= found.xyxy[:, :2]).all()
    assert (np.diff(found.score) <= 0).all() and (found.score > 0.0005).all()


def test_thresholds_are_honoured(yolo26n: Path) -> None:
    frame = photo(512, 512)

    def count(conf: float, nms_iou: float) -> int:
        [found] = load(yolo26n, conf, nms_iou)([frame])
        assert (found.score > conf).all()
        return len(found)

    assert count(0.01, 0.7) > count(0.25, 0.7) > count(0.99, 0.7) == 0
    assert count(0.01, 0.95) > count(0.01, 0.7) > count(0.01, 0.1) > 0


@pytest.mark.parametrize(
    "frame",
    [np.zeros((32, 32), np.uint8), np.zeros((32, 32, 4), np.uint8), np.zeros((32, 32, 3), np.float32)],
)
def test_other_arrays_are_refused(detector: Yolo, frame: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match="must be"):
        detector([frame])


def test_forward_seconds_add_up(yolo26n: Path) -> None:
    import time

    detector, frame = load(yolo26n), photo(640, 426)
    assert detector.forward_seconds == 0
    start = time.perf_counter()
    detector([frame])
    once = detector.forward_seconds
    detector([frame, frame])
    assert 0 < once < detector.forward_seconds < time.perf_counter() - start


# What it leaves alone

CHILD = """
import json, os, sys
attempts = []
def cut(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        attempts.append([event, repr(args)])
        raise OSError("no network")
sys.addaudithook(cut)
import cv2, numpy, PIL.Image, torch, warnings

def state():
    functions = [torch.save, PIL.Image.open, cv2.imread]
    threads = [cv2.getNumThreads(), torch.get_num_threads()]
    printed = [numpy.get_printoptions(), torch.arange(60.0) / 7]
    return [repr(x) for x in (dict(os.environ), warnings.filters, functions, threads, printed)]

before = state()
from detbench import detectors
chosen = detectors.resolve("yolo26n")
detector = chosen.build(conf=0.25, nms_iou=0.7, imgsz=320, device="cpu")
[found] = detector([numpy.load(sys.argv[1])])
print(json.dumps(dict(sha256=chosen.sha256, found=len(found), before=before, after=state(), attempts=attempts)))
"""


@pytest.mark.slow("detects in a process of its own")
def test_no_network_no_output_no_traces(yolo26n: Path, tmp_path: Path) -> None:
    home, cwd, scratch, cache = (tmp_path / name for name in ("home", "cwd", "scratch", "cache"))
    for folder in (home, cwd, scratch, cache / "assets"):
        folder.mkdir(parents=True)
    shutil.copy(yolo26n, cache / "assets")
    np.save(tmp_path / "frame.npy", photo(320, 320))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("YOLO", "ULTRALYTICS", "XDG"))}
    kept |= {"HOME": str(home), "TMPDIR": str(scratch), "DETBENCH_HOME": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    kept["PYTHONPATH"] = str(Path(detectors.__file__).parents[2])
    kept.pop("OMP_NUM_THREADS", None)  # what ultralytics would set
    command = [sys.executable, "-W", "error", "-c", CHILD, str(tmp_path / "frame.npy")]
    done = subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    [line] = done.stdout.splitlines()
    seen = json.loads(line)
    assert seen["attempts"] == []
    assert seen["after"] == seen["before"]
    assert seen["found"] == 1
    assert seen["sha256"] == assets.find("yolo26n").sha256
    traces = {path.name for folder in (home, cwd, scratch) for path in folder.iterdir()}
    assert {name for name in traces if not name.startswith("torchinductor_")} == set()  # torchvision's import does that
    [settings] = (path for path in cache.rglob("*") if path.is_file() and path.name != "yolo26n.pt")
    assert settings.relative_to(cache).parts[0] == "ultralytics"
    assert json.loads(settings.read_text())["sync"] is False


def test_names_need_no_torch() -> None:
    code = (
        "import sys; from detbench import detectors as d; print(*d.names(), {'torch', 'ultralytics'} & {*sys.modules})"
    )
    kept = os.environ | {"PYTHONPATH": str(Path(detectors.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True)
    assert done.stdout.split()[: len(yolo.SPEC.assets)] == list(yolo.SPEC.assets)
    assert done.stdout.split()[-1] == "set()"


def test_quiet_while_loading_even_if_ultralytics_is_set_loud(
    yolo26n: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ultralytics = yolo._ultralytics()
    checks, logger = ultralytics.utils.checks, ultralytics.utils.LOGGER
    seen: list[tuple[int, bool]] = []
    load_checkpoint = ultralytics.nn.tasks.load_checkpoint

    def spy(path: str) -> object:
        seen.append((logger.level, checks.AUTOINSTALL))
        return load_checkpoint(path)

    monkeypatch.setattr(ultralytics.nn.tasks, "load_checkpoint", spy)
    monkeypatch.setattr(checks, "AUTOINSTALL", True)
    monkeypatch.setattr(logger, "level", logging.INFO)
    load(yolo26n)([photo(64, 64)])
    assert seen == [(logging.ERROR, False)]
    assert (logger.level, checks.AUTOINSTALL) == (logging.INFO, True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("kind", "config"), [("Segmentation", "yolo11n-seg"), ("Pose", "yolov8n-pose")])
def test_boxes_of_other_tasks(kind: str, config: str, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    model = getattr(yolo._ultralytics().nn.tasks, f"{kind}Model")(f"{config}.yaml", verbose=False)
    torch.save({"model": model}, tmp_path / f"{config}.pt")
    [found] = load(tmp_path / f"{config}.pt", conf=0.0)([photo(64, 64)])
    assert len(found) > 0
    assert found.xyxy.shape == (len(found), 4)
    assert (found.score <= 1).all() and (found.label < len(model.names)).all()


@pytest.mark.parametrize(
    ("kind", "config", "task"),
    [
        ("Classification", "yolo11n-cls", "classify"),
        ("OBB", "yolo11n-obb", "obb"),
        ("SemanticSegmentation", "yolo26n-sem", "semantic"),
    ],
)
def test_models_without_boxes_are_refused(kind: str, config: str, task: str, tmp_path: Path) -> None:
    import torch

    model = getattr(yolo._ultralytics().nn.tasks, f"{kind}Model")(f"{config}.yaml", verbose=False)
    torch.save({"model": model}, tmp_path / "net.pt")
    with pytest.raises(DetbenchError, match=f"net.pt does not find boxes .*{task}.*detect, segment, pose"):
        load(tmp_path / "net.pt")


@pytest.mark.slow("runs a large network on five pictures")
@pytest.mark.filterwarnings("ignore")  # torch's, of what ultralytics does
def test_rtdetr_sees_what_ultralytics_sees(tmp_path: Path, traffic: list[Frame]) -> None:
    """On random weights, whose classes are told apart by force; at a threshold that leaves boxes."""
    import torch

    tasks = yolo._ultralytics().nn.tasks
    from ultralytics import RTDETR

    torch.manual_seed(0)
    model = tasks.RTDETRDetectionModel("rtdetr-resnet50.yaml", verbose=False).eval()
    for name, value in model.state_dict().items():
        if "score_head" in name:
            value.normal_(0, 0.3)
    torch.save({"model": model}, tmp_path / "net.pt")
    theirs = RTDETR(tmp_path / "net.pt")
    ours = load(tmp_path / "net.pt", conf=0.5, imgsz=320)
    pictures = [*traffic, photo(200, 320)]
    inputs: list[torch.Tensor] = []
    ours._net.model.register_forward_pre_hook(lambda _, given: inputs.append(given[0].clone()))
    count = 0
    for picture in pictures:
        (found,) = ours([picture])
        (result,) = theirs.predict(picture[..., ::-1], imgsz=320, conf=0.5, verbose=False, device="cpu", save=False)
        expected = result.boxes.data[result.boxes.conf.argsort(descending=True, stable=True)].numpy()
        stretched = theirs.predictor.pre_transform([picture])[0]
        np.testing.assert_array_equal(inputs[-1][0].permute(1, 2, 0), stretched.astype(np.float32) / np.float32(255))
        height, width = picture.shape[:2]  # ultralytics leaves boxes that reach out of the frame as they are
        np.testing.assert_allclose(found.xyxy, np.clip(expected[:, :4], 0, [width, height, width, height]), atol=1)
        np.testing.assert_allclose(found.score, expected[:, 4], atol=0.01)
        np.testing.assert_array_equal(found.label, expected[:, 5])
        count += len(found)
    assert count >= 20


def test_imgsz_must_suit_the_network(yolo26n: Path) -> None:
    with pytest.raises(DetbenchError, match="imgsz is 650: yolo26n.pt takes multiples of 32, such as 640"):
        load(yolo26n, imgsz=650)


@pytest.mark.slow("exports a network")
@pytest.mark.filterwarnings("ignore")  # torch's exporter warns of itself
def test_onnx(yolo26n: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    yolo._ultralytics()
    from ultralytics import YOLO

    shutil.copy(yolo26n, tmp_path / "net.pt")
    exported = YOLO(tmp_path / "net.pt").export(format="onnx", imgsz=320, simplify=False)
    frame = photo(320, 320)
    [ours], [reference] = load(Path(exported))([frame]), load(yolo26n)([frame])
    np.testing.assert_allclose(ours.xyxy, reference.xyxy, atol=0.1)
    np.testing.assert_array_equal(ours.label, reference.label)
    with pytest.raises(DetbenchError, match="imgsz is 640: net.onnx was exported for 320x320"):
        load(Path(exported), imgsz=640)
