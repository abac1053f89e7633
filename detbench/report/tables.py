"""Tables as papers print them: the leaderboard, and the publications' own numbers above ours."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any, Literal

from detbench import compare, table
from detbench.compare import Comparison
from detbench.counts import counted
from detbench.environment import TIMED, machine, timed
from detbench.lineup import BY, RECOMMENDED
from detbench.metrics import METRICS, Sums, compared, metric
from detbench.report.breakdown import ENOUGH, Cell
from detbench.report.collect import Group
from detbench.report.formats import Column, Part, Table, Value
from detbench.signature import Signature
from detbench.verdict import of_runs

SHOWN = ("f1", "precision", "recall", "psnr_db")
"""Metrics of the table of differences."""

MADE_ELSEWHERE = " †"
"""What a leaderboard marks deblurers with whose run was added by somebody else."""

JUDGED = ("verdict", "f1", "gain", "gap_closed")
"""What comes first on the leaderboard: does it help, and by how much."""

ALWAYS = ("dc250", "dc250_task", "srn", RECOMMENDED)
"""What a shortlist shows whatever comes out: the publication's main model, what is advised where time is short, the
peer with its authors' weights, and what is taken where none is named."""

SPEEDS = (0.0, 200.0, 1000.0, math.inf)
"""Classes of speed, in milliseconds a frame: of each a shortlist shows the best."""

_RECORDED = frozenset({"parameters", "images_seen"})
_BEST: Mapping[str, Literal["highest", "lowest", ""]] = {"higher": "highest", "lower": "lowest", "": ""}


def leaderboard(group: Group, costs: bool = True) -> Table:
    """All runs between floor and ceiling, the best F1 first.

    Args:
        group: the runs.
        costs: with time, and with parameters and images seen as the run's training record, where it has one, tells
            them.
    """
    keys = [*JUDGED, *(key for key in METRICS if key not in JUDGED), "parameters", "images_seen"]
    if not costs:
        keys = keys[: keys.index("restore_ms")]
    floor, runs, ceiling = _ours(group, keys)
    for row in (floor, ceiling):
        row |= dict.fromkeys(table.JUDGEMENT)
    judged = of_runs(group.compared)
    elsewhere = {run.path: run.environment[BY] for run in group.models if BY in run.environment}
    for row in runs:
        its = judged[row["path"]]
        row |= {"verdict": str(its), "gain": table.gain(its.gain)}
        row["name"] += MADE_ELSEWHERE * (row["path"] in elsewhere)
    ranked = sorted(runs, key=lambda row: (-(row["f1"] or 0), row["name"]))
    parts = [([floor], False), (ranked, True), ([ceiling], False)]
    return Table(
        "Leaderboard",
        tuple(_only_if_told(each, key, group) for each, key in zip(_columns(keys), ("", *keys), strict=True)),
        tuple(Part(_values(of, keys), source=str(group.signature), ranked=rank) for of, rank in parts if of),
        (
            f"Verdict and F1 gained: against blurred, paired bootstrap over clips{_corrected(runs)}."
            " Bold: the best, where it is told apart from the second. Gap closed: share of the way from the floor's F1"
            " (blurred) to the ceiling's (sharp, JPEG 95). Recovered, lost and hallucinated count objects."
            + (
                f" ms/frame: deblurring alone, the median of the frames.{machines(group)} Images seen: in its own"
                " training; those of the weights that it began with, where it did, come on top."
                if costs
                else ""
            ),
            *(
                f"{MADE_ELSEWHERE.strip()} {row['deblurer']}: {by} (Not run here; times of another machine.)"
                for row in ranked
                if (by := elsewhere.get(row["path"]))
            ),
        ),
        "leaderboard",
    )


def machines(group: Group) -> str:
    """Which machine the deblurers' times are of, and whether they were taken together."""
    usual, others = machine(group.floor.environment), dict[str, list[str]]()
    for run in group.ranked:
        if BY not in run.environment and (its := machine(run.environment)) != usual:
            others.setdefault(its, []).append(run.spec.deblurer)
    environments = [run.environment for run in group.ranked if BY not in run.environment]
    together = len({timed(its).get("commit") for its in environments}) <= 1
    in_turn = together and environments and all(TIMED in its for its in environments)
    told = f" Times are of {usual}{', taken in turn, frame by frame' if in_turn else ''}."
    told += "".join(f" Those of {', '.join(names)} are of {its}." for its, names in others.items())
    if not together:
        told += " Not all runs were made together, and a shared machine is not always as fast."
    return told


