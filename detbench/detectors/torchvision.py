"""torchvision: The detectors of torchvision.models.detection.

``torchvision:NAME`` is any of its builders, with the weights that torchvision publishes or a file of the user's.
"""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detbench import assets, classes
from detbench.detectors import MAX_DETECTIONS
from detbench.detectors._fit import detections
from detbench.files import file_hash
from detbench.types import DetbenchError, Detections, DetectorSpec

if TYPE_CHECKING:
    import torch
    from torch import nn


class Torchvision:
    """One of torchvision's detectors that is ready to look at frames, one at a time.

    Its own transform scales frames: the shorter side to a size, the longer one to at most ``imgsz``, in the proportion
    that its authors chose (for most 800 and 1333); those of the SSD family stretch them to a square.

    Args:
        weights: a state dict, ``.pth`` or ``.safetensors``.
        name: of the builder.
        conf: detections that score below this are dropped, in [0, 1].
        nms_iou: IoU above which of two boxes of one class only the better one stays, in [0, 1].
        imgsz: the longer side in pixels that frames are scaled to.
        device: of torch.

    Raises:
        DetbenchError: the weights cannot be read or do not fit.
    """

    def __init__(
        self, weights: Path, *, name: str, conf: float, nms_iou: float, imgsz: int, device: str | torch.device
    ) -> None:
        self.class_names = _class_names(name, weights)
        self._net = _network(name, len(self.class_names))
        _load(self._net, name, weights)
        self._net.eval().to(device)
        self._device, self._conf = device, conf
        owner: Any = getattr(self._net, "roi_heads", self._net)
        owner.score_thresh, owner.nms_thresh, owner.detections_per_img = conf, nms_iou, MAX_DETECTIONS
        transform: Any = self._net.transform
        shorter, longer = transform.min_size[-1], transform.max_size
        transform.min_size, transform.max_size = (round(shorter * imgsz / longer),), imgsz

    def __call__(self, frames: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Detect objects in (H, W, 3) uint8 RGB frames; each one's detections depend on it alone."""
        import torch

        found = []
        for frame in frames:
            picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1).to(self._device).float() / 255
            with torch.inference_mode():
                (made,) = self._net([picture])
            boxes, scores, labels = (made[key].cpu().numpy() for key in ("boxes", "scores", "labels"))
            found.append(detections(boxes, scores, labels, frame.shape, self._conf))
        return found


def of(name: str) -> DetectorSpec:
    """The specification of one builder's detector.

    Raises:
        DetbenchError: torchvision has no such builder.
    """
    import torch
    from torchvision import models

    known = models.list_models(module=models.detection)
    if name not in known:
        raise DetbenchError(
            f"torchvision has no detector {name!r}: give torchvision:NAME; there are {', '.join(known)}."
        )
    with torch.device("meta"):
        transform: Any = _network(name, 91).transform
    return dataclasses.replace(
        SPEC,
        build=functools.partial(Torchvision, name=name),
        find=lambda _: _published(name),
        imgsz=transform.max_size,
        fixed=transform.fixed_size is not None,
    )


def _network(name: str, outputs: int) -> nn.Module:
    """A network without weights, of so many outputs, background included."""
    from torchvision import models

    return models.get_model(name, weights=None, weights_backbone=None, num_classes=outputs)


def _load(net: nn.Module, name: str, weights: Path) -> None:
    """Load a state dict, strictly."""
    import torch
    from safetensors.torch import load_file

    try:
        safe = weights.suffix.lower() == ".safetensors"
        state: Any = load_file(weights) if safe else torch.load(weights, map_location="cpu", weights_only=True)
        net.load_state_dict(state.get("model", state))
    except Exception as error:
        first = f"{type(error).__name__}: {error}".split("\n", 2)
        raise DetbenchError(
            f"{weights} holds no weights of torchvision's {name} ({' '.join(first[:2]).strip()}). Where it has classes"
            f" of its own, {weights.with_suffix('.toml').name} beside it names them: classes = [...]."
        ) from error


def _class_names(name: str, weights: Path) -> dict[int, str]:
    """What the labels mean, the background left in: the file's own classes, or COCO's."""
    beside = weights.with_suffix(".toml")
    if not beside.is_file():
        return classes.named("coco91")
    try:
        given = tomllib.loads(beside.read_text("utf-8"))["classes"]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise DetbenchError(f"{beside} has no list of classes ({error}): write classes = [...].") from error
    return dict(enumerate([classes.UNUSED, *given]))


def _published(name: str) -> Path:
    """The weights that torchvision publishes for a builder, downloaded by torch where they are not yet here."""
    import torch
    from torchvision import models

    url = models.get_model_weights(name).DEFAULT.url
    path = assets.home() / "assets" / url.rpartition("/")[2]
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=_prefix(path))
    except Exception as error:
        raise DetbenchError(
            f"{path.name} could not be downloaded from {url}: {error}\nTry again when online, put the file at {path},"
            " or give --detector-weights FILE."
        ) from error
    if not file_hash(path).startswith(_prefix(path)):
        raise DetbenchError(f"{path} is damaged: its SHA-256 does not begin with {_prefix(path)}. Delete it.")
    return path


def _prefix(path: Path) -> str:
    """The first digits of the SHA-256 that torchvision's file names end with."""
    return path.stem.rpartition("-")[2]


SPEC = DetectorSpec(
    build=Torchvision,
    licence="BSD-3-Clause (torchvision)",
    paper="Ren et al., NeurIPS 2015 (Faster R-CNN); Lin et al., ICCV 2017 (RetinaNet); Tian et al., ICCV 2019 (FCOS);"
    " Liu et al., ECCV 2016 (SSD)",
    form="torchvision:NAME",
    of=of,
    takes_weights=True,
    hash_source=False,
)
