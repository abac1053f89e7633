"""Deblur, or adapt the detector? What is merged, what is restored, and that all are held against the same objects."""

import dataclasses

import cv2
import numpy as np
import pytest
from conftest import BrightBoxes, boxes, stand_in

from detbench import alternatives, classes, detectors
from detbench.counts import Counts
from detbench.quality import BLURRED, blurriness
from detbench.report import alternatives as words
from detbench.report import formats
from detbench.results import Results
from detbench.types import RunSpec


def counts(*rows):
    return Counts.of(np.array(rows))


def test_of_two_views_the_surest_box_of_an_object_stays():
    a = boxes((0, 0, 10, 10), (50, 50, 60, 60), score=[0.9, 0.4], label=[0, 0])
    b = boxes((1, 0, 10, 10), (50, 50, 60, 60), (80, 0, 90, 10), score=[0.8, 0.7, 0.3], label=[0, 1, 0])
    found = alternatives.merged(a, b, 0.55)
    assert found.score.tolist() == pytest.approx([0.9, 0.7, 0.4, 0.3])
    assert found.label.tolist() == [0, 1, 0, 0]  # one place, two classes: both stay
    nothing = alternatives.merged(boxes(), boxes(), 0.55)
    assert len(nothing) == 0


def test_what_is_restored_is_chosen_on_other_clips():
    """Restoring helps where frames measure above .3 and harms below; the last clip alone would say the opposite."""
    clips = ["a", "b", "c", "d"]
    measured = np.array([[0.4, 0.6, 0.5, 0.45], [0.2, 0.1, 0.15, 0.05]])
    helped, harmed = (9, 0, 1), (5, 3, 5)
    restored = (counts(helped, helped, helped, harmed), counts(harmed, harmed, harmed, helped))
    as_it_is = (counts(harmed, harmed, harmed, helped), counts(helped, helped, helped, harmed))
    chosen = alternatives.choose(measured, restored, as_it_is, clips)
    assert chosen[0].tolist()[3] and not chosen[1, 3]  # by what the other three say
    assert chosen.shape == (2, 4)
    others = alternatives.choose(measured[:, :3], *[[c[:3] for c in pair] for pair in (restored, as_it_is)], clips[:3])
    assert others.tolist() == [[True] * 3, [False] * 3]


def test_where_restoring_never_helps_nothing_is_restored():
    worse, better = (counts((1, 5, 9), (1, 5, 9)),) * 2, (counts((9, 0, 1), (9, 0, 1)),) * 2
    assert not alternatives.choose(np.array([[0.4, 0.3], [0.2, 0.1]]), worse, better, ["a", "b"]).any()


def test_labels_of_another_detector():
    found = boxes((0, 0, 9, 9), (1, 1, 9, 9), (2, 2, 9, 9), label=[3, 1, 2])
    (mapped,) = classes.relabelled([found], {1: "person", 2: "unicorn", 3: "motorbike"}, classes.named("coco"))
    assert mapped.label.tolist()[:2] == [3, 0]
    assert mapped.label.tolist()[2] > 79  # still a detection, of no class that the other has
    same = classes.relabelled([found], {1: "a"}, {1: "a"})
    assert same[0] is found


def test_blurriness_rises_with_blur_and_is_the_share_of_steps_that_smoothing_leaves(traffic):
    measured = [blurriness(cv2.GaussianBlur(traffic[0], (0, 0), s)) for s in (0.1, 1, 2, 4)]
    assert measured == sorted(measured) and measured[0] < BLURRED < measured[2]
    checks = np.zeros((18, 18, 3), np.uint8)
    checks[::2, ::2] = checks[1::2, 1::2] = 255
    assert blurriness(checks) == pytest.approx(1 / 9, abs=0.01)  # of 9 pixels 4 or 5 are white: a step of 255 / 9
    ramp = np.repeat(np.arange(0, 240, 4, dtype=np.uint8)[None, :, None], 20, 0).repeat(3, 2)
    assert blurriness(ramp) > 0.9  # but at its ends
    assert blurriness(np.full((9, 9, 3), 7, np.uint8)) == 0


