"""What each deblurer brings, as pictures: with one detector with intervals, with several as a matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from detbench.best import Board
from detbench.report.style import BLUE, CEILING, FLOOR, GREY, VERMILION, WIDTH, styled
from detbench.verdict import HARMS, HELPS, SAME, UNKNOWN, Verdict

MARKS = {HELPS: "\N{BLACK UP-POINTING TRIANGLE}", HARMS: "\N{BLACK DOWN-POINTING TRIANGLE}", SAME: "=", UNKNOWN: "?"}
"""What stands beside a number, so that colour never says anything alone."""


COLOURS = {HELPS: BLUE, HARMS: VERMILION}
"""Of what is sure; all else is grey."""


@styled
def forest(judged: Mapping[str, Verdict], ceiling: float, floor_name: str, ceiling_name: str) -> Figure:
    """F1 gained by each deblurer with its interval, the best on top; hollow where Holm's correction leaves it unsure.

    Args:
        judged: the verdicts by name.
        ceiling: F1 that the ceiling has more than the floor.
        floor_name: of what the gains are against.
        ceiling_name: of what cannot be passed.
    """
    names = sorted(judged, key=lambda name: judged[name].gain.estimate)
    figure = Figure(figsize=(1.35 * WIDTH, 0.8 + 0.17 * max(len(names), 2)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, label=floor_name, **FLOOR)
    axes.axvline(ceiling, label=ceiling_name, **CEILING)
    for row, name in enumerate(names):
        word, gain = judged[name].word, judged[name].gain
        colour = COLOURS.get(word, GREY)
        if not math.isnan(gain.low):
            axes.plot([gain.low, gain.high], [row, row], color=colour, linewidth=1.4, solid_capstyle="butt")
        face = colour if word in COLOURS else "white"
        axes.plot([gain.estimate], [row], marker="o", markersize=4.5, color=colour, markerfacecolor=face)
        axes.annotate(
            f"{MARKS[word]} {word}",
            (1.01, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=6.5,
            fontweight="bold" if word in COLOURS else "normal",
            annotation_clip=False,
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel(f"F1 gained over {floor_name}, with 95 % intervals")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


@styled
def matrix(boards: Sequence[Board]) -> Figure:
    """F1 gained, deblurers down and detectors across, each cell with its verdict's mark; what is unsure is faint.

    Args:
        boards: on the same frames, one a detector and working size; deblurers that some of them lack are left out. The
            best mean over detectors comes first.
    """
    by_name = [{score.deblurer: score for score in board.scores} for board in boards]
    shared = [name for name in by_name[0] if all(name in scores for scores in by_name)]
    gains = {name: [scores[name].verdict.gain.estimate for scores in by_name] for name in shared}
    names = sorted(shared, key=lambda name: -float(np.mean(gains[name])))
    values = np.array([gains[name] for name in names], np.float64).reshape(len(names), len(boards))
    reach = max(float(np.abs(values).max(initial=0.0)), 1e-3)
    figure = Figure(figsize=(2 * WIDTH, 0.75 + 0.17 * max(len(names), 2)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(values, cmap="PuOr_r", norm=TwoSlopeNorm(0.0, -reach, reach), alpha=0.55, aspect="auto")
    for row, name in enumerate(names):
        for column, scores in enumerate(by_name):
            word = scores[name].verdict.word
            sure = word in (HELPS, HARMS)
            axes.text(
                column,
                row,
                f"{values[row, column]:+z.3f} {MARKS[word]}".replace("0.", "."),
                ha="center",
                va="center",
                fontsize=6.5,
                fontweight="bold" if sure else "normal",
                color="black" if sure else "#404040",
            )
    axes.set_xticks(range(len(boards)), [f"{board.detector}\n{board.imgsz} px" for board in boards])
    axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    legend = "   ".join(f"{mark} {word}" for word, mark in MARKS.items())
    figure.supxlabel(f"F1 gained over the blurred frames, each with its own detector.   {legend}", fontsize=6.5)
    return figure
