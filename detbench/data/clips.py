"""Which frames are of one clip: those are not independent, and a bootstrap draws clips."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from detbench.types import DetbenchError

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
    """The clip of each frame that lies in no folder of its own: numbered ones of one name are of one clip.

    Args:
        names: of the frames.

    Returns:
        The clips, and a line that says what was taken for one; empty if nothing was.
    """
    stems = [re.sub(r"[-_. ]*\d+$", "", name) or "frames" for name in names]
    sizes = {stem: count for stem, count in Counter(stems).items() if count > 1}
    clips = [stem if stem in sizes else name for name, stem in zip(names, stems, strict=True)]
    if not sizes:
        return clips, ""
    named = ", ".join(f"{stem}..." for stem in list(sizes)[:3]) + (" ..." if len(sizes) > 3 else "")
    return clips, (
        f"{sum(sizes.values()):,} numbered frames count as {len(sizes)} clip{'s' * (len(sizes) > 1)} ({named}); if each"
        f" is a scene of its own, give --clips '{EACH}'"
    )
