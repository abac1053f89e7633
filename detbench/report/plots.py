"""Plots of runs: data in, a matplotlib figure out, and :func:`save` for its files.

Every figure is as wide as a column of a paper (8.5 cm) and drawn in matplotlib's default style, whatever the user's is,
so that the same data give the same bytes. Colours are those of Okabe and Ito, "Color Universal Design" (2008), which
people with any colour vision can tell apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from detbench import stats
from detbench.metrics import METRICS, Sums
from detbench.report.breakdown import ENOUGH, Cell, Sweep
from detbench.tide import Errors
from detbench.types import RunResult

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
MEASURES = ("f1", "precision", "recall")
"""What :func:`score_bars` shows."""
FLOOR_NAME, CEILING_NAME = "floor (blurred)", "ceiling (JPEG 95)"

BESIDE = (
    ((4, 0), "left", "center"),
    ((-4, 0), "right", "center"),
    ((0, 4), "center", "bottom"),
    ((0, -4), "center", "top"),
)
"""Where a point's name may stand: offset in points, and which of its sides is there."""

NOT_ENOUGH = "not enough data"

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

_styled = matplotlib.style.context(["default", STYLE])  # a decorator: the style holds while a figure is made or saved


@_styled
def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG, PDF and SVG; equal figures give equal bytes, whenever they are written.

    Args:
        figure: as from the functions below.
        folder: is made.
        name: of the files, without a suffix.

    Returns:
        The three files: ``folder/name.png``, ``.pdf`` and ``.svg``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if figure.get_layout_engine() is not None:  # lay out once for all three files
        figure.draw_without_rendering()
        figure.set_layout_engine(None)
    # None leaves out what would tell the time and the version.
    metadata: dict[str, dict[str, Any]] = {
        ".png": {"Software": None},
        ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        ".svg": {"Date": None, "Creator": None},
    }
    paths = [folder / f"{name}{suffix}" for suffix in metadata]
    for path in paths:
        figure.savefig(path, metadata=metadata[path.suffix])
    return paths


def intervals(result: RunResult) -> dict[str, stats.Interval]:
    """:data:`MEASURES` of a run, each with its 95 % bootstrap interval over clips."""
    frames = Sums.of(result.scores)
    drawn = Sums(stats.resampled_sums(frames.values, [s.clip for s in result.scores]))
    return {key: stats.interval(float(METRICS[key].of(frames.total())), METRICS[key].of(drawn)) for key in MEASURES}


@_styled
def score_bars(runs: Mapping[str, RunResult], floor: RunResult, ceiling: RunResult) -> Figure:
    """F1, precision and recall of each run with 95 % intervals, the best F1 on top; floor and ceiling are lines.

    The intervals are of the values, not of their differences: whether two runs differ is for a paired comparison.

    Args:
        runs: by their names.
        floor: of the same frames.
        ceiling: likewise.
    """
    names = sorted(runs, key=lambda name: -runs[name].f1)
    found = {name: intervals(runs[name]) for name in names}
    figure = _figure(0.75 + 0.15 * max(len(names), 2))
    panels = figure.subplots(1, 3, sharey=True, width_ratios=[1.6, 1, 1])
    for axes, measure in zip(panels, MEASURES, strict=True):
        axes.set_title(METRICS[measure].heading)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.set_xticks([0.25, 0.75], minor=True)
        axes.grid(axis="x", which="both")
        axes.tick_params(axis="y", length=0)
        if not names:
            _not_enough(axes)
            continue
        values = [found[name][measure] for name in names]
        rows = np.arange(len(names))
        axes.barh(rows, [value.estimate for value in values], height=0.7, color=BLUE if measure == "f1" else SKY)
        axes.hlines(rows, [v.low for v in values], [v.high for v in values], color=BLACK, linewidth=0.9)
        for run, style in ((floor, FLOOR), (ceiling, CEILING)):
            axes.axvline(getattr(run, measure), **style)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(max(len(names), 1) - 0.4, -0.6)
    handles = [Line2D([], [], label=FLOOR_NAME, **FLOOR), Line2D([], [], label=CEILING_NAME, **CEILING)]
    if any(np.isfinite(value.low) for row in found.values() for value in row.values()):
        handles.append(Line2D([], [], label="95 % interval", color=BLACK, linewidth=0.9))
    else:
        handles.append(Line2D([], [], label=f"intervals: {NOT_ENOUGH}", linestyle="none"))
    _legend(figure, handles)
    return figure


