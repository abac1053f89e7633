"""Published benchmarks: cards that say what they hold, and frames as papers evaluate them."""

import dataclasses

import numpy as np
import pytest
import test_layouts as trees
from typer.testing import CliRunner

from detbench import cli, runner
from detbench.data import datasets, images, protocols
from detbench.data.cards import cards
from detbench.types import DetbenchError, RunSpec

BENCHMARKS = {name: card for name, card in cards().items() if card.role == "protocol"}


def small(name, **changes):
    """A benchmark's card, for a miniature of its data."""
    card = BENCHMARKS[name]
    return dataclasses.replace(card, data={**card.data, "size": [64, 48], **changes})


def test_every_benchmark_says_what_it_is_and_how_to_get_it():
    wanted = "gopro gopro_half gopro_noise gopro_256 kohler deblurgan_street reds realblur_j realblur_r hide coco_shake"
    assert sorted(wanted.split()) == sorted(BENCHMARKS)
    for card in BENCHMARKS.values():
        assert len(card.data["protocol"]) > 60, card.name
        assert len(card.data["obtain"]) > 40, card.name
        assert card.data["pairs"] > 0
    assert (BENCHMARKS["gopro"].data["pairs"], BENCHMARKS["gopro"].data["clips"]) == (1111, 11)


def test_whole_data_have_no_problems(tmp_path, home):
    trees.gopro(tmp_path)
    for path in (tmp_path / "test").rglob("blur/*.png"):
        sharp = images.read_image(path.parent.parent / "sharp" / path.name)
        images.write_image(path, trees.blur(sharp))
    assert protocols.problems(small("gopro", clips=2, pairs=6), tmp_path) == []


def test_what_is_missing_or_differs_is_said(tmp_path):
    trees.gopro(tmp_path)
    found = protocols.problems(BENCHMARKS["gopro"], tmp_path)
    assert found == [
        "there are 2 clips, where the card says 11",
        "there are 6 pairs, where the card says 1,111",
        "6 frames are 64x48, where the card says 1280x720: GOPR0384_11_00-000001, GOPR0384_11_00-000002,"
        " GOPR0384_11_00-000010, GOPR0410_11_00-000001, GOPR0410_11_00-000002 ...",
    ]
    (tmp_path / "test" / "GOPR0384_11_00" / "blur" / "000002.png").unlink()
    (problem,) = protocols.problems(BENCHMARKS["gopro"], tmp_path)
    assert "no partner of the same name" in problem
    (problem,) = protocols.problems(BENCHMARKS["reds"], tmp_path / "nothing")
    assert "does not exist; to get reds: val_blur.zip and val_sharp.zip of https://" in problem


def test_shifted_frames_are_a_problem(tmp_path):
    for i in range(4):
        sharp = np.kron(np.random.default_rng(i).integers(0, 256, (9, 12, 3)), np.ones((16, 16, 1))).astype(np.uint8)
        for side, frame in (("sharp", sharp), ("blur", np.roll(trees.blur(sharp), (2, 2), (0, 1)))):
            images.write_image(tmp_path / "test" / "clip" / side / f"{i}.png", frame)
    (problem,) = protocols.problems(small("gopro", clips=1, pairs=4, size=[192, 144]), tmp_path)
    assert problem.startswith("blurred and sharp frames lie 2.")


def test_the_command_fails_where_anything_is_missing(tmp_path):
    trees.hide(tmp_path)
    done = CliRunner().invoke(cli.app, ["data", "check", "hide", "--root", str(tmp_path)])
    assert done.exit_code == 1
    assert "there are 3 pairs, where the card says 2,025" in done.stderr


def test_a_benchmark_is_evaluated_as_its_papers_do(tmp_path, home, monkeypatch):
    trees.gopro(tmp_path / "data")
    monkeypatch.setattr(datasets, "cards", lambda: {"gopro_noise": small("gopro_noise", pairs=6)})
    found = datasets.load(f"gopro_noise:{tmp_path / 'data'}")
    assert (found.name, len(found.pairs), len({pair.clip for pair in found.pairs})) == ("gopro_noise", 6, 2)
    sharp, blurred = images.read_image(found.pairs[0].sharp), images.read_image(found.pairs[0].blurred)
    assert sharp.shape == blurred.shape == (24, 32, 3)
    whole = images.read_image(tmp_path / "data" / "test" / "GOPR0384_11_00" / "sharp" / "000001.png").astype(float)
    assert np.abs(whole.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3)) - sharp).max() <= 1
    monkeypatch.setattr(datasets, "cards", lambda: {"gopro_half": small("gopro_half", pairs=6)})
    clean = images.read_image(datasets.load(f"gopro_half:{tmp_path / 'data'}").pairs[0].blurred)
    noise = (blurred.astype(float) - clean) / 255
    assert noise.var() == pytest.approx(0.001, rel=0.2)
    with pytest.raises(DetbenchError, match="pairs of gopro, of 1,111: run `detbench data check gopro --root"):
        protocols.load(BENCHMARKS["gopro"], tmp_path / "data")


def test_squares_are_resized(tmp_path, home):
    trees.gopro(tmp_path)
    made = protocols.load(small("gopro_256", pairs=6), tmp_path)
    assert images.image_size(made.pairs[0].blurred) == (256, 256)


def test_what_is_to_be_got_first_says_where(tmp_path):
    with pytest.raises(DetbenchError, match=r"give as gopro:DIR\. GOPRO_Large\.zip from https://"):
        datasets.load("gopro")
    with pytest.raises(DetbenchError, match="cannot be had: the authors have not published these frames; street"):
        datasets.load(f"deblurgan_street:{tmp_path}")
    with pytest.raises(DetbenchError, match="holds none of it; to get hide"):
        datasets.load(f"hide:{tmp_path}")


def test_photographs_of_a_benchmark_are_shaken(tmp_path, home, monkeypatch):
    for i in range(3):
        images.write_image(tmp_path / "val2017" / f"{i:012d}.jpg", trees.picture(i))
    monkeypatch.setattr(datasets, "cards", lambda: {"coco_shake": small("coco_shake", pairs=3)})
    found = datasets.load(f"coco_shake:{tmp_path / 'val2017'}")
    assert [pair.severity for pair in found.pairs] == ["light", "medium", "strong"]
    assert found.name == "coco_shake"


def test_a_benchmark_is_run(tmp_path, bright_boxes, monkeypatch):
    trees.gopro(tmp_path / "data")
    monkeypatch.setattr(datasets, "cards", lambda: {"gopro_half": small("gopro_half", pairs=6)})
    monkeypatch.chdir(tmp_path)
    result = runner.run(RunSpec("identity", dataset="gopro_half:data", device="cpu"), tmp_path / "runs")
    assert (len(result.scores), result.path.name[:11]) == (6, "gopro_half-")
    monkeypatch.chdir("/")
    assert datasets.of(result.spec).identity == result.spec.dataset_hash  # found again from elsewhere
