"""Objects found, false detections, objects missed; and their ratios, which are computed here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # numpy takes as long as the rest of `detbench --help`
    import numpy as np
    from numpy.typing import NDArray


def counted(number: int, noun: str) -> str:
    """A number of things in words: ``1 clip``, ``1,000 clips``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


@dataclass(frozen=True)
class Counts:
    """True positives, false positives and missed objects: three numbers, or three arrays of one shape.

    Attributes:
        tp: reference objects that were found.
        fp: detections that match no reference object.
        fn: reference objects that were not found.
    """

    tp: Any
    fp: Any
    fn: Any

    @classmethod
    def of(cls, columns: NDArray[Any]) -> Counts:
        """From columns tp, fp, fn, the first three of (..., K)."""
        return Counts(columns[..., 0], columns[..., 1], columns[..., 2])

    def columns(self) -> NDArray[Any]:
        """As (..., 3) columns tp, fp, fn."""
        import numpy as np

        return np.stack([self.tp, self.fp, self.fn], axis=-1)

    def map(self, function: Callable[[Any], Any]) -> Counts:
        """The same of a function of each of the three."""
        return Counts(function(self.tp), function(self.fp), function(self.fn))

    def sum(self, axis: int | None = None) -> Counts:
        """Summed over an axis of the arrays, or over all."""
        return self.map(lambda each: each.sum(axis=axis))

    def __getitem__(self, index: Any) -> Counts:
        """The same part of each array."""
        return self.map(lambda each: each[index])

    def __add__(self, other: Counts) -> Counts:
        """Of both together."""
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    def __sub__(self, other: Counts) -> Counts:
        """Without the other's."""
        return Counts(self.tp - other.tp, self.fp - other.fp, self.fn - other.fn)

    @property
    def objects(self) -> Any:
        """Reference objects."""
        return self.tp + self.fn

    @property
    def detections(self) -> Any:
        """Of any kind."""
        return self.tp + self.fp

    @property
    def precision(self) -> NDArray[np.float64]:
        """Tp / (tp + fp), in [0, 1]; 1 where nothing was detected (nothing was invented)."""
        return ratio(self.tp, self.detections, otherwise=1)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Tp / (tp + fn), in [0, 1]; 1 where there is nothing to find."""
        return ratio(self.tp, self.objects, otherwise=1)

    @property
    def f1(self) -> NDArray[np.float64]:
        """2 tp / (2 tp + fp + fn), in [0, 1]; 1 where there is nothing to find and nothing found."""
        return ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn, otherwise=1)


def ratio(numerator: Any, denominator: Any, otherwise: float) -> NDArray[np.float64]:
    """``numerator / denominator`` of numbers or arrays, or ``otherwise`` where the denominator is 0."""
    import numpy as np

    result = np.full(np.shape(denominator), otherwise, np.float64)
    return np.divide(numerator, denominator, out=result, where=np.not_equal(denominator, 0))


def f1(columns: NDArray[Any]) -> NDArray[np.float64]:
    """F1 of (..., 3) columns tp, fp, fn, or of their sums: (...)."""
    import numpy as np

    found: NDArray[np.float64] = np.asarray(Counts.of(columns).f1)
    return found
