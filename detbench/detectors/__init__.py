"""Detectors: what is asked of one, and how a name becomes one that is ready to build. Each file beside this is a kind.

Nothing here or below imports torch, or a detector's own package, before a detector is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from detbench import assets
from detbench.files import file_hash
from detbench.registry import Entry, Registry
from detbench.types import DetbenchError, Detections, DetectorSpec, RunSpec

if TYPE_CHECKING:
    import torch

KINDS = Registry("detector", "detbench.detectors", DetectorSpec)
"""All kinds of detectors."""

ENOUGH = 20
"""Detections that show whether there are faint ones among them."""

MAX_DETECTIONS = 300
"""In a frame: the default of ultralytics, and of the kinds that leave the choice to us."""

DEFAULT = "yolo"
"""The kind that files and names belong to which no other kind claims."""


class Detector(Protocol):
    """A network that is ready to look at frames. It is used from one thread at a time."""

    @property
    def class_names(self) -> Mapping[int, str]:
        """What the labels of its detections mean."""
        ...

    def __call__(self, frames: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Detect objects.

        Args:
            frames: (H, W, 3) uint8, RGB, of any sizes; left as they are.

        Returns:
            The detections of each frame, clipped to it. They depend on that frame alone.
        """
        ...


@dataclass(frozen=True)
class Resolved:
    """A detector that is ready to build.

    Attributes:
        name: by which users call it.
        spec: of its kind.
        weights: a local file; None for a kind that has none.
        sha256: what runs know it by (hexadecimal): of its weights, and of its source where the kind wants that.
        source: SHA-256 (hexadecimal) of its kind's source: what is cached of its detections depends on that, too.
    """

    name: str
    spec: DetectorSpec
    weights: Path | None
    sha256: str
    source: str

    def build(self, *, conf: float, nms_iou: float, imgsz: int, device: str | torch.device) -> Detector:
        """Load the network.

        Args:
            conf: detections that score below this are dropped, in [0, 1].
            nms_iou: IoU above which of two boxes of one class only the better one stays, in [0, 1].
            imgsz: the longer side in pixels that frames are scaled to.
            device: of torch.

        Raises:
            DetbenchError: the weights cannot be loaded, or do not take this ``imgsz``.
        """
        if self.spec.fixed and imgsz != self.spec.imgsz:
            raise DetbenchError(f"imgsz is {imgsz}: {self.name} works at {self.spec.imgsz} pixels only.")
        check_imgsz(imgsz, self.spec.stride, self.weights.name if self.weights else self.name)
        return self.spec.build(self.weights, conf=conf, nms_iou=nms_iou, imgsz=imgsz, device=device)

    def for_run(self, spec: RunSpec, conf: float | None = None) -> Detector:
        """Load the network as a run wants it.

        Args:
            spec: a run's settings, settled.
            conf: in place of the run's own, in [0, 1].

        Raises:
            DetbenchError: as for :meth:`build`.
        """
        least = spec.conf if conf is None else conf
        return self.build(conf=least, nms_iou=spec.nms_iou, imgsz=spec.imgsz, device=spec.device)


def look(detector: Detector, frame: NDArray[np.uint8]) -> Detections:
    """What a detector finds in one (H, W, 3) uint8 RGB frame.

    Raises:
        DetbenchError: boxes or scores that are no numbers.
    """
    (seen,) = detector([frame])
    if not (np.isfinite(seen.xyxy).all() and np.isfinite(seen.score).all()):
        raise DetbenchError("The detector gives boxes or scores that are no numbers (NaN): its weights are damaged.")
    return seen


def silent_below(frames: Sequence[Detections], asked: float) -> float:
    """The confidence below which a detector keeps what it finds to itself; 0 where nothing speaks for one.

    Some networks are exported with a threshold inside. What comes out shows it: much, and nothing faint.

    Args:
        frames: what it found in some frames with objects. Frames with as many as it gives at most show nothing.
        asked: the confidence from which on it was asked for all.
    """
    scores = np.concatenate([np.zeros(0), *(seen.score for seen in frames if len(seen) < MAX_DETECTIONS)])
    least = float(scores.min()) if len(scores) >= ENOUGH else 0.0
    return round(least, 3) if least >= 2 * asked else 0.0


