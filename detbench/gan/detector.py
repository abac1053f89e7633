"""What a frozen detector sees in restored crops against what it sees in the sharp ones: the task-driven losses.

A detector's view of a picture is the maps that enter its detection head, and the class logits and boxes of all anchors
before any are chosen. Three terms compare the views of a restored and of a sharp picture; their form is this project's.
Task-driven restoration as such is older: Haris, Shakhnarovich and Ukita, "Task-Driven Super Resolution", 2018.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from detbench import assets, detectors
from detbench.detectors import yolo
from detbench.gan.recipe import Recipe
from detbench.journal import Journal
from detbench.progress import track
from detbench.types import DetbenchError, canonical_hash

IGNORED = 0.05
"""Anchors whose largest class probability in the sharp picture is below this have no part in the box term, and do not
count as seen."""

CONFIDENCE = 0.25
"""From which score on a detection is an object to cut a crop around."""


@dataclass(frozen=True)
class View:
    """A detector's view of a batch of pictures.

    Attributes:
        features: for each stride (B, C, h, w).
        logits: (B, classes, anchors), before the sigmoid.
        sides: (B, 4, anchors) distances of the box's sides from the anchor, in strides.
    """

    features: tuple[Tensor, ...]
    logits: Tensor
    sides: Tensor


class FrozenDetector:
    """An ultralytics YOLO whose weights and statistics stay as they are, and whose view can be differentiated.

    Args:
        name: as for :func:`detbench.detectors.resolve`.
        device: where it looks.

    Attributes:
        name: by which it was asked for.
        device: where it looks.
        sha256: of its weights.
        classes: names of its classes.

    Raises:
        DetbenchError: there is no such detector, or it has no detection head.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        found = detectors.resolve(name)
        self.name, self.device, self.sha256 = name, device, found.sha256
        self._net = yolo.network(found.weights or Path(name), device)
        self.classes = list(self._net.names.values())
        self._head = self._net.model[-1]
        self._stride = int(max(self._head.stride))
        try:
            with torch.no_grad():
                self.look(torch.zeros(1, 3, self._stride, self._stride, device=device), [1.0])
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise DetbenchError(
                f"{name} has no detection head that a deblurer can be tuned against: give a YOLO detector (.pt) of the"
                " families v8, 11 or 26, or one made from them."
            ) from error

    def pupil(self) -> Pupil:
        """A copy that can be trained."""
        return Pupil(self, copy.deepcopy(self._net))

    def state(self) -> dict[str, Tensor]:
        """All its tensors by name, statistics included."""
        return dict(self._net.state_dict())

    def look(self, images: Tensor, scale: Sequence[float], net: nn.Module | None = None) -> list[View]:
        """View pictures, each at the scale at which the detector would see the frame that it is from.

        Args:
            images: (B, 3, H, W) in [-1, 1].
            scale: of each picture, before the sides are rounded to the detector's stride.
            net: a copy of the detector's network that has learned otherwise; its own by default.

        Returns:
            A view for each run of pictures that are shown at one size.
        """
        views, done = [], 0
        for size, run in itertools.groupby(self._size(images.shape[-2:], factor) for factor in scale):
            count = len(list(run))
            part = ((images[done : done + count] + 1) / 2).clamp(0, 1)
            if size != tuple(part.shape[-2:]):  # as the detector's letterbox does it: without a low-pass filter
                part = F.interpolate(part, size, mode="bilinear", align_corners=False)
            done += count
            views.append(self._view(part.contiguous(memory_format=torch.channels_last), net or self._net))
        return views

    def _size(self, shape: Sequence[int], factor: float) -> tuple[int, int]:
        height, width = (max(1, round(side * factor / self._stride)) * self._stride for side in shape)
        return height, width

    def _view(self, images: Tensor, net: nn.Module) -> View:
        """Of (B, 3, h, w) in [0, 1] with sides that the network divides."""
        _, raw = net(images)
        raw = raw.get("one2many", raw)  # of two heads, the one that is followed by NMS: that is evaluated
        sides = self._head.dfl(raw["boxes"])
        return View(tuple(f.float() for f in raw["feats"]), raw["scores"].float(), sides.float())


