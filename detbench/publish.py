"""The published state in ``reports/``: every shipped deblurer on ``street``, made again by one command."""

from __future__ import annotations

import csv
import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detbench import alternatives, best, compare, features, figure, lineup, published, registry, resolve, swap
from detbench.detectors import adapted
from detbench.features import Distances
from detbench.files import sweep, write_file
from detbench.lineup import CEILING, FLOOR
from detbench.report import alternatives as words
from detbench.report import claims, detectors, findings, formats, gains, models, plots, style, swaps, tables
from detbench.report import features as of_features
from detbench.report.collect import Group, collect
from detbench.report.conclusions import sentences
from detbench.report.document import Report
from detbench.report.formats import Table
from detbench.results import Results
from detbench.signature import Signature
from detbench.types import DetbenchError, RunResult, RunSpec

RESULTS = Path("reports/results/street.tar.xz")
"""What the published pages are made from, in a checkout."""

PAGES = (
    *(Path("reports") / page for page in ("leaderboard.md", "claims.md", "findings.md")),
    *(Path("detbench/results.json"), Path("README.md")),
)
"""The pages, in a checkout; tables and figures are beside the first."""

CARDS = Path("docs/models")
"""The model cards, in a checkout."""

CROSS_CHECKS = ((0, 1), (1, 0))
"""Which two of :data:`detbench.published.DETECTORS`, of different families: the second confirms what the first detects,
or does not."""

LARGER_IMGSZ = 960
"""The detector's ``imgsz`` in the run that spends the time on larger frames instead of on deblurring."""

NOISE = 0.001
"""Variance of the noise on the frames of the second table, as in the dark-channel paper's."""

DRAWN = lineup.RECOMMENDED
"""The deblurer whose frames the README shows, and that is weighed against what else the effort could go into."""

BIGGER, SMALLER = "yolo26m", (416, 320)
"""The larger detector and the smaller working sizes that it is weighed against."""

START, END = "<!-- leaderboard: written by `detbench publish` -->", "<!-- end of the leaderboard -->"


def publish(root: Path, runs: Path = resolve.RUNS, device: str = "auto", anew: bool = False) -> list[Path]:
    """Run what is not run yet, and write leaderboard, tables, figures, results and the README's part of them.

    Args:
        root: of the checkout.
        runs: folder of run directories.
        device: as in a run's spec.
        anew: run everything that is not in ``runs``, those too whose results are kept: for times of one machine.

    Returns:
        The files written, without tables and figures.

    Raises:
        DetbenchError: something went wrong in a run; or the README has no place for the leaderboard.
    """
    sweep(root / "reports")
    with tempfile.TemporaryDirectory() as scratch:
        results = Results(runs)
        if (root / RESULTS).exists():
            before = Results.load(root / RESULTS, Path(scratch), runs)
            results.added = before.added  # which cannot be run here
            results = results if anew else before
        groups = _written(root, results, published.shipped(), device)
        results.save(root / RESULTS, [run.path for run in groups[0]])
        for run in groups[0].models:
            target = root / CARDS / models.FIGURES / f"{run.spec.deblurer}.webp"
            if run.path.parent == runs or not target.exists():
                models.picture(run, target)
        models.write(root / CARDS, groups, _curves(root / "reports", published.shipped()))
    drawn = next(run for run in groups[0].models if run.spec.deblurer == DRAWN)
    if drawn.path.parent == runs:  # else its frames were drawn when it was run
        for suffix in ("png", "webp"):
            figure.write(drawn, root / "reports" / "figures" / f"{DRAWN}-street.{suffix}")
    write_file(root / "reports" / "published.json", json.dumps(published.state(groups), indent=1) + "\n")
    published.mark(root)  # of weights that came while all this ran
    return [root / path for path in (*PAGES, RESULTS)]


def again(root: Path, added: RunResult | None = None, name: str = "", by: str = "") -> list[Path]:
    """Write all pages again from the results that they were made from; nothing is run.

    Args:
        root: of the checkout.
        added: a run that was made elsewhere, which from now on is on the leaderboard too.
        name: what its deblurer is called there.
        by: who made it, and how it is made again.

    Returns:
        The files written, without tables and figures.

    Raises:
        DetbenchError: the results are not there, or do not have all that the pages tell of; or the run that is to be
            added has another signature than the leaderboard, or a name that is there.
    """
    names = list(published.recorded(root / "reports")["deblurers"])
    with tempfile.TemporaryDirectory() as scratch:
        results = Results.load(root / RESULTS, Path(scratch))
        if added:
            if name in {*names, FLOOR, CEILING}:
                raise DetbenchError(f"{name} is on the leaderboard already: give another --name.")
            results.add(added, name, by)
        groups = _written(root, results, names, "auto")
        models.write(root / CARDS, groups, _curves(root / "reports", names))
        if added:
            results.save(root / RESULTS, [run.path for run in groups[0]])
    published.mark(root)
    return [root / path for path in (*PAGES, *[RESULTS] * bool(added))]


