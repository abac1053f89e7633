"""The commands that judge runs: report, compare, check, publish."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import BrightBoxes, scene, stand_in
from typer.testing import CliRunner

from detbench import baseline as gate
from detbench import cli, detectors, publish, quality, registry, runner
from detbench.baseline import update
from detbench.data import images
from detbench.data.cards import cards
from detbench.features import Distances
from detbench.types import DetbenchError, RunSpec


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


NAMES = "abcdefghijkl"


@pytest.fixture
def data(tmp_path, bright_boxes):
    """Twelve pairs, each a clip."""
    import cv2

    for i in range(12):
        images.write_image(tmp_path / "data" / "sharp" / f"scene-{NAMES[i]}.png", scene(i))
        blurred = cv2.GaussianBlur(scene(i), (0, 0), 1.2 + i / 12)
        images.write_image(tmp_path / "data" / "blur" / f"scene-{NAMES[i]}.png", blurred)
    return tmp_path / "data"


@pytest.fixture
def runs(data, tmp_path):
    runner.benchmark(RunSpec("unsharp", dataset=str(data), conf=0.7, device="cpu"), tmp_path / "runs")
    return {path.name.split("-")[1]: path for path in (tmp_path / "runs").iterdir()}


def test_compare_says_what_can_be_concluded(runs, data, tmp_path):
    done = invoke("compare", runs["identity"], runs["unsharp"])
    assert done.exit_code == 0, done.output
    assert "95 %" in done.stdout
    assert "unsharp" in done.stdout
    told = invoke("compare", runs["identity"], runs["unsharp"], "--json").stdout
    told = json.loads(told, parse_constant=pytest.fail)
    assert {row["metric"] for row in told["rows"]} == {"f1", "recall", "precision", "psnr_db", "ssim"}
    assert told["signature"].startswith("data:")
    loco = invoke("compare", runs["identity"], runs["unsharp"], "--threshold", "loco")
    assert "best for it on all other clips" in loco.stdout
    folder = invoke("compare", runs["identity"].parent, "--json")  # as `run` wrote it: its ceiling has no place here
    assert json.loads(folder.stdout) == told
    assert {row["model"]: row["role"] for row in told["rows"]} == {"blurred": "floor", "unsharp": "model"}
    clip = pd.read_csv(runs["identity"] / "frames.csv")["clip"][0]
    without = invoke("compare", runs["identity"], runs["unsharp"], "--without", clip)
    assert f" of {clip}." in without.stdout
    assert f"|without:{clip}\n" in without.stdout
    alone = invoke("compare", runs["identity"])
    assert alone.exit_code == 1
    assert "two finished runs" in alone.stderr
    other = runner.run(RunSpec("identity", dataset=str(data), conf=0.6, device="cpu"), tmp_path / "runs")
    done = invoke("compare", runs["identity"], other.path)
    assert done.exit_code == 1
    assert "conf (0.7 and 0.6)" in done.stderr


def test_one_run_command_takes_several_deblurers_seeds_and_sharp_frames(data, monkeypatch):
    monkeypatch.setattr(registry, "runnable", lambda: ["unsharp"])
    options = ["--dataset", data, "--conf", "0.7", "--device", "cpu", "--json"]
    done = invoke("run", "--deblurer", "all", "--seeds", "2", *options)
    assert done.exit_code == 0, done.output
    names = [row["name"] for row in json.loads(done.stdout)["rows"]]
    assert names == ["blurred", "unsharp (seed 0)", "unsharp (seed 1)", "sharp, JPEG 95"]
    told = json.loads(invoke("run", "--deblurer", "unsharp", "--input", "sharp", *options).stdout)
    assert [row["name"] for row in told["rows"]] == ["blurred", "unsharp on sharp", "sharp, JPEG 95"]
    assert {row["reference"] for row in told["differences"] if row["reference"]} == {"sharp, JPEG 95"}


def test_report_prints_the_page_it_made(runs, tmp_path):
    done = invoke("report", runs["unsharp"], "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "out" / "index.html")
    assert invoke("report", tmp_path).exit_code == 1


def test_a_gate_is_started_in_one_command(data, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = RunSpec("unsharp", dataset=str(data), conf=0.7, device="cpu")
    monkeypatch.setattr(gate, "FIRST", spec)
    done = invoke("check", "--baseline", "new")
    assert done.exit_code == 0, done.output
    assert "unsharp, 12 frames in 12 clips" in done.stdout
    workflow = yaml.safe_load("name:" + done.stdout.split("\nname:")[1].split("\n\n")[0])
    assert workflow["jobs"]["gate"]["steps"][1]["with"] == {"baseline": "reports/baseline"}
    assert invoke("check").exit_code == 0
    again = invoke("check", "--baseline", "new")
    assert again.exit_code == 1
    assert "holds a baseline already" in again.stderr
    shutil.rmtree("reports/baseline")
    assert invoke("check", "--baseline", "new", "--from", runs["unsharp"]).exit_code == 0
    assert [path.name for path in Path("reports/baseline").iterdir()] == [runs["unsharp"].name]
    assert "--baseline new" in invoke("check", "--from", runs["unsharp"]).stderr


def test_the_action_and_the_workflow_are_as_github_wants_them():
    root = publish.REPORTS.parent
    for schema, file in (("actions", root / "action.yml"), ("workflows", next((root / ".github").rglob("ci.yml")))):
        command = ["check_jsonschema", "--builtin-schema", f"vendor.github-{schema}", str(file)]
        done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_the_gate_has_three_answers(data, tmp_path, monkeypatch):
    spec = RunSpec("unsharp", dataset=str(data), conf=0.7, device="cpu")
    baseline = tmp_path / "baseline"
    update(baseline, runner.run(spec, tmp_path / "runs"))
    gate = ["check", "--baseline", baseline, "--junit", tmp_path / "junit.xml", "--summary", tmp_path / "summary.md"]
    done = invoke(*gate)
    assert done.exit_code == 0, done.output
    assert "passed" in done.stdout
    assert ElementTree.parse(tmp_path / "junit.xml").getroot().get("failures") == "0"

    honest = quality.psnr_db
    monkeypatch.setattr(quality, "psnr_db", lambda a, b: honest(a, b) - 1)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page.md"))
    done = invoke(*gate)
    assert done.exit_code == 1, done.output
    assert "::error title=detbench check" in done.stdout
    assert ElementTree.parse(tmp_path / "junit.xml").getroot().get("failures") == "1"
    assert (tmp_path / "summary.md").read_text().endswith((tmp_path / "page.md").read_text())
    assert invoke("check", "--baseline", baseline, "--update").exit_code == 0
    assert invoke(*gate).exit_code == 0

    images.write_image(data / "blur" / "scene-a.png", scene(0))
    done = invoke(*gate)
    assert done.exit_code == 2
    assert "dataset" in done.stderr
    assert "::error title=detbench check" in done.stdout
    assert ElementTree.parse(tmp_path / "junit.xml").getroot().get("errors") == "1"
    assert "cannot compare" in (tmp_path / "summary.md").read_text()
    assert invoke("check", "--baseline", tmp_path / "nowhere").exit_code == 2


def test_the_published_state_is_not_stale():
    """If this fails, `detbench publish` makes it right."""
    assert publish.stale(publish.REPORTS) == []


def test_rows_older_than_their_weights_are_marked():
    """If this fails, `detbench publish --mark` makes it right, at once."""
    names = publish.older(publish.REPORTS)
    for path in (publish.REPORTS / "leaderboard.md", publish.REPORTS.parent / "README.md"):
        text = path.read_text("utf-8")
        assert publish.marked(text, names) == text


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A checkout's published state as of what is here, to be spoilt: the state, and how to write it.

    Of three deblurers, since the hashes of all take seconds; the tests of the real state look at all.
    """
    monkeypatch.setattr(registry, "runnable", lambda: ["dc0", "dc250", "unsharp"])
    (tmp_path / "reports").mkdir()
    known = registry.entries()
    state = json.loads((publish.REPORTS / "published.json").read_text())
    state["deblurers"] = {name: registry.fingerprint(name) for name in publish.shipped()}
    state["sources"] = {name: known[name].source for name in publish.shipped()}
    state["dataset"] = {"name": publish.DATASET, "hash": cards()[publish.DATASET].identity}
    state["detectors"] = [{"name": name, "imgsz": imgsz, "hash": "0" * 64} for name, imgsz in publish.DETECTORS]

    def write():
        (tmp_path / "reports" / "published.json").write_text(json.dumps(state))
        return tmp_path / "reports"

    return state, write


