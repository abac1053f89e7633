"""Several trainings in one time budget."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detbench.gan.train import train
from detbench.progress import say
from detbench.types import DeblurerSpec, DetbenchError
from detbench.weights import read_record


def train_all(specs: Mapping[str, DeblurerSpec], out: Path, budget: float, **options: Any) -> list[str]:
    """Train deblurers one after the other, each for its share of the time that is left.

    What a training that finishes early leaves goes to those after it. Called again, it goes on: finished trainings are
    skipped, the others resumed.

    Args:
        specs: deblurers by name; those without a recipe are passed over.
        out: folder of the trainings' folders.
        budget: in seconds.
        options: for :func:`detbench.gan.train.train`.

    Returns:
        The names of those that are not finished yet.
    """
    deadline = time.monotonic() + budget
    iterations = {
        name: options.get("iterations") or size.recipe.iterations
        for name, spec in specs.items()
        if (size := spec.presets.get(options.get("preset") or spec.preset)) and size.recipe
    }
    waiting = [name for name in iterations if trained(out / name) < iterations[name]]
    unfinished: list[str] = []
    for i, name in enumerate(waiting):
        share = (deadline - time.monotonic()) / (len(waiting) - i)
        if share <= 0:
            return [*unfinished, *waiting[i:]]
        limit = f", for {share / 60:.0f} min at most" if math.isfinite(share) else ""
        say(f"training {name} ({i + 1} of {len(waiting)}){limit}")
        train(name, specs[name], out / name, budget=share, **options)
        if trained(out / name) < iterations[name]:
            unfinished.append(name)
    return unfinished


def trained(folder: Path) -> int:
    """After how many iterations the last weights in a training's folder were written; 0 if there are none."""
    try:
        return int(read_record(folder / "last.safetensors").get("iterations", 0))
    except DetbenchError:
        return 0
