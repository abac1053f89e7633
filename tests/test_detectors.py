"""Deblurers with several detectors: whose columns lead, what was in the loss, what another detector vouches for."""

import dataclasses

import numpy as np
import pytest
from conftest import BrightBoxes, boxes, stand_in

import detbench.detectors
from detbench import benchmarks, store
from detbench.lineup import role
from detbench.report import detectors, formats, origins
from detbench.report.collect import Group, collect
from detbench.types import FrameScore, RunResult, RunSpec

FORMATS = [formats.markdown, formats.latex, formats.csv, formats.html]
CLIPS = 12


def run(tmp_path, name, tp, fn, detector="yolo26n", imgsz=640, input="blurred", **training):
    """A run of twelve frames of as many clips, each with the same counts."""
    scores = tuple(
        FrameScore(f"{i}", f"{i}", tp, 0, fn, tp, 0, 0, psnr_db=30.0, ssim=0.9, restore_ms=1.0, detect_ms=1.0)
        for i in range(CLIPS)
    )
    spec = RunSpec(name, detector=f"{detector}.pt", conf=0.25, imgsz=imgsz, input=input, detector_hash=detector)
    environment = {"dataset": "street", "conventions": "micro", "detbench": "1", "training": training}
    return RunResult(spec, environment, scores, tmp_path / f"{name}-{detector}-{imgsz}")


def group(tmp_path, *runs, **eye):
    """Runs given as (name, tp, record) between a floor that finds 2 of 10 and a ceiling that finds all."""
    return Group(
        run(tmp_path, "identity", 2, 8, **eye),
        tuple(run(tmp_path, name, tp, 10 - tp, **eye, **record) for name, tp, record in runs),
        run(tmp_path, "jpeg95", 10, 0, input="sharp", **eye),
    )


TASK = {"recipe": {"detector": ["yolo26n"]}}
PLAIN = {"recipe": {"detector": None}}


@pytest.fixture
def groups(tmp_path):
    runs = [("tuned", 6, TASK), ("plain", 5, PLAIN), ("srn", 4, {})]
    less = [("tuned", 3, TASK), ("plain", 4, PLAIN), ("srn", 4, {})]
    return [
        group(tmp_path, *runs, detector="yolo26n"),
        group(tmp_path, *less, detector="yolo11n"),
        group(tmp_path, *runs, detector="yolo26n", imgsz=416),
    ]


def test_detectors_that_were_not_in_the_loss_lead(groups):
    made = detectors.gains(groups)
    headings = [column.heading for column in made.columns]
    assert headings[1::2] == ["yolo11n 640: F1", "yolo26n 640*: F1", "yolo26n 416*: F1"]
    floor, ranked, ceiling = (part.rows for part in made.parts)
    assert [row[0] for row in ranked] == ["plain", "srn", "tuned"]  # by yolo11n's F1, equal ones as they were
    f1 = {tp: 2 * tp / (10 + tp) for tp in (2, 3, 4, 5, 6, 10)}
    assert [ranked[2][i] for i in (1, 3, 5)] == [pytest.approx(f1[tp]) for tp in (3, 6, 6)]
    assert ranked[2][4] == pytest.approx((f1[6] - f1[2]) / (1 - f1[2]))
    assert floor[0] == ("blurred", *[pytest.approx(f1[2]), 0.0] * 3)
    assert ceiling[0] == ("sharp, JPEG 95", *[1.0, 1.0] * 3)
    assert len(set(headings)) == len(headings)
    text = formats.markdown(made)
    assert "yolo26n was in the loss that trained tuned, or what these learnt from." in text
    assert all(str(group.signature).replace("|", r"|") in text for group in groups)


def test_without_a_detector_in_any_loss_the_order_is_the_given_one(groups):
    plain = [dataclasses.replace(each, models=each.models[1:]) for each in groups]
    made = detectors.gains(plain)
    assert [column.heading for column in made.columns][1::2] == [
        "yolo26n 640: F1",
        "yolo11n 640: F1",
        "yolo26n 416: F1",
    ]
    assert "in the loss" not in formats.markdown(made)