def test_what_is_stale_is_named(published, monkeypatch):
    state, write = published
    name, source = next(iter(state["sources"].items()))
    assert publish.stale(write()) == []
    state["sources"][name] = "0" * 64
    state["deblurers"][name] = "1" * 64
    assert publish.stale(write()) == [f"{name} has changed"]
    assert publish.older(write()) == []  # it is not the weights, or not they alone
    state["sources"][name] = source
    assert publish.stale(write()) == []
    state["dataset"]["hash"] = "0" * 64
    assert publish.stale(write()) == ["the dataset street has changed"]
    monkeypatch.setattr(registry, "runnable", lambda: [])
    assert f"{name} is published, and does not run any more" in publish.stale(write())


def test_what_waits_to_be_published_is_named(published):
    state, write = published
    name, other, *_ = state["deblurers"]
    assert publish.waiting(write()) == []
    state["deblurers"][name] = "0" * 64
    del state["deblurers"][other], state["sources"][other], state["detectors"][-1]
    state["dataset"]["name"] = "street1"
    assert publish.waiting(write()) == [
        f"{name} has newer weights than its row",
        "the leaderboard is of street1, and not of street",
        f"{other} is not published",
        "the detector nanodet_m at 416 pixels is not published",
    ]
    assert publish.older(write()) == [name]


