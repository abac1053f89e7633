"""The picture of what the detector saw."""

import numpy as np
import pytest
from PIL import Image

from detbench import figure, restorers, runner, store
from detbench.data import images
from detbench.data.video import Reader
from detbench.report.style import CASING, OUTLINES
from detbench.types import DetbenchError, Detections, RunSpec


def cars(*left):
    box = np.array([[x, 0, x + 10, 10] for x in left], np.float32).reshape(-1, 4)
    return Detections(box, np.linspace(0.9, 0.5, len(box), dtype=np.float32), np.zeros(len(box), np.int64))


def test_every_box_has_its_outcome():
    got = figure.outcomes(cars(0, 20, 90), cars(0), cars(0, 20, 40), 0.5)
    assert [(box[0], outcome) for box, outcome in got] == [
        (40, "missed"),
        (0, "found"),
        (90, "hallucinated"),
        (20, "recovered"),
    ]
    lost = figure.outcomes(cars(90), cars(0, 90), cars(0), 0.5)
    assert [(box[0], outcome) for box, outcome in lost] == [(90, "false"), (0, "lost")]
    assert figure.outcomes(Detections.empty(), cars(0), Detections.empty(), 0.5) == []


@pytest.mark.parametrize("grey", [0, 255])
@pytest.mark.parametrize("outcome", OUTLINES)
def test_an_outline_is_seen_on_every_ground(outcome, grey):
    frame = np.full((40, 40, 3), grey, np.uint8)
    picture = figure._outlined(frame, [(np.array([10, 10, 30, 30], np.float32), outcome)], 40, "")
    drawn = {"#" + bytes(colour).hex() for _, colour in picture.getcolors()}
    assert drawn == {"#" + bytes([grey] * 3).hex(), OUTLINES[outcome].colour, CASING}


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_finished_run_can_be_drawn(pairs, bright_boxes, tmp_path, suffix):
    result = runner.run(RunSpec("unsharp", dataset=str(pairs), conf=0.55, device="cpu"), tmp_path / "runs")
    ids = figure.best_median_worst(result)
    gains = {score.id: score.recovered - score.lost for score in result.scores}
    assert gains[ids[0]] == max(gains.values())
    assert gains[ids[-1]] == min(gains.values())
    panels = dict(figure.panels(result, ids))
    assert list(panels) == ids
    for id, (blurred, restored, sharp) in panels.items():
        assert np.array_equal(sharp, images.read_image(pairs / "sharp" / f"{id}.png"))
        assert np.array_equal(blurred, images.read_image(pairs / "blur" / f"{id}.png"))
        anew = restorers.restorer(result.spec)([blurred])[0]
        assert np.abs(restored.astype(int) - anew).mean() < 3  # it was kept as WebP
    target = tmp_path / "pictures" / f"run{suffix}"
    figure.draw(result, store.read_detections(result.path), panels, target)
    assert target.stat().st_size > 5000
    if suffix == ".png":
        assert images.image_size(target)[1] == 1500


def test_a_wipe_uncovers_the_restored_frame_and_goes_back(pairs, bright_boxes, tmp_path):
    result = runner.run(RunSpec("unsharp", dataset=str(pairs), conf=0.55, device="cpu"), tmp_path / "runs")
    ids = figure.best(result)[:2]
    panels, seen = dict(figure.panels(result, ids)), store.read_detections(result.path)
    figure.wipe(result, seen, panels, tmp_path / "made" / "wipe.webp")
    with Image.open(tmp_path / "made" / "wipe.webp") as film:
        assert film.n_frames == 2 * 2 * figure.STEPS
        film.seek(figure.STEPS)
        uncovered = np.asarray(film.convert("RGB")).astype(int)
        film.seek(0)
        covered = np.asarray(film.convert("RGB")).astype(int)
    blurred, restored, _ = panels[ids[0]]
    for shown, is_, is_not in ((covered, blurred, restored), (uncovered, restored, blurred)):
        assert np.abs(shown - is_).mean() < np.abs(shown - is_not).mean()


def test_a_run_on_other_frames_cannot_be_drawn(pairs, bright_boxes, tmp_path):
    result = runner.run(RunSpec("unsharp", dataset=str(pairs), conf=0.55, device="cpu"), tmp_path / "runs")
    images.write_image(pairs / "sharp" / "frame0.png", np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(DetbenchError, match="has changed since"):
        dict(figure.panels(result, ["frame0"]))


def test_detections_are_read_as_they_were_found(pairs, bright_boxes, tmp_path):
    result = runner.run(RunSpec("unsharp", dataset=str(pairs), conf=0.55, device="cpu"), tmp_path / "runs")
    seen = store.read_detections(result.path)
    for i, score in enumerate(result.scores):
        assert len(seen["sharp"][i]) == score.tp + score.fn
        assert len(seen["restored"][i].above(0.55)) == score.tp + score.fp
        assert (seen["restored"][i].score > 0).all()
    faint = sum(len(frame) - len(frame.above(0.55)) for frame in seen["blurred"])
    assert faint > 0  # what did not reach the threshold is kept, too
    names, sizes = store.read_frames(result.path)
    assert names == {0: "box"}
    assert sizes == [(48, 64)] * 6


def test_a_film_shows_every_frame_three_times(pairs, tmp_path, bright_boxes):
    result = runner.run(RunSpec("unsharp", dataset=str(pairs), conf=0.55, device="cpu"), tmp_path / "runs")
    figure.write(result, tmp_path / "made" / "film.mp4")
    reader = Reader(tmp_path / "made" / "film.mp4")
    shown = list(reader)
    assert (len(shown), reader.rate) == (len(result.scores), figure.PICTURES_A_SECOND)
    panels = dict(figure.panels(result, [score.id for score in result.scores]))
    for frame, (blurred, _, sharp) in zip(shown, panels.values(), strict=True):
        assert frame.shape == (48, 3 * 64, 3)
        for number, panel in ((0, blurred), (2, sharp)):
            left = frame[24:, 64 * number : 64 * (number + 1)].astype(int)  # below the words; boxes are few pixels
            assert np.median(np.abs(left - panel[24:])) < 6