def test_a_faint_picture_is_no_blurred_one(traffic):
    """Of the same edges, with a hundredth of the Laplacian's variance."""
    assert blurriness(traffic[0] // 10 + 100) < BLURRED - 0.1


def test_blur_in_one_direction_is_seen(traffic):
    assert all(blurriness(cv2.blur(traffic[0], size)) > BLURRED for size in ((15, 1), (1, 15)))


class Sure(BrightBoxes):
    """An adapted detector: it also sees what is fainter."""

    def __call__(self, frames):
        return super().__call__([np.clip(frame * 1.3, 0, 255).astype(np.uint8) for frame in frames])


@pytest.fixture
def table(unsharp_data, home, monkeypatch, tmp_path):
    kinds = {"adapted": Sure, "large": BrightBoxes}
    monkeypatch.setattr(
        detectors,
        "resolve",
        lambda name, weights=None: stand_in(kinds.get(name, BrightBoxes), lambda name: name.ljust(64, "0"))(name),
    )
    base = RunSpec("identity", dataset=str(unsharp_data), detector="small", conf=0.7, imgsz=64, device="cpu")
    adapted = dataclasses.replace(base, detector="adapted")
    return alternatives.weigh(base, "unsharp", Results(tmp_path / "runs"), adapted, "large", [32])


def test_all_are_held_against_the_same_objects(table):
    assert [row.name for row in table.rows] == [
        "as it is",
        "deblurred: unsharp",
        "adapted detector",
        "adapted, deblurred: unsharp",
        "both views: unsharp",
        "selective: unsharp",
        "bigger: large",
        "smaller: 32 px",
    ]
    objects = {int(each.sum().objects) for row in table.rows for each in (row.blurred, row.sharp)}
    assert objects == {35}  # of 36 one is too faint in the sharp frames
    by_name = {row.name: row for row in table.rows}
    np.testing.assert_array_equal(by_name["bigger: large"].blurred.columns(), table.rows[0].blurred.columns())
    assert by_name["as it is"].sharp.sum().f1 == 1
    assert by_name["both views: unsharp"].blurred.sum().tp >= by_name["deblurred: unsharp"].blurred.sum().tp
    alone = by_name["deblurred: unsharp"].ms, by_name["as it is"].ms
    assert by_name["both views: unsharp"].ms == pytest.approx(sum(alone)) and min(alone) > 0
    assert table.gain(table.rows[0]).estimate == 0
    gain = table.gain(by_name["deblurred: unsharp"]).estimate
    assert gain == pytest.approx(by_name["deblurred: unsharp"].blurred.sum().f1 - table.rows[0].blurred.sum().f1)


def test_it_answers_in_words_and_in_a_table(table):
    (line,) = words.sentences(table)
    assert line.startswith("Over all frames, adapting the detector brings ")
    assert line.count("brings ") == 3 and line.endswith(" of F1.")
    gains = {row.name: table.gain(row).format("{:.3f}") for row in table.rows}
    assert (
        f"deblurring brings {gains['deblurred: unsharp']}, both brings {gains['adapted, deblurred: unsharp']}" in line
    )
    severe = dataclasses.replace(table, severity=("light", "strong") * 6)
    assert [each.split(",")[0] for each in words.sentences(severe)] == [
        "Over all frames",
        "Under light blur",
        "Under strong blur",
    ]
    made = words.table(severe)
    assert [column.heading for column in made.columns][3:5] == ["gained: light", "gained: strong"]
    for form in (formats.markdown, formats.latex, formats.csv, formats.html):
        assert "both views: unsharp" in form(made).replace("\\", "")
    headings, cells = formats.cells(words.table(table))
    assert len(cells) == 8 and {len(row) for row in cells} == {len(headings)}
    assert cells[0][2] == "-"
