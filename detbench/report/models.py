"""A card for each published deblurer: what it is, how it was trained, its scores, and where it fails."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detbench import figure, registry, restorers, store
from detbench.data import datasets, images
from detbench.environment import machine, timed
from detbench.files import write_file
from detbench.lineup import detector_title
from detbench.loop import draws_of, seed
from detbench.metrics import METRICS, Sums
from detbench.report import formats, plots, style
from detbench.report.collect import Group
from detbench.report.formats import Column, Part, Table
from detbench.table import gain
from detbench.types import RunResult
from detbench.verdict import of_runs

FIGURES = "figures"
"""The folder beside the cards with their pictures: NAME.svg, a training's curve, and NAME.webp, a frame that fails."""

WORST = 3
"""Frames that are named where a deblurer fails."""


Curve = tuple[str, NDArray[np.float64]]
"""A training's course: a key of :data:`detbench.report.plots.VALIDATED`, and (points, 2) iteration and that."""


def write(folder: Path, groups: Sequence[Group], curves: Mapping[str, Curve]) -> None:
    """Write ``NAME.md`` for each deblurer, and ``index.md``.

    Args:
        folder: of the cards.
        groups: one a detector and ``imgsz``, with the same deblurers; the first has runs on sharp frames too.
        curves: of trainings whose log is there, by the deblurer's name.
    """
    lines = ["# Model cards", "", "Made by `detbench publish`, which makes them again.", "", "| | |", "|---|---|"]
    for run in groups[0].models:
        name = run.spec.deblurer
        known = curves.get(name)
        if known:
            measure, curve = known
            drawn = plots.training_curves({(name, measure): {name: curve}})
            style.save_svg(drawn, folder / FIGURES / f"{name}.svg")
        pictures = {path.name for path in (folder / FIGURES).glob("*")}
        write_file(folder / f"{name}.md", card(name, groups, pictures, known))
        lines.append(f"| [{name}]({name}.md) | {registry.entries()[name].title} |")
    write_file(folder / "index.md", "\n".join(lines) + "\n")


def picture(run: RunResult, target: Path) -> None:
    """Draw the frame in which a deblurer loses most, restored anew.

    Raises:
        DetbenchError: it cannot be run here.
    """
    spec, id = run.spec, figure.best(run)[-1]
    pair = next(pair for pair in datasets.frames(spec) if pair.id == id)
    blurred = datasets.read_blurred(pair, spec.noise)
    seed(draws_of(spec, pair))
    (restored,) = restorers.restorer(spec)([blurred])
    shown = {id: (blurred, restored, images.read_image(pair.sharp))}
    figure.draw(run, store.read_detections(run.path), shown, target)


def card(name: str, groups: Sequence[Group], pictures: set[str], curve: Curve | None = None) -> str:
    """A deblurer's card, in Markdown.

    Args:
        name: of the deblurer.
        groups: as for :func:`write`.
        pictures: names of the files that there are in :data:`FIGURES`.
        curve: of its training, where that is known.
    """
    runs = [next(run for run in group.models if run.spec.deblurer == name) for group in groups]
    entry, record = registry.entries()[name], runs[0].environment.get("training", {})
    about = [f"# {name}", "", *_described(entry.doc), "", *_facts(entry, record), "", "## Training", ""]
    about += _training(record)
    about += _course(*curve, record.get("iterations", 0)) if curve else []
    if f"{name}.svg" in pictures:
        about += ["", f"![validated over its iterations]({FIGURES}/{name}.svg)"]
    about += ["", "## Scores", "", formats.markdown(_scores(groups, runs)).strip()]
    about += ["", *_measured(groups[0], runs[0]), "", "## Where it fails", "", *_failures(groups[0], runs[0])]
    if f"{name}.webp" in pictures:
        words = "the frame in which it loses most, less what it finds again: blurred, restored, sharp"
        about += ["", f"![{words}]({FIGURES}/{name}.webp)", "", f"*{words[0].upper()}{words[1:]}.*"]
    return "\n".join(about) + "\n"


