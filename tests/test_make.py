"""Sharp pictures and videos become pairs: the same ones in any number of processes, after any kill."""

import json

import numpy as np
import pytest

from detbench import cli, runner
from detbench.data import blur, datasets, images, make
from detbench.data.images import read_image
from detbench.types import DetbenchError, RunSpec


def scene(shift=0, seed=0, height=64, width=96):
    rng = np.random.default_rng(seed)
    wide = np.kron(rng.integers(40, 220, (height // 8, width // 4, 3)), np.ones((8, 8, 1)))
    return np.ascontiguousarray(wide[:, shift : shift + width].astype(np.uint8))


def film(path, frames, speed=30):
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), speed, (width, height))
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()
    return path


@pytest.fixture
def photos(tmp_path):
    for clip, name in (("", "b"), ("", "a"), ("ride", "2"), ("ride", "10")):
        images.write_image(tmp_path / "photos" / clip / f"{name}.png", scene(seed=len(name)))
    return tmp_path / "photos"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}


def test_pictures_are_clips_and_so_are_folders(photos, tmp_path):
    rows = make.make(photos, tmp_path / "out", make.parse("shake"))
    assert [(row["id"], row["clip"], row["severity"]) for row in rows] == [
        ("a", "a", "light"),
        ("b", "b", "medium"),
        ("ride-2", "ride", "strong"),
        ("ride-10", "ride", "light"),
    ]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["frames"] == rows
    assert manifest["blur"]["seed"] == 0
    for row in rows:
        least, most = make.SEVERITIES["shake"][row["severity"]]
        assert least <= row["extent_px"] * 640 / 96 <= most
        sharp = read_image(tmp_path / "out" / "sharp" / f"{row['id']}.png")
        assert not np.array_equal(sharp, read_image(tmp_path / "out" / "blur" / f"{row['id']}.png"))


@pytest.mark.parametrize("kind", ["shake", "psf", "defocus"])
def test_more_severe_is_more_blurred(kind, tmp_path):
    detail, photos = [], tmp_path / "photos"
    images.write_image(photos / "a.png", np.tile(scene(), (2, 4, 1)))
    for severity in ("light", "medium", "strong"):
        make.make(photos, tmp_path / severity, make.parse(f"{kind}:{severity}"))
        frame = read_image(tmp_path / severity / "blur" / "a.png").astype(float)
        detail.append(np.abs(np.diff(frame, axis=1)).mean())
    assert detail[0] > detail[1] > detail[2]


@pytest.mark.slow("starts processes")
def test_processes_and_kills_change_nothing(photos, tmp_path, monkeypatch):
    how = make.Blur("shake", "strong", noise_variance=0.001, jpeg_quality=80, seed=3)
    make.make(photos, tmp_path / "one", how)
    make.make(photos, tmp_path / "three", how, workers=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")
    assert len(contents(tmp_path / "one")) == 8

    write, written = images.write_image, []

    def killed(path, frame):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        write(path, frame)

    monkeypatch.setattr(make, "write_image", killed)
    with pytest.raises(KeyboardInterrupt):
        make.make(photos, tmp_path / "killed", how)
    monkeypatch.setattr(make, "write_image", write)
    rows = make.make(photos, tmp_path / "killed", how)
    assert contents(tmp_path / "killed") == contents(tmp_path / "one")
    assert rows == json.loads((tmp_path / "one" / "manifest.json").read_text())["frames"]
    other = make.make(photos, tmp_path / "other", make.Blur("shake", "strong", seed=4))
    assert [row["id"] for row in other] == [row["id"] for row in rows]
    assert contents(tmp_path / "other") != contents(tmp_path / "one")
    with pytest.raises(DetbenchError, match="holds frames that were made of others or otherwise"):
        make.make(photos, tmp_path / "one", make.Blur("shake", "strong", seed=4))


def test_frames_of_a_fast_video_are_averaged_as_they_are(tmp_path):
    frames = [scene(shift) for shift in range(48)]
    path = film(tmp_path / "fast.avi", frames, 240)
    rows = make.make(path, tmp_path / "out", make.parse("average:7-7"))
    assert [(row["frame"], row["frames"], row["interpolated"]) for row in rows] == [(3 + 7 * i, 7, 1) for i in range(6)]
    decoded = list(make.Reader(path))
    wanted = blur.average_frames(decoded[7:14])
    assert np.array_equal(read_image(tmp_path / "out" / "blur" / "fast-000010.png"), wanted)
    assert np.array_equal(read_image(tmp_path / "out" / "sharp" / "fast-000010.png"), decoded[10])


def test_frames_of_a_slow_video_are_interpolated_and_it_says_so(tmp_path):
    path = film(tmp_path / "slow.avi", [scene(2 * i) for i in range(20)], 30)
    rows = make.make(path, tmp_path / "out", make.parse("average:strong"), limit=2)
    assert {row["interpolated"] for row in rows} == {8}
    assert all(row["frames"] % 2 and 17 <= row["frames"] <= 23 for row in rows)
    assert len(rows) == 2


def test_equal_frames_average_to_themselves(tmp_path):
    path = film(tmp_path / "still.avi", [scene()] * 9, 240)
    make.make(path, tmp_path / "out", make.parse("average:9-9"))
    sharp, blurred = (read_image(tmp_path / "out" / side / "still-000004.png") for side in ("sharp", "blur"))
    assert np.array_equal(sharp, blurred)


def test_cuts_and_leaps_are_left_out(tmp_path, capsys):
    calm = [scene(i) for i in range(12)]
    path = film(tmp_path / "cut.avi", [*calm[:6], *(255 - frame for frame in calm[6:])], 240)
    rows = make.make(path, tmp_path / "cut", make.parse("average:5-5"))
    assert [row.get("left_out") for row in rows] == [None, "a cut"]
    assert len(list((tmp_path / "cut" / "blur").iterdir())) == 1
    leaping = film(tmp_path / "leap.avi", [scene(12 * i) for i in range(8)], 30)
    cli.app(
        ["data", "make", str(tmp_path / "leap"), "--from", str(leaping), "--blur", "average"], standalone_mode=False
    )
    assert "left out: 1 for too large a step between their frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fog", "no blur 'fog': there are shake, average, psf, defocus"),
        ("shake:heavy", "no severity 'heavy' of shake: give light, medium, strong, mixed or LEAST-MOST"),
        ("shake:9-4", "cannot be made"),
        ("shake:0-4", "cannot be made"),
        ("average:light", "holds no video: single pictures cannot be averaged"),
    ],
)
def test_blur_that_cannot_be_made_is_refused(text, message, photos, tmp_path):
    with pytest.raises(DetbenchError, match=message):
        make.make(photos, tmp_path / "out", make.parse(text))


