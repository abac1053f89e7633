"""What an ONNX file does not say of a detector: a TOML file beside it, or one of the templates shipped here.

The fields below are its keys; :data:`TEMPLATES` has those that ``template = "NAME"`` starts from.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from detbench import classes
from detbench.detectors._fit import Fit, Place
from detbench.files import line_of
from detbench.types import DetbenchError

TEMPLATES = {path.stem: path for path in sorted((Path(__file__).parent / "templates").glob("*.toml"))}
"""Descriptions of detectors as their authors export them."""


@dataclass(frozen=True)
class Part:
    """Where in the outputs something is: a whole output, or some of its columns.

    Attributes:
        output: its name.
        first: the first column.
        end: the column after the last one; 0 for all that follow.
    """

    output: str
    first: int = 0
    end: int = 0


@dataclass(frozen=True)
class Input:
    """The table ``[input]``: what the network is given.

    Attributes:
        name: of the input; the first one where it is left out.
        layout: the order of its axes: batch, channels, height and width.
        order: of the channels.
        range: what white is, before ``mean`` and ``std``: 1 or 255.
        mean: subtracted from the channels, in their order, in units of ``range``.
        std: what they are divided by then.
        fit: whether frames are stretched, or keep their shape in a margin.
        place: where they lie in it.
        pad: grey level of the margin, in 0..255.
        target_size: name of a second input that is given width and height of the picture, where there is one.
    """

    name: str = ""
    layout: Literal["nchw", "nhwc"] = "nchw"
    order: Literal["rgb", "bgr"] = "rgb"
    range: float = 1.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    fit: Fit = "letterbox"
    place: Place = "centre"
    pad: int = 114
    target_size: str = ""


@dataclass(frozen=True)
class Output:
    """The table ``[output]``: what the network makes.

    Attributes:
        decode: ``boxes``: boxes, as they are; ``yolox``: YOLOX's grids, centres in cells and logarithms of sides;
            ``gfl``: for each stride class scores and distributions of the distances of a box's sides from the cell's
            centre (Generalized Focal Loss).
        boxes: where they are.
        scores: of each class, or of the best one where there are ``labels``; with ``gfl`` their outputs by stride.
        labels: the class of each box.
        objectness: what the scores are multiplied by.
        distances: with ``gfl``, the outputs with the distributions, by stride.
        strides: of the grids, in pixels.
        rows: whether the axis of the boxes comes before that of their columns, or after it.
        form: what the four columns of a box are: corners; corner and sides; centre and sides.
        normalised: whether they are shares of the picture's sides.
        activation: what makes scores of what the network gives.
        background: with ``softmax``, the class that means no object: 0 or -1, the last; left out where there is none.
        several: whether a box may count for several classes.
    """

    decode: Literal["boxes", "yolox", "gfl"] = "boxes"
    boxes: Part | None = None
    scores: tuple[Part, ...] = ()
    labels: Part | None = None
    objectness: Part | None = None
    distances: tuple[Part, ...] = ()
    strides: tuple[int, ...] = (8, 16, 32)
    rows: Literal["first", "last"] = "first"
    form: Literal["xyxy", "xywh", "cxcywh"] = "xyxy"
    normalised: bool = False
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    background: int | None = None
    several: bool = False


@dataclass(frozen=True)
class Description:
    """The whole file.

    Attributes:
        classes: names of the labels.
        input: what goes in.
        output: what comes out.
        nms: whether the network, or its training, leaves one box an object: then no more are suppressed.
        conf: the confidence that its users take.
        imgsz: the longer side in pixels that it works at, where the file takes any.
        stride: what that must be a multiple of.
        licence: of the weights.
        paper: where it was published.
    """

    classes: Mapping[int, str]
    input: Input
    output: Output
    nms: bool = False
    conf: float = 0.25
    imgsz: int = 640
    stride: int = 32
    licence: str = "the file's own"
    paper: str = ""


TABLES: Mapping[str, type] = {"input": Input, "output": Output}
"""Tables of the file, by name."""


def read(path: Path) -> Description:
    """Read a description.

    Raises:
        DetbenchError: it cannot be read, lacks a key, or has one that is unknown or of another kind: key and line.
    """
    try:
        text = path.read_text("utf-8")
        data = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DetbenchError(f"{path} is no description of a detector: {error}.") from error
    given = data.pop("template", None)
    if given is not None and given not in TEMPLATES:
        line = line_of(text, "template")
        raise DetbenchError(f"{path}, line {line}: template is {given!r}; there are {', '.join(TEMPLATES)}.")
    base = tomllib.loads(TEMPLATES[given].read_text("utf-8")) if given else {}
    for table in TABLES:
        if isinstance(data.get(table, {}), dict):
            data[table] = base.get(table, {}) | data.get(table, {})
    data = base | data
    tables = {name: _table(path, text, name, kind, data.pop(name)) for name, kind in TABLES.items()}
    names = _classes(path, text, data.pop("classes", None))
    whole = _table(path, text, "", Description, data | {"classes": names} | tables)
    _check(path, text, whole.output)
    return whole


def _table(path: Path, text: str, name: str, kind: type, data: Any) -> Any:
    """A table as the dataclass of its keys."""
    if not isinstance(data, dict):
        raise DetbenchError(f"{path}, line {line_of(text, name)}: {name} is no table: write [{name}].")
    hints, start = get_type_hints(kind), line_of(text, name) if name else 1
    values = {}
    for key, value in data.items():
        if key not in hints:
            known = ", ".join(each.name for each in dataclasses.fields(kind))
            where = f"in [{name}]" if name else "outside the tables"
            raise DetbenchError(
                f"{path}, line {line_of(text, key, start)}: there is no key {key!r} {where}; there are {known}."
            )
        try:
            values[key] = value if key in ("classes", *TABLES) else _value(hints[key], value)
        except ValueError as error:
            raise DetbenchError(f"{path}, line {line_of(text, key, start)}: {key} {error}.") from error
    return kind(**values)


def _value(hint: Any, value: Any) -> Any:
    """A TOML value as what a field wants.

    Raises:
        ValueError: it is something else; the message goes on from the key.
    """
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ValueError(f"is {value!r}; give {' or '.join(get_args(hint))}")
        return value
    if hint in (Part, Part | None):
        return _part(value)
    if get_origin(hint) is tuple:
        items = value if isinstance(value, list) else [value]
        return tuple(_value(get_args(hint)[0], item) for item in items)
    wanted: Any = {float: (int, float), int: int, int | None: int, bool: bool, str: str}[hint]
    if not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"is {value!r}, which is no {getattr(hint, '__name__', 'int')}")
    return float(value) if hint is float else value


def _part(value: Any) -> Part:
    if isinstance(value, str):
        return Part(value)
    keys: Mapping[str, type] = {"output": str, "first": int, "end": int}
    right = isinstance(value, dict) and "output" in value and value.keys() <= keys.keys()
    if not right or not all(isinstance(its, keys[key]) for key, its in value.items()):
        raise ValueError(f'is {value!r}; give an output\'s name, or {{output = "NAME", first = 4, end = 84}}')
    return Part(**value)


def _classes(path: Path, text: str, given: Any) -> dict[int, str]:
    """Names of the labels: a list of their own, or one that is known by name."""
    if isinstance(given, list) and given and all(isinstance(name, str) for name in given):
        return dict(enumerate(given))
    try:
        return classes.named(given)
    except (KeyError, TypeError) as error:
        said = f"classes is {given!r}" if given is not None else "there are no classes"
        raise DetbenchError(
            f"{path}, line {line_of(text, 'classes')}: {said}; give a list of names, or coco, coco91, voc or bdd."
        ) from error


def _check(path: Path, text: str, output: Output) -> None:
    """That what a way of decoding needs is there."""
    needed = {"boxes": ("boxes", "scores"), "yolox": ("boxes", "scores"), "gfl": ("scores", "distances")}
    for key in needed[output.decode]:
        if not getattr(output, key):
            line = line_of(text, "output")
            raise DetbenchError(f"{path}, line {line}: [output] has no {key}, which decode = {output.decode!r} needs.")
    if output.decode == "gfl" and not len(output.scores) == len(output.distances) == len(output.strides):
        line = line_of(text, "strides", line_of(text, "output"))
        raise DetbenchError(f"{path}, line {line}: scores, distances and strides must be of one length.")
