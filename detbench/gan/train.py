"""The trainer: one loop for all recipes.

Each iteration is a :func:`detbench.gan.step.step` on a batch of (blurred, sharp) crops. What is needed to go on after a
kill is in ``checkpoint.pt``; what ships is the generator of ``best.safetensors``.
"""

from __future__ import annotations

import dataclasses
import json
import os
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
from detbench.gan import vgg
from detbench.gan.data import Batches, Photo, load_training, psnr_db, to_tensor, validation_pairs
from detbench.gan.log import Log
from detbench.gan.recipe import Recipe
from detbench.gan.step import Players, players, stage, step
from detbench.progress import say
from detbench.types import DeblurerSpec, DetbenchError
from detbench.weights import save_weights

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
    preset: str | None = None,
    iterations: int | None = None,
    seed: int = 0,
    device: str = "auto",
    every: int = 1000,
    budget: float = np.inf,
) -> Path:
    """Train a deblurrer, going on from ``out/checkpoint.pt`` where there is one.

    Args:
        name: of the deblurrer, for the record.
        spec: its networks and recipes.
        out: folder for the checkpoint, ``log.csv``, ``samples/`` and the weights.
        data: folders or packs to train on, as for ``detbench.gan.data.load_training``.
        validation: folders of photographs and pairs that are not trained on, likewise.
        preset: the size to train; the spec's own by default.
        iterations: in place of the recipe's.
        seed: of the initial weights and the batches.
        device: ``auto``, ``cpu`` or ``cuda``. Under ``torchrun`` every process takes one device.
        every: iterations between validations and checkpoints.
        budget: seconds after which to stop, with a checkpoint to go on from.

    Returns:
        The weights file with the best validation PSNR.

    Raises:
        DetbenchError: the deblurrer has no such preset or no recipe, the checkpoint belongs to another training, or
            the training diverged again and again.
    """
    preset = preset or spec.preset
    recipe, options = _recipe(name, spec, preset, iterations), dict(spec.presets[preset].options)
    deadline = time.monotonic() + budget
    sources, held_out_sources = load_training(data, validation)
    fabric = _fabric(device)
    fabric.launch()
    torch.manual_seed(seed)
    both = players(spec.build(**options), recipe, fabric)
    record = {
        "deblurer": name,
        "preset": preset,
        "options": options,
        "recipe": dataclasses.asdict(recipe),
        "perceptual": vgg.source() if any("perceptual" in loss for loss in recipe.content) else None,
        "seed": seed,
        "data": sources.record,
        "validation": held_out_sources.record,
    }
    progress = _resume(out, both, record)
    if progress and fabric.is_global_zero:
        say(f"going on from iteration {progress['iteration']} of {recipe.iterations}, kept in {out / 'checkpoint.pt'}")
    if not progress:
        progress = {"iteration": 0, "best": -np.inf, "seconds": 0.0, "rollbacks": 0, "changes": []}
        if fabric.is_global_zero:  # something to roll back to from the first iteration on
            _checkpoint(out, both, record, progress)

    held_out = validation_pairs(held_out_sources, recipe)
    batches = Batches(sources, recipe, seed, fabric.global_rank, fabric.device)
    stream = batches.stream(progress["iteration"], progress["rollbacks"])
    log = Log(out, progress["iteration"]) if fabric.is_global_zero else None
    iteration, idle = progress["iteration"], 0
    started, waited, since = time.monotonic() - progress["seconds"], 0.0, time.monotonic()
    while iteration < recipe.iterations:
        iteration += 1
        waiting = time.monotonic()
        blurred, sharp = next(stream)
        waited += time.monotonic() - waiting
        rate = learning_rate(recipe, iteration) * 0.5 ** progress["rollbacks"]
        both.set_learning_rate(rate)
        now = stage(recipe, iteration)
        seen = step(both, recipe, now, blurred, sharp, fabric)
        if iteration % LOG_EVERY and iteration % every and iteration < recipe.iterations:
            continue

        error = (seen.restored - sharp).square().mean().clamp_min(1e-10)
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
                log = Log(out, progress["iteration"])
                _checkpoint(out, both, record, progress)  # a kill must not forget that it happened
            iteration, idle = progress["iteration"], 0
            stream = batches.stream(iteration, progress["rollbacks"])
            continue

        row["learning_rate"] = rate
        row["waiting"] = waited / (time.monotonic() - since)
        pause = iteration % every == 0 or iteration == recipe.iterations or over
        if log and pause:
            restorations = restore_crops(both.averaged, [blurred for blurred, _ in held_out])
            row["psnr_validation"] = mean_psnr(restorations, [sharp for _, sharp in held_out])
            log.sample(iteration, held_out, restorations)
            if progress["iteration"] <= recipe.shared_iterations < iteration:
                progress["best"] = -np.inf  # weights of the shared stage are not this recipe's
            progress.update(iteration=iteration, seconds=time.monotonic() - started)
            full = record | {
                "iterations": iteration,
                "images_seen": iteration * recipe.batch * fabric.world_size,
                "wall_seconds": round(progress["seconds"]),
                "rollbacks": progress["rollbacks"],
                "changes": progress["changes"],
                "psnr_validation": row["psnr_validation"],
                "environment": environment.describe(),
            }
            if row["psnr_validation"] > progress["best"]:
                progress["best"] = row["psnr_validation"]
                save_weights(out / "best.safetensors", both.averaged, full)
            save_weights(out / "last.safetensors", both.averaged, full)
        if log:
            log.write(iteration, recipe.iterations, time.monotonic() - started, row)
            if pause:  # last of all: what the log lacks when a kill comes sooner is done again
                _checkpoint(out, both, record, progress)
        if over:
            break
        waited, since = 0.0, time.monotonic()
    return out / "best.safetensors"


def _recipe(name: str, spec: DeblurerSpec, preset: str, iterations: int | None) -> Recipe:
    """A preset's recipe.

    Raises:
        DetbenchError: there is none, or it does not fit the network.
    """
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
    return dataclasses.replace(recipe, iterations=iterations or recipe.iterations)


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
    """Constant up to ``decay_from`` of the iterations, then linear to zero at the last."""
    left = (1 - iteration / recipe.iterations) / max(1 - recipe.decay_from, 1e-9)
    return recipe.learning_rate * min(1.0, left) if recipe.decay_from < 1 else recipe.learning_rate


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
    """Mean over pictures of the PSNR in dB."""
    return float(np.mean([psnr_db(r, s) for r, s in zip(restored, sharp, strict=True)]))


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


def _checkpoint(out: Path, both: Players, record: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
    """Everything needed to go on as if nothing had happened, replaced atomically."""
    out.mkdir(parents=True, exist_ok=True)
    state = {"players": both.state(), "record": dict(record), "progress": dict(progress)}
    partial = out / "checkpoint.part"
    torch.save(state | {"random": torch.get_rng_state()}, partial)
    os.replace(partial, out / "checkpoint.pt")


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
    allowed, skipped = {"iterations"}, set[str]()
    done = state["progress"]["iteration"]
    alone = [done <= Recipe(**r).shared_iterations for r in (then, planned)]
    if all(alone):  # what has not mattered yet may differ
        allowed |= {"content", "l1_until", "adversarial_from"}
        skipped = {"deblurer", "perceptual"}
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
