"""Every metric, once: what it is called, how it is written, which way is better, and how it is computed.

A metric is a function of sums over frames, so that a bootstrap's resample is no more than other weights in these sums.
A new one is an entry of :data:`METRICS`: tables, pages, comparisons and the gate find it there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from detbench.counts import Counts, ratio
from detbench.types import FrameScore

FIELDS = (*(field.name for field in dataclasses.fields(FrameScore) if field.type in ("int", "float")), "frames")
"""What is summed up: all numbers of a frame's score, and 1."""


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over frames; or, before they are summed up, the numbers of each frame.

    Attributes:
        values: (..., len(FIELDS)) float64, in the order of :data:`FIELDS`.
    """

    values: NDArray[np.float64]

    @classmethod
    def of(cls, scores: Iterable[FrameScore]) -> Sums:
        """The numbers of each frame: (frames, len(FIELDS))."""
        rows = [[*(getattr(score, field) for field in FIELDS[:-1]), 1] for score in scores]
        return cls(np.array(rows, np.float64).reshape(-1, len(FIELDS)))

    def __getitem__(self, field: str) -> NDArray[np.float64]:
        """(...) the sums of one of :data:`FIELDS`."""
        return self.values[..., FIELDS.index(field)]

    def replaced(self, **columns: NDArray[Any]) -> Sums:
        """With other numbers in some of :data:`FIELDS`, (...) each."""
        values = self.values.copy()
        for field, column in columns.items():
            values[..., FIELDS.index(field)] = column
        return Sums(values)

    def total(self) -> Sums:
        """Over all frames, of the numbers of each: each field's are added pairwise, as ``numpy.mean`` does."""
        return Sums(np.array([column.sum() for column in np.ascontiguousarray(self.values.T)]))

    @property
    def counts(self) -> Counts:
        """Objects found and missed, and false detections."""
        return Counts(self["tp"], self["fp"], self["fn"])

    def mean(self, field: str) -> NDArray[np.float64]:
        """(...) the mean of one of :data:`FIELDS` over frames; NaN for no frames."""
        return ratio(self[field], self["frames"], otherwise=np.nan)


Function = Callable[[Sums], NDArray[Any]]
"""From sums of a shape (...) to (...)."""


@dataclass(frozen=True)
class Metric:
    """What is measured of a run.

    Attributes:
        name: what it is called.
        form: how its values are written, as for :meth:`str.format`.
        better: which way is better; empty where the best is who leaves all frames as they are, or where nobody is.
        function: from sums; None for what is not computed from a run's sums alone.
        unit: written after the name.
        min_effect: the smallest difference that matters, of what is compared; the gate tolerates as much. A hundredth
            of F1 is less than one object in a hundred; 0.05 dB and 0.002 are below what anybody can see, and yet many
            times the differences between processors.
        more: what a run does that has more of it.
        less: what a run does that has less.
    """

    name: str
    form: str
    better: Literal["higher", "lower", ""]
    function: Function | None = None
    unit: str = ""
    min_effect: float | None = None
    more: str = ""
    less: str = ""

    @property
    def heading(self) -> str:
        """Name and unit."""
        return f"{self.name} {self.unit}".strip()

    def of(self, sums: Sums) -> NDArray[Any]:
        """Its values: (...) of sums of a shape (...)."""
        if self.function is None:
            raise ValueError(f"{self.heading} is not computed from a run's sums alone.")
        return self.function(sums)


def _number(field: str) -> Function:
    """How many there are, of what is counted in frames."""
    return lambda sums: sums[field].astype(np.int64)


METRICS = {
    "precision": Metric(
        "precision",
        "{:.3f}",
        "higher",
        lambda sums: sums.counts.precision,
        min_effect=0.01,
        more="has a smaller share of false detections",
        less="has a larger share of false detections",
    ),
    "recall": Metric(
        "recall",
        "{:.3f}",
        "higher",
        lambda sums: sums.counts.recall,
        min_effect=0.01,
        more="finds more objects",
        less="finds fewer objects",
    ),
    "f1": Metric(
        "F1",
        "{:.3f}",
        "higher",
        lambda sums: sums.counts.f1,
        min_effect=0.01,
        more="lets the detector see better",
        less="lets the detector see worse",
    ),
    "gap_closed": Metric("gap closed", "{:z.1%}", "higher"),
    "recovered": Metric("recovered", "{:d}", "higher", _number("recovered")),
    "lost": Metric("lost", "{:d}", "", _number("lost")),
    "hallucinated": Metric("hallucinated", "{:d}", "", _number("hallucinated")),
    "psnr_db": Metric(
        "PSNR",
        "{:.2f}",
        "higher",
        lambda sums: sums.mean("psnr_db"),
        unit="dB",
        min_effect=0.05,
        more="is closer to the sharp frames",
        less="is farther from the sharp frames",
    ),
    "ssim": Metric(
        "SSIM",
        "{:.4f}",
        "higher",
        lambda sums: sums.mean("ssim"),
        min_effect=0.002,
        more="keeps more of the sharp frames' structure",
        less="keeps less of the sharp frames' structure",
    ),
    "restore_ms": Metric("ms/frame", "{:.0f}", "lower", lambda sums: sums.mean("restore_ms")),
}
"""What every table of runs has, by key, in this order."""

OTHERS = {
    "seconds": Metric("s/frame", "{:.2f}", "lower", lambda sums: sums.mean("restore_ms") / 1e3),
    "parameters": Metric("parameters", "{:,}", ""),
    "images_seen": Metric("images seen", "{:,}", ""),
    "grid_db": Metric("grid artefacts", "{:.2f}", "lower", unit="dB (less is better)", min_effect=0.5),
    "reference": Metric("reference objects", "{:.3f}", "higher", min_effect=0.02),
}
"""What single tables have besides: of a publication, of the weights (parameters, images seen), of claims (``grid_db``
is :func:`detbench.quality.grid_db`; what matters of it is our choice), and of the gate (``reference``: how far the
objects seen in the sharp frames are the baseline's, as F1; encoding the frames as JPEG 95, which nobody can see, costs
it 0.03)."""


def compared() -> dict[str, Metric]:
    """Those of :data:`METRICS` whose differences between runs are looked at; F1, which decides, comes first."""
    keys = sorted(METRICS, key="f1".__ne__)
    return {key: METRICS[key] for key in keys if METRICS[key].min_effect is not None}


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with None for what JSON cannot say: infinite PSNR of equal frames, intervals of a single frame."""
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}


def metric(key: str) -> Metric:
    """Any metric.

    Raises:
        KeyError: there is none of this key.
    """
    return (METRICS | OTHERS)[key]
