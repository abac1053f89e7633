"""The same deblurers with several detectors: whom do they help, and is what they add there?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detbench import classes, stats, store, table
from detbench.lineup import Lineup, detector_title
from detbench.match import confirmed
from detbench.metrics import METRICS
from detbench.report import conclusions as words
from detbench.report import origins
from detbench.report.collect import Group
from detbench.report.formats import Column, Table, Value
from detbench.report.tables import framed
from detbench.types import RunResult


def gains(groups: Sequence[Group]) -> Table:
    """F1 of each deblurer with each detector, and how much of the way to the sharp frames' that is.

    Detectors that no deblurer was trained through lead, and the first of them gives the order of the rows.

    Args:
        groups: runs on the same frames, one group a detector and ``imgsz``; what is not in all of them is left out.
    """
    groups, trained_through = leading(groups), _trained_through(groups)
    columns = []
    for group in groups:
        who = title(group) + "*" * (_detector(group) in trained_through)
        columns += [
            Column(f"{who}: F1", "{:.3f}", "highest"),
            Column(f"{who}: gap closed", METRICS["gap_closed"].form, "highest"),
        ]
    here = {_detector(group) for group in groups}
    notes = [
        *(str(group.signature) for group in groups),
        "The number beside a detector is its imgsz. Each is scored against what it sees itself in the sharp frames.",
        *(
            f"*: {detector} was in the loss that trained {', '.join(names)}, or what these learnt from."
            for detector, names in trained_through.items()
            if detector in here
        ),
    ]
    return _table("With several detectors", columns, [_gains(group) for group in groups], notes, "detectors")


def leading(groups: Sequence[Group]) -> list[Group]:
    """The groups of detectors that no deblurer was trained through, then the others, each in the order given."""
    trained_through = _trained_through(groups)
    return sorted(groups, key=lambda group: _detector(group) in trained_through)


def conclusions(groups: Sequence[Group]) -> list[str]:
    """What can be concluded of F1 with each detector, those that no deblurer was trained through first."""
    return [
        f"{title(group)}: {sentence}"
        for group in leading(groups)
        for sentence in words.conclusions(group.compared)
        if "F1" in sentence
    ]


def fooling(pairs: Sequence[tuple[Group, Group]]) -> Table:
    """How much of what deblurring makes a detector see is seen in the sharp frames by a detector of another family.

    Args:
        pairs: a group, and that of the other detector, on the same frames in the same order.

    Raises:
        DetbenchError: a run's detections are damaged.
    """
    columns = []
    for group, other in pairs:
        columns += [
            Column(f"{title(group)}: added", "{:d}"),
            Column(f"{title(group)}: seen by {title(other)}", "{:.1%}", "highest"),
            Column(f"{title(group)}: 95 % interval"),
        ]
    notes = [
        *dict.fromkeys(str(group.signature) for pair in pairs for group in pair),
        "Added: detections in the restored frames that overlap none of their class in the blurred ones. Seen: the share"
        " of these that overlap one of their class that the other detector sees in the sharp frame. The last row tells"
        " how far the two agree where nothing was restored: more is hardly in reach. Intervals: bootstrap over clips.",
    ]
    return _table("Is it there?", columns, [_shares(*pair) for pair in pairs], notes, "fooling")


def title(group: Group) -> str:
    """The detector's name and its ``imgsz``."""
    return detector_title(group.floor.spec)


def _detector(group: Group) -> str:
    return Path(group.floor.spec.detector).stem


def _trained_through(groups: Sequence[Group]) -> dict[str, list[str]]:
    """The detectors in the loss of some deblurers: by detector, the deblurers."""
    names: dict[str, list[str]] = {}
    records = origins.of_runs(run for group in groups for run in group.models)
    for deblurer, through in origins.in_the_loss(records).items():
        for detector in through:
            names.setdefault(detector, []).append(deblurer)
    return names


def _named(group: Group) -> dict[str, RunResult]:
    """Floor, deblurers with the best F1 first, and ceiling by the names of their rows."""
    return {group.labels[run.path]: run for run in (group.floor, *group.ranked, group.ceiling)}


def _gains(group: Group) -> dict[str, tuple[Value, ...]]:
    """F1 and gap closed, by row."""
    rows = table.rows(Lineup(group.floor, group.ranked, group.ceiling))
    return {name: (row["f1"], row["gap_closed"]) for name, row in zip(_named(group), rows, strict=True)}


def _shares(group: Group, other: Group) -> dict[str, tuple[Value, ...]]:
    """How many detections were added, the share that the other detector confirms, and its interval, by row."""
    conf, iou = group.floor.spec.conf, group.floor.spec.match_iou
    before = [seen.above(conf) for seen in store.read_detections(group.floor.path)["restored"]]
    names = [store.read_frames(each.floor.path)[0] for each in (other, group)]
    others = classes.relabelled(store.read_detections(other.floor.path)["sharp"], *names)
    clips = [score.clip for score in group.floor.scores]
    found: dict[str, tuple[Value, ...]] = {}
    for name, run in _named(group).items():
        after = [seen.above(conf) for seen in store.read_detections(run.path)["restored"]]
        frames = [confirmed(*of_frame, iou) for of_frame in zip(after, before, others, strict=True)]
        counts = np.array([(there.sum(), added.sum()) for added, there in frames], np.float64).reshape(-1, 2)
        there, added = counts.sum(axis=0).tolist()
        found[name] = (int(added), there / added, _interval(counts, clips)) if added else (0, None, None)
    return found


def _interval(counts: NDArray[np.float64], clips: Sequence[str]) -> str | None:
    """The 95 % interval of a share from (frames, 2) parts and wholes; None for too little data."""
    found = stats.interval(0.0, stats.mean(stats.resampled_sums(counts, clips)))
    return None if math.isnan(found.low) else f"[{found.low:.1%}, {found.high:.1%}]"


def _table(
    title: str,
    columns: Sequence[Column],
    cells: Sequence[Mapping[str, tuple[Value, ...]]],
    notes: Iterable[str],
    key: str,
) -> Table:
    """Cells that stand side by side, of the rows that are in all of them, in the order of the first."""
    first, *others = cells
    names = [name for name in first if all(name in other for other in others)]
    rows = [(name, *(value for by_name in cells for value in by_name[name])) for name in names]
    return Table(title, (Column("method"), *columns), framed(rows), tuple(notes), key)
