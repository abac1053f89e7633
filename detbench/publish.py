"""The published state in ``reports/``: every shipped deblurrer on ``street``, made again by one command."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detbench import claims, datasets, figure, registry, runner, store
from detbench.compare import compare
from detbench.report import plots, tables
from detbench.report.collect import Group, collect
from detbench.report.document import Report
from detbench.types import DetbenchError, RunSpec

REPORTS = Path(__file__).parent.parent / "reports"
"""The published state, in a checkout."""

CLOSER = 960
"""The detector's ``imgsz`` in the run that spends the time on a closer look instead of on deblurring."""

NOISE = 0.001
"""Variance of the noise on the frames of the second table, as in the dark-channel paper's."""

DRAWN = "dc250"
"""The deblurrer whose frames the README shows."""

START, END = "<!-- leaderboard: written by `detbench publish` -->", "<!-- end of the leaderboard -->"


def publish(root: Path, runs: Path = runner.RUNS, device: str = "auto") -> list[Path]:
    """Run what is not run yet, and write leaderboard, tables, figures and the README's part of them.

    Args:
        root: of the checkout.
        runs: folder of run directories.
        device: as in a run's spec.

    Returns:
        The files written, without tables and figures.

    Raises:
        DetbenchError: something went wrong in a run; or the README has no place for the leaderboard.
    """
    base = RunSpec("", device=device)
    names = shipped()
    results = runner.benchmark([replace(base, deblurer=name) for name in names], runs)
    results += [runner.run(replace(base, deblurer=name, input="sharp"), runs) for name in names]
    results.append(runner.run(replace(base, deblurer="identity", imgsz=CLOSER), runs))
    noisy_results = runner.benchmark([replace(base, deblurer=name, noise=NOISE) for name in names], runs)
    (group,), (noisy,) = (collect([result.path for result in each]) for each in (results, noisy_results))
    reports = root / "reports"
    Report(group, reports).sections()  # for its tables and figures
    drawn = next(run for run in group.runs if run.spec.deblurer == DRAWN)
    panels = figure.panels(drawn, figure.best_median_worst(drawn))
    figure.draw(drawn, store.read_detections(drawn.path), panels, reports / "figures" / f"{DRAWN}-street.png")

    curves: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name in names:
        if (log := reports / "training" / f"{name}-log.csv").exists():
            curves.setdefault(registry.entries()[name].stated("family"), {})[name] = _curve(log)
    plots.save(plots.training_curves(curves), reports / "figures", "training")

    board = tables.markdown(tables.leaderboard(group))
    written = {
        reports / "leaderboard.md": _page(group, noisy),
        reports / "published.json": json.dumps(state(group), indent=1) + "\n",
        root / "README.md": _into((root / "README.md").read_text("utf-8"), board),
    }
    for path, text in written.items():
        path.write_text(text, "utf-8")
    claims.write(reports / "claims.md", runs, device)
    return [*written, reports / "claims.md"]


def shipped() -> list[str]:
    """Names of the deblurrers of this repository that run as they are; other packages' are for them to publish."""
    known = registry.entries()
    return [name for name in registry.runnable() if known[name].module.startswith("deblurers.")]


def state(group: Group) -> dict[str, Any]:
    """What the published numbers were made from: what :func:`stale` compares with what is here."""
    spec = group.floor.spec
    return {
        "dataset": {"name": spec.dataset, "hash": spec.dataset_hash},
        "detector": {"name": spec.detector, "hash": spec.detector_hash},
        "deblurrers": {run.spec.deblurer: run.spec.deblurer_hash for run in group.runs},
    }


def stale(reports: Path) -> list[str]:
    """What has changed since the published numbers were made, in words; nothing if they are as they would be now.

    Looks at the sources and weights of the deblurrers and at the dataset's card; imports and fetches nothing.
    """
    published: Mapping[str, Any] = json.loads((reports / "published.json").read_text("utf-8"))
    here = {name: registry.fingerprint(name) for name in shipped()}
    then = published["deblurrers"]
    told = [f"{name} is not published" for name in here if name not in then]
    told += [f"{name} is published, and does not run any more" for name in then if name not in here]
    told += [f"{name} has changed" for name in here if name in then and here[name] != then[name]]
    dataset = published["dataset"]
    if datasets.cards()[dataset["name"]].identity != dataset["hash"]:
        told.append(f"the dataset {dataset['name']} has changed")
    return told


def _curve(log: Path) -> NDArray[np.float64]:
    """(validations, 2) iteration and validation PSNR from a training's log."""
    with log.open(newline="") as file:
        rows = [(row["iteration"], row["psnr_validation"]) for row in csv.DictReader(file) if row["psnr_validation"]]
    return np.array(rows, np.float64).reshape(-1, 2)


def _page(group: Group, noisy: Group) -> str:
    """``leaderboard.md``: the same with and without noise."""
    machine = group.floor.environment
    return (
        "# Leaderboard\n\nEvery deblurrer that ships here, on `street`, before the same detector. Made by"
        f" `detbench publish`, which makes it again.\n\n{_ranking(group, costs=True)}\n"
        "![F1, precision and recall with 95 % intervals](figures/scores.svg)\n\n"
        "![F1 against milliseconds a frame](figures/f1-time.svg)\n\n"
        f"*Deblurring and detection together, on {machine.get('cpu', 'an unknown processor')},"
        f" {machine.get('threads', '?')} threads, {machine.get('gpu') or 'no GPU'}. Hollow: the blurred frames as they"
        f" are, at {CLOSER} in place of 640 pixels, against the objects that the others are scored against. A point"
        " among others has no name: the table has them all.*\n\n"
        "![F1 against PSNR](figures/f1-psnr.svg)\n\n"
        "More in [tables/](tables) (Markdown, LaTeX, CSV) and [figures/](figures) (SVG, PDF, PNG): by class, size and"
        " severity of the blur, by kind of error, without one arbitrary threshold, on sharp frames, and beside the"
        " publications' tables. Where `detbench publish` has run, `detbench report reports/runs --group` makes"
        f" a page of it all.\n\n## With noise of variance {NOISE:g}\n\n"
        "Gaussian noise on the blurred frames, for values in 0..1; objects are those of the sharp frames without"
        f" noise.\n\n{_ranking(noisy, costs=False)}"
    )


def _ranking(group: Group, costs: bool) -> str:
    """The leaderboard of a group, with what does not depend on the frames or without, and what can be concluded."""
    ranked = sorted(group.runs, key=lambda run: -run.f1)
    said = "".join(f"- {sentence}\n" for sentence in compare([group.floor, *ranked]).sentences())
    return f"{tables.markdown(tables.leaderboard(group, costs))}\n{said}"


def _into(readme: str, board: str) -> str:
    """The README with the leaderboard in its place."""
    if START not in readme or END not in readme:
        raise DetbenchError(f"README.md has no place for the leaderboard: put {START} and {END} there.")
    return re.sub(f"{re.escape(START)}.*{re.escape(END)}", lambda _: f"{START}\n\n{board}\n{END}", readme, flags=re.S)
