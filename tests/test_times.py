"""Times that are taken in turn, and put into runs that are there."""

from dataclasses import replace

import numpy as np
import pytest

from detbench import runner, times
from detbench.environment import machine
from detbench.types import DetbenchError, RunSpec

FRAMES = [(id, np.zeros((height, 4, 3), np.uint8)) for id, height in (("a", 2), ("b", 2), ("c", 6))]


def test_all_get_one_frame_and_then_the_next_after_one_more_of_a_new_size(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(times.time, "perf_counter", lambda: now[0])

    def call(name, seconds):
        def timed(frame):
            order.append(f"{name}{len(frame)}")
            now[0] += seconds * len(frame)

        return timed

    taken = times.in_turn({"slow": call("s", 0.5), "fast": call("f", 0.25)}, FRAMES)
    assert taken == {"slow": {"a": 1000, "b": 1000, "c": 3000}, "fast": {"a": 500, "b": 500, "c": 1500}}
    assert "".join(order) == "s2s2f2f2" + "s2f2" + "s6s6f6f6"


@pytest.fixture
def run(pairs, bright_boxes, tmp_path):
    return runner.run(RunSpec("unsharp", dataset=str(pairs), conf=0.55, device="cpu"), tmp_path / "runs")


def test_a_run_gets_the_times_of_its_deblurer_and_its_detector(run):
    found = times.measure([run], "cpu")
    assert {*found.restore} == {"unsharp"}
    assert {*found.detect} == {(run.spec.detector, run.spec.imgsz)}
    timed = times.Times(
        {"unsharp": {score.id: float(i) for i, score in enumerate(run.scores)}, "dc0": {}},
        {(run.spec.detector, run.spec.imgsz): dict.fromkeys((score.id for score in run.scores), 7.0)},
        {"cpu": "Z80", "threads": 1, "gpu": None, "commit": "abc"},
    ).put_into(run)
    assert [score.restore_ms for score in timed.scores] == list(range(len(run.scores)))
    assert {score.detect_ms for score in timed.scores} == {7.0}
    assert [replace(score, restore_ms=0, detect_ms=0) for score in timed.scores] == [
        replace(score, restore_ms=0, detect_ms=0) for score in run.scores
    ]
    assert machine(timed.environment) == "Z80, 1 thread, no GPU" != machine(run.environment)
    assert all(value > 0 for of in (*found.restore.values(), *found.detect.values()) for value in of.values())


@pytest.mark.parametrize("what", ["deblurer", "detector", "dataset"])
def test_what_has_changed_since_is_not_timed(run, what):
    other = replace(run, spec=replace(run.spec, **{f"{what}_hash": "f" * 64}))
    with pytest.raises(DetbenchError, match="is not what it was"):
        times.measure([other], "cpu")
