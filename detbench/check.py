"""The gate: a baseline's run is made anew, and fails where it became worse by more than chance and a tolerance.

What is under test is the code and the deblurer's weights; frames, detector and settings must be the baseline's. A
metric fails only when its whole paired 95 % interval, clustered by clip, lies beyond the tolerance: noise does not fail
it, a real drop does, and an improvement never. Equal runs differ by nothing at all, so small drops are seen.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from detbench import compare, metrics, runner, stats, store
from detbench.counts import Counts
from detbench.match import match
from detbench.metrics import Sums
from detbench.types import DetbenchError, Detections, FrameScore, RunResult

TOLERANCES = {key: metric.min_effect or 0.0 for key, metric in metrics.compared().items()} | {"reference": 0.02}
"""What each metric may fall by: the least difference that matters.

``reference`` is how far the objects seen in the sharp frames are the baseline's, as F1: encoding the frames as JPEG 95,
which nobody can see, costs it 0.03.
"""

BEST_PSNR_DB = 60.0
"""PSNR above this counts as this: the difference is invisible, and that of equal frames is infinite."""

SHOWN = 5
"""How many frames that fell are shown."""


class CannotCompare(DetbenchError):
    """The baseline's run cannot be made here, or would not be comparable: no verdict, neither good nor bad.

    Attributes:
        exit_status: of the command.
    """

    exit_status = 2


@dataclass(frozen=True)
class Outcome:
    """What became of one metric.

    Attributes:
        metric: a key of :data:`TOLERANCES`.
        heading: what it is called.
        baseline: its value in the baseline's run.
        now: its value in the new run.
        interval: of now less baseline.
    """

    metric: str
    heading: str
    baseline: float
    now: float
    interval: stats.Interval

    @property
    def tolerance(self) -> float:
        """What it may fall by."""
        return TOLERANCES[self.metric]

    @property
    def word(self) -> str:
        """``failed`` or ``improved`` for more than the tolerance, ``passed``, or ``no interval`` if there is none."""
        if np.isnan(self.interval.low):
            return "no interval"
        if self.interval.high < -self.tolerance:
            return "failed"
        return "improved" if self.interval.low > self.tolerance else "passed"

    def __str__(self) -> str:
        """Both values and the difference in words."""
        return f"{self.heading} {_number(self.baseline)} → {_number(self.now)}, {self.interval}"


@dataclass(frozen=True, eq=False)
class Verdict:
    """A new run against its baseline.

    Attributes:
        baseline: the baseline's run.
        now: the new one. Its directory is gone unless :func:`check` was told to keep it.
        outcomes: one a metric.
        changes: what else differs: (what, the baseline's, the new one's), as text.
        reference: (objects in the baseline's sharp frames, those of them still seen, those seen anew).
    """

    baseline: RunResult
    now: RunResult
    outcomes: tuple[Outcome, ...]
    changes: tuple[tuple[str, str, str], ...]
    reference: tuple[int, int, int]

    @property
    def failures(self) -> list[Outcome]:
        """Metrics that failed."""
        return [outcome for outcome in self.outcomes if outcome.word == "failed"]

    @property
    def passed(self) -> bool:
        """Whether no metric failed."""
        return not self.failures

    @property
    def fallen(self) -> list[tuple[FrameScore, FrameScore]]:
        """Frames that became worse, (baseline's, new), the worst first: by errors of detection, then by PSNR."""
        before = {score.id: score for score in self.baseline.scores}
        pairs = [(before[score.id], score) for score in self.now.scores]

        def fall(pair: tuple[FrameScore, FrameScore]) -> tuple[int, float]:
            old, new = pair
            drop = min(old.psnr_db, BEST_PSNR_DB) - min(new.psnr_db, BEST_PSNR_DB)
            return new.fp + new.fn - old.fp - old.fn, drop

        worse = [pair for pair in pairs if fall(pair) > (0, 0.005)]  # 0.005 dB would be shown as no fall at all
        return sorted(worse, key=fall, reverse=True)


def check(
    baseline: Path,
    out: Path | None = None,
    *,
    dataset: str | None = None,
    detector: str | None = None,
    weights: str | None = None,
    device: str | None = None,
) -> Verdict:
    """Make a baseline's run anew and judge it.

    Args:
        baseline: folder that holds the directory of one finished run.
        out: folder to keep the new run's directory in. None keeps nothing.
        dataset: where the frames are, if they lie elsewhere than for the baseline.
        detector: likewise.
        weights: the deblurer's, in place of those that the baseline names.
        device: in place of the baseline's.

    Returns:
        The verdict.

    Raises:
        CannotCompare: the folder holds no readable baseline, or one with too few clips; the run cannot be set up here;
            frames, detector, settings or conventions are not the baseline's: the message names which.
        DetbenchError: the deblurer fails on a frame.
    """
    before = _read(baseline)
    with _anew(before, dataset=dataset, detector=detector, weights=weights, device=device) as now:
        _refuse(before, now)
        if out:
            kept = out / now.path.name
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(now.path, kept)
            now = store.read(kept)
        return judge(before, now)


def judge(before: RunResult, now: RunResult) -> Verdict:
    """Compare two comparable runs frame by frame.

    Args:
        before: the baseline's run.
        now: the new one, on the same frames.

    Returns:
        The verdict.

    Raises:
        DetbenchError: a run's detections are missing or damaged.
    """
    order = [score.id for score in before.scores]
    frames = Sums(np.stack([Sums.of(compare.in_order(run, order)).values for run in (before, now)], axis=1))
    frames = frames.replaced(psnr_db=np.minimum(frames["psnr_db"], BEST_PSNR_DB))
    clips = [score.clip for score in before.scores]
    whole, drawn = Sums(frames.values.sum(axis=0)), Sums(stats.resampled_sums(frames.values, clips))
    outcomes = [
        _outcome(key, metric.heading, metric.of(whole), metric.of(drawn)) for key, metric in metrics.compared().items()
    ]
    agreement = _agreement(_reference(before, order), _reference(now, order), before.spec.match_iou)
    resampled = Counts.of(stats.resampled_sums(agreement.columns(), clips))
    agreement = agreement.sum(axis=0)
    outcomes.append(_outcome("reference", "reference objects", agreement.f1, resampled.f1))
    seen = agreement[1].map(int)
    changes = tuple(_changes(before, now))
    return Verdict(before, now, tuple(outcomes), changes, (seen.objects, seen.tp, seen.fp))


def _outcome(key: str, heading: str, values: NDArray[np.float64], drawn: NDArray[np.float64]) -> Outcome:
    """What became of a metric, from its values (2,) before and now and those (resamples, 2) of the resamples."""
    was, is_ = values.tolist()
    return Outcome(key, heading, was, is_, stats.interval(is_ - was, drawn[:, 1] - drawn[:, 0]))


def update(
    baseline: Path,
    result: RunResult | None = None,
    *,
    dataset: str | None = None,
    detector: str | None = None,
    weights: str | None = None,
    device: str | None = None,
) -> list[str]:
    """Write a new baseline, in place of the old one if there is one.

    Restored frames are left out, so a baseline is small enough to be committed; places below the current folder are
    written relative to it, so that it works in another checkout.

    Args:
        baseline: folder that holds the directory of one finished run, or shall hold it.
        result: the run that becomes the baseline. None makes the old baseline's run anew.
        dataset: as for :func:`check`, and so are the others; without ``result`` only.
        detector: where it is.
        weights: the deblurer's.
        device: to run on.

    Returns:
        What differs from the old baseline, in words.

    Raises:
        CannotCompare: as for :func:`check`, except that a baseline may be replaced by one it cannot be compared with.
        DetbenchError: the deblurer fails on a frame.
    """
    if result is None:
        before = _read(baseline)
        with _anew(before, dataset=dataset, detector=detector, weights=weights, device=device) as now:
            return update(baseline, now)
    _enough(result)
    told = _difference(baseline, result)
    _install(baseline, result)
    frames = f"{len(result.scores)} frames in {len({s.clip for s in result.scores})} clips"
    return [f"{baseline / result.path.name}: {result.spec.deblurer}, {frames}.", *told]


def junit(verdict: Verdict) -> str:
    """The verdict as JUnit XML: one test case a metric."""
    spec, words = verdict.now.spec, [outcome.word for outcome in verdict.outcomes]
    counts = {
        "tests": str(len(words)),
        "failures": str(words.count("failed")),
        "errors": "0",
        "skipped": str(words.count("no interval")),
        "time": f"{_seconds(verdict):.3f}",
    }
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "detbench check"} | counts)
    properties = ElementTree.SubElement(suite, "properties")
    for what, was, is_ in verdict.changes:
        ElementTree.SubElement(properties, "property", name=_xml(what), value=_xml(f"{was} → {is_}"))
    place = f"detbench.check.{Path(spec.dataset).name}.{Path(spec.deblurer).name}"
    for outcome in verdict.outcomes:
        case = ElementTree.SubElement(suite, "testcase", classname=_xml(place), name=outcome.heading, time="0")
        if outcome.word == "failed":
            failure = ElementTree.SubElement(case, "failure", type="regression", message=_fell(outcome))
            frames = [
                "{}: found {}, missed {}, false {}, PSNR {} dB".format(new.id, *_steps(old, new))
                for old, new in verdict.fallen[:SHOWN]
            ]
            failure.text = _xml("\n".join(["Frames that fell most:", *frames]))
        elif outcome.word == "no interval":
            ElementTree.SubElement(case, "skipped", message=str(outcome))
        else:
            ElementTree.SubElement(case, "system-out").text = str(outcome)
    return _xml_document(root)


