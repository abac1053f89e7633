"""Trainings of one recipe that nothing but a seed tells apart, as tables: their means and ranges."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from detbench.metrics import metric
from detbench.report.formats import Column, Part, Table
from detbench.retrained import MEASURES, Score

_HASHED = re.compile(r"(.+):[0-9a-f]{8}")


def tables(scores: Sequence[Score]) -> list[Table]:
    """One for all recipes that begin with the same weights, a part for each signature, a row a recipe."""
    headings = ["recipe", "trainings", "iterations", *(metric(key).heading for key in MEASURES)]
    found = []
    for start in dict.fromkeys(score.start for score in scores):
        of_start = [score for score in scores if score.start == start]
        parts = []
        for signature in dict.fromkeys(score.signature for score in of_start):
            seen = [score for score in of_start if score.signature == signature]
            names = dict.fromkeys(score.recipe for score in seen)
            rows = tuple(_row([score for score in seen if score.recipe == name]) for name in names)
            parts.append(Part(rows, _words(signature), signature, ranked=False))
        found.append(Table(f"From {start}'s weights on", tuple(map(Column, headings)), tuple(parts)))
    return found


def _row(scores: Sequence[Score]) -> tuple[str, ...]:
    """Of one recipe's trainings, the mean of each measure, with the least and the greatest."""
    cells = []
    for key, values in zip(MEASURES, np.array([score.values for score in scores]).T, strict=True):
        mean, least, most = (metric(key).form.format(value) for value in (values.mean(), values.min(), values.max()))
        cells.append(f"{mean} ({least} to {most})" if len(values) > 1 else mean)
    return scores[0].recipe, str(len(scores)), f"{scores[0].iterations:,}", *cells


def _words(signature: str) -> str:
    """The detector and the noise of a signature."""
    parts = signature.split("|")
    *_, detector = (found[1] for part in parts if (found := _HASHED.fullmatch(part)))
    told = dict(part.split(":", 1) for part in parts if part.startswith(("imgsz:", "noise:")))
    noise = f"with noise of variance {told['noise']}" if "noise" in told else "without noise"
    return f"{detector} at {told['imgsz']} pixels, {noise}"
