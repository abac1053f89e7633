"""The training of a detector to see in blurred frames what it saw in sharp ones: what deblurers are measured against.

Self-distillation: the detector as it is looks at the sharp crop, its copy at the blurred one, and what the copy sees is
to be the same, by the terms of :mod:`detbench.gan.detector`. No labels are needed, and a frame costs nothing more. The
idea is Sayed and Brostow's ("Improved Handling of Motion Blur in Online Object Detection", CVPR 2021), who fine-tune on
blurred images; teacher and terms are this project's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from detbench import detectors as catalogue
from detbench.gan.data import Batch, Batches, to_tensor, validation_frames
from detbench.gan.detector import FrozenDetector, View, mean_terms, task_loss
from detbench.gan.prepare import fabric_on, frozen_detectors
from detbench.gan.recipe import Recipe
from detbench.gan.sources import Photo, Sources, load_training
from detbench.gan.step import Losses, Stage, TrainingState, training_state, update
from detbench.gan.training import Parts, Training
from detbench.gan.tune import Tuned, few, write
from detbench.gan.validate import CONF, IMGSZ, NMS_IOU, Verdict, f1
from detbench.types import DetectorSpec

RECIPE = Recipe(
    content={},
    iterations=4000,
    detector_features=5.0,
    detector_classes=1.0,
    detector_boxes=1.0,
    schedule="cosine",
    warmup=50,
    learning_rate=4e-5,
    clip_gradient=10.0,
    betas=(0.9, 0.999),
    batch=4,
    crop=256,
    real_pairs=0.2,
    object_crops=0.6,
    object_motion=0.2,
    uniform_blur=0.4,
    shaken_pairs=0.5,
    redraw_above=35.0,
    noise_variance=0.002,
    noise_share=0.1,
    blur_extent=(4.0, 20.0),
    sharp_share=0.3,
    ema=0.999,
)
"""Data, blur and terms as ``fastsrn_task``'s; a share of sharp crops, since what is adapted still has to see these."""


def adapt(
    detector: str,
    out: Path,
    *,
    data: Sequence[Path],
    budget: float | None = None,
    validation: Sequence[Path] | None = None,
    recipe: Recipe = RECIPE,
    imgsz: int = DetectorSpec.imgsz,
    seed: int = 0,
    device: str = "auto",
    every: int = 1000,
) -> Tuned:
    """Adapt a YOLO to blur; the same call goes on where a killed one stopped.

    Args:
        detector: a name or a ``.pt`` file.
        out: folder for checkpoint, log, weights and validation frames.
        data: folders of sharp photographs or of pairs, and videos, as for :func:`detbench.gan.sources.load_folders`.
        budget: seconds, which become a number of iterations once, after a short timing; the recipe's by default.
        validation: as ``data``; every eighth clip of the data by default.
        recipe: loss, data and schedule.
        imgsz: the longer side in pixels to which the detector scales frames.
        seed: of the crops.
        device: as for :func:`detbench.gan.train.train`.
        every: iterations between validations and checkpoints, without a budget.

    Raises:
        DetbenchError: the detector has no detection head; the data have no object; the budget is too short.
    """
    started = time.monotonic()
    recipe = replace(recipe, detector=(detector,), detector_imgsz=imgsz, init_from=detector)
    sources, held_out = load_training(data, validation)
    held_out = few(held_out)
    parts = _parts(detector, recipe, sources, held_out, seed, device)
    training = Training(f"adapted:{Path(detector).stem}", recipe, out, every, parts)
    if budget is not None:
        training.fit(budget - (time.monotonic() - started))
    return Tuned(training.run(np.inf), write(out / "validation", held_out, recipe))


