"""Deblur, or adapt the detector? In words and as a table."""

from __future__ import annotations

import numpy as np

from detbench import alternatives, stats
from detbench.report.formats import Column, Part, Table

NOTE = (
    "All against what the detector as it is sees in the sharp frames, so that all are to find the same. Sharp frames:"
    " where they are sharp already, nothing ought to be lost; an adapted detector also learns the kind of picture,"
    " which is no cure of blur. A larger detector, or the same at another size, finds other things in sharp frames,"
    " which count as false here. Both views: detections in the frame as it is and in the restored one, merged."
    " Selective: deblurred only where the frame measures blurred, by a threshold chosen on the other clips."
    " ms/frame: deblurring and detection, medians. Intervals: 95 %, paired bootstrap over clips, not corrected."
)


def table(found: alternatives.Table) -> Table:
    """A row an alternative: F1 in blurred and in sharp frames, the gain by severity, and the time."""
    severities = [each for each in ("light", "medium", "strong") if each in found.severity]
    columns = [
        Column("what is done"),
        Column("F1", "{:.3f}", "highest"),
        Column("F1 gained"),
        *(Column(f"gained: {each}", "{:+.3f}") for each in severities),
        Column("F1, sharp frames", "{:.3f}", "highest"),
        Column("ms/frame", "{:.0f}", "lowest"),
    ]
    rows = []
    for row in found.rows:
        first = row is found.rows[0]
        by_severity = [_gain(found, row, each).estimate for each in severities]
        rows.append(
            (
                row.name,
                float(row.blurred.sum().f1),
                None if first else found.gain(row).format("{:.3f}"),
                *([None] * len(severities) if first else by_severity),
                float(row.sharp.sum().f1),
                row.ms,
            )
        )
    return Table(
        f"Deblur, or adapt the detector? ({found.detector})",
        tuple(columns),
        (Part(tuple(rows[:1]), ranked=False), Part(tuple(rows[1:]))),
        (found.signature, NOTE),
        "alternatives",
    )


def sentences(found: alternatives.Table) -> list[str]:
    """The answer: what adapting, deblurring and both bring, over all frames and by the severity of their blur."""
    rows = {_kind(row.name): row for row in found.rows[1:]}
    asked = {"adapting the detector": "adapted detector", "deblurring": "deblurred", "both": "adapted, deblurred"}
    there = {words: rows[kind] for words, kind in asked.items() if kind in rows}
    if not there:
        return []
    lines = []
    for severity in ("", *(each for each in ("light", "medium", "strong") if each in found.severity)):
        parts = [f"{words} brings {_gain(found, row, severity).format('{:.3f}')}" for words, row in there.items()]
        where = f"Under {severity} blur" if severity else "Over all frames"
        lines.append(f"{where}, {', '.join(parts)} of F1.")
    return lines


def _kind(name: str) -> str:
    return name.partition(":")[0]


def _gain(found: alternatives.Table, row: alternatives.Alternative, severity: str) -> stats.Interval:
    frames = np.array([severity in ("", its) for its in found.severity])
    return found.gain(row, frames)
