"""The commands that judge runs: report, compare, check, publish."""

import json
from xml.etree import ElementTree

import pandas as pd
import pytest
from conftest import scene
from typer.testing import CliRunner

from detbench import check, cli, images, publish, quality, registry, runner
from detbench.types import DetbenchError, RunSpec


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def data(tmp_path, bright_boxes):
    """Twelve pairs, each a clip."""
    import cv2

    for i in range(12):
        images.write_image(tmp_path / "data" / "sharp" / f"frame{i:02}.png", scene(i))
        blurred = cv2.GaussianBlur(scene(i), (0, 0), 1.2 + i / 12)
        images.write_image(tmp_path / "data" / "blur" / f"frame{i:02}.png", blurred)
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


def test_one_run_command_takes_several_deblurrers_seeds_and_sharp_frames(data, monkeypatch):
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


def test_the_gate_has_three_answers(data, tmp_path, monkeypatch):
    spec = RunSpec("unsharp", dataset=str(data), conf=0.7, device="cpu")
    baseline = tmp_path / "baseline"
    check.update(baseline, runner.run(spec, tmp_path / "runs"))
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

    images.write_image(data / "blur" / "frame00.png", scene(0))
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


def test_what_is_stale_is_named(tmp_path, monkeypatch):
    text = (publish.REPORTS / "published.json").read_text()
    published = json.loads(text)
    name, digest = next(iter(published["deblurrers"].items()))
    (tmp_path / "published.json").write_text(text.replace(digest, "0" * 64))
    assert publish.stale(tmp_path) == [f"{name} has changed"]
    (tmp_path / "published.json").write_text(text.replace(published["dataset"]["hash"], "0" * 64))
    assert publish.stale(tmp_path) == ["the dataset street has changed"]
    less = {**published, "deblurrers": {key: of for key, of in published["deblurrers"].items() if key != name}}
    (tmp_path / "published.json").write_text(json.dumps(less))
    assert publish.stale(tmp_path) == [f"{name} is not published"]
    (tmp_path / "published.json").write_text(text)
    monkeypatch.setattr(registry, "runnable", lambda: [])
    assert f"{name} is published, and does not run any more" in publish.stale(tmp_path)


def test_the_readme_and_the_leaderboard_agree():
    root = publish.REPORTS.parent
    readme, board = ((root / name).read_text() for name in ("README.md", "reports/leaderboard.md"))
    part = readme.split(publish.START)[1].split(publish.END)[0].strip()
    assert part.startswith("**Leaderboard**")
    assert part in board


def test_a_readme_without_a_place_is_refused():
    with pytest.raises(DetbenchError, match="no place for the leaderboard"):
        publish._into("# Something else", "")
    made = publish._into(f"a\n{publish.START} old {publish.END}\nb", "new")
    assert made == f"a\n{publish.START}\n\nnew\n{publish.END}\nb"
    assert publish._into(made, "new") == made
