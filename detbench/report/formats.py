"""A table in Markdown, LaTeX, CSV and HTML."""

from __future__ import annotations

import io
import math
import re
import unicodedata
from collections.abc import Sequence
from csv import writer
from dataclasses import dataclass
from html import escape
from typing import Literal

from detbench.signature import short

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


# ---------------------------------------------------------------- what all formats share


def _text(value: Value, column: Column) -> str:
    """A cell as people read it; a dash for what is missing or is no number."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return value if isinstance(value, str) else column.form.format(value)


def cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Headings and rows as text, for a terminal."""
    rows = [
        [_text(value, column) for value, column in zip(row, table.columns, strict=True)]
        for part in table.parts
        for row in part.rows
    ]
    return [column.heading for column in table.columns], rows


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


BOLD = "Bold: the best, told apart from the second or not."
"""Below a table that does not say itself what its bold cells are."""


def _footnotes(table: Table) -> tuple[dict[str, str], list[str]]:
    """The mark of each source, empty if there is one only, and the lines below the table."""
    sources = list(dict.fromkeys(part.source for part in table.parts if part.source))
    marks = {source: str(i) if len(sources) > 1 else "" for i, source in enumerate(sources, 1)}
    bold = any(best for part in table.parts for best in _best(part, table.columns))
    told = any("Bold:" in note for note in table.notes)
    return marks, [*sources, *table.notes, *([BOLD] if bold and not told else [])]


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
    below = {line: f"{marks.get(line, '').translate(_RAISED)} {_md(line, in_cell=False)}".strip() for line in lines}
    signatures = [below.pop(line) for line in lines if short(line) != line]
    if len(signatures) > 2:  # so many long lines would bury the notes
        signatures = [folded(f"{len(signatures)} signatures", "\n\n".join(signatures))]
    rows = "\n".join("| " + " | ".join(row) + " |" for row in [padded[0], rule, *padded[1:]])
    return "\n\n".join([f"**{_md(table.title, in_cell=False)}**", rows, *signatures, *below.values()]) + "\n"


def folded(summary: str, text: str) -> str:
    """Markdown that a reader unfolds, in a site as on GitHub."""
    return f'<details markdown="1"><summary>{summary}</summary>\n\n{text}\n\n</details>'


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


def html(table: Table, csv: str = "") -> str:
    """A table in HTML, a ``figure`` of its own, which scrolls sideways where it is too wide.

    Args:
        table: what to show.
        csv: where the same lies as CSV, from the page; empty for nowhere.
    """
    marks, lines = _footnotes(table)
    head = "".join(f'<th scope="col">{_cell(column.heading)}</th>' for column in table.columns)
    bodies = []
    for part, body in zip(table.parts, _body(table), strict=True):
        text = ""
        if part.heading:
            mark = _raised_html(marks.get(part.source, ""))
            heading = escape(part.heading)
            text += f'<tr><th scope="rowgroup" colspan="{len(table.columns)}">{heading}{mark}</th></tr>\n'
        for (name, _), *cells in body:
            tds = "".join(
                f"<td><b>{_cell(text)}</b></td>" if bold else f"<td>{_cell(text)}</td>" for text, bold in cells
            )
            text += f'<tr><th scope="row">{escape(name)}</th>{tds}</tr>\n'
        bodies.append(f"<tbody>\n{text}</tbody>\n")
    below = "".join(f"{_told(line, _raised_html(marks.get(line, '')))}\n" for line in lines)
    below += f'<p><a href="{escape(csv)}" download>CSV</a></p>\n' * bool(csv)
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


def _told(line: str, mark: str) -> str:
    """A line below a table; of a signature the short form, and the long one a click away."""
    if (brief := short(line)) == line:
        return f"<p>{mark}{_breakable(line)}</p>"
    summary = f"<summary>{mark}{escape(brief)}</summary>"
    return f'<details class="signature">{summary}{_breakable(line)}</details>'


def _breakable(text: str) -> str:
    """Text for HTML that may break after the bars and semicolons of a signature, which has no blanks."""
    return "<wbr>".join(escape(piece) for piece in re.split(r"(?<=[|;])(?=\S)", text))


def _cell(text: str) -> str:
    """Text for a cell in HTML, which may break before what is in brackets, but not before a per cent sign."""
    return re.sub(r" (?=[(\[])", " <wbr>", escape(text)).replace(" %", "&nbsp;%")


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