def test_other_settings_that_mean_nothing_are_refused(photos):
    with pytest.raises(DetbenchError, match="shake has no faithful setting"):
        make.Blur("shake", faithful=True)
    with pytest.raises(DetbenchError, match="noise variance"):
        make.Blur(noise_variance=2)
    with pytest.raises(DetbenchError, match="does not exist"):
        make.plan(photos / "nothing", make.Blur())


def test_sharp_pictures_are_a_dataset_with_blur(photos, home, bright_boxes, tmp_path, capsys):
    found = datasets.load(str(photos), blur="shake:strong")
    assert capsys.readouterr().err.splitlines()[-1] == "blurred by shake: 3 clips, 4 pairs"
    assert {(pair.clip, pair.severity) for pair in found.pairs} == {
        ("a", "strong"),
        ("b", "strong"),
        ("ride", "strong"),
    }
    datasets.load(str(photos / "a.png"), blur="shake:strong")
    assert capsys.readouterr().err.splitlines()[-1] == "blurred by shake: 1 clip, 1 pair"
    assert found.identity == datasets.load(str(photos), blur="shake:strong").identity
    assert found.identity != datasets.load(str(photos), blur="shake:light").identity
    spec = RunSpec("identity", dataset=str(photos), blur="shake:strong", device="cpu")
    assert {score.severity for score in runner.run(spec, tmp_path / "runs").scores} == {"strong"}
    with pytest.raises(DetbenchError, match="or give sharp ones alone, with --blur shake"):
        datasets.load(str(photos))


def test_pairs_keep_their_own_blur(pairs):
    with pytest.raises(DetbenchError, match="has blurred frames of its own"):
        datasets.load(str(pairs), blur="shake")
    with pytest.raises(DetbenchError, match="leave out --blur"):
        datasets.load("street", blur="shake")


def test_files_of_one_name_count_each(tmp_path):
    for clip in ("a", "b"):
        images.write_image(tmp_path / "photos" / clip / "1.png", scene(seed=ord(clip)))
    shots = make.plan(tmp_path / "photos", make.Blur())
    before = make.asked(shots, make.Blur())
    images.write_image(tmp_path / "photos" / "a" / "1.png", scene(seed=9))
    assert make.asked(shots, make.Blur()) != before


def test_a_video_of_one_frame_has_nothing_to_average(tmp_path):
    path = film(tmp_path / "one.avi", [scene()], 240)
    with pytest.raises(DetbenchError, match="has too few frames: nothing can be made of it"):
        make.plan(path, make.parse("average"))
    assert [shot.id for shot in make.plan(path, make.parse("shake"))] == ["one-000000"]
