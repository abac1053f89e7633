"""Tables on stdout, and the sentences below them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detbench.compare import Comparison
    from detbench.lineup import Lineup


def print_benchmarks(views: Sequence[Mapping[str, Any]], lineups: Sequence[Lineup], as_json: bool) -> None:
    """A table for each of several views: detectors, and their working sizes; one view needs no name.

    Args:
        views: ``detector`` and ``imgsz`` of each.
        lineups: one a view.
        as_json: print plain data, several views as a list.
    """
    if as_json:
        rows = [benchmark_json(lineup) for lineup in lineups]
        named = [view | row for view, row in zip(map(dict, views), rows, strict=True)]
        print(json.dumps(named if len(views) > 1 else rows[0], indent=1))
        return
    for number, (view, lineup) in enumerate(zip(views, lineups, strict=True)):
        if len(views) > 1:
            print("\n" * (number > 0) + f"{view['detector']}, imgsz {view['imgsz']}")
        print_benchmark(lineup)


def print_benchmark(lineup: Lineup) -> None:
    """A benchmark's table, what can be concluded of it, its signature, and where its runs lie."""
    from detbench import table
    from detbench.metrics import METRICS
    from detbench.report.conclusions import sentences

    headings = ["", *(metric.heading for metric in METRICS.values())]
    print_table(headings, [table.cells(row) for row in table.rows(lineup)])
    if lineup.models:
        print(*sentences(compared(lineup)), sep="\n")
    print(f"signature: {lineup.signature}")
    for result in lineup.models:
        print(f"run: {result.path}")


def benchmark_json(lineup: Lineup) -> dict[str, Any]:
    """The same as plain data."""
    from detbench import table
    from detbench.lineup import labels

    named = labels(lineup)
    return {
        "rows": [table.plain(row) for row in table.rows(lineup)],
        "differences": compared(lineup).rows(),
        "signature": str(lineup.signature),
        "runs": {named[result.path]: str(result.path) for result in lineup.models},
    }


def compared(lineup: Lineup) -> Comparison:
    """A benchmark's deblurers against what they were given."""
    from detbench.compare import compare

    return compare([lineup.given, *lineup.models])


def print_table(headings: list[str], rows: list[list[str]]) -> None:
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