def shortlist(group: Group) -> Table:
    """The leaderboard in a few rows and columns: the best of each class of speed, and the publications' main models.

    Args:
        group: the runs.
    """
    whole, models = leaderboard(group), group.ranked
    known = table.headings()
    headings = ["method", *(known[key] for key in table.SHOWN)]
    columns = [i for i, column in enumerate(whole.columns) if column.heading in headings]
    names = set(ALWAYS)
    for least, most in itertools.pairwise(SPEEDS):
        within = [run for run in models if least <= run.median("restore_ms") < most]
        names |= {run.spec.deblurer for run in within[:1]}
    return replace(
        whole,
        columns=tuple(replace(whole.columns[i], best="") for i in columns),  # so few are no field to be best of
        parts=tuple(
            replace(
                part,
                rows=tuple(tuple(row[i] for i in columns) for row in part.rows if not part.ranked or row[0] in names),
            )
            for part in whole.parts
        ),
        notes=(
            "Against blurred: paired bootstrap over clips, verdicts after Holm's correction for"
            f" {counted(len(models), 'deblurer')}.{machines(group)}",
        ),
        key="shortlist",
    )


def _corrected(models: Sequence[Any]) -> str:
    """What Holm's correction is for; of one deblurer there is none."""
    words = f"; the verdict after Holm's correction for {len(models)} deblurers, the intervals without"
    return words if len(models) > 1 else ""


def _only_if_told(column: Column, key: str, group: Group) -> Column:
    """A column whose best is in bold only if a paired comparison tells it from the second; times need none."""
    if not column.best or key == "restore_ms":
        return column
    by = "f1" if key == "gap_closed" else key
    told = False
    if by in compared() and len(group.models) > 1:
        second, first = sorted(group.models, key=lambda run: METRICS[by].of(Sums.of(run.scores).total()).item())[-2:]
        found = compare.compare([second, first]).differences
        told = any(each.metric == by and each.p_holm < compare.LEVEL for each in found)
    return column if told else replace(column, best="")


def framed(rows: Sequence[tuple[Value, ...]], source: str = "") -> tuple[Part, ...]:
    """Rows of all runs as a table's parts: floor and ceiling, first and last, compete with nobody."""
    floor, ranked, ceiling = tuple(rows[:1]), tuple(rows[1:-1]), tuple(rows[-1:])
    return (
        Part(floor, source=source, ranked=False),
        Part(ranked, source=source),
        Part(ceiling, source=source, ranked=False),
    )


def differences(comparison: Comparison) -> Table:
    """Each model's differences to the reference in :data:`SHOWN`, with intervals and p.

    Args:
        comparison: whose models are the rows.
    """
    found = {(difference.model, difference.metric): difference for difference in comparison.differences}
    columns = [Column("against blurred")]
    for key in SHOWN:
        columns += [Column(METRICS[key].heading), Column("p")]
    rows = []
    for model in comparison.models[1:]:
        cells: list[Value] = [model.name]
        for key in SHOWN:
            difference = found[model.name, key]
            cells += [difference.interval.format(METRICS[key].form), _p(difference.p_holm)]
        rows.append(tuple(cells))
    return Table(
        "Differences to the blurred frames",
        tuple(columns),
        (Part(tuple(rows), source=str(Signature.of(comparison.models[0].runs[0])), ranked=False),),
        ("In brackets 95 % intervals: paired bootstrap over clips. p after Holm's correction over the models.",),
        "differences",
    )


def by_cell(cut: str, cells: Mapping[str, Sequence[Cell]], signature: str) -> Table:
    """F1 of each run in each cell.

    Args:
        cut: what the cells are of: class, size or severity.
        cells: by run, from floor to ceiling.
        signature: of the runs.
    """
    names = list(dict.fromkeys(cell.name for of_run in cells.values() for cell in of_run if cell.counts.objects))
    objects = {cell.name: cell.counts.objects for of_run in cells.values() for cell in of_run}

    def row(name: str) -> tuple[Value, ...]:
        found = {cell.name: cell for cell in cells[name]}
        return (name, *(float(found[n].counts.f1) if n in found and objects[n] else None for n in names))

    rows = tuple(map(row, cells))
    enough = {name: objects[name] >= ENOUGH for name in names}
    notes = [] if all(enough.values()) else [f"*: fewer than {ENOUGH} objects, not enough data."]
    columns = (
        Column("F1"),
        *(
            Column(
                f"{name} ({objects[name]}){'' if enough[name] else '*'}", "{:.3f}", "highest" if enough[name] else ""
            )
            for name in names
        ),
    )
    return Table(
        f"By {cut}",
        columns,
        framed(rows, signature),
        ("In brackets: reference objects.", *notes),
        f"by-{cut}",
    )


