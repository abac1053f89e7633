"""The trainer: one loop for all recipes.

Each iteration updates the discriminator on a batch of (blurred, sharp) crops and then the generator on the same
batch, as often as the recipe says. What is needed to go on after a kill is in ``checkpoint.pt``; what ships is the
generator of ``best.safetensors``.
"""

from __future__ import annotations

import copy
import csv
import dataclasses
import importlib.util
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy
from torch import nn

from detbench import environment
from detbench.gan.data import Batches, Photo, load_training, to_tensor, validation_pairs
from detbench.gan.discriminators import Discriminator
from detbench.gan.losses import ADVERSARIAL, content_loss
from detbench.gan.recipe import Recipe
from detbench.images import write_image
from detbench.progress import say
from detbench.types import DeblurerSpec, DetbenchError
from detbench.weights import save_weights

LOG_EVERY = 100
"""Iterations between lines of the log."""


def train(
    name: str,
    spec: DeblurerSpec,
    out: Path,
    *,
    data: Sequence[Path] | None = None,
    validation: Sequence[Path] | None = None,
    preset: str | None = None,
    iterations: int | None = None,
    seed: int = 0,
    device: str = "auto",
    every: int = 1000,
) -> Path:
    """Train a deblurrer, going on from ``out/checkpoint.pt`` where there is one.

    Args:
        name: of the deblurrer, for the record.
        spec: its networks and recipes.
        out: folder for the checkpoint, ``log.csv``, ``samples/`` and the weights.
        data: folders to train on, as for ``detbench.gan.data.load_training``.
        validation: folders of photographs and pairs that are not trained on, likewise.
        preset: the size to train; the spec's own by default.
        iterations: in place of the recipe's.
        seed: of the initial weights and the batches.
        device: ``auto``, ``cpu`` or ``cuda``. Under ``torchrun`` every process takes one device.
        every: iterations between validations and checkpoints.

    Returns:
        The weights file with the best validation PSNR.

    Raises:
        DetbenchError: the deblurrer has no such preset or no recipe, the checkpoint belongs to another training, or a
            loss is not finite.
    """
    preset = preset or spec.preset
    if preset not in spec.presets:
        raise DetbenchError(f"{name} has no preset {preset!r}: choose {' or '.join(spec.presets)}.")
    recipe = spec.presets[preset].recipe
    if recipe is None:
        raise DetbenchError(f"{name} has no recipe: there is nothing to train.")
    if spec.value_range != (-1.0, 1.0):
        raise DetbenchError(f"{name} has value_range {spec.value_range}: trained networks work in (-1.0, 1.0).")
    if recipe.crop % spec.presets[preset].multiple_of:
        raise DetbenchError(
            f"{name}'s crops of {recipe.crop} px are no multiple of {spec.presets[preset].multiple_of}."
        )
    recipe = dataclasses.replace(recipe, iterations=iterations or recipe.iterations)
    options = dict(spec.presets[preset].options)

    sources, held_out_sources = load_training(data, validation)
    fabric = _fabric(device)
    fabric.launch()
    torch.manual_seed(seed)
    generator, discriminator = spec.build(**options), Discriminator(crop=recipe.crop, **recipe.discriminator)
    INITIALISE[recipe.init](generator)
    initialise_normal(discriminator)
    for net in (generator, discriminator):
        net.to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(generator).to(fabric.device)
    generator, g_optimizer = fabric.setup(generator, _adam(generator, recipe))
    discriminator, d_optimizer = fabric.setup(discriminator, _adam(discriminator, recipe))
    parts: dict[str, Any] = {
        "generator": generator,
        "discriminator": discriminator,
        "averaged": averaged,
        "g_optimizer": g_optimizer,
        "d_optimizer": d_optimizer,
    }
    record = {
        "deblurer": name,
        "preset": preset,
        "options": options,
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "data": sources.record,
        "validation": held_out_sources.record,
    }
    progress = _resume(out, parts, record) or {"iteration": 0, "best": -np.inf, "seconds": 0.0}
    if progress["iteration"] and fabric.is_global_zero:
        say(f"going on from iteration {progress['iteration']} of {recipe.iterations}, kept in {out / 'checkpoint.pt'}")
    log = Log(out, progress["iteration"]) if fabric.is_global_zero else None
    d_loss_of, g_loss_of = ADVERSARIAL[recipe.adversarial]
    batches = Batches(sources, recipe, seed, fabric.global_rank, fabric.device).stream(progress["iteration"])

    held_out = validation_pairs(held_out_sources, recipe)
    d_loss = torch.zeros(())

    started, waited, since = time.monotonic() - progress["seconds"], 0.0, time.monotonic()
    for iteration in range(progress["iteration"] + 1, recipe.iterations + 1):
        waiting = time.monotonic()
        blurred, sharp = next(batches)
        waited += time.monotonic() - waiting
        for optimizer in (g_optimizer, d_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, iteration)

        adversarial = iteration > recipe.adversarial_from * recipe.iterations
        restored = generator(blurred)  # also serves the first generator step: the generator has not changed by then
        discriminator.requires_grad_(True)
        for _ in range(recipe.discriminator_steps if adversarial else 0):
            d_loss = d_loss_of(discriminator(blurred, sharp), discriminator(blurred, restored.detach()))
            d_optimizer.zero_grad()
            fabric.backward(d_loss)
            d_optimizer.step()

        discriminator.requires_grad_(False)
        judge = discriminator.module  # unwrapped: its gradients are not wanted here, so DDP must not wait for them
        for step in range(recipe.generator_steps if adversarial else 1):
            restored = generator(blurred) if step else restored
            g_loss = content = content_loss(recipe.content, restored, sharp)
            if adversarial:
                with fabric.autocast():
                    scores = judge(blurred, restored)
                g_loss = content + g_loss_of(scores.float())
            g_optimizer.zero_grad()
            fabric.backward(g_loss)
            g_optimizer.step()
            average(averaged, generator.module, recipe.ema)

        last = iteration == recipe.iterations
        if iteration % LOG_EVERY and iteration % every and not last:
            continue
        row: dict[str, float] = {"d_loss": d_loss.item(), "g_loss": g_loss.item(), "content": content.item()}
        if not np.isfinite(list(row.values())).all():
            raise DetbenchError(
                f"{name}: a loss is not finite at iteration {iteration}; {out} holds the last good state."
            )
        row["psnr_train"] = 10 * float(torch.log10(4 / (restored.detach() - sharp).square().mean()))
        row["learning_rate"] = learning_rate(recipe, iteration)
        row["waiting"] = waited / (time.monotonic() - since)
        if log and (iteration % every == 0 or last):
            restorations = restore_crops(averaged, [blurred for blurred, _ in held_out])
            row["psnr_validation"] = mean_psnr(restorations, [sharp for _, sharp in held_out])
            log.sample(iteration, held_out, restorations)
            progress.update(iteration=iteration, seconds=time.monotonic() - started)
            full = record | {
                "iterations": iteration,
                "images_seen": iteration * recipe.batch * fabric.world_size,
                "wall_seconds": round(progress["seconds"]),
                "psnr_validation": row["psnr_validation"],
                "environment": environment.describe(),
            }
            if row["psnr_validation"] > progress["best"]:
                progress["best"] = row["psnr_validation"]
                save_weights(out / "best.safetensors", averaged, full)
            save_weights(out / "last.safetensors", averaged, full)
        if log:
            log.write(iteration, recipe.iterations, time.monotonic() - started, row)
            if "psnr_validation" in row:  # last of all: what the log lacks when a kill comes sooner is done again
                _checkpoint(out, parts, record, progress)
        waited, since = 0.0, time.monotonic()
    return out / "best.safetensors"


