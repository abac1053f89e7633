"""Tables on stdout, and what is said below them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detbench.types import RunResult

if TYPE_CHECKING:
    from detbench.compare import Comparison


def print_benchmark(results: list[RunResult]) -> None:
    """A benchmark's table, what can be concluded of it, its signature, and where its runs lie."""
    from detbench import table
    from detbench.metrics import METRICS
    from detbench.report.conclusions import sentences

    print_table(
        ["", *(metric.heading for metric in METRICS.values())], [table.cells(row) for row in table.rows(results)]
    )
    if models := table.models(results):
        print(*sentences(compared(results)), sep="\n")
    print(f"signature: {results[0].environment['signature']}")
    for result in models.values():
        print(f"run: {result.path}")


def benchmark_json(results: list[RunResult]) -> dict[str, Any]:
    """The same as plain data."""
    from detbench import table

    return {
        "rows": [table.plain(row) for row in table.rows(results)],
        "differences": compared(results).rows(),
        "signature": results[0].environment["signature"],
        "runs": {label: str(result.path) for label, result in table.models(results).items()},
    }


def compared(results: list[RunResult]) -> Comparison:
    """A benchmark's deblurers against what they were given."""
    from detbench import compare as module
    from detbench import table

    models = list(table.models(results).values())
    # Sharp frames, deblurred, are to stay what they were.
    base = results[-1] if models and models[0].spec.input == "sharp" else results[0]
    return module.compare([base, *models])


def print_table(headings: list[str], rows: list[list[str]]) -> None:
    """A table on stdout: the first column to the left, numbers to the right, as wide as it needs to be."""
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(headings))]
    for row in [headings, ["-" * width for width in widths], *rows]:
        line = [cell.rjust(w) if n else cell.ljust(w) for cell, w, n in zip(row, widths, numeric, strict=True)]
        print("  ".join(line).rstrip())


def _is_number(cell: Any) -> bool:
    return (bool(cell) and cell.strip("%-+.").replace(",", "").replace(".", "").isdigit()) or cell in ("-", "inf")
