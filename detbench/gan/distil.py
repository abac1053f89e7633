"""``python -m detbench.gan.distil``: weights of ``fastsrn_task_small`` from those of ``fastsrn_task``.

Its two outer levels begin as ``fastsrn_task``'s. Its innermost one has fewer channels, and first learns to give what
the same network with all of ``fastsrn_task``'s channels gives at that place: distillation of features (Romero et al.,
"FitNets", ICLR 2015), here of one level between two others that stay as they are. Then the whole network learns to
restore crops as ``fastsrn_task`` does. Of many sharp crops that may lie behind a blurred one a small network can give
no more than the mean, which is soft again; what its teacher makes of the crop is one picture.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from detbench import environment, registry
from detbench.gan.data import Batches
from detbench.gan.prepare import fabric_on
from detbench.gan.recipe import Recipe
from detbench.gan.sources import Sources, load_folders
from detbench.gan.step import average
from detbench.progress import say
from detbench.weights import load_weights, save_weights

NAME, TEACHER = "fastsrn_task_small", "fastsrn_task"

LEVEL_CROPS, LEVEL_STEPS, LEVEL_BATCH, LEVEL_RATE = 800, 2_500, 16, 1e-3
"""Of the innermost level: crops, drawn once, whose features are held in memory; iterations; batch; learning rate."""

CROPS, STEPS, BATCH, RATE = 2_400, 3_000, 4, 2e-4
"""The same of the whole network."""

CLIP = 0.5
"""Largest norm of a gradient."""

EMA = 0.999
"""Decay of the running mean of the whole network's weights, which is what is kept."""

EVERY = 250
"""Iterations between two lines of progress."""


