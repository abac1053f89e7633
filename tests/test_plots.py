"""The plots: what they show, that nothing overlaps or is cut off, and that they come out equal each time."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import matplotlib.text
import numpy as np
import pytest

from detbench.counts import Counts
from detbench.data import images
from detbench.report import breakdown, plots, scatter, style
from detbench.report.breakdown import Cell
from detbench.stats import Interval
from detbench.tide import Errors
from detbench.types import Detections, FrameScore, RunResult, RunSpec

NAMES = [*"abcdefghijklmno", "deblurgan_feedback", "pix2pix_sa_ca_gr_sn_perc"]


def run(name="dc250", recall=0.5, frames=20, psnr_db=22.0, ms=200.0):
    rng = np.random.default_rng(len(name))
    found = rng.binomial(10, recall, frames).tolist()
    scores = [
        FrameScore(str(i), str(i), tp, 1, 10 - tp, 0, 0, 0, psnr_db + i / 10, 0.6, ms, 50.0)
        for i, tp in enumerate(found)
    ]
    return RunResult(RunSpec(name), {}, tuple(scores), Path(name))


def blind(frames=3):
    """A run without detections on frames without objects."""
    score = FrameScore("a", "a", 0, 0, 0, 0, 0, 0, math.inf, 1.0, 0.0, 0.0)
    return RunResult(RunSpec("identity"), {}, (score,) * frames, Path("blind"))


FLOOR, CEILING = run("identity", 0.4), run("jpeg95", 0.97, psnr_db=43)
CURVE = np.array([[1000.0 * i, 26 - 1 / i] for i in range(1, 50)])
MANY = {name: run(name, 0.3 + 0.03 * i, psnr_db=21 + i % 5, ms=30 * 1.4**i) for i, name in enumerate(NAMES)}
CELLS = [Cell("car", Counts(60, 9, 40)), Cell("bus", Counts(5, 1, 6)), Cell("boat", Counts(2, 0, 1))]
SWEEP = breakdown.Sweep(np.array([0.1, 0.5, 0.9]), Counts.of(np.array([[8, 4, 2], [6, 1, 4], [0, 0, 10]])))
NOTHING = breakdown.Sweep(np.array([0.1, 0.5]), Counts.of(np.zeros((2, 3), np.int64)))
ERRORS = Errors(classification=1, localisation=2, both=3, duplicate=4, background=5, missed=6)


@pytest.fixture
def drawn(monkeypatch):
    """Draws a figure and returns its texts; none may be cut off by its edge, and no two may overlap."""
    texts = []
    draw = matplotlib.text.Text.draw

    def remember(text, renderer):
        if text.get_visible() and text.get_text().strip() and text not in texts:
            texts.append(text)
        draw(text, renderer)

    def check(figure):
        figure.draw_without_rendering()
        texts.clear()
        monkeypatch.setattr(matplotlib.text.Text, "draw", remember)
        figure.draw_without_rendering()
        boxes = [matplotlib.text.Text.get_window_extent(text) for text in texts]
        edge = figure.bbox
        for text, box in zip(texts, boxes, strict=True):
            assert edge.x0 - 1 <= box.x0 and box.x1 <= edge.x1 + 1, text
            assert edge.y0 - 1 <= box.y0 and box.y1 <= edge.y1 + 1, text
        for i, j in itertools.combinations(range(len(texts)), 2):
            width = min(boxes[i].x1, boxes[j].x1) - max(boxes[i].x0, boxes[j].x0)
            height = min(boxes[i].y1, boxes[j].y1) - max(boxes[i].y0, boxes[j].y0)
            assert width <= 0 or height <= 0.2 * boxes[i].height, (texts[i], texts[j])
        return [text.get_text() for text in texts]

    return check


ALTERNATIVES = {"yolo26m at 640": (300.0, 0.6), "yolo26n at 1280": (250.0, 0.55)}
PLOTS = {
    "bars": lambda: plots.score_bars(MANY, FLOOR, CEILING),
    "bars of one": lambda: plots.score_bars({"dc250": run()}, FLOOR, CEILING),
    "time": lambda: scatter.f1_against_time(MANY, FLOOR, CEILING, ALTERNATIVES),
    "time of one": lambda: scatter.f1_against_time({"dc250": run()}, FLOOR, CEILING),
    "psnr": lambda: scatter.f1_against_psnr(MANY, FLOOR, CEILING, Interval(-0.5, -0.9, 0.1)),
    "psnr of one": lambda: scatter.f1_against_psnr({"dc250": run()}, FLOOR, CEILING),
    "psnr of equals": lambda: scatter.f1_against_psnr({n: run("same") for n in NAMES}, FLOOR, CEILING),
    "confidence": lambda: plots.confidence_curves(SWEEP, 0.25, SWEEP),
    "iou": lambda: plots.iou_curves(SWEEP),
    "training": lambda: plots.training_curves(
        {
            ("dark channel", "psnr_db"): {name: CURVE + i / 10 for i, name in enumerate(NAMES[-4:])},
            ("task-driven", "f1"): {name: CURVE * [1, 0.01] for name in NAMES[-2:]},
        }
    ),
    "training of none": lambda: plots.training_curves({}),
    "cells": lambda: plots.cell_bars({"dc250": CELLS}, CELLS, CELLS),
    "cells of six": lambda: plots.cell_bars({n: CELLS for n in NAMES[:6]}, CELLS, CELLS, "recall"),
    "cells of all": lambda: plots.cell_bars({n: CELLS for n in NAMES}, CELLS, CELLS, "precision"),
    "many classes": lambda: plots.cell_bars({"dc250": [Cell(f"class {i}", Counts(i, 1, 1)) for i in range(40, 0, -1)]}),
    "errors": lambda: plots.error_bars(dict.fromkeys(NAMES, ERRORS)),
    "errors of one": lambda: plots.error_bars({"dc250": ERRORS}),
}
POOR = {
    "bars of none": lambda: plots.score_bars({}, FLOOR, CEILING),
    "bars of one frame": lambda: plots.score_bars({"dc250": run(frames=1)}, run(frames=1), run(frames=1)),
    "bars without detections": lambda: plots.score_bars({"dc250": blind()}, blind(), blind()),
    "time of none": lambda: scatter.f1_against_time({}, FLOOR, CEILING),
    "time without a clock": lambda: scatter.f1_against_time({"dc250": blind()}, blind(), blind()),
    "psnr of none": lambda: scatter.f1_against_psnr({}, FLOOR, CEILING),
    "psnr of two": lambda: scatter.f1_against_psnr({"a": run(), "b": run()}, FLOOR, CEILING, Interval(math.nan)),
    "psnr of equal frames": lambda: scatter.f1_against_psnr({"dc250": blind()}, blind(), blind()),
    "confidence of nothing": lambda: plots.confidence_curves(NOTHING, 0.25, NOTHING),
    "iou of nothing": lambda: plots.iou_curves(NOTHING),
    "no cells": lambda: plots.cell_bars({}),
    "no classes": lambda: plots.cell_bars({"dc250": []}, [], []),
    "empty cells": lambda: plots.cell_bars(
        {"dc250": [Cell("small", Counts(0, 0, 0))]}, [Cell("small", Counts(0, 0, 0))]
    ),
    "no errors of none": lambda: plots.error_bars({}),
}


@pytest.mark.parametrize("name", PLOTS)
def test_no_text_is_cut_off_or_overlaps_another(name, drawn):
    drawn(PLOTS[name]())


@pytest.mark.parametrize("name", POOR)
def test_plots_say_where_there_is_not_enough_data(name, drawn):
    assert any("not enough data" in text for text in drawn(POOR[name]()))


def test_no_errors_are_no_bars(drawn):
    figure = plots.error_bars({"dc250": Errors(0, 0, 0, 0, 0, 0)})
    assert "missed" in drawn(figure)
    assert {patch.get_width() for patch in figure.axes[0].patches} == {0}


@pytest.mark.slow("writes nine files of plots")
@pytest.mark.parametrize("name", ["time of one", "cells"])
def test_equal_data_give_equal_bytes(name, tmp_path, monkeypatch):
    figure = PLOTS[name]()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")  # what would be written as the time
    first = style.save(figure, tmp_path / "first", "plot")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1500000000")
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 20)  # a user's own taste
    again = style.save(figure, tmp_path / "again", "plot")
    anew = style.save(PLOTS[name](), tmp_path / "anew", "plot")
    assert [path.name for path in first] == ["plot.png", "plot.pdf", "plot.svg"]
    for a, b, c in zip(first, again, anew, strict=True):
        assert a.read_bytes() == b.read_bytes() == c.read_bytes(), a.suffix
    assert matplotlib.rcParams["font.size"] == 20
    assert images.image_size(first[0])[1] == pytest.approx(8.5 / 2.54 * 300, abs=1)
    assert b"/Type3" not in first[1].read_bytes()


def test_bars_are_the_scores_with_their_intervals():
    figure = plots.score_bars(MANY, FLOOR, CEILING)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == sorted(MANY, key=lambda name: -MANY[name].f1)
    for axes, measure in zip(figure.axes, ("f1", "precision", "recall"), strict=True):
        assert [bar.get_width() for bar in axes.patches] == pytest.approx([getattr(MANY[n], measure) for n in labels])
        lines = sorted(line.get_xdata()[0] for line in axes.lines)
        assert lines == pytest.approx(sorted([getattr(FLOOR, measure), getattr(CEILING, measure)]))
        ends = np.array(axes.collections[0].get_segments())[:, :, 0]
        widths = np.array([bar.get_width() for bar in axes.patches])
        assert (ends[:, 0] < widths).all() and (widths < ends[:, 1]).all()


def test_intervals_are_of_the_value_over_clips():
    result = run(frames=100, recall=0.5)
    recall = plots.intervals(result)["recall"]
    assert recall.estimate == pytest.approx(result.recall)
    error = 1.96 * math.sqrt(0.25 / 1000)  # a thousand objects, found or not
    assert recall.high - recall.low == pytest.approx(2 * error, rel=0.25)
    one_clip = replace(result, scores=tuple(replace(s, clip="a") for s in result.scores))
    assert math.isnan(plots.intervals(one_clip)["f1"].low)


def test_points_lie_where_they_should():
    figure = scatter.f1_against_time({"dc250": run()}, FLOOR, CEILING, {"yolo26m": (300.0, 0.6)})
    axes = figure.axes[0]
    solid, hollow = (line for line in axes.lines if line.get_marker() in "oD")
    assert (solid.get_xdata()[0], solid.get_ydata()[0]) == pytest.approx((250, run().f1))  # 200 + 50 ms
    assert (hollow.get_xdata()[0], hollow.get_ydata()[0]) == (300, 0.6)
    assert solid.get_markerfacecolor() != hollow.get_markerfacecolor() == "white"
    assert axes.get_xscale() == "log"
    axes = scatter.f1_against_psnr({"dc250": run()}, FLOOR, CEILING).axes[0]
    assert {"s", "o"} <= {line.get_marker() for line in axes.lines}
    assert axes.get_xlim()[1] < 30  # the ceiling's PSNR does not squeeze the others


@pytest.mark.parametrize(
    ("correlation", "expected"),
    [
        (Interval(0.7, 0.2, 0.9), "rank correlation +0.70 [+0.20, +0.90]"),
        (Interval(-0.5), "rank correlation −0.50"),
    ],
)
def test_the_correlation_is_written_above(correlation, expected):
    assert scatter.f1_against_psnr(MANY, FLOOR, CEILING, correlation).axes[0].get_title(loc="left") == expected


def test_one_deblurer_is_ranked_by_nothing():
    assert scatter.f1_against_psnr({"dc250": run()}, FLOOR, CEILING).axes[0].get_title(loc="left") == ""


def test_no_detections_have_no_precision():
    axes = plots.confidence_curves(SWEEP, 0.25).axes[0]
    curves = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert curves["precision"] == pytest.approx([8 / 12, 6 / 7, math.nan], nan_ok=True)
    assert curves["recall"] == pytest.approx([0.8, 0.6, 0])
    assert curves["F1"] == pytest.approx([16 / 22, 12 / 17, 0])
    assert [0.25, 0.25] in [list(line.get_xdata()) for line in axes.lines]


def test_small_cells_are_hatched(drawn):
    figure = plots.cell_bars({"dc250": CELLS}, CELLS)
    bars = figure.axes[0].patches
    assert [bar.get_width() for bar in bars] == pytest.approx([float(cell.counts.f1) for cell in CELLS])
    assert [bool(bar.get_hatch()) for bar in bars] == [False, False, True]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["car (100)", "bus (11)", "boat (3)"]
    assert "not enough data" in drawn(figure)


def test_empty_cells_have_no_bar():
    assert not POOR["empty cells"]().axes[0].patches


def test_classes_beyond_the_most_are_counted():
    assert "28 more not shown" in PLOTS["many classes"]().axes[0].get_xlabel()


def test_stacks_add_up():
    axes = plots.error_bars({"a": ERRORS, "b": ERRORS}).axes[0]
    assert max(bar.get_x() + bar.get_width() for bar in axes.patches) == 21
    assert len({bar.get_facecolor() for bar in axes.patches}) == 6


def test_points_are_named_beside_them_unless_others_are_in_the_way():
    far, crowd = {"far": run(psnr_db=30)}, {name: run(name, psnr_db=21 + i / 200) for i, name in enumerate(NAMES)}
    axes = scatter.f1_against_psnr(far | crowd, FLOOR, CEILING).axes[0]
    named = {text.get_text(): text for text in axes.texts}
    assert {"far", style.FLOOR_NAME, style.CEILING_NAME} <= set(named) and not set(NAMES) <= set(named)
    points = [line for line in axes.lines if line.get_marker() == "o"]
    places = axes.transData.transform([(line.get_xdata()[0], line.get_ydata()[0]) for line in points])
    for text in axes.texts:
        box = text.get_window_extent()
        assert not any(box.contains(x, y) for x, y in places), text
    beside = axes.transData.transform((far["far"].mean("psnr_db"), far["far"].f1))
    box = named["far"].get_window_extent()
    nearest = np.clip(beside, [box.x0, box.y0], [box.x1, box.y1])
    assert np.linalg.norm(nearest - beside) < 8 * axes.figure.dpi / 72


@pytest.mark.parametrize(("names", "said"), [("ab", {"a\nb"}), ("abc", {"a\nb\nc"}), ("abcd", set())])
def test_a_few_points_on_each_other_are_named_together(names, said):
    figure = scatter.f1_against_psnr({name: run("same") for name in names}, FLOOR, CEILING)
    axes = figure.axes[0]
    assert scatter.unnamed(figure) == (set() if said else set(names))
    assert {text.get_text() for text in axes.texts} == said | {style.FLOOR_NAME, style.CEILING_NAME}


def test_points_that_touch_through_a_third_are_one_heap():
    places = np.array([[0.0, 0], [4, 0], [9, 0], [2, 0], [20, 0]])
    assert sorted(map(sorted, scatter.heaps(places, 3))) == [[0, 1, 3], [2], [4]]


def test_real_detections_are_plotted_from_end_to_end(tmp_path):
    box = np.array([[0, 0, 10, 10], [50, 0, 60, 10]], np.float32)
    frame = Detections(box, np.array([0.9, 0.4], np.float32), np.zeros(2, np.int64))
    frames = [frame, Detections.empty()]
    matches = breakdown.matches(frames, frames, 0.5, 0.25)
    figure = plots.cell_bars({"dc250": breakdown.by_class(matches, {0: "car"})})
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["car (2)"]
    assert all(path.stat().st_size > 1000 for path in style.save(figure, tmp_path / "new" / "folder", "classes"))
