"""What benchmarks share: ratios of times, which are told, asserted, and kept in ``reports/speed.md``."""

import os
import statistics
import time
from pathlib import Path

import detbench
from detbench import environment

REPORT = Path(detbench.__file__).parent.parent / "reports" / "speed.md"
ROWS = []


def in_turn(first, second, repeats=3, clock=time.perf_counter):
    """The median seconds by a clock of two functions that are called in turn, after a call of each that warms up."""
    seconds = ([], [])
    for number in range(repeats + 1):
        for function, taken in zip((first, second), seconds, strict=True):
            started = clock()
            function()
            if number:
                taken.append(clock() - started)
    return tuple(statistics.median(taken) for taken in seconds)


def has_bf16():
    """Whether this processor multiplies in bf16."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def reporting():
    """Whether reports are to be written, of all that is measured."""
    return os.environ.get("DETBENCH_SPEED") == "report"


def tell(what, against, measured, least=None, most=None, words=""):
    """Tell a ratio, keep it where a report is asked for, and see that it is what it must be."""
    need = f"at least {least:g}" if most is None else f"at most {most:g}"
    reached = (least is None or measured >= least) and (most is None or measured <= most)
    words = "; ".join(filter(None, ("" if reached else "**not reached**", words)))
    ROWS.append(f"| {what} | {against} | {need} | {measured:.2f} | {words} |")
    print(f"\n{what}, against {against}: {measured:.2f} (need {need}) {words}")
    if reporting():
        _write()
    assert reached


def here():
    """This machine, in words."""
    its = environment.describe()
    units = "with" if has_bf16() else "without"
    return f"on {its['cores']} cores of {its['cpu']} ({units} bf16 units), torch {its['packages']['torch']}"


def _write():
    """The page of what was told so far, and of what was told before of other things."""
    command = "DETBENCH_SPEED=report pytest -s -n0 tests/speed"
    head = f"# Speed\n\nRatios, the two sides measured in turn, by `{command}`; {here()}.\n"
    before = REPORT.read_text("utf-8").splitlines() if REPORT.exists() else []
    known = [line for line in before if line.startswith("| ") and not line.startswith("| what ")]
    rows = {row.split(" | ")[0]: row for row in [*known, *ROWS]}
    table = ["| what | against | needed | measured | |", "|---|---|---:|---:|---|", *rows.values()]
    REPORT.write_text("\n".join([head, *table]) + "\n", "utf-8")
