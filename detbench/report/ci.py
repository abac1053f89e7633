"""The gate's verdict for machines and people of a CI service: JUnit XML, Markdown, and GitHub's annotations."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from detbench.baseline import CannotCompare, Replacement
from detbench.check import Change, Outcome, Verdict
from detbench.counts import counted
from detbench.files import write_file
from detbench.signature import Signature
from detbench.types import FrameScore

SHOWN = 5
"""How many frames that fell are shown."""


WORKFLOW = """
Commit {baseline}. On GitHub this gates pull requests; OWNER/detbench is where you have detbench from:

name: detbench
on: [pull_request]
jobs:
  gate:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: OWNER/detbench@main
        with:
          baseline: {baseline}

Elsewhere, where detbench is installed: detbench check --baseline {baseline} --junit gate.xml
"""
"""What to do with a new baseline."""


def junit(verdict: Verdict) -> str:
    """The verdict as JUnit XML: one test case a metric."""
    suite = TestSuite("detbench check")
    for change in verdict.changes:
        suite.add_property(_xml(change.what), _xml(" → ".join(_values(change))))
    spec = verdict.now.spec
    place = _xml(f"detbench.check.{Path(spec.dataset).name}.{Path(spec.deblurer).name}")
    suite.add_testcases([_case(verdict, outcome, place) for outcome in verdict.outcomes])
    return _document(suite, _seconds(verdict))


def _case(verdict: Verdict, outcome: Outcome, place: str) -> TestCase:
    """A metric as a test case."""
    case = TestCase(outcome.heading, place, 0.0)
    if outcome.word == "failed":
        failure = Failure(_fell(outcome), "regression")
        frames = [
            "{}: found {}, missed {}, false {}, PSNR {} dB".format(new.id, *_steps(old, new))
            for old, new in verdict.fallen[:SHOWN]
        ]
        failure.text = _xml("\n".join(["Frames that fell most:", *frames]))
        case.result = [failure]
    elif outcome.word == "no interval":
        case.result = [Skipped(_moved_by(outcome))]
    else:
        case.system_out = _moved_by(outcome)
    return case


def _document(suite: TestSuite, seconds: float) -> str:
    """A whole XML file of one suite."""
    root = JUnitXml()
    root.add_testsuite(suite)
    root.update_statistics()
    root.time = suite.time = round(seconds, 3)  # of the run: judging a metric takes none
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + root.tostring().decode() + "\n"


@dataclass(frozen=True)
class Grid:
    """A table of a verdict, for whoever draws it: rows of cells below headings, in plain text."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def headline(verdict: Verdict) -> str:
    """Whether it passed."""
    return f"detbench check: {'passed' if verdict.passed else 'failed'}"


def fell(verdict: Verdict) -> list[str]:
    """The metrics that failed, each in a sentence."""
    return [_fell(outcome) for outcome in verdict.failures]


def grids(verdict: Verdict) -> list[Grid]:
    """The metrics, and where there are any the frames that fell most, and what differs from the baseline's run."""
    judged = [
        [
            outcome.heading,
            _number(outcome.baseline),
            _number(outcome.now),
            outcome.interval.format("{:.5f}"),  # tolerances have three digits; a millionth is nothing
            f"{outcome.tolerance:g}",
            outcome.word,
        ]
        for outcome in verdict.outcomes
    ]
    frames = [[new.id, *_steps(old, new)] for old, new in verdict.fallen[:SHOWN]]
    changes = [[change.what, *_values(change)] for change in verdict.changes]
    found = [
        Grid("Metrics", ["", "baseline", "now", "change, 95 % interval", "may get worse by", ""], judged),
        Grid("Frames that fell most", ["frame", "found", "missed", "false", "PSNR dB"], frames),
        Grid("What differs from the baseline's run", ["", "baseline", "now"], changes),
    ]
    return [grid for grid in found if grid.rows]


def remarks(verdict: Verdict) -> list[str]:
    """What was run, and what to know of it."""
    spec = verdict.now.spec
    clips = len({score.clip for score in verdict.now.scores})
    frames = f"{counted(len(verdict.now.scores), 'frame')} of {Path(spec.dataset).name} ({counted(clips, 'clip')})"
    lines = [f"{Path(spec.deblurer).name} on {frames}, {_seconds(verdict):.0f} s.", _moved(verdict)]
    same = "" if verdict.changes else "The deblurer, the code and the packages are the baseline's."
    return [line for line in (*lines, same) if line]


def summary(verdict: Verdict) -> str:
    """The verdict in Markdown, fit for a comment on a pull request."""
    judged, *more = grids(verdict)
    lines = [f"### {headline(verdict)}", ""]
    lines += [f"- {sentence}" for sentence in fell(verdict)] + [""] * bool(verdict.failures)
    lines += [*_markdown(judged), ""]
    for remark in remarks(verdict):
        lines += [_escape(remark), ""]
    for grid in more:
        lines += [f"<details><summary>{grid.title}</summary>", "", *_markdown(grid), "", "</details>", ""]
    lines.append(f"`{str(Signature.of(verdict.now)).replace('`', '')}`")
    return "\n".join(lines) + "\n"


