"""What takes room is listed, and goes only if nobody used it for long, and after a question."""

import json
import os

import pytest
from typer.testing import CliRunner

from detbench import assets, cache, cli
from detbench.data.cards import cards

NOW = 1_700_000_000
DAY = 86_400


@pytest.fixture
def full(home, tmp_path):
    """A cache and runs, of which each is a day older than the one before."""
    weights = next(iter(assets.catalogue().values()))
    names = [
        f"home/assets/{weights.filename}",
        f"home/datasets/street-{cards()['street'].identity[:8]}/built.json",
        "home/datasets/street-00000000/built.json",
        "home/detections/aa.jsonl",
        "home/restored/bb-0",
        "runs/street-dc250-12345678/manifest.json",
        "runs/street-dc0-12345678/journal.jsonl",
        "runs/notes/of mine.txt",
    ]
    for days, name in enumerate(names):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
        for each in (path, path.parent):
            os.utime(each, (NOW - days * DAY,) * 2)
    (tmp_path / "home" / "assets" / f"{weights.filename}.lock").touch()
    return tmp_path


def test_it_says_what_each_is_for(full):
    found = {kept.name: kept for kept in cache.contents(runs=full / "runs")}
    assert [kept.kind for kept in found.values()] == [
        "asset",
        "dataset",
        "dataset",
        "detections",
        "restored",
        "run",
        "run",
    ]
    assert {kept.size for kept in found.values()} == {1000}
    assert found["street-00000000"].what == "nothing here any more"
    assert "the frames of street" in {kept.what for kept in found.values()}
    assert "unfinished" in found["street-dc0-12345678"].what
    assert "notes" not in found


def test_what_was_not_used_goes_and_the_rest_stays(full):
    kept = cache.contents(runs=full / "runs")
    old = cache.chosen(kept, NOW, 1.5 * DAY, ["detections", "street-dc250"])
    assert [each.kind for each in old] == ["dataset", "restored", "run"]
    assert cache.remove(old) == 3000
    left = {each.name for each in cache.contents(runs=full / "runs")}
    assert left == {each.name for each in kept} - {each.name for each in old}
    assert (full / "runs" / "notes" / "of mine.txt").exists()


def test_the_command_lists_asks_and_removes(full):
    def invoke(*words, answer=None):
        return CliRunner().invoke(cli.app, ["cache", *words], input=answer)

    listed = invoke("--runs", str(full / "runs"))
    assert listed.exit_code == 0, listed.output
    assert "street-dc250-12345678" in listed.stdout
    rows = json.loads(invoke("--runs", str(full / "runs"), "--json").stdout)
    assert len(rows) == 7
    words = ["clean", "--older", "0", "--keep", "asset", "--runs", str(full / "runs")]
    refused = invoke(*words, answer="n\n")
    assert refused.exit_code == 1
    assert len(cache.contents(runs=full / "runs")) == 7
    assert invoke(*words, "--yes").exit_code == 0
    assert [kept.kind for kept in cache.contents(runs=full / "runs")] == ["asset"]
    assert "Nothing" in invoke(*words, "--yes").stdout
    assert "no time" in invoke("clean", "--older", "soon").output