class Pupil(nn.Module):
    """A detector whose weights are trained; the fixed ones that make distances of distributions stay as they are.

    Attributes:
        net: ultralytics' module, fused and in evaluation mode, as its origin's.
    """

    def __init__(self, origin: FrozenDetector, net: nn.Module) -> None:
        super().__init__()
        self._origin = origin
        self.net = net
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(".dfl" not in name)

    def forward(self, images: Tensor, scale: Sequence[float]) -> list[tuple[list[Tensor], Tensor, Tensor]]:
        """The fields of what :meth:`FrozenDetector.look` gives."""
        views = self._origin.look(images, scale, self.net)
        return [(list(view.features), view.logits, view.sides) for view in views]


def terms(restored: View, sharp: View) -> dict[str, Tensor]:
    """How far a view of restored pictures is from that of the sharp ones; each term is 0 for equal views.

    Args:
        restored: of the restored pictures, with a graph.
        sharp: of the sharp ones, without.

    Returns:
        Scalars:

        - ``features``: the mean absolute difference of the feature maps, each channel in units of its standard
          deviation in the sharp pictures (and 0.05 more), mean over strides;
        - ``classes``: the Kullback-Leibler divergence of the class probabilities, summed over classes and anchors, for
          each object seen: the sum over anchors of their largest sharp probability less :data:`IGNORED`, at least 1;
        - ``boxes``: the absolute difference of the boxes' sides in strides, mean over the sides, weighted by the same
          probability and divided by the same sum.
    """
    pairs = zip(restored.features, sharp.features, strict=True)
    features = torch.stack([((r - s).abs() / (s.std((0, 2, 3), keepdim=True) + 0.05)).mean() for r, s in pairs]).mean()
    target = sharp.logits.sigmoid()
    weight = (target.amax(1) - IGNORED).clamp_min(0)
    seen = weight.sum().clamp_min(1)
    cross, entropy = (
        F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
        for logits in (restored.logits, sharp.logits)
    )
    sides = (restored.sides - sharp.sides).abs().mean(1)
    return {"features": features, "classes": (cross - entropy) / seen, "boxes": (weight * sides).sum() / seen}


def mean_terms(restored: Sequence[Sequence[View]], sharp: Sequence[Sequence[View]]) -> dict[str, Tensor]:
    """The mean of :func:`terms` over detectors and over the pictures of each.

    Args:
        restored: for each detector what :meth:`FrozenDetector.look` gave.
        sharp: likewise, of the same pictures.
    """
    found = [
        (len(r.logits), terms(r, s))
        for mine, its in zip(restored, sharp, strict=True)
        for r, s in zip(mine, its, strict=True)
    ]
    pictures = sum(count for count, _ in found)
    return {
        name: torch.stack([count / pictures * each[name] for count, each in found]).sum()
        for name in ("features", "classes", "boxes")
    }


def task_loss(terms: Mapping[str, Tensor], recipe: Recipe) -> Tensor:
    """The terms' sum, weighted as the recipe says."""
    return (
        recipe.detector_features * terms["features"]
        + recipe.detector_classes * terms["classes"]
        + recipe.detector_boxes * terms["boxes"]
    )


def find_objects(
    pictures: Sequence[NDArray[np.uint8]], detector: str, imgsz: int, device: torch.device
) -> list[NDArray[np.float32]]:
    """The boxes of the objects that a detector finds in sharp pictures; found once, and kept in the cache.

    Args:
        pictures: (H, W, 3) uint8 RGB.
        detector: as for :func:`detbench.detectors.resolve`.
        imgsz: the longer side in pixels that pictures are scaled to.
        device: where it looks.

    Returns:
        For each picture (objects, 4) float32 corners in its pixels.
    """
    found = detectors.resolve(detector)
    sha256, look = found.sha256, found.build(conf=CONFIDENCE, nms_iou=0.7, imgsz=imgsz, device=device)
    keys = [canonical_hash([sha256, imgsz, list(p.shape), hash_pixels(p)])[:16] for p in pictures]
    with Journal(assets.home() / "detections" / f"objects-{sha256[:8]}-{imgsz}.jsonl") as kept:
        todo = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in kept}
        for key, picture in track(todo.items(), len(todo), f"{detector} looks for objects", "pictures"):
            kept.add(key, {"xyxy": look([picture])[0].xyxy.round(1).tolist()})
        return [np.array(kept[key]["xyxy"], np.float32).reshape(-1, 4) for key in keys]


def hash_pixels(picture: NDArray[np.uint8]) -> str:
    """SHA-256 (hexadecimal) of a picture's values."""
    return hashlib.sha256(np.ascontiguousarray(picture).data).hexdigest()
