"""Plots of F1 against what it costs: time, or PSNR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from detbench import stats
from detbench.metrics import METRICS, Sums
from detbench.report.style import (
    BLACK,
    CEILING,
    CEILING_NAME,
    FLOOR,
    FLOOR_NAME,
    HOLLOW,
    NOT_ENOUGH,
    SOLID,
    empty_figure,
    legend,
    not_enough,
    styled,
)
from detbench.types import RunResult

BESIDE = (
    ((4, 0), "left", "center"),
    ((-4, 0), "right", "center"),
    ((0, 4), "center", "bottom"),
    ((0, -4), "center", "top"),
)
"""Where a point's name may stand: offset in points, and which of its sides is there."""

MARK = 3.5
"""Points around another point's middle that a name keeps free."""

NEAR, TOGETHER = 3.0, 3
"""Points nearer than so many points lie on each other, and are named together where they are no more than this."""


@styled
def f1_against_time(
    runs: Mapping[str, RunResult],
    floor: RunResult,
    ceiling: RunResult,
    alternatives: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """F1 against the time for restoring a frame and detecting in it.

    Args:
        runs: by their names.
        floor: of the same frames; a line, and a square where detection alone is.
        ceiling: likewise.
        alternatives: what else the time could be spent on, such as a larger detector without deblurring, by name:
            milliseconds a frame, and F1 against the same reference (:func:`detbench.report.breakdown.rescore`).
    """
    # The same detector looks at all of them: its time differs by what else the machine did, and is taken once.
    points = {name: (run.median("restore_ms") + floor.median("detect_ms"), run.f1) for name, run in runs.items()}
    return _scatter(
        points,
        alternatives or {},
        floor,
        ceiling,
        "milliseconds a frame, with detection",
        logarithmic=True,
        floor_at=floor.median("detect_ms"),
    )


@styled
def f1_against_psnr(
    runs: Mapping[str, RunResult], floor: RunResult, ceiling: RunResult, correlation: stats.Interval | None = None
) -> Figure:
    """F1 against PSNR: does PSNR rank deblurers as the detector does?

    Args:
        runs: by their names.
        floor: of the same frames; a line, and a square where its PSNR is.
        ceiling: likewise a line; its PSNR would be far to the right.
        correlation: Spearman's rank correlation of the two over the runs, with its 95 % interval; written above the
            plot of several.
    """
    points = {name: (run.mean("psnr_db"), run.f1) for name, run in runs.items()}
    figure = _scatter(points, {}, floor, ceiling, "PSNR in dB", floor_at=floor.mean("psnr_db"))
    text = f"rank correlation: {NOT_ENOUGH}" if len(runs) > 1 else ""
    if correlation is not None and np.isfinite(correlation.estimate):
        text = f"rank correlation {_signed(correlation.estimate)}"
        if np.isfinite(correlation.low):
            text += f" [{_signed(correlation.low)}, {_signed(correlation.high)}]"
    figure.axes[0].set_title(text, loc="left")
    return figure


def unnamed(figure: Figure) -> set[str]:
    """Whose points there was no room to name in a figure of one of the functions above."""
    axes = figure.axes[0]
    points = {str(line.get_label()) for line in axes.lines if line.get_marker() in ("o", "D")}
    return points.difference(*(text.get_text().splitlines() for text in axes.texts))


def ranked_alike(runs: Sequence[RunResult], one: str, other: str) -> stats.Interval:
    """Do two metrics rank deblurers alike? Spearman's rank correlation, with its interval over clips.

    Args:
        runs: on the same frames in the same order, one a deblurer; at least one.
        one: a key of :data:`detbench.metrics.METRICS`.
        other: likewise.
    """

    def statistic(key: str) -> stats.Statistic:
        return lambda sums: METRICS[key].of(Sums(sums))

    frames = [Sums.of(run.scores).values for run in runs]
    clips = [score.clip for score in runs[0].scores]
    return stats.bootstrap_rank_correlation(frames, frames, statistic(one), statistic(other), clips)


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
    figure = empty_figure(3)
    axes = figure.subplots()
    axes.set_xlabel(label)
    axes.set_ylabel("F1")
    if not drawn:
        not_enough(axes)
        return figure
    if logarithmic:
        axes.set_xscale("log")
    for name, x, f1, is_hollow in drawn:
        axes.plot(x, f1, label=name, **(HOLLOW if is_hollow else SOLID))
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
        legend(figure, [Line2D([], [], label="deblurred", **SOLID), Line2D([], [], label="not deblurred", **HOLLOW)])
    _name_points(figure, drawn, {FLOOR_NAME: floor.f1, CEILING_NAME: ceiling.f1})
    return figure


def _name_points(figure: Figure, points: Sequence[tuple[str, float, float, bool]], lines: Mapping[str, float]) -> None:
    """Write names above horizontal lines, and beside points where they cover nothing.

    Args:
        figure: whose one plot is otherwise final.
        points: name, x and y of each, and whether it is hollow: those come first, then the loneliest. A few that lie
            on each other are named together, the upper one first; more remain without names.
        lines: their heights, by name.
    """
    figure.draw_without_rendering()  # lays it out
    axes = figure.axes[0]
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    point = figure.dpi / 72
    places = axes.transData.transform([(x, y) for _, x, y, _ in points])
    heights = axes.transData.transform([(axes.get_xlim()[0], y) for y in lines.values()])[:, 1]
    marks = [Bbox([place - MARK * point, place + MARK * point]) for place in places]
    taken = [Bbox([(axes.bbox.x0, y - point), (axes.bbox.x1, y + point)]) for y in heights]
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 6}
    for name, y in lines.items():
        text = axes.annotate(name, (1, y), (0, 2), axes.get_yaxis_transform(), ha="right", va="bottom", **style)
        taken.append(text.get_window_extent())
    found = heaps(places, point * NEAR)
    for heap in sorted(found, key=lambda heap: (not points[heap[0]][3], -_distance(places, heap))):
        if len(heap) > TOGETHER:
            continue
        others = [*taken, *(mark for i, mark in enumerate(marks) if i not in heap)]
        names = "\n".join(points[i][0] for i in sorted(heap, key=lambda i: -points[i][2]))
        middle = axes.transData.inverted().transform(places[heap].mean(axis=0))
        room = np.ptp(places[heap], axis=0) / 2 / point
        for offset, ha, va in BESIDE:
            away = np.sign(offset) * room + offset
            text = axes.annotate(names, tuple(middle), tuple(away), ha=ha, va=va, **style)
            box = text.get_window_extent()
            inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1) and axes.bbox.containsy(box.y0)
            if inside and not box.count_overlaps(others):
                taken.append(box)
                break
            text.remove()


def heaps(places: NDArray[np.float64], near: float) -> list[list[int]]:
    """Which of (N, 2) places lie nearer to each other than ``near``, each or one through the next."""
    found: list[list[int]] = []
    for i, place in enumerate(places):
        touched = [heap for heap in found if np.linalg.norm(places[heap] - place, axis=1).min() < near]
        found = [heap for heap in found if heap not in touched] + [[*chain(*touched), i]]
    return found


def _distance(places: NDArray[np.float64], heap: Sequence[int]) -> float:
    """From some of (N, 2) places to the nearest of the others; without bound where there are none."""
    others = np.delete(places, heap, axis=0)
    return float(np.linalg.norm(places[heap][:, None] - others, axis=2).min(initial=np.inf))
