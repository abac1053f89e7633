"""Which runs may stand beside each other, and as what."""

import dataclasses

import pytest

from detbench.lineup import Lineup, lined_up, role, to_compare
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
