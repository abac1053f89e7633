"""Several trainings in turn, within a budget of time."""

import dataclasses

import pytest
from training import RECIPE, rows_of, small_spec

from detbench import parse, registry
from detbench.gan import schedule
from detbench.gan.train import train
from detbench.types import DetbenchError


@pytest.mark.slow("two trainings")
def test_a_budget_is_shared_and_what_is_finished_is_skipped(folder, tmp_path, capsys):
    folders = {"data": [folder / "photos"], "validation": [folder / "photos"], "device": "cpu"}
    specs = {"one": small_spec(), "two": small_spec(), "identity": registry.get("identity")}
    assert schedule.train_all(specs, tmp_path, budget=0.0, **folders) == ["one", "two"]
    assert schedule.train_all(specs, tmp_path, budget=600.0, **folders) == []
    assert "training one (1 of 2), for 5 min at most" in capsys.readouterr().err
    assert schedule.train_all(specs, tmp_path, budget=600.0, **folders) == []
    assert not capsys.readouterr().err


@pytest.mark.slow("a training of 110 iterations")
def test_a_training_out_of_time_leaves_a_checkpoint(folder, tmp_path):
    recipe = dataclasses.replace(RECIPE, iterations=110)
    folders = {"data": [folder / "photos"], "validation": [folder / "photos"], "device": "cpu"}
    train("small", small_spec(recipe), tmp_path, budget=0.0, **folders)
    assert rows_of(tmp_path / "log.csv")[-1]["iteration"] == "100"
    train("small", small_spec(recipe), tmp_path, **folders)
    assert rows_of(tmp_path / "log.csv")[-1]["iteration"] == "110"


@pytest.mark.parametrize(("text", "wanted"), [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172_800)])
def test_times_are_read(text, wanted):
    assert parse.seconds(text) == wanted


def test_what_is_no_time_is_refused():
    with pytest.raises(DetbenchError, match="'soon' is no time"):
        parse.seconds("soon")


def test_two_numbers_are_read():
    assert parse.two("-1:20.5", "--extent -1:1") == (-1.0, 20.5)
    for text in ("4", "4-20", "4:20:30", "few:many"):
        with pytest.raises(DetbenchError, match="are no two numbers: write --extent 4:20"):
            parse.two(text, "--extent 4:20")