def distil(sources: Sources, weights: Path | None, steps: int, seed: int, fabric: Fabric) -> nn.Module:
    """The network, distilled.

    Args:
        sources: what to draw crops from.
        weights: to begin the whole network's distillation with, in place of that of its innermost level.
        steps: iterations of the whole network; 0 leaves it with its innermost level distilled.
        seed: of the level's first weights and of the crops.
        fabric: where to compute, and how precisely.
    """
    spec, teacher = registry.get(NAME), registry.load(TEACHER).build().eval().to(fabric.device)
    torch.manual_seed(seed)
    theirs = teacher.state_dict()
    wide: Any = spec.build(widths=[len(theirs[f"layers.enc{level}_1.weight"]) for level in (1, 2, 3)])
    net: Any = spec.build()
    for each in (wide, net):
        each.adopt(theirs)
        each.to(fabric.device)
    crops = Batches(sources, replace(recipe(weights, steps), batch=LEVEL_BATCH), seed, 0, fabric.device)
    if weights:
        load_weights(net, weights)
    else:
        batches = [(crops.batch(i).blurred + 1) / 2 for i in range(LEVEL_CROPS // LEVEL_BATCH)]
        features = [_features(wide, batch) for batch in batches]
        given, wanted = (torch.cat(each) for each in zip(*features, strict=True))
        fit_level(net, given, wanted, LEVEL_STEPS)
    if steps:
        given, wanted = restored(teacher, crops, CROPS // LEVEL_BATCH, fabric)
        net = imitate(net, given, wanted, steps, fabric)
    return net


def recipe(weights: Path | None, steps: int) -> Recipe:
    """What the whole network's distillation is, for its crops and for the record: the tuning's without detectors."""
    spec = registry.get(NAME)
    tuning = spec.presets[spec.preset].recipe
    assert tuning
    return replace(
        tuning,
        content={},
        detector=(),
        object_crops=0.0,
        init_from=str(weights) if weights else TEACHER,
        teacher=TEACHER,
        teacher_weight=1.0,
        iterations=steps,
        learning_rate=RATE,
        warmup=0,
        clip_gradient=CLIP,
        batch=BATCH,
        ema=EMA,
    )


def fit_level(net: nn.Module, given: Tensor, wanted: Tensor, iterations: int) -> float:
    """Train a network's innermost level to give some features for others.

    Args:
        net: whose innermost level is changed.
        given: (N, C, h, w) what the level reads.
        wanted: (N, C, h, w) what it is to add to that.
        iterations: of Adam, whose rate falls to 0 by a cosine.

    Returns:
        The mean squared error of the last iterations, as a share of the mean square of what is wanted.
    """
    level, power = _innermost(net), wanted.square().mean()

    def error() -> Tensor:
        chosen = torch.randint(len(given), (LEVEL_BATCH,))
        return (level(given[chosen]) - wanted[chosen]).square().mean() / power

    return _minimise(error, level, LEVEL_RATE, iterations)


@torch.no_grad()
def restored(teacher: nn.Module, crops: Batches, batches: int, fabric: Fabric) -> tuple[Tensor, Tensor]:
    """Blurred crops, and what the teacher makes of them.

    Returns:
        (N, 3, H, W) uint8 both: of floats there would be 4 GB.
    """
    pairs = []
    for i in range(batches):
        blurred = _bytes((crops.batch(i).blurred + 1) / 2)
        with fabric.autocast():
            pairs.append((blurred, _bytes(teacher(blurred / 255))))
    given, wanted = (torch.cat(each) for each in zip(*pairs, strict=True))
    return given, wanted


def imitate(net: nn.Module, given: Tensor, wanted: Tensor, iterations: int, fabric: Fabric) -> nn.Module:
    """Train a network to restore crops as its teacher did, by L1.

    Args:
        net: of (B, 3, H, W) in [0, 1]; it is changed.
        given: (N, 3, H, W) uint8 blurred crops.
        wanted: the same, restored.
        iterations: of Adam, whose rate falls to 0 by a cosine.
        fabric: where to compute, and how precisely.

    Returns:
        A network with the running mean of the weights.
    """
    averaged = copy.deepcopy(net).requires_grad_(False)
    iteration = 0

    def error() -> Tensor:
        nonlocal iteration
        average(averaged, net, min(EMA, (1 + iteration) / (10 + iteration)))  # soon forgets the first ones
        iteration += 1
        chosen = torch.randint(len(given), (BATCH,))
        mirrored = [3] * int(torch.rand(()) < 0.5)
        blurred, sharp = ((each[chosen] / 255).flip(mirrored) for each in (given, wanted))
        with fabric.autocast():
            outputs = net(blurred.to(memory_format=torch.channels_last))
        return F.l1_loss(outputs.float(), sharp)

    _minimise(error, net.to(memory_format=torch.channels_last), RATE, iterations)
    average(averaged, net, EMA)
    return averaged


def _minimise(error: Callable[[], Tensor], net: nn.Module, rate: float, iterations: int) -> float:
    """Train a network by Adam, whose rate falls to 0 by a cosine; the mean error of the last iterations."""
    optimizer = torch.optim.Adam(net.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    errors = deque[float](maxlen=EVERY)
    for iteration in range(1, iterations + 1):
        loss = error()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        errors.append(loss.item())
        if iteration % EVERY == 0:
            say(f"{iteration}/{iterations}  error {np.mean(errors):.4f}")
    return float(np.mean(errors))


def _bytes(frames: Tensor) -> Tensor:
    """Frames in [0, 1] as uint8."""
    return (frames.float().clamp(0, 1) * 255).round().byte()


def _innermost(net: Any) -> nn.Sequential:
    """The level between the encoder's second level and the decoder's: the network's own layers."""
    layers, blocks = net.layers, net.blocks
    encoder = [layers["enc3_1"], nn.ReLU(), *(layers[f"enc3_{i + 1}"] for i in blocks)]
    return nn.Sequential(*encoder, *(layers[f"dec3_{i}"] for i in reversed(blocks)), layers["dec2_4"], nn.ReLU())


@torch.no_grad()
def _features(net: Any, blurred: Tensor) -> tuple[Tensor, Tensor]:
    """What a network's innermost level reads for (B, 3, H, W) crops in [0, 1], and what it gives."""
    level, read = _innermost(net), list[Tensor]()
    hook = level[0].register_forward_pre_hook(lambda _, given: read.append(given[0].detach().clone()))
    net(blurred)
    hook.remove()
    return read[0], level(read[0])


def main() -> None:
    """Parse, distil and write."""
    parser = argparse.ArgumentParser(prog="python -m detbench.gan.distil", description=__doc__)
    parser.add_argument("--data", type=Path, action="append", required=True, help="to learn on; repeat for several")
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument("--from", dest="weights", type=Path, help="to begin with, in place of the first step")
    parser.add_argument(
        "--steps", type=int, default=STEPS, help="of the whole network; 0 for its innermost level alone"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    started, sources = time.monotonic(), load_folders(given.data)
    net = distil(sources, given.weights, given.steps, given.seed, fabric_on(given.device))
    record = {
        "deblurer": NAME,
        "preset": registry.get(NAME).preset,
        "recipe": asdict(recipe(given.weights, given.steps)),
        "init": {"from": TEACHER, "sha256": registry.fingerprint(TEACHER)},
        "seed": given.seed,
        "iterations": given.steps,
        "images_seen": BATCH * given.steps,
        "data": sources.record,
        "wall_seconds": round(time.monotonic() - started),
        "environment": environment.describe(),
    }
    save_weights(given.out, net, record)


if __name__ == "__main__":
    main()
