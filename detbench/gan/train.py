"""The training of deblurers: of all recipes, by :class:`detbench.gan.training.Training`'s loop.

Each iteration is a :func:`detbench.gan.step.step` on a batch of (blurred, sharp) crops.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detbench.gan import vgg
from detbench.gan.data import Batch, Batches
from detbench.gan.prepare import (
    between_minus_one_and_one,
    fabric_on,
    frozen_detectors,
    load_first,
    precision_of,
    recipe_of,
    teacher_of,
)
from detbench.gan.recipe import Recipe
from detbench.gan.sources import Sources, load_training
from detbench.gan.step import Losses, Stage, step, training_state
from detbench.gan.training import Parts, Training
from detbench.gan.validate import Crops, Frames
from detbench.types import DeblurerSpec


def train(
    name: str,
    spec: DeblurerSpec,
    out: Path,
    *,
    data: Sequence[Path] | None = None,
    validation: Sequence[Path] | None = None,
    sources: tuple[Sources, Sources] | None = None,
    preset: str | None = None,
    recipe: Recipe | None = None,
    weights: Path | None = None,
    iterations: int | None = None,
    seed: int = 0,
    device: str = "auto",
    every: int = 1000,
    budget: float = np.inf,
    fit: float | None = None,
) -> Path:
    """Train a deblurer, going on from ``out/checkpoint.pt`` where there is one.

    Args:
        name: of the deblurer, for the record.
        spec: its networks and recipes.
        out: folder for the checkpoint, ``log.csv``, ``samples/`` and the weights.
        data: folders or packs to train on, as for ``detbench.gan.sources.load_training``.
        validation: folders of photographs and pairs that are not trained on, likewise.
        sources: what to train and what to validate on, in place of ``data`` and ``validation``.
        preset: the size to train; the spec's own by default.
        recipe: in place of the preset's.
        weights: a safetensors file to start from, in place of the recipe's first weights.
        iterations: in place of the recipe's.
        seed: of the initial weights and the batches.
        device: ``auto``, ``cpu`` or ``cuda``. Under ``torchrun`` every process takes one device.
        every: iterations between validations and checkpoints.
        budget: seconds after which to stop, with a checkpoint to go on from.
        fit: seconds that the whole training is to take, in place of a number of iterations. They become one once, after
            a short timing, and a resumed training keeps it. ``every`` is then a tenth of it.

    Returns:
        The weights file that did best in validation: by PSNR, or by what the recipe's detectors see.

    Raises:
        DetbenchError: the deblurer has no such preset or no recipe, the checkpoint belongs to another training, or
            the training diverged again and again.
    """
    started = time.monotonic()
    preset = preset or spec.preset
    recipe = recipe_of(name, spec, preset, recipe, iterations)
    if weights:
        recipe = dataclasses.replace(recipe, init_from=str(weights))
    sources = sources or load_training(data, validation)
    parts = _parts(name, spec, preset, recipe, sources, seed, device)
    training = Training(name, recipe, out, every, parts)
    if fit is not None:
        training.fit(fit - (time.monotonic() - started))
    return training.run(started + budget)


def _parts(
    name: str,
    spec: DeblurerSpec,
    preset: str,
    recipe: Recipe,
    sources: tuple[Sources, Sources],
    seed: int,
    device: str,
) -> Parts:
    """What the training of a deblurer consists of."""
    training, held_out = sources
    options = dict(spec.presets[preset].options)
    fabric = fabric_on(device)
    fabric.launch()
    detectors = frozen_detectors(recipe, training, fabric)
    torch.manual_seed(seed)
    net = spec.build(**options)
    origin = load_first(net, recipe)
    teacher = teacher_of(recipe, fabric)
    state = training_state(between_minus_one_and_one(net, spec.value_range), recipe, fabric)
    record: dict[str, Any] = {
        "deblurer": name,
        "preset": preset,
        "options": options,
        "perceptual": vgg.source() if any("perceptual" in loss for loss in recipe.content) else None,
        "init": origin,
        "detectors": {detector.name: detector.sha256 for detector in detectors} or None,
        "seed": seed,
        "data": training.record,
        "validation": held_out.record,
    }
    validate: Crops | Frames = Crops(held_out, recipe)
    if detectors:
        validate = Frames(held_out, recipe, detectors, spec.presets[preset].multiple_of, precision_of(fabric))
    batches = Batches(training, recipe, seed, (fabric.global_rank, fabric.world_size), fabric.device)

    def once(now: Stage, batch: Batch) -> Losses:
        return step(state, recipe, now, batch, fabric, detectors, teacher)

    return Parts(fabric, state, batches, validate, once, record)