@_styled
def f1_against_time(
    runs: Mapping[str, RunResult],
    floor: RunResult,
    ceiling: RunResult,
    alternatives: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """F1 against the time for restoring a frame and detecting in it.

    Args:
        runs: by their names.
        floor: of the same frames; a line.
        ceiling: likewise.
        alternatives: what else the time could be spent on, such as a larger detector without deblurring, by name:
            milliseconds a frame, and F1 against the same reference (:func:`detbench.report.breakdown.rescore`).
    """
    # The same detector looks at all of them: its time differs by what else the machine did, and is taken once.
    points = {name: (run.mean("restore_ms") + floor.mean("detect_ms"), run.f1) for name, run in runs.items()}
    return _scatter(
        points, alternatives or {}, floor, ceiling, "milliseconds a frame, with detection", logarithmic=True
    )


@_styled
def f1_against_psnr(
    runs: Mapping[str, RunResult], floor: RunResult, ceiling: RunResult, correlation: stats.Interval | None = None
) -> Figure:
    """F1 against PSNR: does PSNR rank deblurers as the detector does?

    Args:
        runs: by their names.
        floor: of the same frames; a line, and a square where its PSNR is.
        ceiling: likewise a line; its PSNR would be far to the right.
        correlation: Spearman's rank correlation of the two over the runs, with its 95 % interval.
    """
    points = {name: (run.mean("psnr_db"), run.f1) for name, run in runs.items()}
    figure = _scatter(points, {}, floor, ceiling, "PSNR in dB", floor_at=floor.mean("psnr_db"))
    text = f"rank correlation: {NOT_ENOUGH}"
    if correlation is not None and np.isfinite(correlation.estimate):
        text = f"rank correlation {_signed(correlation.estimate)}"
        if np.isfinite(correlation.low):
            text += f" [{_signed(correlation.low)}, {_signed(correlation.high)}]"
    figure.axes[0].set_title(text, loc="left")
    return figure


@_styled
def confidence_curves(sweep: Sweep, conf: float, floor: Sweep | None = None) -> Figure:
    """Precision, recall and F1 over the confidence threshold.

    Args:
        sweep: of a run.
        conf: the run's own threshold, which is marked.
        floor: of the blurred frames, for comparison.
    """
    figure, axes = _curves(sweep, floor, "confidence threshold")
    if not (sweep.counts.detections + sweep.counts.fn).any():
        return figure
    axes.axvline(conf, color=GREY, linewidth=0.8)
    axes.annotate(
        f" {conf:g}", (conf, 1), xycoords=("data", "axes fraction"), va="bottom", ha="center", color="#555555"
    )
    axes.set_xlim(0, 1)
    return figure


@_styled
def iou_curves(sweep: Sweep, floor: Sweep | None = None) -> Figure:
    """Precision, recall and F1 over the overlap from which a detection counts as a reference object.

    Args:
        sweep: of a run.
        floor: of the blurred frames, for comparison.
    """
    figure, axes = _curves(sweep, floor, "IoU threshold")
    if len(sweep.thresholds) > 1:
        axes.set_xlim(sweep.thresholds[0], sweep.thresholds[-1])
    return figure


@_styled
def cell_bars(
    runs: Mapping[str, Sequence[Cell]],
    floor: Sequence[Cell] = (),
    ceiling: Sequence[Cell] = (),
    measure: str = "f1",
    most: int = 12,
) -> Figure:
    """One measure by class, size or severity: a bar a run, ticks for floor and ceiling.

    Cells with too few reference objects to trust are grey and hatched.

    Args:
        runs: cells by the runs' names. More than six want a figure of their own.
        floor: of the blurred frames.
        ceiling: of the sharp frames.
        measure: ``f1``, ``precision`` or ``recall``.
        most: how many cells to show, in the order given.
    """
    objects = {cell.name: cell.counts.objects for cells in (*runs.values(), floor, ceiling) for cell in cells}
    names = list(objects)[:most]
    slot = 0.8 / max(len(runs), 1)
    figure = _figure(0.75 + len(names) * max(0.24, 0.05 + 0.09 * len(runs)) if names else 1.2)
    axes = figure.subplots()
    if not names:
        _not_enough(axes)
        return figure
    for number, (cells, colour) in enumerate(zip(runs.values(), _colours(len(runs)), strict=True)):
        for cell in cells:
            if cell.name in names and cell.counts.detections + cell.counts.fn:  # of nothing, F1 is 1 by convention only
                look = (
                    {"color": colour} if cell.enough else {"facecolor": "#eeeeee", "edgecolor": GREY, "hatch": "////"}
                )
                row = names.index(cell.name) + (number + 0.5) * slot - 0.4
                axes.barh(row, getattr(cell.counts, measure), height=0.9 * slot, linewidth=0.4, **look)
    for cells, style in ((floor, FLOOR), (ceiling, CEILING)):
        for cell in cells:
            if cell.name in names and cell.enough:
                row = names.index(cell.name)
                axes.vlines(
                    getattr(cell.counts, measure),
                    row - 0.43,
                    row + 0.43,
                    color=style["color"],
                    linewidth=1.6,
                    clip_on=False,
                )
    axes.set_yticks(range(len(names)), [f"{name} ({objects[name]})" for name in names])
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(BLACK if objects[name] >= ENOUGH else GREY)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1)
    axes.grid(axis="x")
    more = f";\n{len(objects) - most} more not shown" if len(objects) > most else ""
    axes.set_xlabel(f"{METRICS[measure].heading} (in brackets: reference objects{more})")
    handles: list[Any] = [Patch(color=c, label=name) for name, c in zip(runs, _colours(len(runs)), strict=True)]
    for cells, name, style in ((floor, FLOOR_NAME, FLOOR), (ceiling, CEILING_NAME, CEILING)):
        if cells:
            handles.append(Line2D([], [], label=name, color=style["color"], linewidth=1.6))
    if not all(cell.enough for cells in runs.values() for cell in cells if cell.name in names):
        handles.append(Patch(facecolor="#eeeeee", edgecolor=GREY, hatch="////", label=NOT_ENOUGH))
    _legend(figure, handles)
    return figure