def retimed(root: Path, device: str = "auto") -> list[Path]:
    """Take all times anew, in turn, and write all pages again; nothing else is measured.

    Args:
        root: of the checkout.
        device: as in a run's spec.

    Returns:
        The files written, without tables and figures.

    Raises:
        DetbenchError: as for :func:`again`; or a deblurer, a detector or the dataset is not what it was in the results.
    """
    with tempfile.TemporaryDirectory() as scratch:
        results = Results.load(root / RESULTS, Path(scratch))
        results.save(root / RESULTS, results.retime(device))
    return [*again(root), root / RESULTS]


def _written(root: Path, results: Results, names: Sequence[str], device: str) -> list[Group]:
    """Leaderboard, claims, tables, figures and the README's part of them; the groups of runs, one a detector."""
    base = RunSpec("", device=device)
    found = results.benchmark([replace(base, deblurer=name) for name in names])
    found += [results.run(replace(base, deblurer=name, input="sharp")) for name in names]
    found.append(results.run(replace(base, deblurer=FLOOR, imgsz=LARGER_IMGSZ)))
    group = _group(found)
    with_added = _group([*found, *_alike(results, group)])
    noisy = _group(results.benchmark([replace(base, deblurer=name, noise=NOISE) for name in names]))
    groups = [group]
    for detector, imgsz in published.DETECTORS[1:]:
        other = replace(base, detector=detector, imgsz=imgsz)
        groups.append(_group(results.benchmark([replace(other, deblurer=name) for name in names])))
    reports = root / "reports"
    report = Report(with_added, reports)
    report.sections()  # for its tables and figures
    checked = [(groups[one], groups[other]) for one, other in CROSS_CHECKS]
    carried = swap.pairs(groups)
    of_detectors = [detectors.gains(groups), *swaps.tables(groups, carried), detectors.fooling(checked)]
    weighed, distances = _weighed(base, results), _distances(results, group)
    remarks = _listed([*swaps.sentences(groups, carried), *of_features.sentences(group, distances)])
    remarks += "\n" + _folded("Detector by detector", detectors.conclusions(groups))
    of_detectors.append(of_features.table(group, distances))
    for table in [*of_detectors, words.table(weighed)]:
        report.table(table)
    families = {name: registry.entries()[name].stated("family") for name in names}
    curves: dict[tuple[str, str], dict[str, NDArray[np.float64]]] = {}
    for name, (measure, curve) in _curves(reports, names).items():
        curves.setdefault((families[name], measure), {})[name] = curve
    style.save(plots.training_curves(curves), reports / "figures", "training")

    boards = [best.of_group(each) for each in groups]
    style.save(gains.matrix(boards), reports / "figures", "matrix")
    board = formats.markdown(tables.shortlist(with_added))
    written = {
        reports / "leaderboard.md": _page(report, noisy, of_detectors, weighed, remarks),
        root / "detbench" / best.PUBLISHED: json.dumps([each.plain() for each in boards], indent=1) + "\n",
        root / "README.md": _into((root / "README.md").read_text("utf-8"), board),
    }
    for path, text in written.items():
        write_file(path, text)
    tested = claims.write(reports / "claims.md", results, base, names)
    told = findings.Findings(groups, noisy, carried, weighed, tested, families)
    write_file(reports / "findings.md", findings.page((reports / findings.PROSE).read_text("utf-8"), told))
    return groups


def _alike(results: Results, group: Group) -> list[RunResult]:
    """The added runs, all of which have to be of the leaderboard's signature.

    Raises:
        DetbenchError: one is not.
    """
    wanted = str(group.signature)
    for run in results.added:
        differing = compare.mismatches(group.floor, run)
        if not differing and (its := str(Signature.of(run))) != wanted:
            differing = [f"signature ({wanted} and {its})"]
        if differing:
            raise DetbenchError(
                f"{run.spec.deblurer} cannot stand on the leaderboard, whose runs differ from it in"
                f" {'; '.join(differing)}: run it again with these settings."
            )
    return results.added


def _group(results: Iterable[RunResult]) -> Group:
    """Runs that may be compared, as a group."""
    (group,) = collect([result.path for result in results])
    return group


def _curves(reports: Path, names: Iterable[str]) -> dict[str, models.Curve]:
    """What is known of the course of trainings, by the deblurer's name, as from :func:`_curve`."""
    logs = {name: reports / "training" / f"{name}-log.csv" for name in names}
    return {name: _curve(log) for name, log in logs.items() if log.exists()}