def test_new_weights_of_a_file_make_a_row_older(tmp_path, monkeypatch):
    """By the files themselves: other bytes in the weights, the same source."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "reports").mkdir()
    (tmp_path / "mine.py").write_text('"""mine: one."""\n')
    entry = registry.Entry("mine", "deblurers.mine", tmp_path / "mine.py")
    monkeypatch.setattr(registry.DEBLURERS, "entries", lambda: {"mine": entry})
    monkeypatch.setattr(registry, "runnable", lambda: ["mine"])
    entry.weights.write_bytes(b"first")
    state = {"deblurers": {"mine": entry.hash()}, "sources": {"mine": entry.source}, "detectors": []}
    state["dataset"] = json.loads((publish.REPORTS / "published.json").read_text())["dataset"]
    (tmp_path / "reports" / "published.json").write_text(json.dumps(state))
    assert publish.older(tmp_path / "reports") == []
    entry.weights.write_bytes(b"second")
    assert publish.older(tmp_path / "reports") == ["mine"]
    assert publish.stale(tmp_path / "reports") == []
    (tmp_path / "mine.py").write_text('"""mine: one."""\nWIDTH = 3\n')
    assert publish.older(tmp_path / "reports") == []
    assert publish.stale(tmp_path / "reports") == ["mine has changed"]


BOARD = """# Title
| method         |    F1 |
| -------------- | ----: |
| blurred        | 0.588 |
| dc0            | 0.603 |
| dc250          | 0.575 |
| sharp, JPEG 95 | 0.972 |
"""


def test_marks_are_put_and_taken_off_row_by_row():
    marked = publish.marked(BOARD, ["dc0", "srn"])
    assert "| dc0 (older weights) | 0.603 |\n| dc250          | 0.575 |" in marked
    assert publish.marked(marked, ["dc0"]) == marked
    assert publish.marked(BOARD, []) == BOARD
    other = publish.marked(marked, ["dc250"])
    assert other.count(publish.MARK) == 1
    assert "| dc250 (older weights) | 0.575 |" in other


def test_publish_marks_and_checks_without_running_anything(published, tmp_path, monkeypatch):
    state, write = published
    monkeypatch.setattr(runner, "run", pytest.fail)
    write()
    for path in (tmp_path / "README.md", tmp_path / "reports" / "leaderboard.md"):
        path.write_text(BOARD)
    assert invoke("publish", "--mark", "--check").exit_code == 0
    assert (tmp_path / "README.md").read_text() == BOARD
    state["deblurers"]["dc0"] = "0" * 64
    write()
    done = invoke("publish", "--check")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == ["dc0 has newer weights than its row"]
    assert (tmp_path / "README.md").read_text() == BOARD
    done = invoke("publish", "--mark")
    assert done.exit_code == 0
    assert done.stdout.split() == [str(tmp_path / "reports" / "leaderboard.md"), str(tmp_path / "README.md")]
    for path in (tmp_path / "README.md", tmp_path / "reports" / "leaderboard.md"):
        assert path.read_text() == publish.marked(BOARD, ["dc0"])
    assert invoke("publish", "--mark").stdout == ""


TABLES = ("detectors", "swap", "sizes", "fooling", "features", "alternatives")


@pytest.mark.slow("runs and tables of several detectors")
def test_publish_writes_a_page_of_every_detector(data, tmp_path, monkeypatch):
    """All of it, of one deblurer on twelve small frames, before several detectors that stand in for YOLO."""
    by_name = stand_in(BrightBoxes, lambda name: hashlib.sha256(name.encode()).hexdigest())
    monkeypatch.setattr(detectors, "resolve", by_name)
    monkeypatch.setattr(publish, "RunSpec", partial(RunSpec, dataset=str(data), conf=0.7))
    monkeypatch.setattr(publish, "shipped", lambda: ["unsharp"])
    monkeypatch.setattr(publish, "DRAWN", "unsharp")
    monkeypatch.setattr(publish.claims, "write", lambda *_: None)
    apart = Distances(np.ones(12), {"unsharp": np.full(12, 0.8)}, [str(i) for i in range(12)])
    monkeypatch.setattr(publish.features, "measure", lambda group: apart)
    (tmp_path / "README.md").write_text(f"{publish.START} {publish.END}\n")
    (tmp_path / "detbench").mkdir()
    publish.publish(tmp_path, tmp_path / "runs", "cpu")
    boards = json.loads((tmp_path / "detbench" / "results.json").read_text())
    assert [(board["detector"], board["imgsz"]) for board in boards] == list(publish.DETECTORS)
    assert re.search(r"^\| unsharp +\| +\w", (tmp_path / "README.md").read_text(), re.M)
    assert (tmp_path / "reports" / "figures" / "matrix.png").stat().st_size > 1000
    page = (tmp_path / "reports" / "leaderboard.md").read_text()
    for name, imgsz in publish.DETECTORS:
        assert f"| {name} {imgsz}: F1 |" in page
        assert f"\n- {name} {imgsz}: " in page
    assert page.index("## Before several") < page.index("**Is it there?**") < page.index("## Deblur, or adapt")
    assert page.index("| selective: unsharp") < page.index("## With noise")
    assert page.count("| unsharp less blurred |") == 1
    assert "| unsharp " in page.split("**Without a threshold**")[1]
    assert "yolo26n 640: seen by yolo11n 640" in page
    made = {path.name for path in (tmp_path / "reports" / "tables").iterdir()}
    assert {f"{key}.{suffix}" for key in TABLES for suffix in ("md", "tex", "csv")} <= made
    state = json.loads((tmp_path / "reports" / "published.json").read_text())
    assert [(eye["name"], eye["imgsz"]) for eye in state["detectors"]] == list(publish.DETECTORS)
    monkeypatch.setitem(state, "dataset", {"name": "street", "hash": cards()["street"].identity})
    (tmp_path / "reports" / "published.json").write_text(json.dumps(state))
    assert publish.stale(tmp_path / "reports") == publish.waiting(tmp_path / "reports") == []


def test_the_readme_and_the_leaderboard_agree():
    root = publish.REPORTS.parent
    readme, board = ((root / name).read_text() for name in ("README.md", "reports/leaderboard.md"))
    part = readme.split(publish.START)[1].split(publish.END)[0].strip()
    assert part.startswith("**Leaderboard**")
    rows = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("|")]
    heads, _, *rows = rows
    assert len(rows) >= 4
    for row in rows:
        (whole,) = re.findall(rf"^\| {re.escape(row[0])} +\|.*$", board.split("## Before several")[0], re.M)
        for heading in ("F1", "gap closed", "PSNR dB"):
            assert row[heads.index(heading)] in {cell.strip(" *") for cell in whole.split("|")}, (row, heading)


def test_a_readme_without_a_place_is_refused():
    with pytest.raises(DetbenchError, match="no place for the leaderboard"):
        publish._into("# Something else", "")
    made = publish._into(f"a\n{publish.START} old {publish.END}\nb", "new")
    assert made == f"a\n{publish.START}\n\nnew\n{publish.END}\nb"
    assert publish._into(made, "new") == made
