"""Frames that somebody restored elsewhere, scored as a deblurer's are."""

import math

import numpy as np
import pytest

from detbench import benchmarks, cli, runner
from detbench.data import datasets, images
from detbench.data.images import read_image
from detbench.types import DetbenchError, RunSpec


@pytest.fixture
def hers(pairs):
    """Her network's frames of the dataset ``pairs``: the sharp ones, a level darker."""
    for path in images.list_images(pairs / "sharp"):
        images.write_image(pairs.parent / "hers" / path.name, np.clip(read_image(path), 1, 255) - 1)
    return pairs.parent / "hers"


def spec(pairs, place):
    return RunSpec(f"frames:{place}", dataset=str(pairs), device="cpu")


def test_frames_are_matched_by_name(pairs, hers, bright_boxes, tmp_path):
    result = runner.run(spec(pairs, hers), tmp_path / "runs")
    assert [round(score.psnr_db, 2) for score in result.scores] == [48.13] * 6
    assert result.counts.fn == 0
    assert all(math.isnan(score.restore_ms) for score in result.scores)  # nobody knows
    was = result.path
    images.write_image(hers / "frame3.png", read_image(pairs / "blur" / "frame3.png"))
    again = runner.run(spec(pairs, hers), tmp_path / "runs")
    assert again.path != was
    assert again.scores[3].psnr_db < 40


def test_the_command_takes_them(pairs, hers, bright_boxes, tmp_path, capsys):
    arguments = ["run", "--deblurer", f"frames:{hers}", "--dataset", str(pairs), "--device", "cpu"]
    cli.app([*arguments, "--out", str(tmp_path / "runs")], standalone_mode=False)
    (row,) = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("frames:")]
    assert (row[0], row[3], row[-1]) == (f"frames:{hers}", "1.000", "-")


def test_folders_of_clips_and_of_sides_are_understood(tmp_path, bright_boxes):
    for clip in ("a", "b"):
        for side in ("sharp", "blur"):
            images.write_image(tmp_path / "gopro" / "test" / clip / side / "1.png", np.full((32, 32, 3), 90, np.uint8))
        images.write_image(tmp_path / "hers" / clip / "restored" / "1.jpg", np.full((32, 32, 3), 90, np.uint8))
    result = runner.run(spec(tmp_path / "gopro", tmp_path / "hers"), tmp_path / "runs")
    assert [score.psnr_db for score in result.scores] == [math.inf] * 2


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda place: (place / "frame3.png").unlink(), r"lacks 1 of 6 frames: frame3\.$"),
        (
            lambda place: (place / "frame3.png").rename(place / "fram3.png"),
            r"lacks 1 of 6 frames: frame3\. Files that are named as no frame: .*fram3\.png",
        ),
        (
            lambda place: images.write_image(place / "frame3.png", np.zeros((24, 32, 3), np.uint8)),
            r"frame3 is 32x24, and the blurred frame 64x48",
        ),
        (lambda place: place.rename(place.parent / "elsewhere"), r"is neither a folder of images nor a video"),
    ],
)
def test_missing_and_misnamed_frames_are_listed(harm, message, pairs, hers, bright_boxes, tmp_path):
    harm(hers)
    with pytest.raises(DetbenchError, match=message):
        benchmarks.benchmark(spec(pairs, hers), tmp_path / "runs")


def test_what_lacks_frames_is_refused_before_anything_runs(pairs, hers, bright_boxes, tmp_path):
    (hers / "frame3.png").unlink()
    with pytest.raises(DetbenchError, match="lacks 1 of 6"):
        benchmarks.benchmark(spec(pairs, hers), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def film(path, frames):
    import cv2

    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()


def test_a_video_holds_a_clips_frames_in_order(pairs, hers, bright_boxes, tmp_path):
    frames = [read_image(path) for path in images.list_images(hers)]
    film(tmp_path / "hers.avi", frames)
    result = runner.run(spec(pairs, tmp_path / "hers.avi"), tmp_path / "runs")
    assert min(score.psnr_db for score in result.scores) > 28  # MJPEG, and the right frame
    (tmp_path / "clips").mkdir()
    film(tmp_path / "clips" / "frame.avi", frames)
    by_clip = runner.run(spec(pairs, tmp_path / "clips"), tmp_path / "runs")
    assert [score.psnr_db for score in by_clip.scores] == [score.psnr_db for score in result.scores]
    film(tmp_path / "short.avi", frames[:4])
    with pytest.raises(DetbenchError, match="has 4 frames, and 6 are wanted: frame0 to frame5"):
        runner.run(spec(pairs, tmp_path / "short.avi"), tmp_path / "runs")


def test_a_limit_wants_no_more_frames(pairs, hers, bright_boxes, tmp_path):
    (hers / "frame5.png").unlink()
    limited = RunSpec(**vars(spec(pairs, hers)) | {"limit": 5})
    assert len(runner.run(limited, tmp_path / "runs").scores) == 5
    assert len(datasets.load(str(pairs)).pairs) == 6
