"""One iteration of a training: the discriminator's updates, then the generator's."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from detbench.gan import discriminators, losses
from detbench.gan.initialise import INITIALISE, initialise_normal
from detbench.gan.recipe import Recipe


@dataclass
class Players:
    """Everything that training changes.

    Attributes:
        generator: the deblurrer, wrapped by Fabric.
        discriminator: its opponent, likewise.
        averaged: running mean of the generator's weights; what is validated and shipped.
        g_optimizer: of the generator.
        d_optimizer: of the discriminator.
    """

    generator: Any
    discriminator: Any
    averaged: nn.Module
    g_optimizer: Any
    d_optimizer: Any

    def state(self) -> dict[str, Any]:
        """State dictionaries by name, for a checkpoint."""
        return {name: part.state_dict() for name, part in vars(self).items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` gave."""
        for name, part in vars(self).items():
            part.load_state_dict(state[name])

    def set_learning_rate(self, rate: float) -> None:
        """Of both optimizers."""
        for optimizer in (self.g_optimizer, self.d_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = rate


def players(generator: nn.Module, recipe: Recipe, fabric: Fabric) -> Players:
    """A generator with first weights by the recipe, its discriminator and their optimizers, on Fabric's device."""
    discriminator = discriminators.build(recipe.crop, **recipe.discriminator)
    INITIALISE[recipe.init](generator)
    initialise_normal(discriminator)
    for net in (generator, discriminator):
        net.to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(generator).to(fabric.device)
    if fabric.device.type == "cuda":  # on a CPU compiling takes longer than it saves in a short training
        generator.compile()
    adams = [
        torch.optim.Adam(net.parameters(), recipe.learning_rate, recipe.betas, fused=True)
        for net in (generator, discriminator)
    ]
    generator, g_optimizer = fabric.setup(generator, adams[0])
    discriminator, d_optimizer = fabric.setup(discriminator, adams[1])
    return Players(generator, discriminator, averaged, g_optimizer, d_optimizer)


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
        adversarial=iteration > max(recipe.shared_iterations, recipe.adversarial_from * recipe.iterations),
        ema=min(recipe.ema, (1 + iteration) / (10 + iteration)),
    )


@dataclass(frozen=True)
class Losses:
    """What an iteration saw; scalars that are still on the device, and the restored crops."""

    discriminator: Tensor
    generator: Tensor
    content: Tensor
    restored: Tensor

    def row(self) -> dict[str, float]:
        """The scalars, by their names in the log."""
        return {"d_loss": self.discriminator.item(), "g_loss": self.generator.item(), "content": self.content.item()}


def step(players: Players, recipe: Recipe, stage: Stage, blurred: Tensor, sharp: Tensor, fabric: Fabric) -> Losses:
    """Update both networks on one batch.

    No graph is built that is not needed: the discriminator's updates see restored crops without their graph, and its
    weights ask for no gradients in the generator's. The first forward pass of the generator serves both.

    Args:
        players: what is updated.
        recipe: by which.
        stage: what of it holds now.
        blurred: (B, 3, H, W) in [-1, 1].
        sharp: likewise.
        fabric: runs the backward passes.
    """
    game = losses.ADVERSARIAL[recipe.adversarial]
    given = (blurred, sharp) if recipe.setting == "oracle" else (blurred,)
    outputs = players.generator(*given)
    restored = outputs if isinstance(outputs, Tensor) else outputs[-1]
    d_loss = torch.zeros((), device=blurred.device)
    judge = players.discriminator

    judge.requires_grad_(True)
    for _ in range(recipe.discriminator_steps if stage.adversarial else 0):
        fake = restored.detach()
        d_loss = game.discriminator(judge(blurred, sharp).float(), judge(blurred, fake).float())
        penalised = d_loss
        if recipe.gradient_penalty:
            with fabric.autocast():
                penalty = losses.gradient_penalty(judge.module, blurred, sharp, fake, recipe.penalty_per_pixel)
            penalised = d_loss + recipe.gradient_penalty * penalty
        players.d_optimizer.zero_grad()
        fabric.backward(penalised)
        players.d_optimizer.step()

    judge.requires_grad_(False)
    judge = judge.module  # unwrapped: its gradients are not wanted here, so DDP must not wait for them
    target = losses.target(stage.content, outputs, sharp)
    for number in range(recipe.generator_steps if stage.adversarial else 1):
        if number:
            outputs = players.generator(*given)
            restored = outputs if isinstance(outputs, Tensor) else outputs[-1]
        g_loss = content = losses.content_loss(stage.content, outputs, target)
        if stage.adversarial:
            with fabric.autocast():
                scores = judge(blurred, restored)
            g_loss = content + recipe.adversarial_weight * game.generator(scores.float())
        players.g_optimizer.zero_grad()
        fabric.backward(g_loss)
        players.g_optimizer.step()
        average(players.averaged, players.generator.module, stage.ema)
    return Losses(d_loss.detach(), g_loss.detach(), content.detach(), restored.detach())


@torch.no_grad()
def average(averaged: nn.Module, net: nn.Module, decay: float) -> None:
    """Move the running mean of a network's weights towards its present ones; other state is copied."""
    torch._foreach_lerp_(list(averaged.parameters()), list(net.parameters()), 1 - decay)
    for mine, its in zip(averaged.buffers(), net.buffers(), strict=True):
        mine.copy_(its)
