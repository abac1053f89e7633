"""Faults, tried in loops: a few of each by default; all, with what came out in ``reports/faults.md``, by

DETBENCH_FAULTS=all pytest tests/faults -n0
"""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

import detbench
from detbench.types import DetbenchError

REPORT = Path(detbench.__file__).parent.parent / "reports" / "faults.md"
SHARE = 50
"""Of this many tries one is made by default."""

TALLIES: list[tuple[str, Counter[str]]] = []


WHOLE = os.environ.get("DETBENCH_FAULTS") == "all"


@pytest.fixture
def tries():
    """How often something is tried, of a whole number."""
    return lambda count: count if WHOLE else max(3, count // SHARE)


@pytest.fixture
def tally():
    """Counts of what came out, under what was tried."""
    mine = []

    def count(what):
        mine.append((what, Counter()))
        return mine[-1][1]

    yield count
    if WHOLE:
        TALLIES.extend(mine)
        write()


def write():
    """The page of all that was tried so far."""
    rows = [
        f"| {what} | {sum(counter.values()):,} | {', '.join(f'{name} {n:,}' for name, n in counter.most_common())} |"
        for what, counter in TALLIES
    ]
    head = (
        "# Faults, tried in loops\n\nMade by `DETBENCH_FAULTS=all pytest tests/faults -n0`, which fails where anything"
        " else comes out than a right result or one clear line. Every test run makes a fiftieth of it.\n"
    )
    REPORT.write_text("\n".join([head, "| what | tries | what came out |", "|---|---:|---|", *rows]) + "\n", "utf-8")


class TooLong(Exception):
    """Ten seconds are over."""


def outcome(call, *arguments):
    """What comes of a call within ten seconds: a result, or one clear line. Anything else is raised."""

    def stop(*_):
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(10)
    try:
        call(*arguments)
        return "a result"
    except DetbenchError as error:
        assert str(error).strip()
        assert len(str(error)) < 2000
        return "a clear line"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def child(work):
    """Run something in a process of its own that can be killed; gives its number."""
    number = os.fork()
    if number == 0:
        status = 1
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            work()
            status = 0
        finally:
            os._exit(status)
    return number


def killed_after(work, seconds):
    """Run something in a process of its own, and kill it after a time; whether it was still at work."""
    number = child(work)
    time.sleep(seconds)
    os.kill(number, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == -signal.SIGKILL