@_styled
def error_bars(errors: Mapping[str, Errors]) -> Figure:
    """How many errors of each kind each run makes, stacked; false positives first, missed objects last.

    Args:
        errors: by the runs' names, in the order wanted.
    """
    figure = _figure(0.95 + 0.17 * max(len(errors), 2))
    axes = figure.subplots()
    if not errors:
        _not_enough(axes)
        return figure
    kinds = {
        "localisation": BLUE,
        "classification": ORANGE,
        "both": PURPLE,
        "duplicate": YELLOW,
        "background": VERMILION,
        "missed": FAINT,
    }
    left = np.zeros(len(errors))
    for kind, colour in kinds.items():
        counts = np.array([asdict(row)[kind] for row in errors.values()])
        axes.barh(range(len(errors)), counts, left=left, height=0.7, color=colour, label=kind)
        left += counts
    if not left.any():
        axes.set_xlim(0, 1)
    axes.set_yticks(range(len(errors)), list(errors))
    axes.set_ylim(len(errors) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel("errors")
    _legend(figure, axes.get_legend_handles_labels()[0])
    return figure


VALIDATED = {"psnr_validation": ("validation\nPSNR, dB", 0.5), "f1_validation": ("validation\nF1", 0.02)}
"""What a training is validated by, by its column in the log: its label, and the least range that is shown of it."""


@_styled
def training_curves(families: Mapping[tuple[str, str], Mapping[str, NDArray[np.float64]]]) -> Figure:
    """What trainings were validated by over their iterations, one plot a family.

    Args:
        families: (points, 2) iteration and measure, by the deblurer's name, by its family and a key of
            :data:`VALIDATED`.
    """
    figure = _figure(1.6 * max(len(families), 1))
    if not any(map(len, families.values())):
        _not_enough(figure.subplots())
        return figure
    for axes, ((family, measure), curves) in zip(
        figure.subplots(len(families), squeeze=False)[:, 0], families.items(), strict=True
    ):
        styles = itertools.cycle(itertools.product(("-", ":"), SERIES))
        for (name, points), (style, colour) in zip(curves.items(), styles, strict=False):
            axes.plot(*points.T, style, color=colour, label=name, linewidth=0.9)
            axes.plot(*points[[-1]].T, color=colour, marker="o", markersize=3)
        low, high = axes.get_ylim()
        label, least = VALIDATED[measure]
        middle, half = (low + high) / 2, max(high - low, least) / 2  # less than that shall not look like much
        axes.set_ylim(middle - half, middle + half)
        axes.set_title(family, loc="left")
        axes.grid(True)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_ylabel(label)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set_xlabel("iteration")
    return figure


def _figure(height: float) -> Figure:
    """An empty figure as wide as a column; its height is in inches."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def _not_enough(axes: Axes) -> None:
    """Say so, in place of a plot."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.text(0.5, 0.5, NOT_ENOUGH, transform=axes.transAxes, ha="center", va="center", color="#555555")


def _legend(figure: Figure, handles: Sequence[Any]) -> None:
    """A legend above the plot, in as many columns as fit into its width, which is about 64 letters."""
    lengths = [len(handle.get_label()) + 6 for handle in handles]
    fits = [n for n in (4, 3, 2) if sum(column.max(initial=0) for column in np.array_split(lengths, n)) <= 64]
    figure.legend(handles=handles, loc="outside upper center", ncols=max(fits, default=1))


def _colours(count: int) -> list[Any]:
    """As many colours that can be told apart as there are, then shades of one scale."""
    if count <= len(SERIES):
        return list(SERIES[:count])
    return list(matplotlib.colormaps["cividis"](np.linspace(0, 1, count)))


def _signed(value: float) -> str:
    """A correlation, with a true minus sign."""
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def _scatter(
    points: Mapping[str, tuple[float, float]],
    hollow: Mapping[str, tuple[float, float]],
    floor: RunResult,
    ceiling: RunResult,
    label: str,
    logarithmic: bool = False,
    floor_at: float = np.nan,
) -> Figure:
    """F1 against something else; names stand beside their points where there is room.

    Floor and ceiling are lines; the floor is also a square at ``floor_at``, if that is finite.
    """
    drawn = [
        (name, x, f1, group is hollow)
        for group in (points, hollow)
        for name, (x, f1) in group.items()
        if np.isfinite(x) and (x > 0 or not logarithmic)
    ]
    figure = _figure(3)
    axes = figure.subplots()
    axes.set_xlabel(label)
    axes.set_ylabel("F1")
    if not drawn:
        _not_enough(axes)
        return figure
    if logarithmic:
        axes.set_xscale("log")
    for _, x, f1, is_hollow in drawn:
        axes.plot(x, f1, **(HOLLOW if is_hollow else SOLID))
    if np.isfinite(floor_at):
        axes.plot(floor_at, floor.f1, "s", color=BLACK, markersize=3.5)
    axes.axhline(floor.f1, **FLOOR)
    axes.axhline(ceiling.f1, **CEILING)
    axes.margins(x=0.15, y=0.1)
    axes.autoscale_view()
    axes.grid()
    if logarithmic:
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 30 * low else (1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    if hollow:
        _legend(figure, [Line2D([], [], label="deblurred", **SOLID), Line2D([], [], label="not deblurred", **HOLLOW)])
    _name_points(figure, [(name, x, f1) for name, x, f1, _ in drawn], {FLOOR_NAME: floor.f1, CEILING_NAME: ceiling.f1})
    return figure


def _name_points(figure: Figure, points: Sequence[tuple[str, float, float]], lines: Mapping[str, float]) -> None:
    """Write names above horizontal lines, and beside points where they cover nothing; the loneliest point comes first.

    Args:
        figure: whose one plot is otherwise final.
        points: name, x and y of each. One that lies on another remains without a name.
        lines: their heights, by name.
    """
    figure.draw_without_rendering()  # lays it out
    axes = figure.axes[0]
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    point = figure.dpi / 72
    places = axes.transData.transform([(x, y) for _, x, y in points])
    heights = axes.transData.transform([(axes.get_xlim()[0], y) for y in lines.values()])[:, 1]
    marks = [Bbox([place - 5 * point, place + 5 * point]) for place in places]
    taken = [Bbox([(axes.bbox.x0, y - point), (axes.bbox.x1, y + point)]) for y in heights]
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 6}
    for name, y in lines.items():
        text = axes.annotate(name, (1, y), (0, 2), axes.get_yaxis_transform(), ha="right", va="bottom", **style)
        taken.append(text.get_window_extent())
    distances = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1) / point
    for i in np.argsort(-nearest, kind="stable"):
        if nearest[i] < 2:
            break
        others = [*taken, *marks[:i], *marks[i + 1 :]]
        name, x, y = points[i]
        for offset, ha, va in BESIDE:
            text = axes.annotate(name, (x, y), offset, ha=ha, va=va, **style)
            box = text.get_window_extent()
            inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1) and axes.bbox.containsy(box.y0)
            if inside and not box.count_overlaps(others):
                taken.append(box)
                break
            text.remove()