def published(group: Group | None = None) -> list[Table]:
    """The publications' tables (``published.toml``), their numbers first and below them those of our own runs.

    Args:
        group: our runs. None leaves the published numbers alone.

    Returns:
        DeblurGAN's Tables 1 to 3, the dark-channel paper's Table 1 and Lenka's Tables 1 to 3.
    """
    return [_published(entry, group) for entry in _entries()]


def has_several(table: Table, group: Group) -> bool:
    """Whether two or more of the deblurers that a published table compares were run."""
    (entry,) = [entry for entry in _entries() if entry["key"] == table.key]
    compared = set(entry.get("runs", entry.get("rows", ())))
    return len(compared & {run.spec.deblurer for run in group.models}) > 1


def printed(table: str, part: str, deblurer: str, column: str) -> str:
    """A published number, digit for digit.

    Args:
        table: a key in ``published.toml``.
        part: heading of a part of it; parts without one belong to the part before them.
        deblurer: whose row it is; ``identity`` for the blurred frames.
        column: one of the table's columns, such as ``psnr_db``.
    """
    (entry,) = [entry for entry in _entries() if entry["key"] == table]
    row = entry.get("rows", {}).get(deblurer, deblurer)
    heading, rows = "", list[list[str]]()
    for each in entry["part"]:
        heading = each.get("heading", heading)
        rows += each["rows"] if heading == part else []
    (numbers,) = [numbers for name, *numbers in rows if name == row]
    return str(numbers[entry["columns"].index(column)])


def caveat(table: str) -> str:
    """Why a publication's table cannot be compared with our numbers to the digit.

    Args:
        table: a key in ``published.toml``.
    """
    return str(next(entry["note"] for entry in _entries() if entry["key"] == table))


def _published(entry: Mapping[str, Any], group: Group | None) -> Table:
    keys: list[str] = entry["columns"]
    parts = [
        Part(
            tuple((name, *(number or None for number in numbers)) for name, *numbers in part["rows"]),
            f"{part['heading']}, as published" if "heading" in part else "",
            entry["source"],
            part.get("ranked", True),
        )
        for part in entry["part"]
    ]
    notes = [f"Published numbers and ours do not compare to the digit: {entry['note']}."]
    if group:
        floor, runs, ceiling = _ours(group, keys)
        asked = entry.get("runs", [row["deblurer"] for row in runs])
        heading, signature = f"{group.signature.dataset}, detbench", str(group.signature)
        parts += [
            Part(_values([floor], keys), heading, signature, ranked=False),
            Part(_values([row for row in runs if row["deblurer"] in asked], keys), "", signature),
            Part(_values([ceiling], keys), "", signature, ranked=False),
        ]
        missing = [name for name in asked if name not in {row["deblurer"] for row in runs}]
        if missing:
            notes.append(f"Not run here: {', '.join(missing)}.")
    return Table(entry["title"], _columns(keys), tuple(part for part in parts if part.rows), tuple(notes), entry["key"])


def _entries() -> list[dict[str, Any]]:
    text = (files("detbench.report") / "published.toml").read_text("utf-8")
    entries: list[dict[str, Any]] = tomllib.loads(text)["table"]
    return entries


def _ours(group: Group, keys: Sequence[str]) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """Values by key of the floor, the models and the ceiling."""
    values = [
        row
        | {"path": result.path, "deblurer": result.spec.deblurer, "seconds": row["restore_ms"] / 1e3}
        | {key: result.environment.get("training", {}).get(key) for key in keys if key in _RECORDED}
        for row, result in zip(table.rows(group), group, strict=True)
    ]
    return values[0], values[1:-1], values[-1]


def column(key: str) -> Column:
    """A metric's column."""
    of = metric(key)
    return Column(of.heading, of.form, _BEST[of.better])


def _columns(keys: Sequence[str]) -> tuple[Column, ...]:
    judged = {key: Column(heading) for key, heading in table.JUDGEMENT.items()}
    return (Column("method"), *(judged.get(key) or column(key) for key in keys))


def _values(of: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> tuple[tuple[Value, ...], ...]:
    return tuple((row["name"], *(row[key] for key in keys)) for row in of)


def _p(p: float) -> str:
    return "-" if math.isnan(p) else f"{p:.3f}" if p >= 0.001 else "<.001"