def learning_rate(recipe: Recipe, iteration: int) -> float:
    """Constant up to ``decay_from`` of the iterations, then linear to zero at the last."""
    left = (1 - iteration / recipe.iterations) / max(1 - recipe.decay_from, 1e-9)
    return recipe.learning_rate * min(1.0, left) if recipe.decay_from < 1 else recipe.learning_rate


def initialise_normal(net: nn.Module) -> None:
    """Weights of convolutions and fully connected layers ~ N(0, 0.02), of normalisations ~ N(1, 0.02); biases 0."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def initialise_he(net: nn.Module) -> None:
    """He's initialisation for LeakyReLU 0.2, biases 0, and the last layer near zero."""
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    for layer in layers:
        fan_in = float(layer.in_channels * math.prod(layer.kernel_size))
        if isinstance(layer, nn.ConvTranspose2d):  # of whose inputs each output sees one in stride^2
            fan_in /= math.prod(layer.stride)
        nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / (1 + 0.2**2) / fan_in))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    nn.init.normal_(layers[-1].weight, 0.0, 1e-3)


INITIALISE = {"normal": initialise_normal, "he": initialise_he}
"""First weights of the generator, by a recipe's ``init``."""


@torch.no_grad()
def average(averaged: nn.Module, net: nn.Module, decay: float) -> None:
    """Move the running mean of a network's weights towards its present ones; other state is copied."""
    torch._foreach_lerp_(list(averaged.parameters()), list(net.parameters()), 1 - decay)
    for mine, its in zip(averaged.buffers(), net.buffers(), strict=True):
        mine.copy_(its)


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
    """Mean over pictures of the PSNR in dB; pure numpy, since training must not need OpenCV."""
    errors = [np.square(r.astype(float) - s).mean() for r, s in zip(restored, sharp, strict=True)]
    return float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-9))))


