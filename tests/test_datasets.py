"""Datasets: paired, aligned, the same on every machine, and never trained on."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from detbench import detectors
from detbench.data import alignment, build, cards, datasets, images
from detbench.types import DetbenchError

FIRST_EDITION = ((3.4580, 1.9044), (2.8411, 3.4583))


def taken(role):
    """Every (asset, frame) that cards of a role use."""
    of_role = [card for card in cards.cards().values() if card.role == role]
    assert of_role
    return {(p["asset"], frame) for card in of_role for p in [*card.photos, *card.videos] for frame in p["frames"]}


def test_nothing_is_both_trained_on_and_evaluated():
    training, evaluation = taken("training"), taken("evaluation")
    assert not training & evaluation
    photos = {frame for asset, frame in training | evaluation if asset == "zurich-photos"}
    assert photos == set(range(100))


def test_what_is_kept_for_evaluation_is_never_trained_on():
    assert not {asset for asset, _ in taken("training")} & {"motorway-video", "bdd-frames"}


def test_street_is_what_its_card_says(street):
    clips = [pair.clip for pair in street.pairs]
    assert len(clips) == 68
    assert clips.count("motorway") == 3
    assert len(set(clips)) == 66
    assert len({pair.id for pair in street.pairs}) == 68
    assert {pair.severity for pair in street.pairs} == {"light", "medium", "strong"}


@pytest.mark.slow("reads all 68 frames")
def test_blurred_frames_are_not_shifted(street):
    shifts = []
    for pair in street.pairs:
        sharp, blurred = images.read_image(pair.sharp), images.read_image(pair.blurred)
        assert sharp.shape == blurred.shape
        shifts.append(alignment.shift(blurred, sharp))
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.25


def test_a_shift_would_be_noticed(street):
    sharp = images.read_image(street.pairs[0].sharp)
    assert alignment.shift(np.roll(sharp, (2, 1), (0, 1)), sharp) == pytest.approx((1, 2), abs=0.1)


def test_a_frame_is_built_to_the_same_bytes_again(street):
    card = cards.cards()["street"]
    first = {**card.photos[0], "frames": card.photos[0]["frames"][:3]}
    small = dataclasses.replace(card, data={**card.data, "photos": [first], "video": []})
    for shot, sharp, blurred in build.shoot(small):
        pair = next(p for p in street.pairs if p.id == shot.id)
        assert (images.read_image(pair.sharp) == sharp).all()
        assert (images.read_image(pair.blurred) == blurred).all()


def test_the_first_edition_can_be_built_again():
    """Its blur is what it was: how much neighbouring pixels differ, down and across, in two photographs."""
    card = cards.cards()["street1"]
    assert card.identity.startswith("109fa769")
    few = {**card.photos[0], "frames": [0, 2]}
    small = dataclasses.replace(card, data={**card.data, "photos": [few], "video": []})
    grey = [blurred.mean(axis=2) for _, _, blurred in build.shoot(small)]
    steps = [[np.abs(np.diff(frame, axis=axis)).mean() for axis in (0, 1)] for frame in grey]
    assert steps == [pytest.approx(wanted, abs=0.002) for wanted in FIRST_EDITION]


def test_the_identity_depends_on_everything_that_was_asked_for(monkeypatch):
    card = cards.cards()["street"]
    assert dataclasses.replace(card, data={**card.data, "seed": 99}).identity != card.identity
    was = card.identity
    monkeypatch.setattr(cards, "BUILDER_VERSION", 99)
    assert card.identity != was


def tiny_build(folder):
    """Stands in for a build that takes a minute."""
    images.write_image(folder / "photos" / "a.png", np.zeros((16, 16, 3), np.uint8))
    return [{"id": "a", "clip": "a"}]


def test_a_damaged_cache_is_built_again(home):
    folder = build.ensure("tiny", "0" * 64, tiny_build)
    built = (folder / "photos" / "a.png").read_bytes()
    (folder / "photos" / "a.png").write_bytes(built[:-4])
    assert (build.ensure("tiny", "0" * 64, tiny_build) / "photos" / "a.png").read_bytes() == built


def test_a_killed_build_is_not_mistaken_for_a_whole_one(home):
    def killed(folder):
        tiny_build(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build.ensure("tiny", "0" * 64, killed)
    assert len(list((build.ensure("tiny", "0" * 64, tiny_build) / "photos").iterdir())) == 1


def test_a_folder_of_pairs_is_a_dataset(pairs):
    found = datasets.load(str(pairs))
    assert [pair.id for pair in found.pairs] == [f"frame{i}" for i in range(6)]
    assert found.name == "data"
    again = datasets.load(str(pairs)).identity
    assert again == found.identity
    images.write_image(pairs / "blur" / "frame0.png", np.zeros((48, 64, 3), np.uint8))
    assert datasets.load(str(pairs)).identity != again


def test_folders_below_are_clips(pairs):
    for side in ("sharp", "blur"):
        (pairs / side / "ride").mkdir()
        for i in (4, 5):
            (pairs / side / f"frame{i}.png").rename(pairs / side / "ride" / f"{i}.png")
    found = datasets.load(str(pairs))
    assert [pair.clip for pair in found.pairs if pair.id.startswith("ride")] == ["ride", "ride"]


def unpair(pairs):
    (pairs / "blur" / "frame3.png").unlink()


def resize(pairs):
    images.write_image(pairs / "blur" / "frame3.png", np.zeros((20, 64, 3), np.uint8))


def collide(pairs):
    images.write_image(pairs / "blur" / "frame3.jpg", np.zeros((48, 64, 3), np.uint8))


def empty(pairs):
    for path in (pairs / "sharp").iterdir():
        path.unlink()


def blend(pairs):
    for side in ("sharp", "blur"):
        for name in ("a/b-1", "a-b/1"):
            images.write_image(pairs / side / f"{name}.png", np.zeros((48, 64, 3), np.uint8))


def remove(pairs):
    (pairs / "blur").rename(pairs / "blurred")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (unpair, r"no partner of the same name in .*blur.*frame3\.png"),
        (resize, r"frame3\.png is 64x48 but .*frame3\.png is 64x20"),
        (collide, r"frame3\.(png|jpg) and .*frame3\.(png|jpg) have the same name"),
        (blend, r"get the same name, a-b-1"),
        (empty, r"sharp"),
        (remove, r"blur does not exist.*sharp/ and blur/"),
    ],
)
def test_a_folder_that_does_not_pair_up_is_refused_by_name(pairs, harm, message):
    harm(pairs)
    with pytest.raises(DetbenchError, match=message):
        datasets.load(str(pairs))


def test_an_unknown_dataset_gets_the_nearest_name():
    with pytest.raises(DetbenchError, match="nor a folder of that name. Did you mean street"):
        datasets.load("streets")
    with pytest.raises(DetbenchError, match="`detbench list datasets` names them"):
        datasets.load("holiday")
    for path in ("holiday.mp4", "my/holiday"):
        with pytest.raises(DetbenchError, match=f"There is no file or folder {path}"):
            datasets.load(path)


def test_training_material_is_not_for_evaluation():
    with pytest.raises(DetbenchError, match="training material"):
        datasets.load("street_train")


@pytest.mark.slow("detects in 68 frames")
def test_no_clip_decides_alone(street):
    """No clip holds more than 12 % of what is to be found; there are 60 clips and 400 objects."""
    detector = detectors.resolve("yolo26n").build(conf=0.25, nms_iou=0.7, imgsz=640, device="cpu")
    objects = Counter()
    for pair in street.pairs:
        objects[pair.clip] += len(detector([images.read_image(pair.sharp)])[0])
    assert len(objects) >= 60
    assert objects.total() >= 400
    assert max(objects.values()) <= 0.12 * objects.total()
