"""What is said of deblurers that have seen frames of the benchmark."""

import pytest
from conftest import FRAMES

from detbench.report import tables
from detbench.report.collect import Group


def test_those_that_saw_frames_of_the_leaderboard_are_marked(run):
    clips = [f"bdd-{i}" if i % 2 else f"zurich-{i}" for i in range(FRAMES)]
    runs = [run(name, found=0.9, clips=clips) for name in ("old", "new")]
    runs[0].environment["training"] = {"data": [{"folder": "bdd"}], "recipe": {}}
    floor, ceiling = run(clips=clips), run("jpeg95", input="sharp", clips=clips)
    board = tables.leaderboard(Group(floor, tuple(runs), ceiling))
    assert [column.heading for column in board.columns][1:4] == ["verdict", "F1", "F1 without BDD100K"]
    names = [row[0] for part in board.parts for row in part.rows]
    assert sorted(names) == sorted(["blurred", "old †", "new", "sharp, JPEG 95"])
    of_new = next(row for part in board.parts for row in part.rows if row[0] == "new")
    others = [score for score in runs[1].scores if score.clip.startswith("zurich")]
    tp, fp, fn = (sum(getattr(score, key) for score in others) for key in ("tp", "fp", "fn"))
    assert of_new[3] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert any(
        "†: Trained on frames of BDD100K too" in note and note.endswith("leaves these frames out.")
        for note in board.notes
    )
    nobody = tables.leaderboard(Group(floor, (runs[1],), ceiling))
    assert "F1 without BDD100K" not in [column.heading for column in nobody.columns]
