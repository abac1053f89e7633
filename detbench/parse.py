"""What people type as options: times and ranges."""

from __future__ import annotations

from detbench.types import DetbenchError


def seconds(text: str) -> float:
    """A time such as ``90s``, ``30m``, ``2h`` or ``30d`` (a bare number is seconds) in seconds.

    Raises:
        DetbenchError: it is none.
    """
    factors = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
    number, factor = (text[:-1], factors[text[-1]]) if text[-1:] in factors else (text, 1.0)
    try:
        return float(number) * factor
    except ValueError:
        raise DetbenchError(f"{text!r} is no time: write 90s, 30m, 2h or 30d.") from None


def two(text: str, example: str) -> tuple[float, float]:
    """Two numbers such as ``4:20``, the lower one first.

    Args:
        text: what was typed.
        example: what could have been, with its option.

    Raises:
        DetbenchError: they are none.
    """
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        raise DetbenchError(f"{text!r} are no two numbers: write {example}.") from None
    return low, high
