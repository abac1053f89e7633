"""``python -m detbench.gan.retrain``: what a part of a recipe brings, and how far another training would differ.

Recipes that differ in one thing are trained from the same weights, with several seeds, and each training is scored on
the default set; it is not chosen by it, since the last weights count. Prints :mod:`detbench.retrained`'s file. Called
again, it goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detbench import claims, registry, retrained
from detbench.compare import compare
from detbench.files import plain
from detbench.gan.recipe import Recipe
from detbench.gan.schedule import trained
from detbench.gan.train import train
from detbench.gan.training import learning_rate
from detbench.lineup import FLOOR
from detbench.progress import say
from detbench.results import Results
from detbench.retrained import Score
from detbench.signature import Signature
from detbench.types import RunSpec

NO_DETECTOR: Mapping[str, Any] = {"detector_features": 0.0, "detector_classes": 0.0, "detector_boxes": 0.0}

TERMS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "fastsrn_task": {
        "all terms": {},
        "L1 alone": NO_DETECTOR,
        "L1 and features": {"detector_classes": 0.0, "detector_boxes": 0.0},
        "L1, classes and boxes": {"detector_features": 0.0},
        "yolo11n in the loss besides": {"detector": ("yolo26n", "yolo11n")},
    },
    "dc250_task": {"all terms": {}, "no detector": NO_DETECTOR},
}
"""What is changed in a deblurer's recipe, to tell what each of its terms brings."""

SHORT: Mapping[str, int] = {"fastsrn_task": 400, "dc250_task": 500}
"""Iterations of such a training: by so many its detections have got most of what a whole one brings."""


@dataclass(frozen=True)
class Study:
    """Trainings that begin with the same weights.

    Attributes:
        start: the deblurer, or a weights file, whose they are.
        recipes: by what they are called, each with the deblurer whose network it trains.
        views: fields of the runs that score them.
    """

    start: str
    recipes: Mapping[str, tuple[str, Recipe]]
    views: Sequence[Mapping[str, Any]]


def studies() -> dict[str, Study]:
    """All there are, by name."""
    noises = [{}, {"noise": 0.001}]
    detectors = [{"detector": name} for name in ("yolo26n", "yolo11n", "yolo26m")]
    return {
        "dark-channel": Study("dc0", own_parts("dc0", "dc0", "dc250"), noises),
        "deblurgan": Study(
            "deblurgan_l1", own_parts("deblurgan_l1", "deblurgan_comb", "deblurgan_l1", "deblurgan_tv"), noises
        ),
        "terms": Study("fastsrn", terms("fastsrn_task"), detectors),
        "dc250-terms": Study("dc250", terms("dc250_task"), detectors),
    }


def terms(name: str) -> dict[str, tuple[str, Recipe]]:
    """A deblurer's recipe, shortened, and what differs from it in a term.

    No label is a deblurer's name, whose trainings claims would take for whole ones.
    """
    short = replace(_recipe(name), iterations=SHORT[name], warmup=SHORT[name] // 10)
    return {f"{name}, {label}": (name, replace(short, **changes)) for label, changes in TERMS[name].items()}


def own_parts(start: str, *names: str) -> dict[str, tuple[str, Recipe]]:
    """Recipes' own parts: those begin with the same iterations of L1 alone, and differ in what follows."""
    return {name: (name, own_part(_recipe(name), start)) for name in names}


def own_part(recipe: Recipe, start: str) -> Recipe:
    """What follows a recipe's shared iterations, as a recipe.

    Args:
        recipe: whose learning rate is linear, and falls already where its own losses begin.
        start: a deblurer, whose weights it begins with.

    Raises:
        ValueError: its learning rate is another.
    """
    shared = recipe.shared_iterations
    share = shared / recipe.iterations
    if recipe.schedule != "linear" or recipe.decay_from > share:
        raise ValueError(f"the rate of {recipe} does not fall along a line from its own losses on")
    return replace(
        recipe,
        init_from=start,
        l1_until=0.0,
        adversarial_from=round((recipe.adversarial_from - share) / (1 - share), 9),  # .5, not a little less
        iterations=recipe.iterations - shared,
        decay_from=0.0,
        learning_rate=learning_rate(recipe, shared),
    )


def retrain(
    study: Study, data: Sequence[Path], validation: Path, out: Path, seeds: int, base: RunSpec
) -> Iterator[Score]:
    """Train and score a study's recipes.

    Args:
        study: what to train.
        data: what to train on, as for :func:`detbench.gan.sources.load_folders`.
        validation: a folder that is not trained on.
        out: folder of the trainings and the runs.
        seeds: trainings a recipe. All recipes are trained with the first one, then all with the next.
        base: dataset and device; its deblurer does not count.

    Yields:
        One for each training and view.
    """
    for seed in range(seeds):
        for label, (name, recipe) in study.recipes.items():
            place = out / f"{plain(label)}-{seed}"
            if trained(place) < recipe.iterations:
                say(f"training {label} with seed {seed} for {recipe.iterations} iterations")
                train(
                    name,
                    registry.get(name),
                    place,
                    data=data,
                    validation=[validation],
                    recipe=recipe,
                    seed=seed,
                    device=base.device,
                    every=recipe.iterations,
                )
            results = Results(out / "runs")
            for view in study.views:
                asked = replace(base, deblurer=name, weights=str(place / "last.safetensors"), **view)
                run = results.run(asked)
                (model,) = compare([run]).models
                values = tuple(
                    float(claims.grid_artefacts(results, asked).mean())
                    if measure == "grid_db"
                    else model.value(measure)
                    for measure in retrained.MEASURES
                )
                signature = retrained.timeless(str(Signature.of(run)))
                weights = run.spec.deblurer_hash[:8]
                yield Score(label, seed, study.start, recipe.iterations, weights, signature, values)


def _recipe(name: str) -> Recipe:
    """The recipe of a deblurer's own preset."""
    spec = registry.get(name)
    recipe = spec.presets[spec.preset].recipe
    assert recipe
    return recipe


def main() -> None:
    """Parse, train, score and print."""
    known = studies()
    parser = argparse.ArgumentParser(prog="python -m detbench.gan.retrain", description=__doc__)
    parser.add_argument("--data", type=Path, action="append", required=True, help="to train on; repeat for several")
    parser.add_argument("--validation", type=Path, required=True, help="a folder with sharp/ and blur/")
    parser.add_argument("--study", choices=known, action="append", help="repeat for several; default: all")
    parser.add_argument("--out", type=Path, default=Path("reports/training/retrained"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    base = RunSpec(FLOOR, device=given.device)
    found = [
        score
        for name in given.study or known
        for score in retrain(known[name], given.data, given.validation, given.out, given.seeds, base)
    ]
    print(retrained.written(found), end="")


if __name__ == "__main__":
    main()