def _curve(log: Path) -> models.Curve:
    """What a training was validated by, F1 where a detector took part, and (validations, 2) iteration and measure."""
    with log.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    measure, column = "psnr_db", "psnr_validation"
    if any(row.get("f1_validation") for row in rows):
        measure, column = "f1", "f1_validation"
    points = [(row["iteration"], row[column]) for row in rows if row[column]]
    return measure, np.array(points, np.float64).reshape(-1, 2)


def _distances(results: Results, group: Group) -> Distances:
    """How far the deblurers' frames are from the sharp ones, to the detector."""
    keys = {lineup.name(run): f"features of {lineup.name(run)} {run.spec.deblurer_hash[:8]}" for run in group.models}

    lacking = [run for run in group.models if not results.has(keys[lineup.name(run)])]

    @cache
    def found() -> Distances:
        """Of those that are not known."""
        return features.measure(replace(group, models=tuple(lacking)))

    def restored(name: str) -> NDArray[np.float64]:
        return results.measured(keys[name], lambda: found().restored[name])

    blurred = results.measured("features of blurred", lambda: found().blurred)
    return Distances(blurred, {name: restored(name) for name in keys}, [score.clip for score in group.floor.scores])


def _weighed(base: RunSpec, results: Results) -> alternatives.Table:
    """Deblurring beside what else the effort could go into; an adapted detector, where one ships."""
    plain = replace(base, deblurer=FLOOR)
    ships = (adapted.WEIGHTS / f"{base.detector}.safetensors").is_file()
    own = replace(plain, detector=f"adapted:{base.detector}") if ships else None
    return alternatives.weigh(plain, DRAWN, results, own, BIGGER, SMALLER)


def _page(
    report: Report,
    noisy: Group,
    of_detectors: Sequence[Table],
    weighed: alternatives.Table,
    remarks: str,
) -> str:
    """``leaderboard.md``: the same without and with noise; between the two, several detectors and alternatives."""
    answer = _listed(words.sentences(weighed))
    shown = "\n".join(map(formats.markdown, of_detectors))
    return (
        "# Leaderboard\n\nEvery deblurer that ships here, on `street`, with the same detector. Made by"
        f" `detbench publish`, which makes it again.\n\n{_ranking(report.group, report.board)}\n"
        "![F1, precision and recall with 95 % intervals](figures/scores.svg)\n\n"
        "![F1 against milliseconds a frame](figures/f1-time.svg)\n\n"
        f"*Deblurring and detection together.{tables.machines(report.group)} Hollow: the blurred frames as they are, at"
        f" {LARGER_IMGSZ} in place of 640 pixels, against the objects that the others are scored against. A point among"
        " others has no name: the table has them all.*\n\n"
        "![F1 against PSNR](figures/f1-psnr.svg)\n\n"
        "More in [tables/](tables) (Markdown, LaTeX, CSV) and [figures/](figures) (SVG, PDF, PNG): by class, size and"
        " severity of the blur, by kind of error, without one arbitrary threshold, on sharp frames, and beside the"
        " publications' tables. Where `detbench publish` has run, `detbench report reports/runs --group` makes"
        " a page of it all.\n\n## With several detectors\n\nDoes it help others than the leaderboard's detector?"
        " Those that no deblurer was trained through come first. What is said of several detectors at once, and the"
        " table of pairs, is after Holm's correction for all pairs of deblurers; lines that begin with a detector, and"
        " the matrix in figures/, are corrected for its deblurers alone, and so are sure of some that the former leave"
        " out."
        f"\n\n{remarks}\n{shown}\n"
        f"## Deblur, or adapt the detector?\n\n{answer}\n{formats.markdown(words.table(weighed))}\n"
        f"## With noise of variance {NOISE:g}\n\n"
        "Gaussian noise on the blurred frames, for values in 0..1; objects are those of the sharp frames without"
        f" noise.\n\n{_ranking(noisy, tables.leaderboard(noisy, costs=False))}"
    )


def _ranking(group: Group, board: Table) -> str:
    """The leaderboard of a group, and what can be concluded."""
    concluded = _folded("Which of these differences are sure, by each measure", sentences(group.compared))
    return f"{formats.markdown(board)}\n{concluded}"


def _folded(summary: str, told: Sequence[str]) -> str:
    """Sentences behind a line to click on: each names nearly all deblurers, which is much to read past."""
    return f"{formats.folded(summary, _listed(told).strip())}\n"


def _listed(told: Sequence[str]) -> str:
    return "".join(f"- {sentence}\n" for sentence in told)


def _into(readme: str, board: str) -> str:
    """The README with the leaderboard in its place."""
    if START not in readme or END not in readme:
        raise DetbenchError(f"README.md has no place for the leaderboard: put {START} and {END} there.")
    return re.sub(f"{re.escape(START)}.*{re.escape(END)}", lambda _: f"{START}\n\n{board}\n{END}", readme, flags=re.S)
