"""Which runs may stand beside each other, and as what."""

import dataclasses

import pytest

from detbench.lineup import Lineup, labels, lined_up, role, to_compare
from detbench.signature import Signature
from detbench.types import RunSpec


@pytest.fixture
def runs(run):
    """The floor, two models and the ceiling; the first model on sharp frames too."""
    return [run(), run("dc250", 0.6), run("dc0", 0.55), run("jpeg95", 0.95, input="sharp"), run("dc250", input="sharp")]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (RunSpec("identity"), "floor"),
        (RunSpec("jpeg95", input="sharp"), "ceiling"),
        (RunSpec("identity", input="sharp"), "model"),
        (RunSpec("jpeg95"), "model"),
        (RunSpec("dc250"), "model"),
    ],
)
def test_roles(spec, expected):
    assert role(spec) == expected


def test_a_lineup_has_each_model_once(runs):
    floor, first, second, ceiling, _ = runs
    lineup = lined_up([floor, first, second, first, floor, ceiling])
    assert lineup == Lineup(floor, (first, second), ceiling)
    assert list(lineup) == [floor, first, second, ceiling]
    assert lineup.given == floor
    assert lineup.signature == Signature.of(floor)


def test_what_was_sharp_is_compared_with_the_ceiling(runs):
    floor, *_, ceiling, harm = runs
    assert Lineup(floor, (harm,), ceiling).given == ceiling
    assert Lineup(floor, (), ceiling).given == floor


def test_of_a_folder_what_can_be_compared_the_floor_first(runs):
    floor, first, second, ceiling, harm = runs
    assert to_compare([ceiling, first, harm, second, floor]) == [floor, first, second]
    assert to_compare([floor, harm, ceiling]) == [ceiling, harm]
    other = dataclasses.replace(floor, spec=dataclasses.replace(floor.spec, imgsz=320))
    assert to_compare([first, floor, other]) == [floor, other, first]  # which compare then refuses, and says why


def test_two_weights_of_one_model_are_told_apart_by_their_training(run):
    def trained(images, hashed):
        result = run("dc250", 0.6)
        spec = dataclasses.replace(result.spec, deblurer_hash=hashed * 64)
        environment = {**result.environment, "training": {"images_seen": images, "seed": 0}}
        return dataclasses.replace(result, spec=spec, environment=environment, path=result.path / str(images) / hashed)

    assert list(labels([trained(2000, "a"), trained(16000, "b")]).values()) == [
        "dc250 (2,000 images, seed 0)",
        "dc250 (16,000 images, seed 0)",
    ]
    alike = labels([trained(2000, "a"), trained(2000, "b")])  # and where that is alike, by their hashes
    assert list(alike.values()) == ["dc250 (deblurer aaaaaaaa)", "dc250 (deblurer bbbbbbbb)"]
