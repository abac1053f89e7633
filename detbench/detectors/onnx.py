"""onnx: Any detector in an ONNX file, by a description beside it.

``onnx:net.onnx`` goes by ``net.toml``, whose keys are the fields of
:class:`detbench.detectors._description.Description`, and which may start from a template. What a file says of itself
(sizes, names of outputs) is taken from the file.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detbench import assets, sessions
from detbench.detectors._description import TEMPLATES, Description, Part, read
from detbench.detectors._fit import Fitted, detections, fit, suppressed
from detbench.files import file_hash
from detbench.types import DetbenchError, Detections, DetectorSpec, canonical_hash

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]

NAMED = {"yolox_nano": "yolox", "nanodet_m": "nanodet"}
"""The templates of the pinned files."""


class Onnx:
    """A network in an ONNX file that is ready to look at frames, one at a time.

    Args:
        weights: the file.
        description: what it does not say.
        conf: detections that score below this are dropped, in [0, 1].
        nms_iou: IoU above which of two boxes of one class only the better one stays, in [0, 1].
        imgsz: the longer side in pixels that frames are scaled to.
        device: of torch.

    Raises:
        DetbenchError: ONNX Runtime is missing or cannot open the file, or it lacks what the description names.
    """

    def __init__(
        self,
        weights: Path,
        description: Description,
        *,
        conf: float,
        nms_iou: float,
        imgsz: int,
        device: str | torch.device,
    ) -> None:
        self._file, self._is, self._conf, self._nms_iou = weights, description, conf, nms_iou
        self._session = sessions.session(weights, weights.read_bytes(), str(device))
        inputs = {each.name: each for each in self._session.get_inputs()}
        self._input = description.input.name or next(iter(inputs))
        for name, key in ((self._input, "name"), (description.input.target_size, "target_size")):
            if name and name not in inputs:
                raise DetbenchError(f"{weights} has no input {name!r} ([input] {key}): it has {', '.join(inputs)}.")
        self._outputs = [each.name for each in self._session.get_outputs()]
        for name in _named_outputs(description):
            if name not in self._outputs:
                raise DetbenchError(f"{weights} has no output {name!r}: it has {', '.join(self._outputs)}.")
        self._size = _fixed_size(inputs[self._input].shape, description.input.layout) or (imgsz, imgsz)
        self._dtype = np.float16 if inputs[self._input].type == "tensor(float16)" else np.float32
        self.class_names = dict(description.classes)

    def __call__(self, frames: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Detect objects in (H, W, 3) uint8 RGB frames; each one's detections depend on it alone.

        Raises:
            DetbenchError: the network makes something else than its description says.
        """
        return [self._detect(frame) for frame in frames]

    def _detect(self, frame: NDArray[np.uint8]) -> Detections:
        asked = self._is.input
        fitted = fit(frame, self._size, asked.fit, asked.place, asked.pad)
        given = {self._input: prepared(fitted, self._is)[None].astype(self._dtype)}
        if asked.target_size:
            given[asked.target_size] = np.array([self._size[::-1]], np.int64)
        try:
            made = self._session.run(None, given)
        except Exception as error:
            raise DetbenchError(f"{self._file} fails on a frame ({sessions.reason(error)}).") from error
        outputs = {name: np.asarray(array) for name, array in zip(self._outputs, made, strict=True)}
        try:
            boxes, scores, labels = decoded(outputs, self._is, self._size)
        except (ValueError, IndexError) as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
            raise DetbenchError(
                f"{self._file} makes {shapes}, which is not what its description says ({error})."
            ) from error
        likely = scores >= np.float32(self._conf)
        boxes, scores, labels = boxes[likely], scores[likely], labels[likely]
        if not self._is.nms:
            stay = suppressed(boxes, scores, labels, self._nms_iou)
            boxes, scores, labels = boxes[stay], scores[stay], labels[stay]
        if unknown := set(labels.tolist()) - set(self.class_names):
            raise DetbenchError(f"{self._file} has the label {min(unknown)}, and its description no name for it.")
        return detections(fitted.back(boxes), scores, labels, frame.shape, self._conf)


