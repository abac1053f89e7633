"""The trainer: one loop for all recipes.

Each iteration is a :func:`detbench.gan.step.step` on a batch of (blurred, sharp) crops. What is needed to go on after a
kill is in ``checkpoint.pt``; what ships is the generator of ``best.safetensors``.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric

from detbench import environment
from detbench.files import replacing
from detbench.gan import vgg
from detbench.gan.data import Batch, Batches
from detbench.gan.log import Log
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
from detbench.gan.step import Players, Stage, players, stage, step
from detbench.gan.validate import Crops, Frames
from detbench.progress import say
from detbench.types import DeblurerSpec, DetbenchError
from detbench.weights import save_weights

VALIDATIONS, VALIDATING, TIMED, LEAST = 10, 0.2, 8, 20
"""Of a training that is to take a given time: how often it validates at most, for which share of the time at most, how
many iterations are timed first, and how many it must come to."""

AFTERWARDS = 4
"""What is done when such a training is over, showing what it changed, in validations."""

LOG_EVERY = 100
"""Iterations between lines of the log."""

ROLLBACKS = 3
"""How often a training that diverges goes back to its last checkpoint, each time with half the learning rate."""

IDLE_LOSS, IDLE_LINES = 1e-3, 20
"""A discriminator whose loss stays below this for so many lines of the log has won: the generator learns nothing."""


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
    preset = preset or spec.preset
    recipe = recipe_of(name, spec, preset, recipe, iterations)
    if weights:
        recipe = dataclasses.replace(recipe, init_from=str(weights))
    options = dict(spec.presets[preset].options)
    started, deadline = time.monotonic(), time.monotonic() + budget
    training, held_out = sources or load_training(data, validation)
    fabric = fabric_on(device)
    fabric.launch()
    detectors = frozen_detectors(recipe, training, fabric)
    torch.manual_seed(seed)
    net = spec.build(**options)
    origin = load_first(net, recipe)
    teacher = teacher_of(recipe, fabric)
    both = players(between_minus_one_and_one(net, spec.value_range), recipe, fabric)
    record = {
        "deblurer": name,
        "preset": preset,
        "options": options,
        "recipe": dataclasses.asdict(recipe),
        "perceptual": vgg.source() if any("perceptual" in loss for loss in recipe.content) else None,
        "init": origin,
        "detectors": {detector.name: detector.sha256 for detector in detectors} or None,
        "seed": seed,
        "every": every,
        "data": training.record,
        "validation": held_out.record,
    }
    validate: Crops | Frames = Crops(held_out, recipe)
    if detectors:
        validate = Frames(held_out, recipe, detectors, spec.presets[preset].multiple_of, precision_of(fabric))
    batches = Batches(training, recipe, seed, fabric.global_rank, fabric.device)
    if fit is not None:
        plan = _planned(out)
        if plan is None:
            once = partial(step, both, recipe, fabric=fabric, detectors=detectors, teacher=teacher)
            plan = _affordable(both, recipe, batches, once, validate, fit - (time.monotonic() - started))
        recipe, every = dataclasses.replace(recipe, iterations=plan[0]), plan[1]
        record |= {"recipe": dataclasses.asdict(recipe), "every": every}
    progress = _resume(out, both, record)
    if progress and fabric.is_global_zero:
        say(f"going on from iteration {progress['iteration']} of {recipe.iterations}, kept in {out / 'checkpoint.pt'}")
    if not progress:
        progress = {"iteration": 0, "best": -np.inf, "seconds": 0.0, "rollbacks": 0, "changes": []}
        if fabric.is_global_zero:  # something to roll back to from the first iteration on
            _checkpoint(out, both, record, progress)

    stream = batches.stream(progress["iteration"], progress["rollbacks"])
    log = Log(out, progress["iteration"], progress["seconds"]) if fabric.is_global_zero else None
    iteration, idle = progress["iteration"], 0
    begun, waited, since = time.monotonic() - progress["seconds"], 0.0, time.monotonic()
    while iteration < recipe.iterations:
        iteration += 1
        waiting = time.monotonic()
        batch = next(stream)
        waited += time.monotonic() - waiting
        rate = learning_rate(recipe, iteration) * 0.5 ** progress["rollbacks"]
        both.set_learning_rate(rate)
        now = stage(recipe, iteration)
        seen = step(both, recipe, now, batch, fabric, detectors, teacher)
        if iteration % LOG_EVERY and iteration % every and iteration < recipe.iterations:
            continue

        error = (seen.restored - batch.sharp).square().mean().clamp_min(1e-10)
        row = seen.row() | {"psnr_train": 10 * float(torch.log10(4 / error))}
        row = _mean_over_devices(row | {"over": float(time.monotonic() > deadline)}, fabric)
        over = row.pop("over") > 0
        idle = idle + 1 if now.adversarial and 0 <= row["d_loss"] < IDLE_LOSS else 0
        if (reason := _diverged(row, idle)) is not None:
            fabric.barrier()
            progress = _resume(out, both, record) or progress
            progress["rollbacks"] += 1
            if progress["rollbacks"] > ROLLBACKS:
                raise DetbenchError(
                    f"{name}: {reason} at iteration {iteration}, after {ROLLBACKS} returns to a checkpoint: {out} holds"
                    " the last good state."
                )
            if log:
                say(f"{name}: {reason} at iteration {iteration}: back to {progress['iteration']}, at half the rate")
                log = Log(out, progress["iteration"], time.monotonic() - begun)
                _checkpoint(out, both, record, progress)  # a kill must not forget that it happened
            iteration, idle = progress["iteration"], 0
            stream = batches.stream(iteration, progress["rollbacks"])
            continue

        row["learning_rate"] = rate
        row["waiting"] = waited / (time.monotonic() - since)
        pause = iteration % every == 0 or iteration == recipe.iterations or over
        if log and pause:
            verdict = validate(both.averaged)
            row |= verdict.row
            log.sample(iteration, validate.shown, verdict.restored)
            if progress["iteration"] <= recipe.shared_iterations < iteration:
                progress["best"] = -np.inf  # weights of the shared stage are not this recipe's
            progress.update(iteration=iteration, seconds=time.monotonic() - begun)
            full = record | {
                "iterations": iteration,
                "images_seen": iteration * recipe.batch * fabric.world_size,
                "wall_seconds": round(progress["seconds"]),
                "rollbacks": progress["rollbacks"],
                "changes": progress["changes"],
                **verdict.row,
                "environment": environment.describe(),
            }
            if verdict.score > progress["best"]:
                progress["best"] = verdict.score
                save_weights(out / "best.safetensors", both.averaged, full)
            save_weights(out / "last.safetensors", both.averaged, full)
        if log:
            log.write(iteration, recipe.iterations, time.monotonic() - begun, row)
            if pause:  # last of all: what the log lacks when a kill comes sooner is done again
                _checkpoint(out, both, record, progress)
        if over:
            break
        waited, since = 0.0, time.monotonic()
    fabric.barrier()  # the others wait for the one that writes
    return out / "best.safetensors"


def _planned(out: Path) -> tuple[int, int] | None:
    """What :func:`_affordable` said when the training in a folder began; None if there is none."""
    path = out / "checkpoint.pt"
    if not path.exists():
        return None
    record = torch.load(path, map_location="cpu", weights_only=True)["record"]
    return int(record["recipe"]["iterations"]), int(record["every"])


def _affordable(
    both: Players,
    recipe: Recipe,
    batches: Batches,
    once: Callable[[Stage, Batch], Any],
    validate: Crops | Frames,
    seconds: float,
) -> tuple[int, int]:
    """How many iterations fit into so many seconds, and how many lie between validations.

    Everything is afterwards as it was before.

    Raises:
        DetbenchError: too few.
    """
    state, random = copy.deepcopy(both.state()), torch.get_rng_state()
    started = time.monotonic()
    validate(both.averaged)
    validation = time.monotonic() - started
    last = stage(recipe, recipe.iterations)  # with all its losses
    for number in range(TIMED + 2):
        if number == 2:  # the first ones choose their algorithms
            started = time.monotonic()
        once(last, batches.batch(number))
    iteration = (time.monotonic() - started) / TIMED
    both.load(state)
    torch.set_rng_state(random)
    left = seconds - (1 + AFTERWARDS) * validation - (TIMED + 2) * iteration
    validations = min(VALIDATIONS, int(VALIDATING * left / validation))
    count = int((left - validations * validation) / iteration)
    if validations < 1 or count < LEAST:
        needed = max((1 + AFTERWARDS + 1 / VALIDATING) * validation, (LEAST + TIMED + 2) * iteration)
        raise DetbenchError(
            f"The budget is too short, by {needed - seconds:.0f} s or more: here one validation takes"
            f" {validation:.1f} s and one iteration {iteration:.2f} s."
        )
    say(f"{count} iterations of {iteration:.2f} s, with {validations} validations, fit into the budget")
    return count, math.ceil(count / validations)


def _diverged(row: Mapping[str, float], idle: int) -> str | None:
    """What has gone wrong, in words; None while all is well.

    Args:
        row: losses by name.
        idle: for how many lines of the log the discriminator's loss has been next to zero.
    """
    if not np.isfinite(list(row.values())).all():
        return "a loss is not finite"
    if idle >= IDLE_LINES:
        return f"the discriminator's loss has been below {IDLE_LOSS:g} for {idle * LOG_EVERY} iterations"
    return None


def _mean_over_devices(row: Mapping[str, float], fabric: Fabric) -> dict[str, float]:
    """Scalars as all processes see them, so that all decide alike."""
    values = fabric.all_reduce(torch.tensor(list(row.values()), dtype=torch.float64), reduce_op="mean")
    assert isinstance(values, torch.Tensor)
    return dict(zip(row, values.tolist(), strict=True))


def learning_rate(recipe: Recipe, iteration: int) -> float:
    """By the recipe's schedule, at an iteration counted from 1; zero at the last."""
    done = iteration / recipe.iterations
    if recipe.schedule == "cosine":
        share = (1 + math.cos(math.pi * done)) / 2
    else:
        share = min(1.0, (1 - done) / max(1 - recipe.decay_from, 1e-9)) if recipe.decay_from < 1 else 1.0
    return recipe.learning_rate * share * min(1.0, iteration / max(recipe.warmup, 1))


