"""yolo: Ultralytics' YOLO families and RT-DETR.

The only place that imports ultralytics. It drives the network below ``YOLO.predict``, for the same boxes: ``predict``
reports usage, makes folders, draws up settings and sets torch to all cores but one, none of which belongs in a
benchmark. Frames go through the network one at a time, since the last digits of a convolution depend on the batch and
a detection near the threshold with them.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detbench import assets, detectors, environment
from detbench.detectors import MAX_DETECTIONS
from detbench.types import DetbenchError, Detections, DetectorSpec

if TYPE_CHECKING:
    import torch

SUFFIXES = (".pt", ".onnx")
TASKS = ("detect", "segment", "pose")
MODULES = ("nn.autobackend", "nn.tasks", "data.augment", "utils.nms", "utils.ops")


def find(detector: str) -> Path:
    """Find a YOLO's weights, downloading them if need be.

    ``.pt`` files are pickles, which could run code. They are loaded by ultralytics' list of its own and torch's
    classes; one that holds any other is refused. Pinned files are used only with the pinned hash besides.

    Args:
        detector: the name of a pinned one, with or without suffix; the path of a ``.pt`` or ``.onnx`` file; or any
            other name of an ultralytics detector, such as ``yolo11x`` or ``rtdetr-l``.

    Raises:
        DetbenchError: no such file, a file of another kind, an unknown name (the message gives the nearest ones), or
            a failed download.
    """
    path = Path(detector).expanduser()
    is_name = len(path.parts) == 1 and not (path.suffix and path.exists())
    return _named(detector) if is_name else _own_file(path)


class Yolo:
    """A YOLO or RT-DETR network that is ready to look at frames. Use it from one thread at a time.

    YOLO networks with two heads (YOLO26, YOLOv10) use the one that is followed by NMS, whatever the installed
    ultralytics prefers, so ``nms_iou`` holds for them too. An ``.onnx`` file has the head it was exported with. RT-DETR
    sees frames stretched to a square, as ultralytics has it, and leaves one box an object.

    Attributes:
        class_names: what the labels of the detections mean.
        forward_seconds: time spent inside the network so far.
    """

    class_names: dict[int, str]
    forward_seconds: float

    def __init__(self, weights: Path, *, conf: float, nms_iou: float, imgsz: int, device: str | torch.device) -> None:
        """Load a network.

        Args:
            weights: a ``.pt`` or ``.onnx`` file, from :func:`find`.
            conf: detections that do not score above this are dropped, in [0, 1].
            nms_iou: IoU above which of two boxes of one class only the better one stays, in [0, 1].
            imgsz: the longer side in pixels that frames are scaled to: a multiple of the network's stride (32).
            device: of torch.

        Raises:
            DetbenchError: the file is no detector that ultralytics can load, or does not take this ``imgsz``.
        """
        import torch

        self._conf, self._nms_iou, self._device = conf, nms_iou, torch.device(device)
        self._net, self._task = _load(weights, self._device)
        self._squares = self._task == "rtdetr"
        detectors.check_imgsz(imgsz, self._net.stride, weights.name)  # a network may have a larger one than most
        any_size = self._net.format == "pt" or self._net.dynamic
        if not any_size and list(self._net.imgsz) != [imgsz, imgsz]:
            height, width = self._net.imgsz
            raise DetbenchError(
                f"imgsz is {imgsz}: {weights.name} was exported for {width}x{height}. "
                f"Export it again with imgsz={imgsz}, or with dynamic=True."
            )
        margins = {"auto": any_size and not self._squares, "scale_fill": self._squares}
        self._letterbox = _ultralytics().data.augment.LetterBox(imgsz, **margins, stride=self._net.stride)
        self.class_names = dict(self._net.names)
        self.forward_seconds = 0.0

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take other weights of the same network, fused, as :func:`network` gives it.

        Raises:
            DetbenchError: they are of another network.
        """
        try:
            self._net.model.load_state_dict(state)
        except (RuntimeError, AttributeError) as error:
            first = str(error).strip().splitlines()[0]
            raise DetbenchError(f"These weights are of another network ({first}).") from error

    def __call__(self, frames: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Detect objects.

        Args:
            frames: (H, W, 3) uint8, RGB.

        Returns:
            The detections of each frame, clipped to it. They depend on that frame alone.

        Raises:
            ValueError: an array of another shape or dtype.
        """
        import torch

        with torch.inference_mode():
            return [self._detect(frame) for frame in frames]

    def _detect(self, frame: NDArray[np.uint8]) -> Detections:
        import torch

        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"a frame must be (H, W, 3) uint8, not {frame.shape} {frame.dtype}")
        # predict takes BGR and turns it into the RGB that the network wants; these frames are RGB and stay so.
        image = torch.from_numpy(self._letterbox(image=np.ascontiguousarray(frame))).to(self._device)
        batch = image[None].permute(0, 3, 1, 2).float().div_(255)
        start = time.perf_counter()
        output = self._net(batch)
        environment.synchronize(self._device)
        self.forward_seconds += time.perf_counter() - start
        while isinstance(output, list | tuple):  # beside the boxes there are masks' prototypes and raw features
            output = output[0]
        rows = (self._queries if self._squares else self._suppressed)(output, batch, frame).cpu().numpy()
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        return Detections(rows[:, :4].copy(), rows[:, 4].copy(), rows[:, 5].astype(np.int64))

    def _suppressed(self, output: Any, batch: torch.Tensor, frame: NDArray[np.uint8]) -> Any:
        """YOLO's boxes in pixels of the frame, after non-maximum suppression: (N, 6) corners, score and label."""
        utils = _ultralytics().utils
        found = utils.nms.non_max_suppression(
            output,
            self._conf,
            self._nms_iou,
            nc=0 if self._task == "detect" else len(self.class_names),
            max_det=MAX_DETECTIONS,
            end2end=self._net.end2end,
        )[0]
        utils.ops.scale_boxes(batch.shape[2:], found[:, :4], frame.shape)
        return found[:, :6]

    def _queries(self, output: Any, batch: torch.Tensor, frame: NDArray[np.uint8]) -> Any:
        """RT-DETR's boxes, likewise: its queries are centre and sides as shares of the picture, score and label."""
        import torch

        found = output[0][output[0][:, 4] > self._conf][:MAX_DETECTIONS]
        height, width = frame.shape[:2]
        sides = found.new_tensor([width, height, width, height])
        corners = _ultralytics().utils.ops.xywh2xyxy(found[:, :4]) * sides
        return torch.cat([corners.clamp(min=torch.zeros_like(sides), max=sides), found[:, 4:6]], dim=1)


def network(weights: Path, device: torch.device) -> Any:
    """The bare network of a ``.pt`` detector, to be differentiated through: frozen, fused, in evaluation mode.

    Args:
        weights: from :func:`find`.
        device: of torch.

    Returns:
        ultralytics' module: (B, 3, H, W) in [0, 1] to its decoded and its raw predictions.

    Raises:
        DetbenchError: the file is no detector that ultralytics can load, or it is an exported one.
    """
    if weights.suffix.lower() != ".pt":
        raise DetbenchError(f"{weights} cannot be differentiated through: give the .pt file that it was exported from.")
    net = _load(weights, device)[0].model
    return net.requires_grad_(False).eval()


def _own_file(path: Path) -> Path:
    if not path.exists():
        raise DetbenchError(f"{path}: there is no such file. Give the path of a .pt or .onnx file, or a name.")
    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        raise DetbenchError(f"{path} is not a detector: give a .pt or .onnx file.")
    return path.absolute()


def _named(detector: str) -> Path:
    name = detector.removesuffix(".pt")
    return assets.fetch(name) if name in SPEC.assets else _unpinned(name if name.endswith(".onnx") else f"{name}.pt")


def _unpinned(file: str) -> Path:
    """Let ultralytics download one of its own models into the cache."""
    downloads = _ultralytics().utils.downloads
    other = re.compile(r"-(cls|sem|depth|obb|grayscale)|yoloe|yolo_nas")  # no boxes, prompts, or another package
    known = {n for n in downloads.GITHUB_ASSETS_NAMES if re.match(r"(yolo|rtdetr).*\.pt$", n) and not other.search(n)}
    if file not in known:
        from difflib import get_close_matches

        near = get_close_matches(Path(file).stem, sorted({*detectors.names(), *(Path(n).stem for n in known)}))
        hint = f"Did you mean {', '.join(near)}?" if near else f"Pinned detectors: {', '.join(detectors.names())}."
        others = "`detbench list detectors` has those of other makers, and how files of theirs are named."
        raise DetbenchError(f"{file}: there is neither such a file nor a detector of that name. {hint} {others}")
    target = assets.home() / "assets" / file
    print(f"Note: {file} is not pinned by detbench: it is whatever ultralytics publishes.", file=sys.stderr)
    if not target.is_file():
        try:
            with contextlib.redirect_stdout(sys.stderr):  # its progress bar
                downloads.attempt_download_asset(target)
        except Exception as error:
            raise DetbenchError(
                f"{file} could not be downloaded: {error}\nTry again when online, put the file at {target}, "
                f"or use a pinned detector: {', '.join(SPEC.assets)}."
            ) from error
    return target


def _load(weights: Path, device: torch.device) -> tuple[Any, str]:
    """The network behind ultralytics' AutoBackend (fused, float32, eval mode) and its task."""
    ultralytics = _ultralytics()
    pickled = weights.suffix.lower() == ".pt"
    if not pickled and importlib.util.find_spec("onnxruntime") is None:
        raise DetbenchError(f"{weights}: .onnx files need ONNX Runtime: pip install onnxruntime")
    try:
        with _muzzled(ultralytics):
            model: Any = ultralytics.nn.tasks.load_checkpoint(str(weights))[0] if pickled else str(weights)
            net = ultralytics.nn.autobackend.AutoBackend(model, device=device, verbose=False, end2end=False).eval()
        # What a checkpoint says about its task may be wrong; its architecture is not.
        task = ultralytics.nn.tasks.guess_model_task(model.yaml) if pickled else net.task
        head = type(model.model[-1]).__name__ if pickled else net.metadata.get("head")
    except Exception as error:
        if others := _other_classes(weights):
            raise DetbenchError(
                f"{weights} holds {', '.join(others)}, which is no class of ultralytics or torch and could run code: it"
                " is not loaded. Export it to ONNX where you trust it, and give that."
            ) from error
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise DetbenchError(
            f"{weights} could not be loaded on {device} ({reason})\nGive a .pt or .onnx file that was made for "
            f"ultralytics {ultralytics.__version__} or an older version."
        ) from error
    if head == "RTDETRDecoder":
        task = "rtdetr"
    if task not in (*TASKS, "rtdetr") or net.channels != 3:
        raise DetbenchError(
            f"{weights} does not find boxes in colour images (its task is {task or 'unknown'}): give a YOLO model made "
            f"for one of {', '.join(TASKS)}, or an .onnx file that ultralytics exported from one. Other ONNX files are"
            " onnx:FILE, with a description beside them."
        )
    if net.device.type != device.type:
        raise DetbenchError(f"{weights} cannot run on {device}: pip install onnxruntime-gpu, or choose device cpu.")
    return net, task


def _other_classes(weights: Path) -> list[str]:
    """Names in a pickled checkpoint that are neither ultralytics' nor torch's; reads it, and runs nothing of it."""
    import torch

    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(weights)
    except Exception:  # it is no checkpoint: that is said elsewhere
        return []
    known = re.compile(r"torch\.|ultralytics\.|pathlib\.(Posix|Windows)Path$|builtins\.getattr$")
    return sorted(name for name in names if not known.match(name))


@functools.cache
def _ultralytics() -> ModuleType:
    """Import ultralytics without its side effects.

    Left alone, the import looks up two hosts, writes settings to the user's home, prints, sets environment variables
    that throttle child processes, stops OpenCV's threads, changes how numpy and torch print, filters warnings, and
    replaces ``torch.save`` and ``PIL.Image.open``, the latter by one that installs packages when an image cannot be
    read. If somebody else has already imported ultralytics, all that was their choice and stays.
    """
    with contextlib.nullcontext() if "ultralytics" in sys.modules else _side_effects_undone():
        # torchvision: ultralytics' NMS picks torchvision's if it happens to be loaded, so that is left to no chance.
        for module in ("torchvision", *(f"ultralytics.{m}" for m in MODULES)):
            importlib.import_module(module)
    return sys.modules["ultralytics"]


@contextlib.contextmanager
def _side_effects_undone() -> Iterator[None]:
    import cv2
    import torch  # before ultralytics sets OMP_NUM_THREADS, which OpenMP reads only once
    from PIL import Image

    environment, threads = dict(os.environ), cv2.getNumThreads()
    patched = [(torch, "save"), (Image, "open"), (cv2, "imread"), (cv2, "imwrite"), (cv2, "imshow")]
    originals = [getattr(owner, name) for owner, name in patched]
    os.environ.update(YOLO_CONFIG_DIR=str(assets.home() / "ultralytics"), YOLO_OFFLINE="true")
    os.environ.update(YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
    try:
        with warnings.catch_warnings(), np.printoptions(), contextlib.redirect_stdout(sys.stderr):
            yield
            settings = sys.modules["ultralytics"].settings
            if settings["sync"]:
                settings.update(sync=False)  # never report usage, should somebody call predict later
    finally:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        for (owner, name), original in zip(patched, originals, strict=True):
            setattr(owner, name, original)
        cv2.setNumThreads(threads)
        torch.set_printoptions(profile="default")  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _muzzled(ultralytics: ModuleType) -> Iterator[None]:
    """Nothing is printed, installed, downloaded or unpickled that is not known, whoever imported ultralytics first."""
    logger, checks, downloads = ultralytics.utils.LOGGER, ultralytics.utils.checks, ultralytics.utils.downloads
    tasks, safe_load = ultralytics.nn.tasks, ultralytics.nn.tasks.SAFE_LOAD
    level, autoinstall, attempt = logger.level, checks.AUTOINSTALL, downloads.attempt_download_asset
    logger.setLevel(logging.ERROR)
    checks.AUTOINSTALL = False
    # Ultralytics would alter a checkpoint's path (apostrophes, yolov5n) and download what it then misses.
    downloads.attempt_download_asset = str
    tasks.SAFE_LOAD = True
    try:
        yield
    finally:
        logger.setLevel(level)
        checks.AUTOINSTALL, downloads.attempt_download_asset, tasks.SAFE_LOAD = autoinstall, attempt, safe_load


SPEC = DetectorSpec(
    build=Yolo,
    licence="AGPL-3.0 (Ultralytics)",
    paper="Jocher et al.: Ultralytics YOLO, https://github.com/ultralytics/ultralytics",
    stride=32,
    form="FILE.pt",
    assets=("yolo26n", "yolo26m", "yolo11n", "yolov8n", "yolov8s"),
    find=find,
    hash_source=False,  # published runs carry the hash of the weights alone
)
