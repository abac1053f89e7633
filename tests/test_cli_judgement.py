"""The commands that judge runs: report, compare, check, publish."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
import yaml
from conftest import scene
from typer.testing import CliRunner

from detbench import baseline as gate
from detbench import benchmarks, cli, published, quality, registry, runner
from detbench.baseline import update
from detbench.data import images
from detbench.types import RunSpec


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def runs(data, tmp_path):
    benchmarks.benchmark(RunSpec("unsharp", dataset=str(data), conf=0.7, device="cpu"), tmp_path / "runs")
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
    assert f"|without:{clip}|#" in without.stdout
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
    root = published.REPORTS.parent
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
    assert done.stdout.startswith("detbench check: passed\n")
    assert "the code and the packages are the baseline's." in done.stdout
    assert ElementTree.parse(tmp_path / "junit.xml").getroot().get("failures") == "0"

    honest = quality.psnr_db
    monkeypatch.setattr(quality, "psnr_db", lambda a, b: honest(a, b) - 1)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page.md"))
    done = invoke(*gate)
    assert done.exit_code == 1, done.output
    words, github, _ = done.stdout.partition("::error title=detbench check")
    assert github
    assert words.startswith("detbench check: failed\nPSNR dB ")
    assert "\nFrames that fell most:\n" in words
    assert not re.search(r"<details|---:|\*\*", words)  # for people: Markdown is the summary's
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
