"""Which runs may be compared, and what is said of those that may not."""

import dataclasses
import shutil

import pytest

from detbench import benchmarks, runner
from detbench.lineup import role
from detbench.report.collect import collect
from detbench.types import DetbenchError, RunSpec


@pytest.fixture
def spec(pairs, bright_boxes):
    return RunSpec("unsharp", dataset=str(pairs), conf=0.55, device="cpu")


@pytest.fixture
def runs(spec, tmp_path):
    """Floor, unsharp and ceiling in one folder."""
    benchmarks.benchmark(spec, tmp_path / "runs")
    return tmp_path / "runs"


def test_floor_and_ceiling_are_found_beside_a_run(runs):
    (path,) = runs.glob("*-unsharp-*")
    (group,) = collect([path])
    assert role(group.floor.spec) == "floor"
    assert role(group.ceiling.spec) == "ceiling"
    assert [run.path for run in group.models] == [path]
    assert group.signature.dataset == "data"
    assert collect([runs]) == [group]
    assert collect([runs, path, runs]) == [group]


def test_runs_on_sharp_frames_and_before_other_eyes_have_their_places(spec, runs):
    harm = runner.run(dataclasses.replace(spec, input="sharp"), runs)
    closer = runner.run(dataclasses.replace(spec, deblurer="identity", imgsz=960), runs)
    (group,) = collect([runs])
    assert [run.path for run in group.harm] == [harm.path]
    assert [run.path for run in group.alternatives] == [closer.path]
    assert group.labels[closer.path] == "blurred (imgsz 960)"
    assert group.labels[harm.path] == "unsharp on sharp"
    assert len(set(group.labels.values())) == 5


def test_seeds_are_told_apart(spec, runs):
    runner.run(dataclasses.replace(spec, seed=7), runs)
    (group,) = collect([runs])
    assert sorted(group.labels[run.path] for run in group.models) == ["unsharp (seed 0)", "unsharp (seed 7)"]


def test_other_settings_are_refused_by_name_or_grouped(spec, runs):
    benchmarks.benchmark(dataclasses.replace(spec, conf=0.7, match_iou=0.6), runs)
    with pytest.raises(DetbenchError, match=r"differ in conf \((0.55 and 0.7|0.7 and 0.55)\), match_iou .*--group"):
        collect([runs])
    groups = collect([runs], split=True)
    assert sorted(group.floor.spec.conf for group in groups) == [0.55, 0.7]
    for group in groups:
        assert {run.spec.conf for run in (*group.models, group.ceiling)} == {group.floor.spec.conf}


def test_a_missing_floor_is_said_with_the_remedy(runs, tmp_path):
    (path,) = runs.glob("*-unsharp-*")
    shutil.copytree(path, tmp_path / "alone" / path.name)
    with pytest.raises(DetbenchError, match=r"The floor of .* is not beside it.*detbench run --deblurer unsharp"):
        collect([tmp_path / "alone"])


def test_an_unfinished_run_is_shown_as_such(runs):
    (runs / "data-half-00000000").mkdir()
    (runs / "data-half-00000000" / "journal.jsonl").write_text("")
    (runs / "data-killed-00000000").mkdir()
    (runs / "data-killed-00000000" / "frames.csv").write_text("")
    (group,) = collect([runs])
    assert [path.name for path in group.unfinished] == ["data-half-00000000", "data-killed-00000000"]
    with pytest.raises(DetbenchError, match=r"no finished run \(1 unfinished\)"):
        collect([runs / "data-half-00000000"])


def test_what_is_no_run_is_said_so(tmp_path):
    with pytest.raises(DetbenchError, match="no finished run"):
        collect([tmp_path])
    with pytest.raises(DetbenchError, match="is no directory"):
        collect([tmp_path / "nowhere"])
