"""Reports of runs: whole, the same every time, and true to poor data."""

import dataclasses

import numpy as np
import pytest

from detbench import benchmarks, runner
from detbench.data import images
from detbench.report import groups
from detbench.report.collect import collect
from detbench.types import RunSpec


@pytest.fixture
def spec(pairs, bright_boxes):
    return RunSpec("unsharp", dataset=str(pairs), conf=0.55, device="cpu")


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow("draws all plots of a report twice")
def test_a_report_has_every_section_and_is_the_same_every_time(spec, tmp_path):
    runs = tmp_path / "runs"
    benchmarks.benchmark([spec, dataclasses.replace(spec, seed=1)], runs)
    runner.run(dataclasses.replace(spec, input="sharp"), runs)
    runner.run(dataclasses.replace(spec, deblurer="identity", imgsz=960), runs)
    (runs / "data-half-00000000").mkdir()
    (runs / "data-half-00000000" / "journal.jsonl").touch()
    page = groups.write(collect([runs]), tmp_path / "first")
    text = page.read_text()
    for heading in ("Verdict", "Leaderboard", "Trade-offs", "Thresholds", "Where it helps", "Kinds of errors"):
        assert f"{heading}</h2>" in text
    for heading in ("Do no harm", "How it was measured", "Frames"):
        assert f"{heading}</h2>" in text
    assert "Beside the publications" not in text  # for this deblurer is in none of their tables
    for said in ("Caution: ", "Not enough data: "):
        assert text.count(said) <= 1
    assert "Unfinished, and left out" in text
    assert "has the best F1 at every confidence from 0.1 to 0.6." in text  # of two that are alike, the first
    assert '<details class="signature"><summary>data|' in text
    assert "unsharp (seed 1)" in text
    assert "Does PSNR rank deblurers as F1 does?" in text
    assert "unsharp on sharp" in text
    made = files(tmp_path / "first")
    for key in ("differences", "leaderboard", "thresholds", "by-class", "by-size", "by-severity", "errors", "harm"):
        assert {f"tables/{key}.{suffix}" for suffix in ("md", "tex", "csv")} <= made.keys()
    for name in ("scores", "f1-time", "f1-psnr", "confidence", "iou", "by-class", "errors"):
        assert {f"figures/{name}.{suffix}" for suffix in ("png", "pdf", "svg")} <= made.keys()
    groups.write(collect([runs]), tmp_path / "again")
    assert files(tmp_path / "again") == made


@pytest.mark.slow("draws all plots of a report")
@pytest.mark.parametrize("poor", ["no detections", "one frame", "nothing to find", "no model"])
def test_poor_data_is_shown_for_what_it_is(spec, pairs, tmp_path, poor):
    if poor == "no detections":
        spec = dataclasses.replace(spec, conf=1.0)
    elif poor == "one frame":
        spec = dataclasses.replace(spec, limit=1)
    elif poor == "nothing to find":
        for path in pairs.glob("*/*.png"):
            images.write_image(path, np.full((48, 64, 3), 60, np.uint8))
    else:
        spec = dataclasses.replace(spec, deblurer="identity")
    for name, given in (
        ("identity", "blurred"),
        (spec.deblurer, "blurred"),
        ("jpeg95", "sharp"),
    ):
        runner.run(dataclasses.replace(spec, deblurer=name, input=given), tmp_path / "runs")
    text = groups.write(collect([tmp_path / "runs"]), tmp_path / "out").read_text()
    assert ("nothing to compare" if poor == "no model" else "ot enough data") in text
    assert ">nan<" not in text
    assert "A point among others" not in text
    assert "Does PSNR rank" not in text  # of one deblurer at most


@pytest.mark.slow("draws all plots of two reports")
def test_several_groups_get_a_page_each_and_one_that_compares(spec, tmp_path):
    other = dataclasses.replace(spec, imgsz=960)
    for each in (spec, other):
        benchmarks.benchmark([dataclasses.replace(each, seed=seed) for seed in range(3)], tmp_path / "runs")
    text = groups.write(collect([tmp_path / "runs"], split=True), tmp_path / "out").read_text()
    assert len(list((tmp_path / "out").glob("*/index.html"))) == 2
    assert "Does it hold with another detector?" in text
    assert text.count('/tables/leaderboard.csv"') == 2  # both leaderboards are there without a click
    assert "not enough data" in text  # six frames of one clip


@pytest.mark.slow("draws all plots of a report")
def test_frames_that_changed_since_are_not_shown(spec, pairs, tmp_path):
    benchmarks.benchmark(spec, tmp_path / "runs")
    images.write_image(pairs / "blur" / "frame0.png", np.full((48, 64, 3), 60, np.uint8))
    text = groups.write(collect([tmp_path / "runs"]), tmp_path / "out").read_text()
    assert "Leaderboard</h2>" in text
    assert "Frames</h2>" not in text
