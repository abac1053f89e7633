"""``python -m detbench.gan.distil``: first weights for ``fastsrn_task_small``, before it is trained on.

Its two outer levels are ``fastsrn_task``'s. Its innermost one has fewer channels, and learns to give what the same
network with all of ``fastsrn_task``'s channels gives at that place, for crops that the recipe draws: distillation of
features (Romero et al., "FitNets", ICLR 2015), here of one level between two others that stay as they are.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from detbench import registry
from detbench.gan.data import Batches
from detbench.gan.sources import load_folders
from detbench.progress import say
from detbench.weights import save_weights

NAME, TEACHER = "fastsrn_task_small", "fastsrn_task"

CROPS = 800
"""Drawn once: as many crops' features are held in memory."""

BATCH = 16

LEARNING_RATE = 1e-3

EVERY = 250
"""Iterations between two lines of progress."""


def distil(data: Sequence[Path], iterations: int, seed: int) -> nn.Module:
    """The network with its innermost level distilled.

    Args:
        data: what to draw crops from, as for :func:`detbench.gan.sources.load_folders`.
        iterations: of Adam, whose rate falls to 0 by a cosine.
        seed: of the level's first weights and of the crops.
    """
    spec, theirs = registry.get(NAME), registry.load(TEACHER).build().state_dict()
    recipe = spec.presets[spec.preset].recipe
    assert recipe
    torch.manual_seed(seed)
    wide: Any = spec.build(widths=[len(theirs[f"layers.enc{level}_1.weight"]) for level in (1, 2, 3)])
    net: Any = spec.build()
    for each in (wide, net):
        each.adopt(theirs)
    batches = Batches(load_folders(data), replace(recipe, batch=BATCH), seed, (0, 1), torch.device("cpu"))
    features = [_features(wide, (batches.batch(i).blurred + 1) / 2) for i in range(CROPS // BATCH)]
    given, wanted = (torch.cat(each) for each in zip(*features, strict=True))
    fit(net, given, wanted, iterations)
    return net


def fit(net: nn.Module, given: Tensor, wanted: Tensor, iterations: int) -> float:
    """Train a network's innermost level to give some features for others.

    Args:
        net: whose innermost level is changed.
        given: (N, C, h, w) what the level reads.
        wanted: (N, C, h, w) what it is to add to that.
        iterations: of Adam.

    Returns:
        The mean squared error of the last iterations, as a share of the mean square of what is wanted.
    """
    level = _innermost(net)
    optimizer = torch.optim.Adam(level.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    power, errors = wanted.square().mean(), deque[float](maxlen=EVERY)
    for iteration in range(1, iterations + 1):
        chosen = torch.randint(len(given), (BATCH,))
        error = (level(given[chosen]) - wanted[chosen]).square().mean() / power
        optimizer.zero_grad()
        error.backward()
        nn.utils.clip_grad_norm_(level.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        errors.append(error.item())
        if iteration % EVERY == 0:
            say(f"{iteration}/{iterations}  error {np.mean(errors):.4f}")
    return float(np.mean(errors))


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
    parser.add_argument("--out", type=Path, required=True, help="a safetensors file, for `detbench train --from`")
    parser.add_argument("--steps", type=int, default=2_500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    net = distil(given.data, given.steps, given.seed)
    record = {"deblurer": NAME, "distilled": {"from": TEACHER, "sha256": registry.fingerprint(TEACHER)}}
    save_weights(given.out, net, record | {"iterations": given.steps, "seed": given.seed})


if __name__ == "__main__":
    main()
