"""Tables on stdout, and the sentences below them."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from detbench.counts import counted
from detbench.progress import say

if TYPE_CHECKING:
    from detbench import check
    from detbench.alternatives import Table
    from detbench.compare import Comparison
    from detbench.lineup import Lineup
    from detbench.matrix import Row
    from detbench.types import RunSpec
    from detbench.verdict import Verdict


def print_benchmarks(
    views: Sequence[Mapping[str, Any]], lineups: Sequence[Lineup], as_json: bool, columns: Sequence[str]
) -> None:
    """A table for each of several views: detectors, and their working sizes; one view needs no name.

    Args:
        views: ``detector`` and ``imgsz`` of each, and ``truth`` where there are two references.
        lineups: one a view.
        as_json: print plain data, several views as a list.
        columns: keys of :func:`detbench.table.headings`.
    """
    if as_json:
        rows = [benchmark_json(lineup) for lineup in lineups]
        sizes = [{"imgsz": lineup.floor.spec.imgsz} for lineup in lineups]
        named = [view | size | row for view, size, row in zip(map(dict, views), sizes, rows, strict=True)]
        print(json.dumps(named if len(views) > 1 else rows[0], indent=1))
        return
    for number, (view, lineup) in enumerate(zip(views, lineups, strict=True)):
        if len(views) > 1:
            print("\n" * (number > 0) + f"{view['detector']}, imgsz {lineup.floor.spec.imgsz}{_against(view)}")
        print_benchmark(lineup, columns)
    seen = [lineup for view, lineup in zip(views, lineups, strict=True) if not view.get("truth")]
    if len(seen) > 1 and seen[0].models:
        print_swap(seen)
    folder = lineups[0].floor.path.parent
    print(f"Look at all runs there: detbench report {shlex.quote(str(folder))} --group")


def print_swap(lineups: Sequence[Lineup]) -> None:
    """What carries over from one detector, or working size, to the others."""
    from detbench import swap
    from detbench.report import swaps

    print("\nWith several detectors:", *swaps.sentences(lineups, swap.pairs(lineups)), sep="\n")


def print_swaps(lineups: Sequence[Lineup], as_json: bool) -> None:
    """The same with its tables; as JSON the pairs."""
    from detbench import metrics, swap
    from detbench.report import formats, swaps

    found = swap.pairs(lineups)
    sentences = swaps.sentences(lineups, found)
    if as_json:
        pairs = [
            {"one": pair.one, "other": pair.other, "verdict": pair.verdict, "detector": detector}
            | {"difference": gain.estimate, "low": gain.low, "high": gain.high, "p": gain.p, "p_holm": pair.p[detector]}
            for pair in found
            for detector, gain in pair.gains.items()
        ]
        print(json.dumps({"rows": [metrics.plain(pair) for pair in pairs], "sentences": sentences}, indent=1))
        return
    signatures = [str(lineup.signature) for lineup in lineups]
    for made in swaps.tables(lineups, found):
        print(made.title)
        print_table(*formats.cells(made))
        print(*(note for note in made.notes if note not in signatures), "", sep="\n")
    print(*sentences, *(f"signature: {lineup.signature.short}" for lineup in lineups), sep="\n")


def _against(view: Mapping[str, Any]) -> str:
    """What the detections are scored against, where there are two references."""
    if "truth" not in view:
        return ""
    return f", against {view['truth'] or 'what it sees in the sharp frames'}"


def print_benchmark(lineup: Lineup, columns: Sequence[str]) -> None:
    """A benchmark's table, what can be concluded of it, its signature, and where its runs lie."""
    from detbench import table
    from detbench.report.conclusions import sentences

    comparison = compared(lineup)
    judged = judgement(lineup, comparison)
    known = table.headings()
    rows = table.rows(replace(lineup, models=lineup.ranked))
    shown = [table.cells(row, columns, judged.get(row["name"])) for row in rows]
    print_table(["", *(known[key] for key in columns)], shown)
    if lineup.floor.spec.truth:
        print_table(["", *AVERAGES.values()], [[name, *map("{:.3f}".format, row)] for name, row in averages(lineup)])
    if lineup.models:
        print(*sentences(comparison), sep="\n")
    scores = lineup.floor.scores
    clips = len({score.clip for score in scores})
    where = f"{counted(len(scores), 'frame')} of {counted(clips, 'clip')}"
    print(f"to be found: {counted(lineup.floor.counts.objects, 'object')} in {where}")
    print(f"signature: {lineup.signature.short} (whole with --json)")
    for result in lineup.models:
        print(f"run: {result.path}")


def benchmark_json(lineup: Lineup) -> dict[str, Any]:
    """The same as plain data."""
    from detbench import metrics, table
    from detbench.lineup import labels

    named = labels(lineup)
    comparison = compared(lineup)
    judged = judgement(lineup, comparison)
    against = {"averages": {name: dict(zip(AVERAGES, row, strict=True)) for name, row in averages(lineup)}}
    return (against if lineup.floor.spec.truth else {}) | {
        "rows": [
            metrics.plain(row | {"verdict": judged[row["name"]].word} if row["name"] in judged else row)
            for row in table.rows(lineup)
        ],
        "differences": comparison.rows(),
        "objects": lineup.floor.counts.objects,
        "frames": len(lineup.floor.scores),
        "clips": len({score.clip for score in lineup.floor.scores}),
        "signature": str(lineup.signature),
        "runs": {named[result.path]: str(result.path) for result in lineup.models},
    }


