"""A run in shares is the same as a run, and what is missing is named."""

import dataclasses

import pandas as pd
import pytest
from typer.testing import CliRunner

from detbench import cli, runner, store
from detbench.journal import Journal
from detbench.shards import Shard, gather
from detbench.types import DetbenchError, RunSpec


@pytest.fixture
def spec(data):
    return RunSpec("unsharp", dataset=str(data), conf=0.6, device="cpu")


def contents(path):
    """What a run's files say, times aside."""
    scores = pd.read_csv(path / "frames.csv").drop(columns=["restore_ms", "detect_ms"])
    return (
        scores.to_csv(),
        store.read_detections(path)["restored"][0].xyxy.tolist(),
        sorted(p.name for p in path.iterdir()),
    )


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_shards_make_the_same_run(spec, tmp_path, count):
    whole = runner.run(spec, tmp_path / "whole").path
    for number in range(1, count + 1):
        runner.run_shard(spec, Shard(number, count), tmp_path / f"machine{number}")
    machines = [tmp_path / f"machine{number}" for number in range(1, count + 1)]
    (found,) = gather(machines, tmp_path / "joined")
    joined = runner.run(found, tmp_path / "joined").path
    assert joined.name == whole.name
    assert contents(joined) == contents(whole)
    assert {path.name for path in (joined / "frames").iterdir()} == {path.name for path in (whole / "frames").iterdir()}


def test_a_shard_goes_on_where_it_was_and_scores_nothing_twice(spec, tmp_path, monkeypatch):
    path = runner.run_shard(spec, Shard(1, 3), tmp_path)
    journal = (path / "journal-1-of-3.jsonl").read_bytes()
    (path / "journal-1-of-3.jsonl").write_bytes(journal.splitlines(keepends=True)[0])
    runner.run_shard(spec, Shard(1, 3), tmp_path)
    with Journal(path / "journal-1-of-3.jsonl") as whole:
        assert len(whole) == 4
    assert not store.is_complete(path)


@pytest.mark.parametrize("batch", [1, 4])
def test_batches_stay_whole(batch):
    pairs = list(range(10))
    parts = [Shard(number, 3).of(pairs, batch) for number in (1, 2, 3)]
    assert sorted(pair for part in parts for pair in part) == pairs
    for part in parts:
        assert all({i // batch * batch + k for k in range(batch)} & set(pairs) <= set(part) for i in part)


def test_what_is_missing_or_does_not_belong_is_named(spec, tmp_path):
    with pytest.raises(DetbenchError, match="holds no shards"):
        gather([tmp_path], tmp_path)
    runner.run_shard(spec, Shard(2, 4), tmp_path)
    with pytest.raises(DetbenchError, match=r"lacks 1/4, 3/4, 4/4"):
        gather([tmp_path], tmp_path)
    runner.run_shard(spec, Shard(1, 2), tmp_path)
    with pytest.raises(DetbenchError, match="shards of 2 and of 4"):
        gather([tmp_path], tmp_path)
    other = dataclasses.replace(spec, conf=0.7)
    runner.run_shard(other, Shard(1, 2), tmp_path / "other")
    with pytest.raises(DetbenchError, match="lacks 2/2"):
        gather([tmp_path / "other"], tmp_path)


def test_the_commands(data, tmp_path, bright_boxes):
    def invoke(*words):
        return CliRunner().invoke(cli.app, [str(word) for word in words])

    common = ["run", "--deblurer", "unsharp", "--dataset", data, "--conf", "0.6", "--device", "cpu"]
    for number in (1, 2):
        done = invoke(*common, "--shard", f"{number}/2", "--out", tmp_path / "runs")
        assert done.exit_code == 0, done.output
        assert len(done.stdout.split()) == 3  # floor, deblurer, ceiling
    done = invoke("merge", tmp_path / "runs")
    assert done.exit_code == 0, done.output
    assert all(store.is_complete(path) for path in (tmp_path / "runs").iterdir())
    assert "finished before" in invoke(*common, "--out", tmp_path / "runs").stderr
    for wrong in ("0/2", "3/2", "half"):
        assert "such as 3/8" in invoke(*common, "--shard", wrong).stderr
