"""How good the weights of a training are, on pictures that it is not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import nn

from detbench.counts import Counts
from detbench.gan.data import cut, to_tensor, validation_frames, validation_pairs
from detbench.gan.recipe import Recipe
from detbench.gan.sources import Photo, Sources
from detbench.quality import psnr_db
from detbench.restore import Restorer
from detbench.types import DetbenchError, Detections

if TYPE_CHECKING:
    from detbench.gan.detector import FrozenDetector

CONF, NMS_IOU, MATCH_IOU, IMGSZ = 0.25, 0.7, 0.5, 640
"""Settings of detectors on validation frames: as :class:`detbench.types.RunSpec` has it where nothing else is asked."""

BEST_PSNR_DB = 138.0
"""What a picture equal to the sharp one counts as, whose PSNR is infinite: no mean of others would matter beside it."""


@dataclass(frozen=True)
class Verdict:
    """What a validation found.

    Attributes:
        row: measures by their names in the log.
        score: what the best weights have most of.
        restored: (H, W, 3) uint8 pictures to be shown, in the validation set's order.
    """

    row: dict[str, float]
    score: float
    restored: list[Photo]


class Crops:
    """Validation by PSNR, on crops.

    Args:
        sources: not trained on.
        recipe: whose crops are as large.

    Attributes:
        shown: (blurred, sharp) pictures.
    """

    def __init__(self, sources: Sources, recipe: Recipe) -> None:
        self.shown = validation_pairs(sources, recipe)

    def __call__(self, net: nn.Module) -> Verdict:
        """Validate a network in [-1, 1]."""
        restored = restore_crops(net, [blurred for blurred, _ in self.shown])
        psnr = mean_psnr(restored, [sharp for _, sharp in self.shown])
        return Verdict({"psnr_validation": psnr}, psnr, restored)


class Frames:
    """Validation by what detectors see, on whole frames: the same losses as in training, and F1.

    Args:
        sources: not trained on.
        recipe: whose detectors, and at which scale they look.
        detectors: the same, frozen.
        multiple_of: of the network.
        precision: of its arithmetic.

    Attributes:
        shown: the middle of each frame, (blurred, sharp).

    Raises:
        DetbenchError: the detectors find no object in the sharp frames.
    """

    def __init__(
        self,
        sources: Sources,
        recipe: Recipe,
        detectors: Sequence[FrozenDetector],
        multiple_of: int,
        precision: Literal["fp32", "bf16"],
    ) -> None:
        from detbench import detectors as catalogue

        self.recipe, self.detectors = recipe, detectors
        self.multiple_of, self.precision = multiple_of, precision
        self.frames = validation_frames(sources, recipe)
        self.shown = [(self._middle(blurred), self._middle(sharp)) for blurred, sharp in self.frames]
        self.built = [
            catalogue.resolve(each.name).build(
                conf=CONF, nms_iou=NMS_IOU, imgsz=recipe.detector_imgsz or IMGSZ, device=each.device
            )
            for each in detectors
        ]
        self.reference = [[detector([sharp])[0] for _, sharp in self.frames] for detector in self.built]
        if not any(len(seen) for frames in self.reference for seen in frames):
            names = ", ".join(each.name for each in detectors)
            raise DetbenchError(
                f"{names} finds no object in the {len(self.frames)} sharp validation frames: give frames with objects"
                " that it knows."
            )

    def _middle(self, frame: Photo) -> Photo:
        return cut(frame, self.recipe.crop, (0.5, 0.5))

    def __call__(self, net: nn.Module) -> Verdict:
        """Validate a network in [-1, 1]."""
        device = next(net.parameters()).device
        restore = Restorer(
            net, multiple_of=self.multiple_of, value_range=(-1.0, 1.0), device=device, precision=self.precision
        )
        restored = [restore([blurred])[0] for blurred, _ in self.frames]
        sharp = [frame for _, frame in self.frames]
        seen = [[detector([frame])[0] for frame in restored] for detector in self.built]
        row = {
            "psnr_validation": mean_psnr(restored, sharp),
            "task_validation": float(np.mean([self._task_loss(*pair) for pair in zip(restored, sharp, strict=True)])),
            "f1_validation": float(np.mean([f1(*pair) for pair in zip(seen, self.reference, strict=True)])),
        }
        return Verdict(row, -row["task_validation"], [self._middle(frame) for frame in restored])

    @torch.no_grad()  # not inference_mode: what detectors remember of a size must still serve the training
    def _task_loss(self, restored: Photo, sharp: Photo) -> float:
        """The detectors' terms of one frame, weighted as in training."""
        from detbench.gan.detector import mean_terms, task_loss

        scale = [self.recipe.detector_imgsz / max(sharp.shape) if self.recipe.detector_imgsz else 1.0]
        views = [
            [each.look((2 * to_tensor([frame]) - 1).to(each.device), scale) for each in self.detectors]
            for frame in (restored, sharp)
        ]
        return float(task_loss(mean_terms(*views), self.recipe))


def f1(seen: Sequence[Detections], reference: Sequence[Detections]) -> float:
    """F1 over all objects of all frames."""
    from detbench import match

    found = sum(int((match.match(mine, its, MATCH_IOU) >= 0).sum()) for mine, its in zip(seen, reference, strict=True))
    return float(Counts(found, sum(map(len, seen)) - found, sum(map(len, reference)) - found).f1)


@torch.inference_mode()
def restore_crops(net: nn.Module, crops: list[Photo]) -> list[Photo]:
    """Restore (H, W, 3) uint8 crops, whose sides suit the network, with a network in [-1, 1]."""
    net.eval()
    device = next(net.parameters()).device
    restored = []
    for crop in crops:
        x = (2 * to_tensor([crop]) - 1).to(device, memory_format=torch.channels_last)
        y = ((net(x).float().clamp(-1, 1) + 1) * 127.5).round().byte()
        restored.append(y[0].permute(1, 2, 0).cpu().numpy())
    return restored


def mean_psnr(restored: list[Photo], sharp: list[Photo]) -> float:
    """Mean over pictures of the PSNR in dB, of which each counts up to :data:`BEST_PSNR_DB`."""
    return float(np.mean([min(psnr_db(r, s), BEST_PSNR_DB) for r, s in zip(restored, sharp, strict=True)]))