def _curves(sweep: Sweep, floor: Sweep | None, label: str) -> tuple[Figure, Axes]:
    """Precision, recall and F1 over a threshold; the floor's are dotted."""
    figure = _figure(2.1)
    axes = figure.subplots()
    axes.set_xlabel(label)
    if not (sweep.counts.detections + sweep.counts.fn).any():
        _not_enough(axes)
        return figure, axes
    colours = {"precision": ORANGE, "recall": BLUE, "f1": BLACK}
    dotted: dict[str, Any] = {"linestyle": FLOOR["linestyle"], "linewidth": 0.9}
    for measure, colour in colours.items():
        axes.plot(sweep.thresholds, _shown(sweep, measure), color=colour, label=METRICS[measure].heading)
        if floor is not None:
            axes.plot(floor.thresholds, _shown(floor, measure), color=colour, **dotted)
    handles = axes.get_legend_handles_labels()[0]
    if floor is not None:
        handles.append(Line2D([], [], color=GREY, label=FLOOR_NAME, **dotted))
    axes.set_ylim(0, 1.02)
    axes.grid()
    _legend(figure, handles)
    return figure, axes


def _shown(sweep: Sweep, measure: str) -> NDArray[np.float64]:
    """A measure, with NaN for the precision of no detections, which is 1 by convention only."""
    values: NDArray[np.float64] = getattr(sweep.counts, measure)
    return np.where(sweep.counts.detections > 0, values, np.nan) if measure == "precision" else values