def test_a_deblurer_that_one_detector_has_not_seen_is_left_out(groups):
    short = dataclasses.replace(groups[1], models=groups[1].models[:2])
    rows = detectors.gains([groups[0], short]).parts[1].rows
    assert {row[0] for row in rows} == {"tuned", "plain"}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_renders_it(form, groups):
    assert "None" not in form(detectors.gains(groups))
    assert form(detectors.gains([dataclasses.replace(each, models=()) for each in groups])).endswith("\n")


def test_what_is_added_is_vouched_for_or_not(groups, tmp_path, monkeypatch):
    """Of two boxes that restoring adds in each frame, the other detector sees one; the third was there before."""
    real, painted, old, sure = (0, 0, 10, 10), (50, 0, 60, 10), (90, 0, 99, 10), (0, 50, 10, 60)
    seen = {
        "identity-yolo26n": {"restored": boxes(old)},
        "tuned-yolo26n": {"restored": boxes(real, painted, old, sure, score=[0.9, 0.8, 0.7, 0.1])},
        "plain-yolo26n": {"restored": boxes(old)},
        "srn-yolo26n": {"restored": boxes(real)},
        "jpeg95-yolo26n": {"restored": boxes(real, old)},
        "identity-yolo11n": {"sharp": boxes(real, old)},
    }
    monkeypatch.setattr(
        store,
        "read_detections",
        lambda path: {side: [found] * CLIPS for side, found in seen[path.name.rpartition("-")[0]].items()},
    )
    monkeypatch.setattr(store, "read_frames", lambda path: ({0: "car", 1: "bus"}, []))
    made = detectors.fooling([(groups[0], groups[1])])
    rows = {row[0]: row[1:] for part in made.parts for row in part.rows}
    assert rows == {
        "blurred": (0, None, None),
        "tuned": (24, 0.5, "[50.0%, 50.0%]"),  # a score below the run's conf does not count
        "srn": (12, 1.0, "[100.0%, 100.0%]"),
        "plain": (0, None, None),
        "sharp, JPEG 95": (12, 1.0, "[100.0%, 100.0%]"),
    }
    assert [column.heading for column in made.columns][1:3] == [
        "yolo26n 640: added",
        "yolo26n 640: seen by yolo11n 640",
    ]


class Sharper(BrightBoxes):
    """Another detector: it sees brighter boxes only."""

    def look(self, frame):
        return super().look(np.where(frame > 150, frame, 0).astype(np.uint8))


def test_both_tables_are_made_from_stored_runs(pairs, bright_boxes, tmp_path, monkeypatch):
    spec = RunSpec("unsharp", dataset=str(pairs), conf=0.55, device="cpu")
    one = benchmarks.benchmark(spec, tmp_path / "runs")
    monkeypatch.setattr(detbench.detectors, "resolve", stand_in(Sharper, lambda name: "1" * 64))
    other = benchmarks.benchmark(dataclasses.replace(spec, detector="yolo11n"), tmp_path / "runs")
    both = [collect([result.path for result in results])[0] for results in (one, other)]
    rows = [row for part in detectors.gains(both).parts for row in part.rows]
    assert [row[0] for row in rows] == ["blurred", "unsharp", "sharp, JPEG 95"]
    assert [row[1] for row in rows] == [result.f1 for result in one]
    assert [row[3] for row in rows] == [result.f1 for result in other]
    added = [row[1] for part in detectors.fooling([tuple(both), tuple(both[::-1])]).parts for row in part.rows]
    assert added[0] == 0
    assert role(both[0].floor.spec) == "floor"


def test_records_say_which_detector_was_in_the_loss(tmp_path):
    runs = [
        run(tmp_path, "a", 1, 1, recipe={"detector": ["yolo26n", "her/yolo11n.pt"]}),
        run(tmp_path, "b", 1, 1, recipe={"detector": ["yolo26n"]}),
        run(tmp_path, "c", 1, 1, recipe={}),
        run(tmp_path, "d", 1, 1),
    ]
    through = {"a": ["yolo26n", "yolo11n"], "b": ["yolo26n"]}
    assert origins.in_the_loss(origins.of_runs(runs)) == through
    pupil, its = ({"recipe": {"teacher": name, "init_from": None}} for name in ("b", "pupil"))
    runs += [run(tmp_path, "pupil", 5, 5, **pupil), run(tmp_path, "its", 5, 5, **its)]
    of_pupils = {"pupil": ["yolo26n"], "its": ["yolo26n"]}
    assert origins.in_the_loss(origins.of_runs(runs)) == through | of_pupils