def _parts(detector: str, recipe: Recipe, sources: Sources, held_out: Sources, seed: int, device: str) -> Parts:
    """What the training consists of."""
    fabric = fabric_on(device)
    fabric.launch()
    (teacher,) = frozen_detectors(recipe, sources, fabric)
    torch.manual_seed(seed)
    state = training_state(teacher.pupil(), recipe, fabric)
    record: dict[str, Any] = {
        "detector": Path(detector).stem,
        "detector_sha256": teacher.sha256,
        "seed": seed,
        "data": sources.record,
        "validation": held_out.record,
    }

    def once(now: Stage, batch: Batch) -> Losses:
        return step(state, recipe, now, batch, fabric, teacher)

    batches = Batches(sources, recipe, seed, (fabric.global_rank, fabric.world_size), fabric.device)
    return Parts(fabric, state, batches, Sight(held_out, recipe, teacher), once, record)


def step(
    state: TrainingState, recipe: Recipe, stage: Stage, batch: Batch, fabric: Fabric, teacher: FrozenDetector
) -> Losses:
    """Update the pupil on one batch.

    Args:
        state: what is updated.
        recipe: by which.
        stage: what of it holds now.
        batch: crops in [-1, 1], some of whose blurred ones are sharp.
        fabric: runs the backward pass.
        teacher: the detector as it was.
    """
    with torch.no_grad(), fabric.autocast():
        target = teacher.look(batch.sharp, batch.scale)
    terms = mean_terms([_views(state.generator(batch.blurred, batch.scale))], [target])
    loss = task_loss(terms, recipe)
    update(state, recipe, stage, loss, fabric)
    none = torch.zeros((), device=loss.device)
    return Losses(none, loss.detach(), none, {name: term.detach() for name, term in terms.items()}, None)


def _views(made: Sequence[tuple[Sequence[Tensor], Tensor, Tensor]]) -> list[View]:
    """What a :class:`detbench.gan.detector.Pupil` makes, as views."""
    return [View(tuple(features), logits, sides) for features, logits, sides in made]


class Sight:
    """Validation by what the pupil sees in whole blurred and sharp frames.

    Args:
        sources: not trained on.
        recipe: whose blur photographs get, and at which scale the detector looks.
        teacher: the detector as it was.
    """

    shown: ClassVar[list[tuple[Photo, Photo]]] = []

    def __init__(self, sources: Sources, recipe: Recipe, teacher: FrozenDetector) -> None:
        self.recipe, self.teacher = recipe, teacher
        self.frames = validation_frames(sources, recipe)
        found = catalogue.resolve(teacher.name)
        settings: dict[str, Any] = {"conf": CONF, "nms_iou": NMS_IOU, "imgsz": recipe.detector_imgsz or IMGSZ}
        reference = found.build(**settings, device=teacher.device)
        self.pupil: Any = found.build(**settings, device=teacher.device)
        self.reference = [reference([sharp])[0] for _, sharp in self.frames]

    def __call__(self, net: nn.Module) -> Verdict:
        """Validate a pupil: its loss, of which sharp frames have the share that sharp crops have; F1 on both."""
        self.pupil.load({name.removeprefix("net."): value for name, value in net.state_dict().items()})
        blurred, sharp = ([frame for frame, _ in self.frames], [frame for _, frame in self.frames])
        seen = [[self.pupil([frame])[0] for frame in frames] for frames in (blurred, sharp)]
        losses = [
            np.mean([self._loss(net, *pair) for pair in zip(frames, sharp, strict=True)]) for frames in (blurred, sharp)
        ]
        share = self.recipe.sharp_share
        row = {
            "task_validation": float((1 - share) * losses[0] + share * losses[1]),
            "f1_validation": f1(seen[0], self.reference),
            "f1_sharp": f1(seen[1], self.reference),
        }
        return Verdict(row, -row["task_validation"], [])

    @torch.no_grad()
    def _loss(self, net: nn.Module, frame: Photo, sharp: Photo) -> float:
        scale = [self.recipe.detector_imgsz / max(sharp.shape) if self.recipe.detector_imgsz else 1.0]
        given, wanted = ((2 * to_tensor([each]) - 1).to(self.teacher.device) for each in (frame, sharp))
        terms = mean_terms([_views(net(given, scale))], [self.teacher.look(wanted, scale)])
        return float(task_loss(terms, self.recipe))
