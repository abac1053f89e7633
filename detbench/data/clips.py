"""Which frames are of one clip: those are not independent, and a bootstrap draws clips."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from detbench.counts import counted
from detbench.types import DetbenchError

REGULAR = 0.8
"""The share of steps between numbers that must be equal in a run: of what a video gives, frames may be missing."""

EACH = "(?P<clip>.+)"
"""A pattern for :func:`by_pattern` that makes each frame a clip of its own."""


def by_pattern(names: Sequence[str], pattern: str) -> list[str]:
    """The clip of each frame, by a user's pattern.

    Args:
        names: of the frames.
        pattern: a regular expression with a group ``clip``, searched for in each name.

    Raises:
        DetbenchError: it is no regular expression, has no such group, or finds nothing in a name.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DetbenchError(f"--clips {pattern!r} is no regular expression: {error}.") from error
    if "clip" not in compiled.groupindex:
        raise DetbenchError(f"--clips {pattern!r} has no group named clip: write (?P<clip>...) around it.")
    clips = []
    for name in names:
        found = compiled.search(name)
        if not found or not found["clip"]:
            raise DetbenchError(f"--clips {pattern!r} finds no clip in {name}.")
        clips.append(found["clip"])
    return clips


def by_number(names: Sequence[str]) -> tuple[list[str], str]:
    """The clip of each frame that lies in no folder of its own: numbered runs of one name are of one clip.

    A run's numbers have equal steps, but for a few: those of a video's frames do, those of COCO's photographs do not.

    Args:
        names: of the frames.

    Returns:
        The clips, and a line that says what was taken for one; empty if nothing was.
    """
    split = [re.fullmatch(r"(.*?)[-_. ]*(\d+)", name) for name in names]
    numbers: dict[str, list[int]] = {}
    for found in filter(None, split):
        numbers.setdefault(found[1], []).append(int(found[2]))
    runs = {stem: len(of_stem) for stem, of_stem in numbers.items() if _is_run(of_stem)}
    clips = [
        found[1] or "frames" if found and found[1] in runs else name for name, found in zip(names, split, strict=True)
    ]
    if not runs:
        return clips, ""
    named = ", ".join(f"{stem or 'frames'}..." for stem in list(runs)[:3]) + (" ..." if len(runs) > 3 else "")
    return clips, (
        f"{sum(runs.values()):,} numbered frames count as {counted(len(runs), 'clip')} ({named}); if each"
        f" is a scene of its own, give --clips '{EACH}'"
    )


def _is_run(numbers: Sequence[int]) -> bool:
    """Whether numbers have equal steps, but for a few."""
    steps = Counter(b - a for a, b in pairwise(sorted(numbers)))
    return bool(steps) and steps.most_common(1)[0][1] >= REGULAR * steps.total()