def summary(verdict: Verdict) -> str:
    """The verdict in Markdown, fit for a comment on a pull request."""
    spec = verdict.now.spec
    clips = len({score.clip for score in verdict.now.scores})
    lines = [f"### detbench check: {'passed' if verdict.passed else 'failed'}", ""]
    lines += [f"- {_fell(outcome)}" for outcome in verdict.failures] + [""] * bool(verdict.failures)
    lines += _markdown(
        ["", "baseline", "now", "change, 95 % interval", "may fall by", ""],
        [
            [
                outcome.heading,
                _number(outcome.baseline),
                _number(outcome.now),
                str(outcome.interval),
                f"{outcome.tolerance:g}",
                f"**{outcome.word}**" if outcome.word == "failed" else outcome.word,
            ]
            for outcome in verdict.outcomes
        ],
    )
    told = (
        f"{Path(spec.deblurer).name} on {len(verdict.now.scores)} frames of {Path(spec.dataset).name} ({clips} clips)"
    )
    lines += ["", _escape(f"{told}, {_seconds(verdict):.0f} s."), ""]
    if moved := _moved(verdict):
        lines += [moved, ""]
    if verdict.fallen:
        lines += ["<details><summary>Frames that fell most</summary>", ""]
        lines += _markdown(
            ["frame", "found", "missed", "false", "PSNR dB"],
            [[new.id, *_steps(old, new)] for old, new in verdict.fallen[:SHOWN]],
        )
        lines += ["", "</details>", ""]
    if verdict.changes:
        lines += ["<details><summary>What differs from the baseline's run</summary>", ""]
        lines += _markdown(["", "baseline", "now"], [list(change) for change in verdict.changes])
        lines += ["", "</details>", ""]
    else:
        lines += ["The deblurer, the code and the packages are the baseline's.", ""]
    lines.append(f"`{str(verdict.now.environment.get('signature', '')).replace('`', '')}`")
    return "\n".join(lines) + "\n"