def print_unreferenced(spec: RunSpec, names: Sequence[str], as_json: bool) -> None:
    """What a detector finds in frames of which no sharp ones are known, as they are and deblurred."""
    from detbench import detectors
    from detbench.report import unreferenced as words
    from detbench.unreferenced import look

    spec, _ = detectors.settled(spec)
    seen = look(spec, names)
    found = words.rows(seen, spec.match_iou)
    if as_json:
        print(
            json.dumps({"detector": spec.detector, "imgsz": spec.imgsz, "rows": found, "note": words.UNKNOWN}, indent=1)
        )
        return
    frames, clips = len(seen[0].clips), len(set(seen[0].clips))
    print(f"{spec.detector}, imgsz {spec.imgsz}, on {counted(frames, 'frame')} of {counted(clips, 'clip')}")
    print_table(["", *(heading for heading, _ in words.FORMS.values())], [words.cells(row) for row in found])
    print(*words.sentences(seen), sep="\n")


def print_alternatives(found: Table) -> None:
    """Deblurring, adapting the detector, and whatever else was weighed, with the answer in words."""
    from detbench.report import alternatives as words
    from detbench.report import formats
    from detbench.signature import short

    print_table(*formats.cells(words.table(found)))
    print(*words.sentences(found), words.NOTE, f"signature: {short(found.signature)}", sep="\n")


AVERAGES = {"ap": "AP", "ap50": "AP50", "ar": "AR"}
"""COCO's averages, by attribute of :class:`detbench.ap.AveragePrecision`, with their headings."""


def averages(lineup: Lineup) -> list[tuple[str, list[float]]]:
    """The values of :data:`AVERAGES` of each run, with its name."""
    from detbench import store
    from detbench.ap import average_precision
    from detbench.lineup import labels

    named, found = labels(lineup), []
    for result in lineup:
        seen = store.read_detections(result.path)
        ap = average_precision(seen["restored"], seen["sharp"])
        found.append((named[result.path], [getattr(ap, key) for key in AVERAGES]))
    return found


def compared(lineup: Lineup) -> Comparison:
    """A benchmark's deblurers against what they were given."""
    from detbench.compare import compare

    return compare([lineup.given, *lineup.models])


def judgement(lineup: Lineup, comparison: Comparison) -> dict[str, Verdict]:
    """The verdict on each deblurer, by its name in tables."""
    from detbench.lineup import labels
    from detbench.verdict import of_runs

    named = labels(lineup)
    return {named[path]: verdict for path, verdict in of_runs(comparison).items()}


def print_verdict(verdict: check.Verdict) -> None:
    """A gate's verdict, as :func:`detbench.report.ci.summary` has it for a page."""
    from detbench.report import ci
    from detbench.signature import Signature

    print(ci.headline(verdict), *ci.fell(verdict), sep="\n", end="\n\n")
    judged, *more = ci.grids(verdict)
    print_table(judged.headings, judged.rows)
    print("", *ci.remarks(verdict), str(Signature.of(verdict.now)), sep="\n")
    for grid in more:
        print(f"\n{grid.title}:\n")
        print_table(grid.headings, grid.rows)


def print_plan(rows: Sequence[Row]) -> None:
    """A file's runs on stderr, with the time that restoring will take here."""
    lines = []
    for row in rows:
        hours = "" if row.ms is None else duration(row.frames * row.ms / 1e3)
        lines.append([row.dataset, row.deblurer, str(row.runs), str(row.done), str(row.frames), hours])
    known = [row.frames * row.ms / 1e3 for row in rows if row.ms is not None]
    with redirect_stdout(sys.stderr):
        print_table(["dataset", "deblurer", "runs", "finished", "frames to restore", "about"], lines)
    unknown = len(rows) - len(known)
    more = f", and {unknown} that cannot be told" if unknown else ""
    runs = sum(row.runs for row in rows)
    say(f"{runs} runs, and floors and ceilings: about {duration(sum(known))} of restoring here{more}.")


def duration(seconds: float) -> str:
    """A time for people: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: numbers to the right. In a pipe it is as wide as it needs to be; on a terminal, text folds."""
    from rich.box import Box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rule = Box("    \n    \n -  \n    \n    \n    \n    \n    \n", ascii=True)  # below the headings, and nowhere else
    table = Table(box=rule, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for i, heading in enumerate(headings):
        number = all(_is_number(row[i]) for row in rows if row[i])
        table.add_column(Text(heading), justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    width = None if sys.stdout.isatty() else 10_000
    with (console := Console(width=width)).capture() as printed:
        console.print(table)
    print("\n".join(map(str.rstrip, printed.get().splitlines())))


def _is_number(cell: str) -> bool:
    return cell.strip("%-+.").replace(",", "").replace(".", "").isdigit() or cell in ("-", "inf")
