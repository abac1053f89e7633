"""What can be said where nobody knows what is there, in words and as plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from detbench.counts import counted
from detbench.lineup import FLOOR
from detbench.stats import MINIMUM_CLIPS
from detbench.unreferenced import Seen, gain, kept, tracks

UNKNOWN = (
    "There are no sharp frames: which detections are right, and what is missed, cannot be known, and no precision,"
    " recall, F1, PSNR or SSIM is given. A detector can be sure of what is not there: look at the frames, which"
    " `detbench deblur` writes; nothing of this is kept."
)
"""What is to be said of every such table."""

COLUMNS = (
    "kept: of what is found in the blurred frames, the share that is found again; new: what is found besides; tracks:"
    " objects followed through a video; breaks: how often one is lost and found again."
)
"""What the columns mean that have no name in the field."""

FORMS = {
    "detections": ("detections/frame", "{:.2f}"),
    "confidence": ("mean confidence", "{:.3f}"),
    "sure_of": ("sum of confidences", "{:.2f}"),
    "kept": ("kept", "{:.1%}"),
    "new": ("new/frame", "{:.2f}"),
    "tracks": ("tracks", "{:d}"),
    "frames": ("frames/track", "{:.1f}"),
    "breaks": ("breaks/track", "{:.2f}"),
    "restore_ms": ("ms/frame", "{:.0f}"),
}
"""Columns by key: heading and format."""


def rows(seen: Sequence[Seen], match_iou: float) -> list[dict[str, Any]]:
    """One row a deblurer, the blurred frames' first; None for what cannot be said.

    Args:
        seen: as from :func:`detbench.unreferenced.look`.
        match_iou: IoU from which two detections are of the same object.
    """
    found = []
    for each in seen:
        scores = [float(score) for frame in each.detections for score in frame.score]
        row: dict[str, Any] = {
            "name": "blurred" if each.deblurer == FLOOR else each.deblurer,
            "detections": len(scores) / len(each.clips),
            "confidence": sum(scores) / len(scores) if scores else None,
            "sure_of": sum(scores) / len(each.clips),
        }
        row["kept"], row["new"] = kept(seen[0], each, match_iou) if each is not seen[0] else (None, None)
        followed = tracks(each)
        row |= {key: getattr(followed, attribute, None) for key, attribute in _OF_TRACKS.items()}
        row["restore_ms"] = each.restore_ms
        found.append({key: None if _is_nan(value) else value for key, value in row.items()})
    return found


def cells(row: dict[str, Any]) -> list[str]:
    """A row as text, the name first."""
    return [row["name"], *("-" if row[key] is None else form.format(row[key]) for key, (_, form) in FORMS.items())]


def sentences(seen: Sequence[Seen]) -> list[str]:
    """What can be concluded, and that nobody knows what is there."""
    clips = len(set(seen[0].clips))
    lines = []
    for after in seen[1:]:
        interval = gain(seen[0], after)
        change = f"{interval.format('{:.2f}')} in the sum of confidences a frame"
        if math.isnan(interval.low):
            lines.append(
                f"{after.deblurer}: {interval.estimate:+.2f} in the sum of confidences a frame. Whether by chance"
                f" cannot be said: {counted(clips, 'clip')}, and an interval wants {MINIMUM_CLIPS}, such as a"
                " folder of as many videos."
            )
        elif interval.low > 0:
            lines.append(f"With {after.deblurer}, the detector is surer of what it finds: {change}.")
        elif interval.high < 0:
            lines.append(f"With {after.deblurer}, the detector is less sure of what it finds: {change}.")
        else:
            lines.append(f"{after.deblurer}: not known: {change}.")
    return [*lines, COLUMNS, UNKNOWN]


_OF_TRACKS = {"tracks": "count", "frames": "frames", "breaks": "breaks"}


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
