"""Runs that may be compared, with their roles: the blurred frames as they are, deblurers, and what cannot be passed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from detbench.types import RunResult, RunSpec

if TYPE_CHECKING:
    from detbench.signature import Signature

FLOOR = "identity"
"""The deblurer whose run on blurred frames shows what the detector sees in them as they are."""

CEILING = "jpeg95"
"""The deblurer whose run on sharp frames shows how much of the reference survives a change that nobody can see."""

RECOMMENDED = "fastsrn_l1"
"""The deblurer that is taken where none is named: that helps most detectors for sure at a time most can afford."""

BY = "by"
"""In the environment of a run that was made elsewhere: who made it, and how it is made again."""

Role = Literal["floor", "model", "ceiling"]


def role(spec: RunSpec) -> Role:
    """What a run is for, by its spec."""
    roles: dict[tuple[str, str], Role] = {(FLOOR, "blurred"): "floor", (CEILING, "sharp"): "ceiling"}
    return roles.get((spec.deblurer, spec.input), "model")


@dataclass(frozen=True)
class Lineup:
    """Runs on the same frames, with the same detector, with the same settings.

    Attributes:
        floor: the blurred frames as they are.
        models: deblurers, each run once, in the order given.
        ceiling: the sharp frames, re-encoded.
    """

    floor: RunResult
    models: tuple[RunResult, ...]
    ceiling: RunResult

    def __iter__(self) -> Iterator[RunResult]:
        """All of them, floor first and ceiling last."""
        return iter((self.floor, *self.models, self.ceiling))

    @property
    def ranked(self) -> tuple[RunResult, ...]:
        """The models, the best F1 first."""
        return tuple(sorted(self.models, key=lambda run: -run.f1))

    @property
    def given(self) -> RunResult:
        """What the models were given, as a run: sharp frames, deblurred, are to stay what they were."""
        return self.ceiling if self.models and self.models[0].spec.input == "sharp" else self.floor

    @property
    def signature(self) -> Signature:
        """What the numbers must be quoted with."""
        from detbench.signature import Signature  # which imports numpy, and the registry this: `list` must be quick

        computed = dict.fromkeys(Signature.of(model).computed for model in self.models)
        return replace(
            Signature.of(self.floor), computed="+".join(each or "torch-fp32" for each in computed if any(computed))
        )


def lined_up(results: Sequence[RunResult]) -> Lineup:
    """A lineup of a floor, models and a ceiling in this order; floor, ceiling and runs given twice are no models."""
    found = {result.path: result for result in results}.values()
    return Lineup(results[0], tuple(result for result in found if role(result.spec) == "model"), results[-1])


def to_compare(results: Iterable[RunResult]) -> list[RunResult]:
    """Of a folder's runs those that one comparison can hold, what they are compared with first.

    Deblurers on blurred frames are compared with the floor; where there are none, those on sharp ones with the ceiling.
    """
    results = list(results)
    models = [result for result in results if role(result.spec) == "model"]
    given = "blurred" if any(result.spec.input == "blurred" for result in models) else "sharp"
    first = [result for result in results if role(result.spec) == ("floor" if given == "blurred" else "ceiling")]
    return first + [result for result in models if result.spec.input == given]


def name(result: RunResult) -> str:
    """What a run is called in tables: its deblurer, except for the floor and the ceiling."""
    return title(result.spec)


def title(spec: RunSpec) -> str:
    """What a spec's run is called, likewise."""
    if (its := role(spec)) != "model":
        return "blurred" if its == "floor" else "sharp, JPEG 95"
    called = f"{spec.deblurer} where blurred" if spec.only_blurred else spec.deblurer
    return called if spec.input == "blurred" else f"{called} on sharp"


def detector_title(spec: RunSpec) -> str:
    """What a run's detector is called in tables: its name and its ``imgsz``."""
    return f"{Path(spec.detector).stem} {spec.imgsz}"


def labels(results: Iterable[RunResult]) -> dict[Path, str]:
    """A short, unique name for each run, by its path."""
    named: dict[str, list[RunResult]] = {}
    for result in {result.path: result for result in results}.values():
        named.setdefault(name(result), []).append(result)
    found = {}
    for called, alike in named.items():
        for result in alike:
            tells = [
                f"{field.removesuffix('_hash')} {shown(result.spec, field)}"
                for field in (
                    "detector_hash",
                    "imgsz",
                    "seed",
                    "backend",
                    "precision",
                    "weights",
                    "value_range",
                    "deblurer_hash",
                )
                if len({shown(other.spec, field) for other in alike}) > 1
            ]
            if any(tell.startswith("weights") for tell in tells):  # say more than their hash
                tells = [tell for tell in tells if not tell.startswith("deblurer")]
            trainings = [_training(other) for other in alike]
            if tells and all(trainings) and len(set(trainings)) == len(alike):  # say more than a hash
                tells = [_training(result) if tell.startswith("deblurer") else tell for tell in tells]
            found[result.path] = f"{called} ({', '.join(tells)})" if tells else called
    return found


def _training(result: RunResult) -> str:
    """How the weights of a run were trained, in words; empty where they do not say."""
    record = result.environment.get("training", {})
    return (
        f"{record['images_seen']:,} images, seed {record['seed']}" if {"images_seen", "seed"} <= record.keys() else ""
    )


def shown(spec: RunSpec, field: str) -> str:
    """A field of a run's spec as people know it."""
    if field == "skipped":
        return f"{len(spec.skipped)} frames left out" if spec.skipped else "none"
    if field == "weights":
        return "/".join(Path(spec.weights).parts[-2:]) if spec.weights else "of its own"
    named = {"dataset_hash": "dataset", "detector_hash": "detector"}.get(field)
    value = getattr(spec, field)
    if named:
        return f"{Path(getattr(spec, named)).name}" if field == "detector_hash" else f"{spec.dataset}:{value[:8]}"
    return str(value)[:8] if field.endswith("_hash") else json.dumps(value)