def _described(doc: str) -> list[str]:
    """A module's docstring as Markdown, without its name."""
    text = re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", doc.strip()).replace("``", "`").partition(": ")[2]
    first = re.split(r"\W", text, maxsplit=1)[0]
    return [f"`{first}`{text[len(first) :]}" if first in registry.entries() else text[:1].upper() + text[1:]]


def _facts(entry: registry.Entry, record: Mapping[str, Any]) -> list[str]:
    """What its file and its weights say."""
    options = ", ".join(f"{key} {value}" for key, value in record.get("options", {}).items())
    facts = {
        "family": entry.stated("family"),
        "publication": entry.stated("paper"),
        "licence": entry.stated("licence"),
        "parameters": f"{record['parameters']:,}" if "parameters" in record else "",
        "size": f"{record['preset']}{f' ({options})' if options else ''}" if "preset" in record else "",
        "weights": "its authors', fetched" if entry.stated("assets") and "preset" not in record else "",
    }
    return ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts.items() if value)]


def _training(record: Mapping[str, Any]) -> list[str]:
    """How long, on what, from where."""
    if "images_seen" not in record:
        return ["It was not trained here."]
    told = f"{record['images_seen']:,} crops in {record['iterations']:,} iterations"
    lines = [f"- {told}{_hours(record)}, seed {record.get('seed', 0)}."]
    if origin := record.get("init"):
        lines.append(f"- It starts from the weights of `{origin['from']}`.")
    if through := record.get("recipe", {}).get("detector"):
        lines.append(f"- In its loss: {', '.join(Path(each).stem for each in through)}.")
    files: Counter[str] = Counter()
    for source in record.get("data", ()):
        files[source["folder"]] += source["files"]
    if data := ", ".join(f"{count:,} of {folder}" for folder, count in files.items()):
        alone = {0.0: " It drew from the photographs alone.", 1.0: " It drew from the pairs alone."}
        lines.append(
            f"- Files that it was given, by folder ([what is in them](../../reports/training)): {data}."
            + alone.get(record["recipe"]["real_pairs"], "")
        )
    for change in record.get("changes", ()):
        now = record["recipe"]
        told = ", ".join(f"{key} from {was} to {now.get(key)}" for key, was in change["recipe_was"].items())
        lines.append(f"- The recipe was changed at iteration {change['iteration']:,}: {told}.")
    return lines


def _hours(record: Mapping[str, Any]) -> str:
    """How long a training took, and on what."""
    if "wall_seconds" not in record:
        return ""
    seconds = record["wall_seconds"]
    long = f"{seconds / 3600:.1f} hours" if seconds >= 3600 / 2 else f"{seconds / 60:.0f} minutes"
    return f", {long} ({machine(record['environment'])})"


def _course(measure: str, curve: NDArray[np.float64], ships: int) -> list[str]:
    """Whether it was still getting better when it ended, and whether the weights that ship are of its end."""
    iterations, values = curve.T
    before = values[iterations <= 0.75 * iterations.max(initial=0)]
    if not before.size:
        return []
    then, now = (METRICS[measure].form.format(value) for value in (before[-1], values[-1]))
    earlier = f" The weights are of iteration {ships:,}." if ships < iterations[-1] else ""
    return [
        f"- Over the last quarter of its iterations its validation went from {then} to {now}"
        f" ({METRICS[measure].heading}).{earlier}"
    ]


def _scores(groups: Sequence[Group], runs: Sequence[RunResult]) -> Table:
    """F1 with each detector."""
    columns = (Column("detector"), *(Column(name, "{:.3f}") for name in ("blurred", "F1", "sharp, JPEG 95")))
    columns += (Column("F1 gained [95 %]"), Column("verdict"))
    rows = []
    for group, run in zip(groups, runs, strict=True):
        verdict = of_runs(group.compared)[run.path]
        f1s = (group.floor.f1, run.f1, group.ceiling.f1)
        rows.append((detector_title(run.spec), *f1s, gain(verdict.gain), str(verdict)))
    notes = ("Verdicts are after Holm's correction for all published deblurers; intervals are not.",)
    return Table(
        "With each detector",
        columns,
        (Part(tuple(rows), source=str(groups[0].signature), ranked=False),),
        notes,
        "card",
    )


def _measured(group: Group, run: RunResult) -> list[str]:
    """Pixels, time, and what it does to sharp frames."""
    mine, floor = (Sums.of(each.scores).total() for each in (run, group.floor))
    lines = [
        f"{METRICS[key].heading} {METRICS[key].form.format(METRICS[key].of(mine).item())}"
        f" (blurred {METRICS[key].form.format(METRICS[key].of(floor).item())})"
        for key in ("psnr_db", "ssim")
    ]
    ms = run.median("restore_ms")
    lines.append(f"{ms:,.0f} ms a frame on {timed(run.environment).get('cpu', 'an unknown processor')}")
    harm = [each for each in group.harm if each.spec.deblurer == run.spec.deblurer]
    lines += [f"given sharp frames, F1 {each.f1:.3f} (re-encoded as JPEG 95: {group.ceiling.f1:.3f})" for each in harm]
    return [f"With {detector_title(run.spec)}: {'; '.join(lines)}."]


def _failures(group: Group, run: RunResult) -> list[str]:
    """The frames in which most is lost, and what is invented in all."""
    by_id = {score.id: score for score in run.scores}
    worst = [by_id[id] for id in figure.best(run)[: -WORST - 1 : -1]]
    told = [
        f"`{score.id}` ({score.lost} lost, {score.recovered} found again, {score.hallucinated} invented)"
        for score in worst
        if score.lost > score.recovered
    ]
    total = (
        f"With {detector_title(run.spec)}, of {group.floor.counts.objects:,} objects {run.total('recovered'):,} are"
        f" found again that the blurred frames hide, {run.total('lost'):,} are lost that they show, and"
        f" {run.total('hallucinated'):,} detections are of nothing."
    )
    return [total + (f" Most is lost, less what is found again, in {', '.join(told)}." if told else "")]