def deliver(told: Verdict | CannotCompare, junit_xml: Path | None = None, markdown: Path | None = None) -> None:
    """Write the verdict where it is asked for, and where GitHub looks for it if this is one of its jobs.

    Args:
        told: the verdict, or why there is none.
        junit_xml: a file for :func:`junit`.
        markdown: a file that :func:`summary` is appended to.
    """
    if isinstance(told, Verdict):
        xml, text, commands = junit(told), summary(told), github(told)
    else:
        root = ElementTree.Element("testsuites", tests="1", failures="0", errors="1")
        suite = ElementTree.SubElement(root, "testsuite", name="detbench check", tests="1", failures="0", errors="1")
        case = ElementTree.SubElement(suite, "testcase", classname="detbench.check", name="comparison", time="0")
        ElementTree.SubElement(case, "error", type="CannotCompare", message=_xml(str(told)))
        xml = _xml_document(root)
        text = f"### detbench check: cannot compare\n\n{_escape(str(told))}\n"
        commands = [annotation("error", "detbench check: cannot compare", str(told))]
    if junit_xml:
        junit_xml.write_text(xml, "utf-8")
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    for path in (markdown, Path(page) if page else None):
        if path:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        print(*commands, sep="\n")


def github(verdict: Verdict) -> list[str]:
    """The verdict as GitHub workflow commands: an error a failed metric, warnings, or else one notice."""
    told = [annotation("error", f"detbench check: {o.heading}", _fell(o)) for o in verdict.failures]
    if moved := _moved(verdict):
        told.append(annotation("warning", "detbench check: reference objects", moved))
    for outcome in verdict.outcomes:
        if outcome.word == "no interval":
            told.append(annotation("warning", f"detbench check: {outcome.heading}", str(outcome)))
    if verdict.passed:
        told.append(annotation("notice", "detbench check: passed", "\n".join(map(str, verdict.outcomes))))
    return told