def _checkpoint(out: Path, both: Players, record: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
    """Everything needed to go on as if nothing had happened, replaced atomically."""
    state = {"players": both.state(), "record": dict(record), "progress": dict(progress)}
    with replacing(out / "checkpoint.pt") as partial:
        torch.save(state | {"random": torch.get_rng_state()}, partial)


def _resume(out: Path, both: Players, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Go back to the checkpoint; None where there is none.

    While L1 trains alone, a checkpoint serves every recipe that differs in nothing but its own losses.

    Raises:
        DetbenchError: it was made by another training.
    """
    path = out / "checkpoint.pt"
    if not path.exists():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    was, now = (json.loads(json.dumps(r)) for r in (state["record"], record))  # in which tuples are lists
    # A field that is younger than the checkpoint had its default then.
    then, planned = (json.loads(json.dumps(dataclasses.asdict(Recipe(**r.pop("recipe"))))) for r in (was, now))
    changed = {key: then.get(key) for key in planned if then.get(key) != planned[key]}
    allowed, skipped = {"iterations"}, {"every"}
    done = state["progress"]["iteration"]
    alone = [done <= Recipe(**r).shared_iterations for r in (then, planned)]
    if all(alone):  # what has not mattered yet may differ
        allowed |= {"content", "l1_until", "adversarial_from"}
        skipped |= {"deblurer", "perceptual"}
    different = [key for key in now if key not in skipped and was.get(key) != now[key]]
    different += ["recipe"] * (bool(changed.keys() - allowed) or any(alone) != all(alone))
    if different:
        raise DetbenchError(f"{path} was made with another {', '.join(different)}: choose another --out, or remove it.")
    both.load(state["players"])
    torch.set_rng_state(state["random"])
    progress: dict[str, Any] = state["progress"]
    if changed:
        progress["changes"].append({"iteration": progress["iteration"], "recipe_was": changed})
    return progress
