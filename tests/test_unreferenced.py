"""Blurred frames alone: what is said, what is not, and that it has the sign of what cannot be known."""

import json
import math

import numpy as np
import pytest
from conftest import boxes, scene
from test_make import film
from typer.testing import CliRunner

from detbench import benchmarks, cli, restorers, unreferenced
from detbench.data import images
from detbench.data.images import read_image
from detbench.report import unreferenced as words
from detbench.types import DetbenchError, RunSpec
from detbench.unreferenced import Seen


def seen(name, *frames, clips=None, videos=()):
    clips = clips or [str(i) for i in range(len(frames))]
    return Seen(name, tuple(clips), frozenset(videos), tuple(frames), math.nan)


def test_what_is_kept_and_what_is_new():
    before = seen("identity", boxes((0, 0, 10, 10), (20, 0, 30, 10)), boxes((0, 0, 10, 10)))
    after = seen("a", boxes((0, 0, 10, 11), (40, 0, 50, 10)), boxes((0, 0, 10, 10), (60, 0, 70, 10)))
    assert unreferenced.kept(before, after, 0.5) == (2 / 3, 1.0)
    assert after.sure_of.tolist() == pytest.approx([1.2, 1.2])
    assert unreferenced.gain(before, after).estimate == pytest.approx(0.15)


def moving(*gaps):
    """A box that moves to the right, in eight frames, and is not seen in some."""
    return [boxes() if i in gaps else boxes((10 * i, 20, 40 + 10 * i, 60)) for i in range(8)]


def test_tracks_live_and_break():
    clip = ["drive"] * 8
    whole = unreferenced.tracks(seen("a", *moving(), clips=clip, videos=["drive"]))
    assert (whole.count, whole.frames, whole.breaks) == (1, 8, 0)
    broken = unreferenced.tracks(seen("a", *moving(3, 5), clips=clip, videos=["drive"]))
    assert (broken.count, broken.frames, broken.breaks) == (1, 6, 2)
    assert unreferenced.tracks(seen("a", *moving(), clips=clip)) is None
    nothing = unreferenced.tracks(seen("a", *moving(*range(8)), clips=clip, videos=["drive"]))
    assert nothing.count == 0 and math.isnan(nothing.frames)


def test_frames_alone_are_told_from_pairs(pairs, tmp_path):
    assert unreferenced.is_alone(str(pairs / "blur"), "")
    assert unreferenced.is_alone(str(pairs / "blur" / "frame0.png"), "")
    assert not unreferenced.is_alone(str(pairs / "blur"), "shake")
    assert not unreferenced.is_alone(str(pairs), "")
    assert not unreferenced.is_alone("street", "")
    assert not unreferenced.is_alone(str(tmp_path / "nowhere"), "")


def test_the_command_says_what_it_does_not_know(pairs, bright_boxes):
    arguments = ["run", "--dataset", str(pairs / "blur"), "--deblurer", "unsharp", "--device", "cpu"]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "yolo26n, imgsz 640, on 6 frames of 1 clip"
    assert [line.split()[0] for line in lines[3:5]] == ["blurred", "unsharp"]
    assert "Whether by chance cannot be said: 1 clip, and an interval wants 10, such as a folder" in lines[5]
    assert lines[-1] == words.UNKNOWN
    assert not any(word in done.stdout.replace(words.UNKNOWN, "") for word in ("recall", "F1", "PSNR"))
    report = json.loads(CliRunner().invoke(cli.app, [*arguments, "--json"]).stdout, parse_constant=pytest.fail)
    assert [row["name"] for row in report["rows"]] == ["blurred", "unsharp"]
    assert report["rows"][0]["kept"] is None
    refused = CliRunner().invoke(cli.app, [*arguments, "--noise", "0.001"])
    assert refused.exit_code == 1
    assert "has no sharp frames: leave out" in refused.stderr


def test_a_video_is_followed(tmp_path, bright_boxes):
    film(tmp_path / "drive.avi", [scene(0)] * 5)
    found = unreferenced.look(RunSpec("", dataset=str(tmp_path / "drive.avi"), limit=4, device="cpu"), ["unsharp"])
    assert [len(each.clips) for each in found] == [4, 4]
    row = words.rows(found, 0.5)[1]
    assert (row["tracks"], row["frames"], row["breaks"], row["kept"]) == (3, 4, 0, 1)
    assert words.cells(row)[0] == "unsharp"


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DetbenchError, match="holds no images"):
        unreferenced.look(RunSpec("", dataset=str(tmp_path / "nothing"), device="cpu"), [])


@pytest.mark.slow("detects in 80 frames, twice")
def test_the_verdict_has_the_sign_of_the_gain_that_is_hidden(street, tmp_path, monkeypatch):
    """Frames whose sharp partners it does not see: made sharper for sure, and more blurred for sure."""
    import cv2

    some = [pair for pair in street.pairs if pair.clip != "motorway"][:20]
    ways = {
        "sharper": lambda pair: cv2.addWeighted(read_image(pair.sharp), 0.7, read_image(pair.blurred), 0.3, 0),
        "worse": lambda pair: cv2.GaussianBlur(read_image(pair.blurred), (0, 0), 3),
    }
    for pair in some:
        for side, frame in (("sharp", read_image(pair.sharp)), ("blur", read_image(pair.blurred))):
            images.write_image(tmp_path / "pairs" / side / f"{pair.id}-scene.png", frame)
        for name, way in ways.items():
            images.write_image(tmp_path / name / f"{pair.id}-scene.png", way(pair))
    base = RunSpec("", dataset=str(tmp_path / "pairs"), device="cpu")
    gains = {}
    for name in ways:
        lineup = benchmarks.benchmark(
            RunSpec(**vars(base) | {"deblurer": f"frames:{tmp_path / name}"}), tmp_path / "runs"
        )
        gains[name] = lineup.models[0].f1 - lineup.floor.f1
    assert gains["sharper"] > 0.1 and gains["worse"] < -0.05

    made = {name: iter([read_image(path) for path in images.list_images(tmp_path / name)]) for name in ways}
    monkeypatch.setattr(restorers, "restorer", lambda spec: lambda frames: [next(made[spec.deblurer])])
    alone = RunSpec("", dataset=str(tmp_path / "pairs" / "blur"), device="cpu")
    before, *after = unreferenced.look(alone, list(ways))
    for each in after:
        interval = unreferenced.gain(before, each)
        assert np.sign(interval.low) == np.sign(interval.high) == np.sign(gains[each.deblurer])
    said = words.sentences([before, *after])
    assert said[0].startswith("With sharper, the detector is surer")
    assert said[1].startswith("With worse, the detector is less sure")