class Log:
    """The training's log: the terminal, ``log.csv``, sample pictures, and TensorBoard where it is installed."""

    COLUMNS = (
        "iteration",
        "seconds",
        "d_loss",
        "g_loss",
        "content",
        "psnr_train",
        "psnr_validation",
        "learning_rate",
        "waiting",
    )

    def __init__(self, out: Path, iteration: int) -> None:
        self.out = out
        self.path = out / "log.csv"
        kept: list[Mapping[str, Any]] = []
        if iteration and self.path.exists():
            with self.path.open(newline="") as file:  # what came after the checkpoint will be done again
                kept = [row for row in csv.DictReader(file) if int(row["iteration"]) <= iteration]
        out.mkdir(parents=True, exist_ok=True)
        with self.path.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.COLUMNS)
            writer.writeheader()
            writer.writerows(kept)
        self.board = None
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(out / "tensorboard"), purge_step=iteration)

    def write(self, iteration: int, iterations: int, seconds: float, row: Mapping[str, float]) -> None:
        """Add one line everywhere."""
        values = {key: f"{value:.6g}" for key, value in row.items()}
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.COLUMNS).writerow({"iteration": iteration, "seconds": f"{seconds:.0f}", **values})
        if self.board:
            for key, value in row.items():
                self.board.add_scalar(key, value, iteration)
        shown = "  ".join(f"{key} {value:.4g}" for key, value in row.items())
        print(f"{iteration}/{iterations}  {shown}", file=sys.stderr, flush=True)

    def sample(self, iteration: int, validation: list[tuple[Photo, Photo]], restored: list[Photo]) -> None:
        """Write ``samples/ITERATION.png``: up to six rows of blurred | restored | sharp, spread over the set."""
        picked = np.linspace(0, len(validation) - 1, min(6, len(validation))).astype(int)
        rows = [np.hstack([validation[i][0], restored[i], validation[i][1]]) for i in picked]
        write_image(self.out / "samples" / f"{iteration:07d}.png", np.vstack(rows))


def _fabric(device: str) -> Fabric:
    """Fabric for this machine, in bfloat16 mixed precision where that is fast; several devices under torchrun."""
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or not (number or "0").isdigit():
        raise DetbenchError(f"Device {device!r} is not known: choose auto, cpu, cuda or cuda:N.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DetbenchError(f"Device {device!r} cannot be used here (torch finds no CUDA): try --device cpu.")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    strategy: Any = DDPStrategy(broadcast_buffers=False) if world > 1 else "auto"
    on_gpu = kind != "cpu" and torch.cuda.is_available()
    return Fabric(
        accelerator={"cuda": "gpu"}.get(kind, kind),
        devices=[int(number)] if number else int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        num_nodes=world // int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        strategy=strategy,
        precision="bf16-mixed" if on_gpu or _cpu_has_bf16() else "32-true",
    )


def _cpu_has_bf16() -> bool:
    """Whether this CPU multiplies in bfloat16; one that emulates it takes ten times as long as in float32."""
    can: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch does not tell
    return any(can.get(unit, False) for unit in ("avx512_bf16", "amx_bf16", "bf16"))


def _adam(net: nn.Module, recipe: Recipe) -> torch.optim.Adam:
    return torch.optim.Adam(net.parameters(), recipe.learning_rate, recipe.betas, fused=True)


def _checkpoint(out: Path, parts: Mapping[str, Any], record: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
    """Everything needed to go on as if nothing had happened, replaced atomically."""
    state = {name: part.state_dict() for name, part in parts.items()}
    state |= {"record": dict(record), "progress": dict(progress), "random": torch.get_rng_state()}
    partial = out / "checkpoint.part"
    torch.save(state, partial)
    os.replace(partial, out / "checkpoint.pt")


def _resume(out: Path, parts: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Load a checkpoint into the parts; None where there is none.

    Raises:
        DetbenchError: it was made by another training.
    """
    path = out / "checkpoint.pt"
    if not path.exists():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    # More iterations may be asked for; everything else must be as it was (through JSON, as tuples come back as lists).
    was, now = (json.loads(json.dumps(r)) for r in (state["record"], record))
    for each in (was, now):
        each["recipe"].pop("iterations")
    different = [key for key in now if was.get(key) != now[key]]
    if different:
        raise DetbenchError(f"{path} was made with another {', '.join(different)}: choose another --out, or remove it.")
    for name, part in parts.items():
        part.load_state_dict(state[name])
    torch.set_rng_state(state["random"])
    progress: dict[str, Any] = state["progress"]
    return progress
