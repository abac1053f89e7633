"""How far another training of the same recipe differs: scores of trainings that nothing but a seed tells apart.

In ``retrained.csv``, which ``python -m detbench.gan.retrain`` makes.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cache
from importlib.resources import files

import numpy as np

FILE = "retrained.csv"
MEASURES = ("psnr_db", "ssim", "f1", "recall", "precision", "grid_db")
"""Keys of the metrics that it has a column of."""


@dataclass(frozen=True)
class Score:
    """One training on one set of frames; a line of the file.

    Attributes:
        recipe: the deblurer whose it is, or what is changed in it.
        seed: of its crops and its discriminator.
        start: the deblurer whose weights it began with.
        iterations: that it was trained for from there on.
        weights: the first eight digits of the SHA-256 of what came out.
        signature: of the run, less the version of detbench.
        values: one for each of :data:`MEASURES`.
    """

    recipe: str
    seed: int
    start: str
    iterations: int
    weights: str
    signature: str
    values: tuple[float, ...]


HEADINGS = (*(field.name for field in fields(Score)[:-1]), *MEASURES)


@cache
def scores() -> tuple[Score, ...]:
    """All there are."""
    text = (files("detbench") / FILE).read_text("utf-8")
    return tuple(_read(csv.DictReader(text.splitlines())))


def _read(lines: csv.DictReader[str]) -> Iterator[Score]:
    for line in lines:
        values = tuple(float(line[measure]) for measure in MEASURES)
        yield Score(
            line["recipe"],
            int(line["seed"]),
            line["start"],
            int(line["iterations"]),
            line["weights"],
            line["signature"],
            values,
        )


def written(found: Sequence[Score]) -> str:
    """The file's text."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(HEADINGS)
    for score in found:
        *training, values = astuple(score)
        lines.writerow([*training, *(f"{value:.6g}" for value in values)])
    return text.getvalue()


def timeless(signature: str) -> str:
    """A signature less the version of detbench: the conventions by which scores are computed are in it besides."""
    return "|".join(part for part in signature.split("|") if not part.startswith("detbench:"))


def spread(found: Iterable[Score], measure: str) -> float:
    """How far trainings differ that nothing but a seed tells apart: their standard deviation, pooled over recipes.

    Args:
        found: trainings, several of a recipe with one signature; one that is alone says nothing.
        measure: one of :data:`MEASURES`.

    Returns:
        In the measure's unit; NaN where each is alone.
    """
    alike: dict[tuple[str, str, str], list[float]] = {}
    for score in found:
        values = alike.setdefault((score.recipe, score.start, score.signature), [])
        values.append(score.values[MEASURES.index(measure)])
    squares = sum(np.var(values) * len(values) for values in alike.values())
    freedom = sum(len(values) - 1 for values in alike.values())
    return math.sqrt(squares / freedom) if freedom else math.nan


def differences(first: str, second: str, measure: str, signature: str) -> tuple[float, ...]:
    """By how much a deblurer's trainings are above another's, of one seed from the same weights, on the same frames.

    Args:
        first: name of a deblurer.
        second: the other's.
        measure: key of a metric.
        signature: of the runs.

    Returns:
        One for each seed that both were trained with; empty where there is none, as where what they began with differs.
    """
    if measure not in MEASURES:
        return ()
    of = MEASURES.index(measure)
    a, b = (
        {
            (score.start, score.seed): score.values[of]
            for score in scores()
            if score.signature == timeless(signature) and name == score.recipe
        }
        for name in (first, second)
    )
    return tuple(a[training] - b[training] for training in sorted(a.keys() & b.keys()))
