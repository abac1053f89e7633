"""The loop of all trainings: iterations, validations, checkpoints, and what happens when one diverges.

What is trained (a deblurer, or a detector that is adapted to blur) is in the :class:`Parts` that it is given. What is
needed to go on after a kill is in ``checkpoint.pt``; what ships are the weights of ``best.safetensors``.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import nn

from detbench import environment
from detbench.files import sweep
from detbench.gan.checkpoint import planned, resume, save_checkpoint
from detbench.gan.data import Batch, Batches
from detbench.gan.log import Log
from detbench.gan.recipe import Recipe
from detbench.gan.sources import Photo
from detbench.gan.step import Losses, Stage, TrainingState, stage
from detbench.gan.validate import Verdict
from detbench.progress import say
from detbench.types import DetbenchError
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


class Validate(Protocol):
    """How good weights are, on pictures that are not trained on."""

    @property
    def shown(self) -> list[tuple[Photo, Photo]]:
        """(blurred, sharp) pictures beside which restored ones are shown; empty where nothing is restored."""
        ...

    def __call__(self, net: nn.Module) -> Verdict:
        """Validate a network in [-1, 1]."""
        ...


@dataclass(frozen=True)
class Parts:
    """What a training consists of.

    Attributes:
        fabric: runs it.
        state: what it changes.
        batches: what it sees.
        validate: chooses the best weights.
        step: an iteration's updates.
        record: plain data about it, for checkpoint and weights.
    """

    fabric: Fabric
    state: TrainingState
    batches: Batches
    validate: Validate
    step: Callable[[Stage, Batch], Losses]
    record: Mapping[str, Any]


class Training:
    """One training: what it consists of, and how far it has come.

    Args:
        name: of what is trained, for messages.
        recipe: by which.
        out: folder for the checkpoint, ``log.csv``, ``samples/`` and the weights.
        every: iterations between validations and checkpoints.
        parts: what it consists of.
    """

    progress: dict[str, Any]
    iteration: int
    idle: int
    waited: float
    since: float

    def __init__(self, name: str, recipe: Recipe, out: Path, every: int, parts: Parts) -> None:
        self.name, self.recipe, self.out, self.every = name, recipe, out, every
        self.fabric, self.state, self.batches = parts.fabric, parts.state, parts.batches
        self.validate, self._step = parts.validate, parts.step
        self.record = {**parts.record, "recipe": dataclasses.asdict(recipe), "every": every}

    def fit(self, seconds: float) -> None:
        """Make so many seconds a number of iterations, or take the number that an earlier call made of them.

        Raises:
            DetbenchError: they are too few.
        """
        plan = planned(self.out)
        if plan is None:
            plan = _affordable(self.state, self.recipe, self.batches, self._step, self.validate, seconds)
        self.recipe, self.every = dataclasses.replace(self.recipe, iterations=plan[0]), plan[1]
        self.record |= {"recipe": dataclasses.asdict(self.recipe), "every": self.every}

    def run(self, deadline: float) -> Path:
        """Train from the checkpoint, or from the beginning, up to the last iteration or a moment of the clock.

        Raises:
            DetbenchError: the checkpoint belongs to another training, or the training diverged again and again.
        """
        self._begin()
        while self.iteration < self.recipe.iterations:
            self.iteration += 1
            waiting = time.monotonic()
            batch = next(self.stream)
            self.waited += time.monotonic() - waiting
            rate = learning_rate(self.recipe, self.iteration) * 0.5 ** self.progress["rollbacks"]
            self.state.set_learning_rate(rate)
            now = stage(self.recipe, self.iteration)
            losses = self._step(now, batch)
            if self.iteration % LOG_EVERY and not self._pauses():
                continue
            row, over = self._row(losses, batch, time.monotonic() > deadline)
            self.idle = self.idle + 1 if now.adversarial and 0 <= row["d_loss"] < IDLE_LOSS else 0
            if (reason := _diverged(row, self.idle)) is not None:
                self._roll_back(reason)
                continue
            row |= {"learning_rate": rate, "waiting": self.waited / (time.monotonic() - self.since)}
            self._report(row, pause=over or self._pauses())
            if over:
                break
            self.waited, self.since = 0.0, time.monotonic()
        self.fabric.barrier()  # the others wait for the one that writes
        return self.out / "best.safetensors"

    def _begin(self) -> None:
        """Go back to the checkpoint, or make the first one."""
        progress = resume(self.out, self.state, self.record)
        if self.fabric.is_global_zero:
            sweep(self.out)
        if progress and self.fabric.is_global_zero:
            say(
                f"going on from iteration {progress['iteration']} of {self.recipe.iterations}, kept in"
                f" {self.out / 'checkpoint.pt'}"
            )
        if not progress:
            progress = {"iteration": 0, "best": -np.inf, "seconds": 0.0, "rollbacks": 0, "changes": []}
            if self.fabric.is_global_zero:  # something to roll back to from the first iteration on
                save_checkpoint(self.out, self.state, self.record, progress)
        self._go_on(progress)
        self.log = Log(self.out, self.iteration, progress["seconds"]) if self.fabric.is_global_zero else None
        self.begun = time.monotonic() - progress["seconds"]
        self.waited, self.since = 0.0, time.monotonic()

    def _pauses(self) -> bool:
        """Whether weights are validated and written after this iteration."""
        return self.iteration % self.every == 0 or self.iteration == self.recipe.iterations

    def _row(self, losses: Losses, batch: Batch, over: bool) -> tuple[dict[str, float], bool]:
        """A line of the log, and whether time is over on any device: all see the same, and decide alike."""
        row = losses.row() | {"over": float(over)}
        if losses.restored is not None:
            error = (losses.restored - batch.sharp).square().mean().clamp_min(1e-10)
            row["psnr_train"] = 10 * float(torch.log10(4 / error))
        row = _mean_over_devices(row, self.fabric)
        return row, row.pop("over") > 0

    def _roll_back(self, reason: str) -> None:
        """Go back to the last checkpoint, at half the learning rate.

        Raises:
            DetbenchError: that has been done too often.
        """
        self.fabric.barrier()
        progress = resume(self.out, self.state, self.record) or self.progress
        progress["rollbacks"] += 1
        if progress["rollbacks"] > ROLLBACKS:
            raise DetbenchError(
                f"{self.name}: {reason} at iteration {self.iteration}, after {ROLLBACKS} returns to a checkpoint:"
                f" {self.out} holds the last good state."
            )
        if self.log:
            back = f"back to {progress['iteration']}, at half the rate"
            say(f"{self.name}: {reason} at iteration {self.iteration}: {back}")
            self.log = Log(self.out, progress["iteration"], time.monotonic() - self.begun)
            save_checkpoint(self.out, self.state, self.record, progress)  # a kill must not forget that it happened
        self._go_on(progress)

    def _go_on(self, progress: dict[str, Any]) -> None:
        """Stand where a checkpoint stands."""
        self.progress, self.iteration, self.idle = progress, progress["iteration"], 0
        self.stream = self.batches.stream(self.iteration, progress["rollbacks"])

    def _report(self, row: dict[str, float], pause: bool) -> None:
        """Write a line of the log and, in a pause, weights and a checkpoint; the first device does."""
        if not self.log:
            return
        if pause:
            row |= self._validate()
        self.log.write(self.iteration, self.recipe.iterations, time.monotonic() - self.begun, row)
        if pause:  # last of all: what the log lacks when a kill comes sooner is done again
            save_checkpoint(self.out, self.state, self.record, self.progress)

    def _validate(self) -> Mapping[str, float]:
        """Validate the averaged weights and write them, as the best too if they are; gives the log's columns."""
        assert self.log
        verdict = self.validate(self.state.averaged)
        self.log.sample(self.iteration, self.validate.shown, verdict.restored)
        if self.progress["iteration"] <= self.recipe.shared_iterations < self.iteration:
            self.progress["best"] = -np.inf  # weights of the shared stage are not this recipe's
        self.progress.update(iteration=self.iteration, seconds=time.monotonic() - self.begun)
        full = self.record | {
            "iterations": self.iteration,
            "images_seen": self.iteration * self.recipe.batch * self.fabric.world_size,
            "wall_seconds": round(self.progress["seconds"]),
            "rollbacks": self.progress["rollbacks"],
            "changes": self.progress["changes"],
            **verdict.row,
            "environment": environment.describe(),
        }
        if verdict.score > self.progress["best"]:
            self.progress["best"] = verdict.score
            save_weights(self.out / "best.safetensors", self.state.averaged, full)
        save_weights(self.out / "last.safetensors", self.state.averaged, full)
        return verdict.row


def _affordable(
    state: TrainingState,
    recipe: Recipe,
    batches: Batches,
    once: Callable[[Stage, Batch], Any],
    validate: Validate,
    seconds: float,
) -> tuple[int, int]:
    """How many iterations fit into so many seconds, and how many lie between validations.

    Everything is afterwards as it was before.

    Raises:
        DetbenchError: too few.
    """
    before, random = copy.deepcopy(state.state_dict()), torch.get_rng_state()
    started = time.monotonic()
    validate(state.averaged)
    validation = time.monotonic() - started
    last = stage(recipe, recipe.iterations)  # with all its losses
    for number in range(TIMED + 2):
        if number == 2:  # the first ones choose their algorithms
            started = time.monotonic()
        once(last, batches.batch(number))
    iteration = (time.monotonic() - started) / TIMED
    state.load_state_dict(before)
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