def replaced(new: Replacement) -> list[str]:
    """What became the baseline, and how it differs from the one that it replaces, a line each."""
    scores = new.result.scores
    frames = f"{counted(len(scores), 'frame')} in {counted(len({score.clip for score in scores}), 'clip')}"
    lines = [f"{new.path}: {new.result.spec.deblurer}, {frames}.", *new.problems]
    for verdict in new.verdicts:
        lines += map(_moved_by, verdict.outcomes)
        lines += [f"{change.what}: {' → '.join(_values(change))}" for change in verdict.changes]
    return lines


def deliver(outcome: Verdict | CannotCompare, junit_xml: Path | None = None, markdown: Path | None = None) -> None:
    """Write the verdict where it is asked for, and where GitHub looks for it if this is one of its jobs.

    Args:
        outcome: the verdict, or why there is none.
        junit_xml: a file for :func:`junit`.
        markdown: a file that :func:`summary` is appended to.
    """
    if isinstance(outcome, Verdict):
        xml, text, commands = junit(outcome), summary(outcome), github(outcome)
    else:
        suite, case = TestSuite("detbench check"), TestCase("comparison", "detbench.check", 0.0)
        case.result = [Error(_xml(str(outcome)), "CannotCompare")]
        suite.add_testcase(case)
        xml = _document(suite, 0.0)
        text = f"### detbench check: cannot compare\n\n{_escape(str(outcome))}\n"
        commands = [annotation("error", "detbench check: cannot compare", str(outcome))]
    if junit_xml:
        write_file(junit_xml, xml)
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    for path in (markdown, Path(page) if page else None):
        if path:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        print(*commands, sep="\n")


def github(verdict: Verdict) -> list[str]:
    """The verdict as GitHub workflow commands: an error a failed metric, warnings, or else one notice."""
    commands = [annotation("error", f"detbench check: {o.heading}", _fell(o)) for o in verdict.failures]
    if moved := _moved(verdict):
        commands.append(annotation("warning", "detbench check: reference objects", moved))
    for outcome in verdict.outcomes:
        if outcome.word == "no interval":
            commands.append(annotation("warning", f"detbench check: {outcome.heading}", _moved_by(outcome)))
    if verdict.passed:
        commands.append(annotation("notice", "detbench check: passed", "\n".join(map(_moved_by, verdict.outcomes))))
    return commands


def annotation(level: str, title: str, message: str) -> str:
    """A GitHub workflow command, escaped as GitHub's runner unescapes it ("Workflow commands", GitHub's documentation).

    Args:
        level: ``error``, ``warning`` or ``notice``.
        title: one line.
        message: may have several.
    """
    escaped = [text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A") for text in (title, message)]
    return f"::{level} title={escaped[0].replace(':', '%3A').replace(',', '%2C')}::{escaped[1]}"


def _fell(outcome: Outcome) -> str:
    """A failed metric in words."""
    worse = f"it may get worse by {outcome.tolerance:g}, and did by at least {-outcome.gain.high:.3g}"
    return f"{_moved_by(outcome)}: {worse}."


def _moved_by(outcome: Outcome) -> str:
    """A metric's values before and now, and the difference."""
    return f"{outcome.heading} {_number(outcome.baseline)} → {_number(outcome.now)}, {outcome.interval}"


def _number(value: float) -> str:
    """A metric's value: PSNR has two digits before the point, the others none."""
    return f"{value:.2f}" if abs(value) >= 2 else f"{value:.4f}"


def _values(change: Change) -> tuple[str, str]:
    """The baseline's and the new value in a few words each; where these do not differ, that they do."""
    was, is_ = _short(change.baseline), _short(change.now)
    return (was, is_) if was != is_ else ("", "changed")


def _short(value: Any) -> str:
    """A value in a few words: hashes by their first eight digits."""
    text = "none" if value is None else str(value)
    if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", text):
        return text[:8]
    return text if len(text) <= 60 else text[:57] + "..."


def _moved(verdict: Verdict) -> str:
    """What the detector sees otherwise than for the baseline in the sharp frames, in words."""
    seen = verdict.reference
    if seen.fn == seen.fp == 0:
        return ""
    return (
        f"In the sharp frames, the detector misses {seen.fn} of the baseline's {seen.objects} objects and sees"
        f" {seen.fp} others: precision, recall and F1 are against another truth."
    )


def _steps(old: FrameScore, new: FrameScore) -> list[str]:
    """Found, missed and false objects and the PSNR of a frame, then and now."""
    counts = [(old.tp, new.tp), (old.fn, new.fn), (old.fp, new.fp)]
    return [*(f"{was} → {is_}" for was, is_ in counts), f"{old.psnr_db:.2f} → {new.psnr_db:.2f}"]


def _seconds(verdict: Verdict) -> float:
    return float(verdict.now.environment.get("wall_seconds", 0))


def _markdown(grid: Grid) -> list[str]:
    """A grid as a Markdown table, its first column to the left."""
    cells = [["**failed**" if cell == "failed" else _escape(cell) for cell in row] for row in grid.rows]
    lines = [grid.headings, ["---", *["---:"] * (len(grid.headings) - 1)], *cells]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _escape(text: str) -> str:
    """Text that Markdown and HTML leave as it is."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`|]|\](?=\())", r"\\\1", text).replace("\n", " ")


def _xml(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold."""
    return re.sub(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]", "\ufffd", text)