def prepared(fitted: Fitted, description: Description) -> NDArray[np.float32]:
    """A fitted frame as the network's input, without the batch's axis."""
    asked = description.input
    image = fitted.image[..., ::-1] if asked.order == "bgr" else fitted.image
    mean, std = (np.array(each, np.float32) for each in (asked.mean, asked.std))
    values = (image.astype(np.float32) * np.float32(asked.range / 255) - mean) / std
    return np.ascontiguousarray(values.transpose(2, 0, 1) if asked.layout == "nchw" else values)


def decoded(outputs: dict[str, Array], description: Description, size: tuple[int, int]) -> tuple[Array, Array, Array]:
    """Boxes in pixels of the network's picture, their scores and labels.

    Args:
        outputs: what the network makes, by name, of a batch of one.
        description: what that is.
        size: height and width of its picture.

    Returns:
        (N, 4) corners, (N,) scores in [0, 1], (N,) labels.

    Raises:
        ValueError: the outputs are not what the description says.
    """
    says = description.output
    if says.decode == "gfl":
        boxes = _distributions([_part(outputs, part, "first") for part in says.distances], says.strides, size)
        scores = np.concatenate([_part(outputs, part, "first") for part in says.scores])
    else:
        assert says.boxes
        boxes = _part(outputs, says.boxes, says.rows)
        scores = _part(outputs, says.scores[0], says.rows)
        if boxes.shape[1] != 4:
            raise ValueError(f"boxes have {boxes.shape[1]} columns")
        if says.decode == "yolox":
            boxes = _grids(boxes, says.strides, size)
        boxes = _corners(boxes, says.form)
        if says.normalised:
            boxes = boxes * np.tile(size[::-1], 2)
    scores = _activated(scores, says.activation)
    if says.background is not None:
        scores = np.delete(scores, says.background, axis=1)
    if says.objectness:
        scores = scores * _activated(_part(outputs, says.objectness, says.rows), says.activation)
    if len(scores) != len(boxes):
        raise ValueError(f"{len(boxes)} boxes, {len(scores)} scores")
    if says.labels:
        labels = _part(outputs, says.labels, says.rows).ravel().astype(np.int64)
        return boxes, scores.ravel(), labels
    if scores.shape[1] != len(description.classes):
        raise ValueError(f"scores of {scores.shape[1]} classes, and {len(description.classes)} names")
    if says.several:
        which, labels = np.nonzero(scores >= 0.001)  # far below any confidence, and few
        return boxes[which], scores[which, labels], labels
    return boxes, scores.max(1), scores.argmax(1)


def _part(outputs: dict[str, Array], part: Part, rows: str) -> Array:
    """A part of an output as (boxes, columns)."""
    array = outputs[part.output]
    if array.ndim > 3 or (array.ndim > 1 and array.shape[0] != 1):
        raise ValueError(f"{part.output} is no batch of one")
    array = array[0] if array.ndim > 1 else array
    array = array[:, None] if array.ndim == 1 else array
    array = array.T if rows == "last" else array
    if (part.end or part.first + 1) > array.shape[1]:
        raise ValueError(f"{part.output} has {array.shape[1]} columns")
    return array[:, part.first : part.end or None].astype(np.float32)


def _activated(scores: Array, activation: str) -> Array:
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-scores))
    if activation == "softmax":
        shifted = np.exp(scores - scores.max(1, keepdims=True))
        return shifted / shifted.sum(1, keepdims=True)
    return scores


def _corners(boxes: Array, form: str) -> Array:
    """(N, 4) boxes as corners x0, y0, x1, y1."""
    if form == "xyxy":
        return boxes
    first, sides = boxes[:, :2], boxes[:, 2:]
    corner = first if form == "xywh" else first - sides / 2
    return np.hstack([corner, corner + sides])


