"""RunSpec → what it stands for: which bytes, device, classes and directory."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from detbench import classes, detectors, environment, restored, restorers
from detbench.data import datasets
from detbench.files import file_hash, plain
from detbench.types import DetbenchError, RunSpec

if TYPE_CHECKING:
    from detbench.custom import Custom

RUNS = Path("reports/runs")
"""Where run directories go by default."""


def resolve(spec: RunSpec, own: Custom | None = None) -> RunSpec:
    """A spec with the hashes of its parts and the device that ``auto`` stands for.

    Args:
        spec: what is asked for.
        own: the deblurer, where it was handed over and is in no registry.

    Raises:
        DetbenchError: an unknown deblurer, dataset, detector or device, or no such file of boxes.
    """
    return with_dataset(spec, own)[0]


def with_dataset(spec: RunSpec, own: Custom | None = None) -> tuple[RunSpec, datasets.Dataset]:
    """The same, with the dataset: a folder is looked through once."""
    # What is quickly found to be wrong comes before what takes a download or a build.
    deblurer_hash = own.hash if own else restorers.fingerprint(spec)
    if spec.weights and not own:
        restorers.check(spec)
    if spec.only_blurred and spec.deblurer.startswith(restored.PREFIX):
        raise DetbenchError(f"{spec.deblurer} are frames as they are: leave out --only-blurred.")
    device = environment.device(spec.device)
    truth_hash = _hash_of(spec.truth) if spec.truth else ""
    spec, _ = detectors.settled(spec)
    dataset = datasets.of(spec)
    spec = replace(
        spec,
        dataset=datasets.absolute(spec.dataset),
        limit=spec.limit if spec.limit and spec.limit < len(dataset.pairs) else None,
        device=device,
        deblurer_hash=deblurer_hash,
        dataset_hash=dataset.identity,
        truth=str(Path(spec.truth).resolve()) if spec.truth else None,
        truth_hash=truth_hash,
    )
    few = datasets.frames(spec, dataset)[: restorers.PROVED]
    return restorers.settled(spec, lambda: [datasets.read_blurred(pair, spec.noise) for pair in few], own), dataset


def labels(spec: RunSpec, class_names: Mapping[int, str]) -> frozenset[int] | None:
    """A detector's labels of the classes that count; None for all.

    Args:
        spec: what is run.
        class_names: of the detector's labels.

    Raises:
        DetbenchError: the detector has no class of a name.
    """
    if not spec.classes:
        return None
    found = classes.labels(spec.classes, class_names)
    for name in spec.classes:
        if not found[name]:
            known = [its for its in class_names.values() if its != classes.UNUSED]
            near = difflib.get_close_matches(name.casefold(), known, n=3, cutoff=0.4) or known[:5]
            raise DetbenchError(f"{spec.detector} has no class {name!r}. Among its classes: {', '.join(near)}.")
    return frozenset(label for its in found.values() for label in its)


def directory(spec: RunSpec) -> str:
    """The name of a run's directory.

    Raises:
        DetbenchError: as for :func:`resolve`.
    """
    return place(resolve(spec), Path()).name


def place(spec: RunSpec, out: Path) -> Path:
    """The directory of a resolved run; a checkpoint gives it its file's name."""
    deblurer = plain(Path(spec.deblurer.rpartition(":")[2]).name)
    return Path(out) / f"{dataset_name(spec)}-{deblurer}-{spec.hash8}"


def dataset_name(spec: RunSpec) -> str:
    """What a resolved spec's dataset is called."""
    benchmark, _, root = spec.dataset.partition(":")
    return benchmark if root else Path(spec.dataset).name


def _hash_of(truth: str) -> str:
    """SHA-256 (hexadecimal) of a file of boxes."""
    if not Path(truth).is_file():
        raise DetbenchError(f"There is no file {truth}: give COCO's JSON of boxes.")
    return file_hash(Path(truth))
