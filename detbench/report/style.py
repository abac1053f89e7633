"""How figures look and how they are written: one width, one style, colours that everybody can tell apart.

Every figure is as wide as a column of a paper (8.5 cm) and drawn in matplotlib's default style, whatever the user's is,
so that the same data give the same bytes. Colours are those of Okabe and Ito, "Color Universal Design" (2008), which
people with any colour vision can tell apart.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.font_manager
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from detbench.files import write_file

WIDTH = 8.5 / 2.54
"""Of a figure, in inches."""

BLACK, BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, YELLOW = (
    "#000000", "#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#cc79a7", "#f0e442",
)  # fmt: skip
SERIES = (BLUE, ORANGE, PURPLE, SKY, VERMILION, YELLOW)
GREY = "#8c8c8c"
FAINT = "#d9d9d9"

FLOOR: dict[str, Any] = {"color": BLACK, "linestyle": (0, (1, 1)), "linewidth": 1.1}
CEILING: dict[str, Any] = {"color": GREEN, "linestyle": (0, (4, 1.5)), "linewidth": 1.1}
SOLID: dict[str, Any] = {"color": BLUE, "marker": "o", "linestyle": "none", "markersize": 4}
HOLLOW: dict[str, Any] = SOLID | {"marker": "D", "markerfacecolor": "white", "markeredgewidth": 0.9}
FLOOR_NAME, CEILING_NAME = "floor (blurred)", "ceiling (JPEG 95)"

NOT_ENOUGH = "not enough data"


@dataclass(frozen=True)
class Outline:
    """How boxes of one outcome are drawn on a frame, above a wider line of :data:`CASING`.

    Attributes:
        words: what the outcome is called.
        note: what the words leave open, or nothing.
        colour: bright, for frames are often dark.
        width: in pixels; what changed is wider.
        dash: lengths in pixels drawn and left out, or nothing for a solid line.
    """

    words: str
    note: str
    colour: str
    width: float
    dash: tuple[float, ...] = ()

    @property
    def legend(self) -> str:
        """The words with their note."""
        return f"{self.words} ({self.note})" if self.note else self.words


OUTLINES = {
    "recovered": Outline("recovered", "missed when blurred", "#35c3ff", 3),
    "lost": Outline("lost", "found when blurred", "#ff8a1f", 3, (9, 4)),
    "hallucinated": Outline("hallucinated", "neither in the sharp nor in the blurred frame", "#ff4fd0", 3, (5, 3)),
    "found": Outline("found", "", "#5fe06a", 1.5),
    "missed": Outline("missed", "", "#ffe14d", 1.5, (4, 4)),
    "false": Outline("other false", "", "#d9a6ff", 1.5, (2, 3)),
}
"""What becomes of an object or a detection, on the page and in the figures of ``detbench figure`` alike.

A reference object is ``found``, ``recovered``, ``lost`` or ``missed`` by whether it is found in the restored frame
and was in the blurred one. A detection that is no reference object is ``hallucinated`` if it is in neither the sharp
nor the blurred frame, and ``false`` otherwise. They differ in width and dash as well as in colour.
"""

CASING = "#000000"
"""Of the line below an outline, a pixel wider on either side: no frame is as dark and as bright as both."""

STYLE: dict[str, Any] = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.columnspacing": 1.2,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
    "svg.hashsalt": "detbench",
    "figure.dpi": 300,  # of the layout too, so that texts have their room
}

CJK = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Source Han Sans SC"),
    *("WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic"),
    *("Droid Sans Fallback", "Unifont"),
)
"""Families with Chinese, Japanese and Korean letters, as systems have them; the first that is here is used."""

_HERE = {font.name for font in matplotlib.font_manager.fontManager.ttflist}

NAMES: dict[str, Any] = {
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.family": ["DejaVu Sans", *[family for family in CJK if family in _HERE][:1]],
}
"""So that names of classes, clips and frames come out as they are."""

STYLE |= NAMES

UNDATED: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None, "Creator": None},
}
"""What a file of each format says of itself: nothing of the time and the version."""

styled = matplotlib.style.context(["default", STYLE])  # a decorator: the style holds while a figure is made or saved


@styled
def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG, PDF and SVG; equal figures give equal bytes, whenever they are written.

    Args:
        figure: as from the functions below.
        folder: is made.
        name: of the files, without a suffix.

    Returns:
        The three files: ``folder/name.png``, ``.pdf`` and ``.svg``.
    """
    with quiet():
        return _saved(figure, folder, name)


@styled
def save_svg(figure: Figure, path: Path) -> None:
    """The same of one SVG."""
    with quiet():
        write(figure, path, metadata=UNDATED[".svg"])


@contextmanager
def quiet() -> Iterator[None]:
    """Draw letters that no font here has as empty boxes, without a word for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        yield


def _saved(figure: Figure, folder: Path, name: str) -> list[Path]:
    if figure.get_layout_engine() is not None:  # lay out once for all three files
        figure.draw_without_rendering()
        figure.set_layout_engine(None)
    paths = [folder / f"{name}{suffix}" for suffix in UNDATED]
    for path in paths:
        write(figure, path, metadata=UNDATED[path.suffix])
    return paths


def write(figure: Figure, path: Path, **options: Any) -> None:
    """Write a figure to a file, whole or not at all; options are as for matplotlib's ``savefig``."""
    drawn = io.BytesIO()  # on a disk that fails matplotlib would fail once more, to finish the file
    figure.savefig(drawn, format=path.suffix[1:], **options)
    write_file(path, drawn.getvalue())


def empty_figure(height: float) -> Figure:
    """An empty figure as wide as a column; its height is in inches."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def not_enough(axes: Axes) -> None:
    """Say so, in place of a plot."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.text(0.5, 0.5, NOT_ENOUGH, transform=axes.transAxes, ha="center", va="center", color="#555555")


def legend(figure: Figure, handles: Sequence[Any]) -> None:
    """A legend above the plot, in as many columns as fit into its width, which is about 64 letters."""
    lengths = [len(handle.get_label()) + 6 for handle in handles]
    fits = [n for n in (4, 3, 2) if sum(column.max(initial=0) for column in np.array_split(lengths, n)) <= 64]
    figure.legend(handles=handles, loc="outside upper center", ncols=max(fits, default=1))


def colours(count: int) -> list[Any]:
    """As many colours that can be distinguished as there are, then shades of one scale."""
    if count <= len(SERIES):
        return list(SERIES[:count])
    return list(matplotlib.colormaps["cividis"](np.linspace(0, 1, count)))
