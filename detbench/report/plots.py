"""Plots of runs as bars and curves: data in, a matplotlib figure out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import NDArray

from detbench import stats
from detbench.metrics import METRICS, Sums
from detbench.report.breakdown import ENOUGH, Cell, Sweep
from detbench.report.style import (
    BLACK,
    BLUE,
    CEILING,
    CEILING_NAME,
    FAINT,
    FLOOR,
    FLOOR_NAME,
    GREY,
    NOT_ENOUGH,
    ORANGE,
    PURPLE,
    SERIES,
    SKY,
    VERMILION,
    YELLOW,
    colours,
    empty_figure,
    legend,
    not_enough,
    styled,
)
from detbench.tide import Errors
from detbench.types import RunResult

MEASURES = ("f1", "precision", "recall")
"""What :func:`score_bars` shows."""

TOO_FEW: dict[str, Any] = {"facecolor": "#eeeeee", "edgecolor": GREY, "hatch": "////"}
"""How a bar looks that stands for too few objects."""


def intervals(result: RunResult) -> dict[str, stats.Interval]:
    """:data:`MEASURES` of a run, each with its 95 % bootstrap interval over clips."""
    frames = Sums.of(result.scores)
    drawn = Sums(stats.resampled_sums(frames.values, [s.clip for s in result.scores]))
    total = frames.total()
    return {key: stats.interval(float(METRICS[key].of(total)), METRICS[key].of(drawn)) for key in MEASURES}


@styled
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
    figure = empty_figure(0.75 + 0.15 * max(len(names), 2))
    panels = figure.subplots(1, 3, sharey=True, width_ratios=[1.6, 1, 1])
    for axes, measure in zip(panels, MEASURES, strict=True):
        axes.set_title(METRICS[measure].heading)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.set_xticks([0.25, 0.75], minor=True)
        axes.grid(axis="x", which="both")
        axes.tick_params(axis="y", length=0)
        if not names:
            not_enough(axes)
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
    legend(figure, handles)
    return figure


@styled
def confidence_curves(sweep: Sweep, conf: float, floor: Sweep | None = None, name: str = "") -> Figure:
    """Precision, recall and F1 over the confidence threshold.

    Args:
        sweep: of a run.
        conf: the run's own threshold, which is marked.
        floor: of the blurred frames, for comparison.
        name: of the run, written above.
    """
    figure, axes = _curves(sweep, floor, "confidence threshold", name)
    if not (sweep.counts.detections + sweep.counts.fn).any():
        return figure
    axes.axvline(conf, color=GREY, linewidth=0.8)
    axes.annotate(
        f" {conf:g}", (conf, 1), xycoords=("data", "axes fraction"), va="bottom", ha="center", color="#555555"
    )
    axes.set_xlim(0, 1)
    return figure


@styled
def iou_curves(sweep: Sweep, floor: Sweep | None = None, name: str = "") -> Figure:
    """Precision, recall and F1 over the overlap from which a detection counts as a reference object.

    Args:
        sweep: of a run.
        floor: of the blurred frames, for comparison.
        name: of the run, written above.
    """
    figure, axes = _curves(sweep, floor, "IoU threshold", name)
    if len(sweep.thresholds) > 1:
        axes.set_xlim(sweep.thresholds[0], sweep.thresholds[-1])
    return figure


@styled
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
    figure = empty_figure(0.75 + len(names) * max(0.24, 0.05 + 0.09 * len(runs)) if names else 1.2)
    axes = figure.subplots()
    if not names:
        not_enough(axes)
        return figure
    for number, (cells, colour) in enumerate(zip(runs.values(), colours(len(runs)), strict=True)):
        rows = {name: row + (number + 0.5) * slot - 0.4 for row, name in enumerate(names)}
        _bars(axes, rows, cells, measure, 0.9 * slot, colour)
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
    handles: list[Any] = [Patch(color=c, label=name) for name, c in zip(runs, colours(len(runs)), strict=True)]
    for cells, name, style in ((floor, FLOOR_NAME, FLOOR), (ceiling, CEILING_NAME, CEILING)):
        if cells:
            handles.append(Line2D([], [], label=name, color=style["color"], linewidth=1.6))
    if not all(cell.enough for cells in runs.values() for cell in cells if cell.name in names):
        handles.append(Patch(label=NOT_ENOUGH, **TOO_FEW))
    legend(figure, handles)
    return figure


def _bars(
    axes: Axes, rows: Mapping[str, float], cells: Sequence[Cell], measure: str, height: float, colour: Any
) -> None:
    """A bar for each cell that has a row and is not empty: of nothing, F1 is 1 by convention only."""
    for cell in cells:
        if cell.name in rows and cell.counts.detections + cell.counts.fn:
            look = {"color": colour} if cell.enough else TOO_FEW
            axes.barh(rows[cell.name], getattr(cell.counts, measure), height=height, linewidth=0.4, **look)


@styled
def error_bars(errors: Mapping[str, Errors]) -> Figure:
    """How many errors of each kind each run makes, stacked; false positives first, missed objects last.

    Args:
        errors: by the runs' names, in the order wanted.
    """
    figure = empty_figure(0.95 + 0.17 * max(len(errors), 2))
    axes = figure.subplots()
    if not errors:
        not_enough(axes)
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
    legend(figure, axes.get_legend_handles_labels()[0])
    return figure


VALIDATED = {"psnr_db": ("validation\nPSNR, dB", 0.5), "f1": ("validation\nF1", 0.02)}
"""What a training is validated by, by the metric's key: its label, and the least range that is shown of it."""


@styled
def training_curves(families: Mapping[tuple[str, str], Mapping[str, NDArray[np.float64]]]) -> Figure:
    """What trainings were validated by over their iterations, one plot a family.

    Args:
        families: (points, 2) iteration and measure, by the deblurer's name, by its family and a key of
            :data:`VALIDATED`.
    """
    figure = empty_figure(1.6 * max(len(families), 1))
    if not any(map(len, families.values())):
        not_enough(figure.subplots())
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
        axes.set_title(f"{family}{', with a detector in the loss' if measure == 'f1' else ''}", loc="left")
        axes.grid(True)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_ylabel(label)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set_xlabel("iteration")
    return figure


def _curves(sweep: Sweep, floor: Sweep | None, label: str, name: str) -> tuple[Figure, Axes]:
    """Precision, recall and F1 over a threshold; the floor's are dotted."""
    figure = empty_figure(2.1)
    axes = figure.subplots()
    axes.set_xlabel(label)
    axes.set_title(name, loc="right")
    if not (sweep.counts.detections + sweep.counts.fn).any():
        not_enough(axes)
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
    legend(figure, handles)
    return figure, axes


def _shown(sweep: Sweep, measure: str) -> NDArray[np.float64]:
    """A measure, with NaN for the precision of no detections, which is 1 by convention only."""
    values: NDArray[np.float64] = getattr(sweep.counts, measure)
    return np.where(sweep.counts.detections > 0, values, np.nan) if measure == "precision" else values