def check_imgsz(imgsz: int, stride: int, name: str) -> None:
    """Refuse a size that a detector's stride does not divide.

    Args:
        imgsz: in pixels.
        stride: likewise.
        name: of the detector, for the message.

    Raises:
        DetbenchError: saying which sizes it takes.
    """
    if imgsz % stride:
        nearest = max(round(imgsz / stride), 1) * stride
        raise DetbenchError(f"imgsz is {imgsz}: {name} takes multiples of {stride}, such as {nearest}.")


def names() -> list[str]:
    """The detectors that have a name: the pinned ones of each kind, and kinds of a single one. Imports none.

    Raises:
        DetbenchError: two kinds offer the same name.
    """
    return list(named())


def kinds() -> list[Entry]:
    """All kinds, the default one first, then those of this package."""
    return sorted(KINDS.entries().values(), key=lambda entry: entry.name != DEFAULT)


def named() -> dict[str, Entry]:
    """The kind of each of :func:`names`, in the order of :func:`kinds`."""
    found: dict[str, Entry] = {}
    for entry in kinds():
        for name in entry.stated("assets") or ([] if entry.stated("form") else [entry.name]):
            if name in found:
                raise DetbenchError(
                    f"Two kinds offer a detector {name}: {found[name].file} and {entry.file}. Rename or uninstall one."
                )
            found[name] = entry
    return found


def resolve(detector: str, weights: Path | None = None) -> Resolved:
    """Find a detector and its weights, downloading them if need be.

    Args:
        detector: one of :func:`names`; ``KIND:NAME``, of a kind and what it calls a detector, which is mostly the path
            of a weights file; or whatever else :func:`detbench.detectors.yolo.find` takes.
        weights: a file in place of its own, for the kinds that take one besides a name.

    Raises:
        DetbenchError: an unknown name, a missing file, a failed download, or weights for a detector that takes none.
    """
    entry, name = _kind(detector)
    spec = KINDS.get(entry.name)
    spec = spec.of(name) if spec.of else spec
    if weights and not spec.takes_weights:
        raise DetbenchError(f"{detector} takes no weights besides its name: leave out --detector-weights {weights}.")
    if weights:
        found: Path | None = entry.chosen(weights.expanduser().absolute())
    else:
        found = spec.find(name) if spec.find else _weights(entry, spec, name)
    return Resolved(detector, spec, found, _identity(entry, spec, found), entry.source)


def settled(spec: RunSpec) -> tuple[RunSpec, Resolved]:
    """A run's settings, with the detector's own working size and confidence where it asks for none; and the detector.

    Raises:
        DetbenchError: as for :func:`resolve`.
    """
    found = resolve(spec.detector, Path(spec.detector_weights) if spec.detector_weights else None)
    own = found.spec
    return replace(spec, imgsz=spec.imgsz or own.imgsz, conf=spec.conf or own.conf, detector_hash=found.sha256), found


def _identity(entry: Entry, spec: DetectorSpec, weights: Path | None) -> str:
    """What runs know a detector by."""
    if weights is None or (spec.hash_source and spec.identity is None):
        return entry.hash(weights)
    return spec.identity(weights) if spec.identity else file_hash(weights)


def _kind(detector: str) -> tuple[Entry, str]:
    """The kind that a detector belongs to, and what that kind calls it."""
    known = KINDS.entries()
    kind, colon, name = detector.partition(":")
    if colon and kind in known:
        return known[kind], name
    return named().get(detector, known[DEFAULT]), detector


def _weights(entry: Entry, spec: DetectorSpec, name: str) -> Path | None:
    """The weights of a kind that has no way of its own to find them."""
    if name in spec.assets:
        return assets.fetch(name)
    if name and name != entry.name:
        return entry.chosen(Path(name).expanduser().absolute())
    return entry.weights if entry.weights.exists() else None
