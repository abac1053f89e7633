"""Tuning: a deblurer's weights, trained on so that a frozen detector sees in its frames what it sees in sharp ones.

It is a training like any other (:mod:`detbench.gan.train`), with a recipe that :func:`recipe_for` makes: 50 L1 (of
values in [-1, 1]) and the terms of :mod:`detbench.gan.detector`, from the deblurer's own weights.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from detbench import registry
from detbench.counts import counted
from detbench.data.images import write_image
from detbench.gan.data import validation_frames
from detbench.gan.recipe import Recipe
from detbench.gan.sources import Photo, Sources, load_training
from detbench.gan.train import train
from detbench.progress import say
from detbench.stats import MINIMUM_CLIPS
from detbench.types import DeblurerSpec, DetbenchError, DetectorSpec

CROP = 256
"""Side of the crops in pixels, where the network can divide it."""

VALIDATION_FRAMES = 32
"""How many frames are validated on at most, evenly spread over those held out."""

KNOWN_RATE = 5e-5
"""Learning rate for weights of unknown training: srn's lose what they know at four times as much."""


@dataclass(frozen=True)
class Tuned:
    """What a tuning leaves.

    Attributes:
        weights: that did best in validation.
        validation: a dataset folder with the validation frames, ``sharp/`` and ``blur/``.
    """

    weights: Path
    validation: Path


def tune(
    name: str,
    out: Path,
    *,
    data: Sequence[Path],
    detectors: Sequence[str],
    budget: float,
    validation: Sequence[Path] | None = None,
    weights: Path | None = None,
    blur_px: tuple[float, float] = (4.0, 20.0),
    imgsz: int = DetectorSpec.imgsz,
    seed: int = 0,
    device: str = "auto",
) -> Tuned:
    """Tune a deblurer's weights against frozen detectors; the same call goes on where a killed one stopped.

    Args:
        name: of the deblurer, or ``spandrel:FILE``.
        out: folder for checkpoint, log, samples, weights and validation frames.
        data: folders of sharp photographs or of pairs, and videos, as for :func:`detbench.gan.sources.load_folders`.
        detectors: names or ``.pt`` files.
        budget: seconds, which become a number of iterations once, after a short timing.
        validation: as ``data``; every eighth clip of the data by default.
        weights: a safetensors file to start from, in place of the deblurer's own.
        blur_px: smallest and largest extent of the blur that sharp pictures get, in pixels.
        imgsz: the longer side in pixels to which the detector will scale frames.
        seed: of the crops.
        device: as for :func:`detbench.gan.train.train`.

    Raises:
        DetbenchError: the deblurer has no weights to tune or cannot be differentiated; a detector has no detection
            head; the data have no object; the budget is too short.
    """
    spec, preset = _tunable(name, weights)
    least, most = blur_px
    if not 0 < least <= most <= 40:
        raise DetbenchError(
            f"blur of {least:g} to {most:g} px cannot be made: give two extents in 0..40 px, such as 4:20."
        )
    recipe = replace(
        recipe_for(spec, preset),
        detector=tuple(detectors),
        detector_imgsz=imgsz,
        init_from=str(weights or name),
        blur_extent=(least, most),
    )
    sources, held_out = load_training(data, validation)
    held_out = few(held_out)
    best = train(
        name, spec, out, sources=(sources, held_out), preset=preset, recipe=recipe, seed=seed, device=device, fit=budget
    )
    return Tuned(best, write(out / "validation", held_out, recipe))


def recipe_for(spec: DeblurerSpec, preset: str) -> Recipe:
    """How a deblurer is tuned; detectors and data are still to be named.

    Weights of a recipe of ours stand half its learning rate, and larger steps; published ones are trained with care.
    """
    own, multiple = spec.presets[preset].recipe, spec.presets[preset].multiple_of
    return Recipe(
        content={"l1": 50.0},
        detector_features=5.0,
        detector_classes=1.0,
        detector_boxes=1.0,
        schedule="cosine",
        warmup=100,
        learning_rate=own.learning_rate / 2 if own else KNOWN_RATE,
        clip_gradient=50.0 if own else 5.0,
        betas=(0.9, 0.999),
        batch=2,
        crop=max(CROP // multiple, 1) * multiple,
        real_pairs=0.5,
        object_crops=0.6,
        object_motion=0.2,
        uniform_blur=0.4,
        redraw_above=35.0,
        noise_variance=0.002,
        noise_share=0.1,
        ema=0.999,
    )


def _tunable(name: str, weights: Path | None) -> tuple[DeblurerSpec, str]:
    """A deblurer's definition and the preset that its weights have.

    Raises:
        DetbenchError: it has no weights to tune, or they cannot be differentiated.
    """
    if name.startswith("onnx:"):
        raise DetbenchError(f"{name} cannot be tuned: ONNX Runtime does not differentiate. Give spandrel:FILE.")
    deblurer = registry.load(name, weights)
    if not any(True for _ in deblurer.build().parameters()):
        raise DetbenchError(f"{name} has no weights: there is nothing to tune.")
    return deblurer.spec, next(key for key, preset in deblurer.spec.presets.items() if preset == deblurer.preset)


def few(sources: Sources) -> Sources:
    """At most :data:`VALIDATION_FRAMES` pictures: as many of each clip as of the others, evenly spread over it."""
    clips = [*sources.photo_clips, *sources.pair_clips]
    sizes = Counter(clips)
    quota = dict.fromkeys(sizes, 0)
    places = min(VALIDATION_FRAMES, len(clips))
    for clip in itertools.cycle(sizes):
        if sum(quota.values()) == places:
            break
        quota[clip] += quota[clip] < sizes[clip]
    picked = set[int]()
    for clip, count in quota.items():
        frames = [i for i, other in enumerate(clips) if other == clip]
        picked |= {frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)}
    if len(picked) < MINIMUM_CLIPS:
        say(f"Kept back are {counted(len(picked), 'frame')}: too few to tell whether it helps. Give more --data.")
    flags = [i in picked for i in range(len(clips))]
    return sources.chosen(flags[: len(sources.photos)], flags[len(sources.photos) :])


def write(folder: Path, held_out: Sources, recipe: Recipe) -> Path:
    """Write the validation frames as a dataset folder, whose clips are those of the data."""
    frames: list[tuple[Photo, Photo]] = validation_frames(held_out, recipe)
    for number, (clip, pair) in enumerate(zip([*held_out.pair_clips, *held_out.photo_clips], frames, strict=True)):
        for side, frame in zip(("blur", "sharp"), pair, strict=True):
            path = folder / side / clip / f"{number:03d}.png"
            if not path.exists():
                write_image(path, frame)
    return folder