def annotation(level: str, title: str, message: str) -> str:
    """A GitHub workflow command, escaped as GitHub's runner unescapes it ("Workflow commands", GitHub's documentation).

    Args:
        level: ``error``, ``warning`` or ``notice``.
        title: one line.
        message: may have several.
    """
    escaped = [text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A") for text in (title, message)]
    return f"::{level} title={escaped[0].replace(':', '%3A').replace(',', '%2C')}::{escaped[1]}"


def _read(baseline: Path) -> RunResult:
    """The run that a baseline holds."""
    runs = _runs(baseline)
    if len(runs) != 1:
        found = f"holds {len(runs)} finished runs" if runs else "holds no finished run"
        raise CannotCompare(f"The baseline {baseline} {found} in folders of its own: it must hold one. Write it anew.")
    try:
        result = store.read(runs[0])
    except DetbenchError as error:
        raise CannotCompare(f"The baseline cannot be read: {error}") from error
    _enough(result)
    return result


def _runs(baseline: Path) -> list[Path]:
    """Directories of finished runs in a baseline's folder."""
    return sorted(path.parent for path in baseline.glob("*/manifest.json") if not path.parent.name.startswith("."))


def _enough(result: RunResult) -> None:
    """Refuse a run of which nothing could be concluded: a gate that can never fail."""
    clips = len({score.clip for score in result.scores})
    if clips < stats.MINIMUM_CLIPS:
        raise CannotCompare(
            f"{result.path} has {clips} clip{'s' * (clips != 1)}: too few to tell a drop from chance. A baseline wants"
            f" frames of {stats.MINIMUM_CLIPS} clips or more."
        )


@contextmanager
def _anew(before: RunResult, **places: str | None) -> Iterator[RunResult]:
    """The run of a baseline, made again in a temporary folder."""
    given: dict[str, Any] = {key: value for key, value in places.items() if value}
    try:
        spec = runner.resolve(replace(before.spec, **given))
    except DetbenchError as error:
        raise CannotCompare(f"The baseline's run cannot be made here. {error}") from error
    _refuse(before, replace(before, spec=spec))  # before the work
    with tempfile.TemporaryDirectory(prefix="detbench-check-") as folder:
        yield runner.run(spec, Path(folder), rerun=True)  # the gate believes no cache


def _refuse(before: RunResult, now: RunResult) -> None:
    """Stop where runs would not be comparable."""
    if differing := compare.mismatches(before, now):
        raise CannotCompare(
            f"What runs here cannot be compared with the baseline {before.path}: they differ in"
            f" {'; '.join(differing)}. If that is meant, write a new baseline from a run of today's."
        )


def _reference(run: RunResult, order: Sequence[str]) -> list[Detections]:
    """What was seen in the sharp frames, in the given order."""
    seen = dict(zip((score.id for score in run.scores), store.read_detections(run.path)["sharp"], strict=True))
    return [seen[id] for id in order]


def _agreement(before: Sequence[Detections], now: Sequence[Detections], match_iou: float) -> Counts:
    """(frames, 2) counts of what was and of what is seen in the sharp frames, against what was."""
    old, new = (np.array([len(frame) for frame in frames]) for frames in (before, now))
    still = np.array([(match(its, mine, match_iou) >= 0).sum() for mine, its in zip(before, now, strict=True)])
    none = np.zeros_like(old)
    columns = [(old, still), (none, new - still), (none, old - still)]
    return Counts(*(np.stack(pair, axis=1) for pair in columns))


def _changes(before: RunResult, now: RunResult) -> Iterator[tuple[str, str, str]]:
    """What differs between two runs' deblurers, code, packages, machines and training records."""
    yield from _differing("", {"deblurer": before.spec.deblurer_hash}, {"deblurer": now.spec.deblurer_hash})
    yield from _differing("", {"device": before.spec.device}, {"device": now.spec.device})
    own = ("signature", "wall_seconds", "resumed_after")  # of each run: they say nothing about what was run
    described = ({k: v for k, v in run.environment.items() if k not in own} for run in (before, now))
    yield from _differing("", *described)


def _differing(prefix: str, a: Any, b: Any) -> Iterator[tuple[str, str, str]]:
    """Where two trees of plain data differ: (path, one's value, the other's)."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            yield from _differing(f"{prefix}.{key}" if prefix else key, a.get(key), b.get(key))
    elif a != b:
        told = [_short(a), _short(b)]
        yield prefix, *(told if told[0] != told[1] else ("", "changed"))


def _short(value: Any) -> str:
    """A value as a few words: hashes by their first eight digits."""
    text = "none" if value is None else str(value)
    if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", text):
        return text[:8]
    return text if len(text) <= 60 else text[:57] + "..."


def _difference(baseline: Path, result: RunResult) -> list[str]:
    """How a run differs from the one that a baseline holds, in words."""
    told: list[str] = []
    for path in _runs(baseline):
        try:
            before = store.read(path)
            if differing := compare.mismatches(before, result):
                told.append(f"It cannot be compared with {path}, which it replaces: {'; '.join(differing)}.")
                continue
            verdict = judge(before, result)
        except DetbenchError as error:
            told.append(f"What it replaces could not be read: {error}")
            continue
        told += [str(outcome) for outcome in verdict.outcomes]
        told += [f"{what}: {was} → {is_}" for what, was, is_ in verdict.changes]
    return told


def _install(baseline: Path, result: RunResult) -> None:
    """Put a run's directory in the place of what a baseline holds."""
    baseline.mkdir(parents=True, exist_ok=True)
    old, made = _runs(baseline), baseline / ".new"
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(result.path, made, ignore=shutil.ignore_patterns("frames", ".lock"))
    manifest = json.loads((made / "manifest.json").read_text("utf-8"))
    for field in ("dataset", "detector", "weights"):
        place = Path(manifest["spec"][field] or "")
        if place.is_absolute() and place.is_relative_to(Path.cwd()):
            manifest["spec"][field] = place.relative_to(Path.cwd()).as_posix()
    (made / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    for path in old:
        shutil.rmtree(path)
    os.replace(made, baseline / result.path.name)


def _fell(outcome: Outcome) -> str:
    """A failed metric in words."""
    return f"{outcome}: it may fall by {outcome.tolerance:g}, and fell by at least {-outcome.interval.high:.3g}."


def _moved(verdict: Verdict) -> str:
    """What the detector sees otherwise than for the baseline in the sharp frames, in words."""
    objects, still, new = verdict.reference
    if (still, new) == (objects, 0):
        return ""
    return (
        f"In the sharp frames, the detector misses {objects - still} of the baseline's {objects} objects and sees {new}"
        " others: precision, recall and F1 are against another truth."
    )


def _steps(old: FrameScore, new: FrameScore) -> list[str]:
    """Found, missed and false objects and the PSNR of a frame, then and now."""
    counts = [(old.tp, new.tp), (old.fn, new.fn), (old.fp, new.fp)]
    return [*(f"{was} → {is_}" for was, is_ in counts), f"{old.psnr_db:.2f} → {new.psnr_db:.2f}"]


def _seconds(verdict: Verdict) -> float:
    return float(verdict.now.environment.get("wall_seconds", 0))


def _number(value: float) -> str:
    """A value: PSNR is two digits before the point, the others none."""
    return f"{value:.2f}" if abs(value) >= 2 else f"{value:.4f}"


def _markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table, its first column to the left."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *([_escape(cell) for cell in row] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _escape(text: str) -> str:
    """Text that Markdown and HTML leave as it is."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`|]|\](?=\())", r"\\\1", text).replace("\n", " ")


def _xml_document(root: ElementTree.Element) -> str:
    """A whole XML file."""
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold."""
    return re.sub(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]", "\ufffd", text)
