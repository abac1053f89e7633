"""``python -m detbench.gan.ablation``: which part of the task-driven loss does what, as a table.

Each variant of ``fastsrn_task``'s recipe is trained from the same weights for as many iterations, with several seeds,
and its last weights are scored on frames that no variant is trained on. Called again, it goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from detbench import benchmarks, registry
from detbench.gan.train import train
from detbench.types import RunResult, RunSpec

NAME = "fastsrn_task"

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "L1 alone": {"detector_features": 0.0, "detector_classes": 0.0, "detector_boxes": 0.0},
    "features": {"detector_classes": 0.0, "detector_boxes": 0.0},
    "classes and boxes": {"detector_features": 0.0},
    "all three": {},
    "all three of two detectors (yolo11n besides)": {"detector": ("yolo26n", "yolo11n")},
    "all three, and srn's output as a further target": {"teacher": "srn", "teacher_weight": 25.0},
}
"""What differs from the recipe, by what it is called."""

DETECTORS = ("yolo26n", "yolo11n", "yolo26m")


def ablate(
    data: Sequence[Path], validation: Path, out: Path, iterations: int, seeds: int, device: str
) -> dict[str, list[list[RunResult]]]:
    """Train and score all variants.

    Args:
        data: what to train on, as for :func:`detbench.gan.sources.load_folders`.
        validation: a folder with ``sharp/`` and ``blur/``.
        out: folder of the trainings and the runs.
        iterations: of each training.
        seeds: trainings a variant.
        device: as for :func:`detbench.gan.train.train`.

    Returns:
        For each variant the runs of its seeds, one for each of :data:`DETECTORS`; the blurred frames' first.
    """
    spec = registry.get(NAME)
    recipe = spec.presets[spec.preset].recipe
    assert recipe
    views = [{"detector": detector} for detector in DETECTORS]
    found: dict[str, list[list[RunResult]]] = {}
    for number, (variant, changes) in enumerate(VARIANTS.items()):
        for seed in range(seeds):
            place = out / f"{number}-{seed}"
            train(
                NAME,
                spec,
                place,
                data=data,
                validation=[validation],
                recipe=replace(recipe, **changes),
                iterations=iterations,
                every=iterations,
                seed=seed,
                device=device,
            )
            weights = str(place / "last.safetensors")
            scored = benchmarks.benchmarks([RunSpec(NAME, str(validation), weights=weights)], views, out / "runs")
            found.setdefault("blurred", [[lineup.floor for lineup in scored]])
            found.setdefault(variant, []).append([lineup.models[0] for lineup in scored])
    return found


def table(found: Mapping[str, Sequence[Sequence[RunResult]]]) -> str:
    """Markdown: F1 under each detector, and PSNR, mean over seeds with the least and the greatest."""
    lines = [
        f"| loss | {' | '.join(f'F1 {name}' for name in DETECTORS)} | PSNR dB |",
        "|---" * (len(DETECTORS) + 2) + "|",
    ]
    for variant, runs in found.items():
        cells = [_spread([each[i].f1 for each in runs], "{:.3f}") for i in range(len(DETECTORS))]
        psnr = _spread([each[0].mean("psnr_db") for each in runs], "{:.2f}")
        lines.append(f"| {variant} | {' | '.join([*cells, psnr])} |")
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float], form: str) -> str:
    """The mean, and the range if there are several."""
    mean, least, most = (form.format(value) for value in (np.mean(values), min(values), max(values)))
    return f"{mean} ({least} to {most})" if len(values) > 1 else mean


def main() -> None:
    """Parse, train, score and print."""
    parser = argparse.ArgumentParser(prog="python -m detbench.gan.ablation", description=__doc__)
    parser.add_argument("--data", type=Path, action="append", required=True, help="to train on; repeat for several")
    parser.add_argument("--validation", type=Path, required=True, help="a folder with sharp/ and blur/")
    parser.add_argument("--out", type=Path, default=Path("reports/training/ablation"))
    parser.add_argument("--steps", type=int, default=1_500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    print(table(ablate(given.data, given.validation, given.out, given.steps, given.seeds, given.device)))


if __name__ == "__main__":
    main()