def _cells(strides: Sequence[int], size: tuple[int, int]) -> tuple[Array, Array]:
    """Column and row of all cells, (N, 2), stride by stride and row by row, and their strides (N, 1)."""
    cells, sizes = [], []
    for stride in strides:
        rows, columns = np.indices((-(-size[0] // stride), -(-size[1] // stride)))
        cells.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        sizes.append(np.full((rows.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(sizes).astype(np.float32)


def _grids(boxes: Array, strides: Sequence[int], size: tuple[int, int]) -> Array:
    """YOLOX's boxes, from what its head gives: centres in cells, and logarithms of the sides in strides."""
    cells, stride = _cells(strides, size)
    if len(boxes) != len(cells):
        raise ValueError(f"{len(boxes)} boxes, and {len(cells)} cells of strides {list(strides)}")
    return np.hstack([(boxes[:, :2] + cells) * stride, np.exp(boxes[:, 2:]) * stride])


def _distributions(parts: Sequence[Array], strides: Sequence[int], size: tuple[int, int]) -> Array:
    """Corners from distributions of the distances of the sides: Li et al., Generalized Focal Loss, NeurIPS 2020, eq. 5.

    Distances count in strides from the cell's centre, left, up, right and down.
    """
    cells, stride = _cells(strides, size)
    given = np.concatenate(parts)
    if len(given) != len(cells) or given.shape[1] % 4:
        raise ValueError(f"distances {given.shape}, and {len(cells)} cells of strides {list(strides)}")
    shares = given.reshape(len(given) * 4, -1)
    distances = _activated(shares, "softmax") @ np.arange(shares.shape[1], dtype=np.float32)
    distances = distances.reshape(-1, 4) * stride
    centres = (cells + 0.5) * stride
    return np.hstack([centres - distances[:, :2], centres + distances[:, 2:]])


def _named_outputs(description: Description) -> list[str]:
    """Names of the outputs that a description goes by."""
    says = description.output
    single = (says.boxes, says.labels, says.objectness)
    return [part.output for part in (*single, *says.scores, *says.distances) if part]


def _fixed_size(shape: Sequence[Any], layout: str) -> tuple[int, int] | None:
    """Height and width that an input is declared to have; None where they are free."""
    sides = shape[2:4] if layout == "nchw" else shape[1:3]
    return (sides[0], sides[1]) if len(sides) == 2 and all(isinstance(side, int) for side in sides) else None


def _file(name: str) -> Path:
    """The ONNX file that a user names."""
    if name in NAMED:
        return assets.fetch(name)
    path = Path(name).expanduser()
    if not path.is_file():
        raise DetbenchError(f"onnx:{name}: there is no such file. Give onnx:FILE the path of an .onnx file.")
    return path.absolute()


def _described(path: Path) -> Description:
    """The description of a file: that of its template if it is pinned, else the one beside it."""
    if path.stem in NAMED and path.parent == assets.home() / "assets":
        return read(TEMPLATES[NAMED[path.stem]])
    beside = [path.with_suffix(".toml"), path.with_name(f"{path.name}.toml")]
    for each in beside:
        if each.is_file():
            return read(each)
    raise DetbenchError(
        f"{path}: an ONNX file does not say what goes in and comes out. Write {beside[0]}; where it is one of"
        f' {", ".join(TEMPLATES)}, template = "NAME" is all it needs. docs/detectors.md has the keys.'
    )


def of(name: str) -> DetectorSpec:
    """The specification of the detector in one file."""
    path = _file(name)
    description = _described(path)
    size = _declared(path, path.stat().st_mtime_ns, description.input.name, description.input.layout)
    return dataclasses.replace(
        SPEC,
        build=functools.partial(_build, description),
        licence=description.licence,
        paper=description.paper,
        conf=description.conf,
        imgsz=max(size) if size else description.imgsz,
        fixed=size is not None,
        stride=1 if size else description.stride,
    )


@functools.lru_cache
def _declared(path: Path, version: int, name: str, layout: str) -> tuple[int, int] | None:
    """The size that a file's input has, if it has one: opened once, as a run asks for its detector several times."""
    inputs = sessions.session(path, path.read_bytes(), "cpu").get_inputs()
    chosen = next((each for each in inputs if each.name == name), inputs[0])
    return _fixed_size(chosen.shape, layout)


def _build(description: Description, weights: Path | None, **settings: Any) -> Onnx:
    assert weights is not None  # find gives one
    return Onnx(weights, description, **settings)


def _identity(weights: Path) -> str:
    """Of file and description: another threshold or other names are another detector."""
    return canonical_hash([file_hash(weights), dataclasses.asdict(_described(weights))])


SPEC = DetectorSpec(
    build=Onnx,
    licence="the file's own",
    assets=("yolox_nano", "nanodet_m"),
    form="onnx:FILE",
    of=of,
    find=_file,
    identity=_identity,
    hash_source=False,
)
