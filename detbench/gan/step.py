"""One iteration of a training: the discriminator's updates, then the generator's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from detbench.gan import discriminators, losses
from detbench.gan.data import Batch
from detbench.gan.detector import FrozenDetector, mean_terms, task_loss
from detbench.gan.initialise import INITIALISE, initialise_normal
from detbench.gan.muon import Muon
from detbench.gan.recipe import Recipe

OPTIMIZERS: Mapping[str, Callable[..., Optimizer]] = {"adam": partial(torch.optim.Adam, fused=True), "muon": Muon}
"""The generator's, by a recipe's ``optimizer``: of parameters, a learning rate and Adam's betas."""


@dataclass
class TrainingState:
    """Everything that training changes.

    Attributes:
        generator: the deblurer, wrapped by Fabric.
        discriminator: its opponent, likewise; None if the recipe has no adversarial loss.
        averaged: running mean of the generator's weights; what is validated and shipped.
        g_optimizer: of the generator.
        d_optimizer: of the discriminator; None without one.
    """

    generator: Any
    discriminator: Any
    averaged: nn.Module
    g_optimizer: Any
    d_optimizer: Any

    def state_dict(self) -> dict[str, Any]:
        """State dictionaries by name, for a checkpoint."""
        return {name: part.state_dict() for name, part in vars(self).items() if part is not None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state_dict` gave."""
        for name, part in vars(self).items():
            if part is not None:
                part.load_state_dict(state[name])

    def set_learning_rate(self, rate: float) -> None:
        """Of both optimizers."""
        for optimizer in filter(None, (self.g_optimizer, self.d_optimizer)):
            for group in optimizer.param_groups:
                group["lr"] = rate


def training_state(generator: nn.Module, recipe: Recipe, fabric: Fabric) -> TrainingState:
    """A generator with first weights by the recipe, its discriminator and their optimizers, on Fabric's device.

    Args:
        generator: takes and gives images in [-1, 1]. Weights by ``recipe.init_from`` are already there.
        recipe: what to train.
        fabric: where.
    """
    discriminator: Any = discriminators.build(recipe.crop, **recipe.discriminator) if recipe.adversarial else None
    if recipe.init_from is None:
        INITIALISE[recipe.init](generator)
    d_optimizer = None
    if discriminator:
        initialise_normal(discriminator)
        discriminator, d_optimizer = _set_up(discriminator, recipe, "adam", fabric)
    generator.to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(generator).to(fabric.device)
    if fabric.device.type == "cuda":  # on a CPU compiling takes longer than it saves in a short training
        generator.compile()
    generator, g_optimizer = _set_up(generator, recipe, recipe.optimizer, fabric)
    return TrainingState(generator, discriminator, averaged, g_optimizer, d_optimizer)


def _set_up(net: nn.Module, recipe: Recipe, optimizer: str, fabric: Fabric) -> tuple[Any, Any]:
    """A network and its optimizer, wrapped by Fabric."""
    net.to(memory_format=torch.channels_last)
    return fabric.setup(net, OPTIMIZERS[optimizer](net.parameters(), recipe.learning_rate, recipe.betas))


@dataclass(frozen=True)
class Stage:
    """What of a recipe holds at an iteration.

    Attributes:
        content: weight of each content loss.
        adversarial: whether the discriminator takes part, or the content losses alone train the generator.
        ema: decay of the running mean of the weights.
    """

    content: Mapping[str, float]
    adversarial: bool
    ema: float


def stage(recipe: Recipe, iteration: int) -> Stage:
    """The stage of a recipe at an iteration, counted from 1.

    The running mean's decay grows as (1 + n) / (10 + n), as in TensorFlow's ExponentialMovingAverage.
    """
    return Stage(
        content={"l1": 100.0} if iteration <= recipe.shared_iterations else recipe.content,
        adversarial=recipe.adversarial is not None
        and iteration > max(recipe.shared_iterations, recipe.adversarial_from * recipe.iterations),
        ema=min(recipe.ema, (1 + iteration) / (10 + iteration)),
    )


@dataclass(frozen=True)
class Losses:
    """What an iteration saw; scalars that are still on the device, and the restored crops, where any are restored."""

    discriminator: Tensor
    generator: Tensor
    content: Tensor
    others: Mapping[str, Tensor]
    restored: Tensor | None

    def row(self) -> dict[str, float]:
        """The scalars, by their names in the log; those of detectors and teacher before they are weighted."""
        scalars = {"d_loss": self.discriminator, "g_loss": self.generator, "content": self.content, **self.others}
        return {name: value.item() for name, value in scalars.items()}


def step(
    state: TrainingState,
    recipe: Recipe,
    stage: Stage,
    batch: Batch,
    fabric: Fabric,
    detectors: Sequence[FrozenDetector] = (),
    teacher: nn.Module | None = None,
) -> Losses:
    """Update both networks on one batch.

    No graph is built that is not needed: the discriminator's updates see restored crops without their graph, its
    weights ask for no gradients in the generator's, and detectors see the sharp crops without a graph and once. The
    first forward pass of the generator serves both networks.

    Args:
        state: what is updated.
        recipe: by which.
        stage: what of it holds now.
        batch: crops in [-1, 1].
        fabric: runs the backward passes.
        detectors: whose view of the sharp crops is a target, by ``recipe.detector``.
        teacher: what ``recipe.teacher`` names, frozen, in [-1, 1].
    """
    blurred, sharp = batch.blurred, batch.sharp
    given = (blurred, sharp) if recipe.setting == "oracle" else (blurred,)
    outputs = state.generator(*given)
    d_loss = torch.zeros((), device=blurred.device)
    if stage.adversarial:
        d_loss = _train_discriminator(state, recipe, blurred, sharp, _last(outputs).detach(), fabric)
    target = losses.target(stage.content, outputs, sharp)
    with fabric.autocast():
        views = [detector.look(sharp, batch.scale) for detector in detectors]
        shown = teacher(blurred).float() if teacher else None
    terms: dict[str, Tensor] = {}
    for number in range(recipe.generator_steps if stage.adversarial else 1):
        if number:
            outputs = state.generator(*given)
        g_loss = content = losses.content_loss(stage.content, outputs, target)
        if stage.adversarial:
            adversarial = losses.ADVERSARIAL[str(recipe.adversarial)]
            with fabric.autocast():  # unwrapped: its gradients are not wanted here, so DDP must not wait for them
                scores = state.discriminator.module(blurred, _last(outputs))
            g_loss = g_loss + recipe.adversarial_weight * adversarial.generator(scores.float())
        if detectors:
            with fabric.autocast():
                seen = [detector.look(_last(outputs), batch.scale) for detector in detectors]
            terms = mean_terms(seen, views)
            g_loss = g_loss + task_loss(terms, recipe)
        if shown is not None:
            terms["teacher"] = F.l1_loss(_last(outputs).float(), shown)
            g_loss = g_loss + recipe.teacher_weight * terms["teacher"]
        update(state, recipe, stage, g_loss, fabric)
    detached = {name: term.detach() for name, term in terms.items()}
    return Losses(d_loss.detach(), g_loss.detach(), content.detach(), detached, _last(outputs).detach())


def update(state: TrainingState, recipe: Recipe, stage: Stage, loss: Tensor, fabric: Fabric) -> None:
    """One update of what is trained, and of its running mean, by a loss with a graph.

    Where gradients are clipped, one that is not finite is left out: of thousands of batches in bfloat16 one has such.
    """
    state.g_optimizer.zero_grad()
    fabric.backward(loss)
    if recipe.clip_gradient:
        norm = fabric.clip_gradients(
            state.generator, state.g_optimizer, max_norm=recipe.clip_gradient, error_if_nonfinite=False
        )
        if norm is not None and not torch.isfinite(norm):
            return
    state.g_optimizer.step()
    average(state.averaged, state.generator.module, stage.ema)


def _train_discriminator(
    state: TrainingState, recipe: Recipe, blurred: Tensor, sharp: Tensor, fake: Tensor, fabric: Fabric
) -> Tensor:
    """The discriminator's updates on one batch; its last loss. Afterwards its weights ask for no gradients."""
    adversarial, judge = losses.ADVERSARIAL[str(recipe.adversarial)], state.discriminator
    judge.requires_grad_(True)
    d_loss = torch.zeros((), device=blurred.device)
    for _ in range(recipe.discriminator_steps):
        d_loss = adversarial.discriminator(judge(blurred, sharp).float(), judge(blurred, fake).float())
        penalised = d_loss
        if recipe.gradient_penalty:
            with fabric.autocast():
                penalty = losses.gradient_penalty(judge.module, blurred, sharp, fake, recipe.penalty_per_pixel)
            penalised = d_loss + recipe.gradient_penalty * penalty
        state.d_optimizer.zero_grad()
        fabric.backward(penalised)
        state.d_optimizer.step()
    judge.requires_grad_(False)
    return d_loss


def _last(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    """A network's finest output."""
    return outputs if isinstance(outputs, Tensor) else outputs[-1]


@torch.no_grad()
def average(averaged: nn.Module, net: nn.Module, decay: float) -> None:
    """Move the running mean of a network's weights towards its present ones; other state is copied."""
    torch._foreach_lerp_(list(averaged.parameters()), list(net.parameters()), 1 - decay)
    for mine, its in zip(averaged.buffers(), net.buffers(), strict=True):
        mine.copy_(its)
