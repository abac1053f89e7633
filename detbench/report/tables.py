"""Tables as papers print them: the leaderboard, and the publications' own numbers above ours."""

from __future__ import annotations

import io
import math
import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from csv import writer
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any, Literal

from detbench.metrics import METRICS, metric
from detbench.report.collect import Group
from detbench.report.origins import have_seen
from detbench.table import rows

Value = float | int | str | None
"""What a cell may hold: a number to be formatted, a number or words as they are to stand there, or nothing."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        heading: printed above it.
        form: how its numbers are formatted, as for :meth:`str.format`.
        best: which of its values is set in bold: the ``highest``, the ``lowest`` or none.
    """

    heading: str
    form: str = "{}"
    best: Literal["highest", "lowest", ""] = ""


@dataclass(frozen=True)
class Part:
    """Rows of a table that belong together, set off from the others by a rule.

    Attributes:
        rows: one value a column, the first is the row's name.
        heading: printed above the rows, or empty.
        source: where the numbers come from: a publication, or the signature of our own. Printed below the table.
        ranked: whether the best values of these rows are set in bold. Floor and ceiling compete with nobody.
    """

    rows: tuple[tuple[Value, ...], ...]
    heading: str = ""
    source: str = ""
    ranked: bool = True


@dataclass(frozen=True)
class Table:
    """A table for all formats: :func:`markdown`, :func:`latex`, :func:`csv` and :func:`html`.

    Attributes:
        title: its caption.
        columns: the first one holds the rows' names.
        parts: its rows; with no row at all it renders too.
        notes: printed below it, after the sources.
        key: short name for files and anchors.
    """

    title: str
    columns: tuple[Column, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    key: str = ""


_RECORDED = frozenset({"parameters", "images_seen"})
_BEST: Mapping[str, Literal["highest", "lowest", ""]] = {"higher": "highest", "lower": "lowest", "": ""}


def leaderboard(group: Group, costs: bool = True) -> Table:
    """All runs between floor and ceiling, the best F1 first.

    Args:
        group: the runs.
        costs: with time, and with parameters and images seen as the run's training record, where it has one, tells
            them.
    """
    keys = [*METRICS, "parameters", "images_seen"] if costs else [key for key in METRICS if key != "restore_ms"]
    floor, runs, ceiling = _ours(group, keys)
    ranked = sorted(runs, key=lambda row: (-row["f1"], row["name"]))
    parts = [([floor], False), (ranked, True), ([ceiling], False)]
    return Table(
        "Leaderboard",
        _columns(keys),
        tuple(Part(_values(of, keys), source=group.signature, ranked=rank) for of, rank in parts if of),
        (
            "Best of each column in bold, without floor (blurred) and ceiling (sharp, JPEG 95). Gap closed: share of"
            " the way from the floor's F1 to the ceiling's. Recovered, lost and hallucinated count objects."
            + (" ms/frame: deblurring alone." if costs else ""),
            *(
                [f"Trained on frames of BDD100K too, or started from weights that were: {', '.join(seen)}."]
                if costs and (seen := have_seen(group.models))
                else []
            ),
        ),
        "leaderboard",
    )


def framed(rows: Sequence[tuple[Value, ...]], source: str = "") -> tuple[Part, ...]:
    """Rows of all runs as a table's parts: floor and ceiling, first and last, compete with nobody."""
    floor, ranked, ceiling = tuple(rows[:1]), tuple(rows[1:-1]), tuple(rows[-1:])
    return (
        Part(floor, source=source, ranked=False),
        Part(ranked, source=source),
        Part(ceiling, source=source, ranked=False),
    )


def published(group: Group | None = None) -> list[Table]:
    """The publications' tables (``published.toml``), their numbers first and below them those of our own runs.

    Args:
        group: our runs. None leaves the published numbers alone.

    Returns:
        DeblurGAN's Tables 1 to 3, the dark-channel paper's Table 1 and Lenka's Tables 1 to 3.
    """
    return [_published(entry, group) for entry in _entries()]


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
        heading = f"{group.signature.partition(':')[0]}, detbench"
        parts += [
            Part(_values([floor], keys), heading, group.signature, ranked=False),
            Part(_values([row for row in runs if row["deblurer"] in asked], keys), "", group.signature),
            Part(_values([ceiling], keys), "", group.signature, ranked=False),
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
        | {"deblurer": result.spec.deblurer, "seconds": row["restore_ms"] / 1e3}
        | {key: result.environment.get("training", {}).get(key) for key in keys if key in _RECORDED}
        for row, result in zip(rows(group), group, strict=True)
    ]
    return values[0], values[1:-1], values[-1]


def _columns(keys: Sequence[str]) -> tuple[Column, ...]:
    return (
        Column("method"),
        *(Column(of.heading, of.form, _BEST[of.better]) for of in map(metric, keys)),
    )


def _values(of: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> tuple[tuple[Value, ...], ...]:
    return tuple((row["name"], *(row[key] for key in keys)) for row in of)


# ---------------------------------------------------------------- what all formats share


def _text(value: Value, column: Column) -> str:
    """A cell as people read it; a dash for what is missing or is no number."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return value if isinstance(value, str) else column.form.format(value)


def _number(value: Value) -> float | None:
    """A cell's number, if it is one."""
    try:
        number = float(value)  # type: ignore[arg-type]  # None is a TypeError
    except (TypeError, ValueError):
        return None
    return None if math.isnan(number) else number


def _body(table: Table) -> list[list[list[tuple[str, bool]]]]:
    """(text, whether it is bold) of each cell, by part and row.

    Values that look alike when printed are best together; where all look alike, none is.
    """
    return [[_row(row, table.columns, _best(part, table.columns)) for row in part.rows] for part in table.parts]


def _row(row: Sequence[Value], columns: Sequence[Column], best: Sequence[str | None]) -> list[tuple[str, bool]]:
    texts = [_text(value, column) for value, column in zip(row, columns, strict=True)]
    return [(text, text == top) for text, top in zip(texts, best, strict=True)]


def _best(part: Part, columns: Sequence[Column]) -> list[str | None]:
    """The text of each column's best value."""
    found: list[str | None] = []
    for i, column in enumerate(columns):
        numbers = {_text(row[i], column): number for row in part.rows if (number := _number(row[i])) is not None}
        pick = {"highest": max, "lowest": min}.get(column.best) if part.ranked and len(numbers) > 1 else None
        found.append(pick(numbers, key=numbers.__getitem__) if pick else None)
    return found


def _footnotes(table: Table) -> tuple[dict[str, str], list[str]]:
    """The mark of each source, empty if there is one only, and the lines below the table."""
    sources = list(dict.fromkeys(part.source for part in table.parts if part.source))
    marks = {source: str(i) if len(sources) > 1 else "" for i, source in enumerate(sources, 1)}
    return marks, [*sources, *table.notes]


# ---------------------------------------------------------------- formats


def markdown(table: Table) -> str:
    """A table in GitHub's Markdown, its columns aligned for those who read the source."""
    marks, lines = _footnotes(table)
    grid = [[_md(column.heading) for column in table.columns]]
    for part, body in zip(table.parts, _body(table), strict=True):
        if part.heading:
            mark = marks.get(part.source, "").translate(_RAISED)
            grid.append([f"*{_md(part.heading)}*{mark}", *[""] * (len(table.columns) - 1)])
        grid += [[f"**{_md(text)}**" if bold else _md(text) for text, bold in row] for row in body]
    widths = [max(3, *(len(row[i]) for row in grid)) for i in range(len(table.columns))]
    padded = [
        [cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))]
        for row in grid
    ]
    rule = ["-" * width if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    below = [f"{marks.get(line, '').translate(_RAISED)} {_md(line, in_cell=False)}".strip() for line in lines]
    rows = "\n".join("| " + " | ".join(row) + " |" for row in [padded[0], rule, *padded[1:]])
    return "\n\n".join([f"**{_md(table.title, in_cell=False)}**", rows, *below]) + "\n"


def latex(table: Table) -> str:
    r"""A table in LaTeX, which wants ``\usepackage{booktabs,graphicx}``; one too wide for its page is scaled down."""
    marks, lines = _footnotes(table)
    width = len(table.columns)
    middle: list[str] = []
    for part, body in zip(table.parts, _body(table), strict=True):
        middle.append(r"\midrule")
        if part.heading:
            mark = _raised_tex(marks.get(part.source, ""))
            middle.append(rf"\multicolumn{{{width}}}{{l}}{{\emph{{{_tex(part.heading)}}}{mark}}} \\")
        middle += [
            " & ".join(rf"\textbf{{{_tex(text)}}}" if bold else _tex(text) for text, bold in row) + r" \\"
            for row in body
        ]
    below = [f"{_raised_tex(marks.get(line, ''))}{_tex(line)}" for line in lines]
    return (
        "\n".join(
            [
                r"\begin{table}[htbp]",
                r"\centering",
                rf"\caption{{{_tex(table.title)}}}",
                r"\setlength{\tabcolsep}{4pt}",
                r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
                rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
                r"\toprule",
                " & ".join(_tex(column.heading) for column in table.columns) + r" \\",
                *middle,
                r"\bottomrule",
                r"\end{tabular}}",
                *(rf"\par\smallskip{{\footnotesize\raggedright {line}\par}}" for line in below),
                r"\end{table}",
            ]
        )
        + "\n"
    )


def csv(table: Table) -> str:
    """A table for programs: numbers to six digits, nothing for what is missing, and each row with its source."""
    file = io.StringIO()
    out = writer(file, lineterminator="\n")
    out.writerow(["part", *(column.heading for column in table.columns), "source"])
    heading = ""
    for part in table.parts:
        heading = part.heading or heading  # a part without one goes on with the last
        out.writerows([heading, *(_plain(value) for value in row), part.source] for row in part.rows)
    return file.getvalue()


def html(table: Table) -> str:
    """A table in HTML, a ``figure`` of its own, which scrolls sideways where it is too wide."""
    marks, lines = _footnotes(table)
    head = "".join(f'<th scope="col">{escape(column.heading)}</th>' for column in table.columns)
    bodies = []
    for part, body in zip(table.parts, _body(table), strict=True):
        text = ""
        if part.heading:
            mark = _raised_html(marks.get(part.source, ""))
            heading = escape(part.heading)
            text += f'<tr><th scope="rowgroup" colspan="{len(table.columns)}">{heading}{mark}</th></tr>\n'
        for (name, _), *cells in body:
            tds = "".join(
                f"<td><b>{escape(text)}</b></td>" if bold else f"<td>{escape(text)}</td>" for text, bold in cells
            )
            text += f'<tr><th scope="row">{escape(name)}</th>{tds}</tr>\n'
        bodies.append(f"<tbody>\n{text}</tbody>\n")
    below = "".join(f"<p>{_raised_html(marks.get(line, ''))}{_breakable(line)}</p>\n" for line in lines)
    title = escape(table.title)
    return (
        f'<figure class="table">\n<div class="scroll" role="region" tabindex="0" aria-label="{title}">\n'
        f'<table style="font-variant-numeric: tabular-nums">\n<caption>{title}</caption>\n'
        f"<thead>\n<tr>{head}</tr>\n</thead>\n{''.join(bodies)}</table>\n</div>\n"
        f"<figcaption>\n{below}</figcaption>\n</figure>\n"
    )


def _plain(value: Value) -> str:
    number = _number(value)
    if isinstance(value, float):
        return "" if number is None else f"{value:.6g}"
    return "" if value is None else str(value)


_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def _raised_tex(mark: str) -> str:
    return rf"\textsuperscript{{{mark}}}" if mark else ""


def _raised_html(mark: str) -> str:
    return f"<sup>{mark}</sup>" if mark else ""


def _breakable(text: str) -> str:
    """Text for HTML that may break after the bars and semicolons of a signature, which has no blanks."""
    return "<wbr>".join(escape(piece) for piece in re.split(r"(?<=[|;])(?=\S)", text))


def _md(text: str, in_cell: bool = True) -> str:
    """Text with what Markdown would read as markup escaped; an underscore within a word is none."""
    text = re.sub(r"([\\*`<\[\]~])|(?<!\w)_|_(?!\w)", lambda found: "\\" + found[0], text)
    return text.replace("|", r"\|") if in_cell else text


_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}\allowbreak{}",  # signatures are long, and have no blanks to break at
    ";": r";\allowbreak{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': "''",
    "→": r"$\to$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": "--",
    "½": "1/2",
} | {symbol: "\\" + symbol for symbol in "&%$#_{}"}


def _tex(text: str) -> str:
    """Text with what LaTeX would read as a command escaped; of letters beyond Latin-1, what is left without accents."""
    return "".join(_TEX.get(letter) or _latin(letter) for letter in text)


def _latin(letter: str) -> str:
    if ord(letter) < 0x100:
        return letter
    return unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode() or "?"
