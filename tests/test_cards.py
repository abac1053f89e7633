"""Cards say what is wrong in which line; and what the published ones ask for holds."""

from collections import Counter

import pytest

from detbench.data import build, cards
from detbench.types import DetbenchError

TRAINING = """title = "a"
role = "training"
licence = "b"
seed = 0

[[photos]]
asset = "zurich-photos"
member = "{}.jpg"
clip = "c-{}"
frames = [1]
"""

EVALUATION = (
    TRAINING.replace("training", "evaluation")
    + """size = [64, 48]
shake_degrees = 0.4
sub_frames = 9
shake_px = [4, 6]
"""
)


def test_whole_cards_are_read():
    assert cards.parse("x", TRAINING).photos[0]["frames"] == [1]
    (shot,) = build.shots(cards.parse("x", EVALUATION))
    assert (shot.id, shot.clip, shot.extent_px, shot.severity) == ("c-1", "c-1", (4, 6), "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title =", r"datasets/x\.toml is not a dataset card: "),
        (
            TRAINING.replace("training", "pictures"),
            r"line 2: role is 'pictures'; give evaluation or tr",
        ),
        (TRAINING.replace('licence = "b"\n', ""), r"line 1: the card has no licence"),
        (TRAINING.replace("frames =", "frame ="), r"line 6: photos has no frames"),
        (TRAINING + "saise = 1\n", r"line 11: there is no key 'saise' in photos"),
        ("speed = 1\n" + TRAINING, r"line 1: there is no key 'speed' in a card for training"),
        (
            EVALUATION + "\n" + TRAINING[TRAINING.index("[[") :],
            r"line 16: photos has no shake_degrees, size, sub",
        ),
        (EVALUATION.replace("shake_px = [4, 6]\n", ""), r"line 6: photos has no shake_px, and the card no severity"),
        (EVALUATION.replace("seed = 0", "seed = 0\nnoise_share = 0.5"), r"noise_share without noise_variance"),
        (EVALUATION.replace("seed = 0", 'seed = 0\nphotographs_of = "y"'), r"line 5: there is no card 'y'"),
    ],
)
def test_a_wrong_card_names_key_and_line(text, message):
    with pytest.raises(DetbenchError, match=message):
        cards.parse("x", text)


def test_severities_take_turns_over_all_parts():
    card = cards.cards()["street"]
    shots = build.shots(card)
    assert len({shot.id for shot in shots}) == len(shots) == 68
    count = Counter(shot.severity for shot in shots)
    assert max(count.values()) - min(count.values()) <= 1
    for shot in shots:
        assert shot.extent_px == tuple(card.data["severity"][shot.severity])
    moving = [shot for shot in shots if str(shot.frame) in shot.part.get("moving", {})]
    assert len(moving) == 28
    assert set(Counter(shot.severity for shot in moving).values()) <= set(range(7, 12))


def test_each_photograph_is_made_at_each_severity_along_the_same_path():
    card = cards.cards()["street_severity"]
    shots = build.shots(card)
    assert len(shots) == 3 * 65
    assert set(Counter(shot.clip for shot in shots).values()) == {3}
    assert {shot.clip for shot in shots} == {shot.clip for shot in build.shots(cards.cards()["street"])} - {"motorway"}
    draws = [build._rng(card, shot).random() for shot in shots[:3]]
    assert draws[0] == draws[1] == draws[2]


def test_frames_that_tell_nothing_are_left_out():
    frames = [frame for part in cards.cards()["street"].photos for frame in part["frames"] if "-" in str(frame)]
    assert len(frames) == 20
    assert not {frame[:8] for frame in frames} & {"00d1bafa", "b1ceb32e", "b1d22449", "b1d7b3ac"}
