"""Many runs from one file: every deblurer, dataset, detector, precision and seed that a TOML file names, together."""

from __future__ import annotations

import dataclasses
import itertools
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detbench import registry, resolve, store
from detbench.data import datasets, images
from detbench.files import line_of
from detbench.lineup import role, title
from detbench.types import DetbenchError, RunSpec

Measure = Callable[[RunSpec, tuple[int, int]], float | None]

VIEWS = ("detector", "imgsz", "conf", "nms_iou", "match_iou", "truth", "classes")
"""What looks at restored frames: for another of these, no frame is restored again."""

MODELS = ("deblurer", "backend", "precision", "seed", "weights", "value_range", "only_blurred")
"""What restores them. The rest says which frames: each combination is a benchmark of its own."""

LISTS = ("classes", "value_range")
"""Whose values are lists themselves."""


@dataclass(frozen=True)
class Matrix:
    """A benchmark on the same frames.

    Attributes:
        specs: what restores them.
        views: fields of what looks at them.
    """

    specs: tuple[RunSpec, ...]
    views: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Row:
    """A part of a plan.

    Attributes:
        dataset: whose frames.
        deblurer: which restores them.
        runs: how many there are.
        done: how many are finished.
        frames: that are still to be restored, if the cache has none of them.
        ms: of one frame here, in milliseconds; None if that cannot be said.
    """

    dataset: str
    deblurer: str
    runs: int
    done: int
    frames: int
    ms: float | None


def read(path: Path) -> list[Matrix]:
    """What a file asks for: keys are the fields of :class:`detbench.types.RunSpec`, lists stand for each of theirs.

    Args:
        path: of the file. ``deblurer = "all"`` stands for all that run as they are.

    Raises:
        DetbenchError: no such file, no TOML, or a key or value that is none; the line is named.
    """
    axes = _axes(path)
    views = tuple(_each({key: axes[key] for key in axes if key in VIEWS}))
    models = list(_each({key: axes[key] for key in axes if key in MODELS}))
    found = []
    for frames in _each({key: axes[key] for key in axes if key not in (*VIEWS, *MODELS)}):
        try:
            specs = tuple(RunSpec(**frames, **model) for model in models)
            for view in views:
                replace(specs[0], **view)
        except (DetbenchError, TypeError) as error:
            raise DetbenchError(f"{path}: {error}") from error
        found.append(Matrix(specs, views))
    return found


def _axes(path: Path) -> dict[str, list[Any]]:
    """A file's keys, with the values of each."""
    try:
        text = path.read_text("utf-8")
        asked = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DetbenchError(f"{path} cannot be read as TOML: {error}.") from error
    names = sorted(field.name for field in dataclasses.fields(RunSpec) if not field.name.endswith("_hash"))
    for key in asked:
        if key not in names:
            place = f"{path}, line {line_of(text, key)}"
            raise DetbenchError(f"{place}: {key} is not known; there are {', '.join(names)}.")
    if "deblurer" not in asked:
        raise DetbenchError(f"{path} names no deblurer: deblurer = ['dc250', ...].")
    if asked["deblurer"] == "all":
        asked["deblurer"] = registry.runnable()
    asked.setdefault("detector", RunSpec.detector)
    axes = {key: value if isinstance(value, list) and key not in LISTS else [value] for key, value in asked.items()}
    for key, values in axes.items():
        if not values or len(set(map(repr, values))) < len(values):
            raise DetbenchError(f"{path}, line {line_of(text, key)}: {key} is empty, or has one value twice.")
    return axes


def _each(axes: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """All combinations of values."""
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def plan(matrices: Sequence[Matrix], out: Path, measure: Measure) -> list[Row]:
    """What is to be done.

    Args:
        matrices: as from :func:`read`.
        out: folder of run directories.
        measure: milliseconds of a deblurer on a frame of a width and height.

    Raises:
        DetbenchError: an unknown name.
    """
    rows = []
    for matrix in matrices:
        pairs = datasets.of(matrix.specs[0]).pairs[: matrix.specs[0].limit]
        height, width = images.image_size(pairs[0].sharp)
        for spec in matrix.specs:
            runs = [replace(spec, **view) for view in matrix.views]
            done = sum(store.is_complete(out / resolve.directory(run)) for run in runs)
            frames = 0 if done == len(runs) else len(pairs)
            ms = measure(spec, (width, height)) if frames and role(spec) == "model" else 0.0
            called = title(spec) + "".join(
                f" {getattr(spec, field)}"
                for field in ("backend", "precision", "seed")
                if len({getattr(other, field) for other in matrix.specs}) > 1
            )
            rows.append(Row(Path(spec.dataset).name, called, len(runs), done, frames, ms))
    return rows
