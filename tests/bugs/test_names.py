"""Names that are no UTF-8, or hold what LaTeX, Markdown, matplotlib or CSV give a meaning, ended runs and reports."""

import os
import unicodedata

import cv2
import pytest
from conftest import scene
from typer.testing import CliRunner

from detbench import benchmarks, cli, figure, store
from detbench.data import datasets, images
from detbench.report import groups
from detbench.report.collect import collect
from detbench.types import RunSpec

HOSTILE = (b"caf\xe9", b"$x_1$ \\frac{a}{", "中文 100%".encode(), "emoji😀".encode(), b"new\nline", b"<b>&amp;|`")


@pytest.fixture
def hostile(tmp_path):
    """A pair for each name, as Linux allows them."""
    try:
        for i, name in enumerate(HOSTILE):
            for side, frame in (("sharp", scene(i)), ("blur", cv2.GaussianBlur(scene(i), (0, 0), 1.5))):
                images.write_image(tmp_path / "data" / side / f"{os.fsdecode(name)}.png", frame)
    except OSError:
        pytest.skip("this file system has no such names")
    return tmp_path / "data"


@pytest.mark.slow("draws all plots of a report")
def test_they_survive_run_report_and_figures(hostile, tmp_path, bright_boxes):
    spec = RunSpec("unsharp", dataset=str(hostile), conf=0.55, device="cpu")
    lineup = benchmarks.benchmark(spec, tmp_path / "runs")
    wanted = {os.fsdecode(name) for name in HOSTILE}
    assert {score.id for score in store.read(lineup.models[0].path).scores} == wanted
    page = groups.write(collect([tmp_path / "runs"]), tmp_path / "page").read_text("utf-8")
    assert "Frames</h2>" in page
    assert "<b>&amp;" not in page.split("<script>")[0].split("<main")[1]
    for suffix in (".png", ".svg", ".webp", ".mp4"):
        figure.write(lineup.models[0], tmp_path / f"made{suffix}")
        assert (tmp_path / f"made{suffix}").stat().st_size > 1000
    done = CliRunner().invoke(cli.app, ["compare", str(lineup.floor.path), str(lineup.models[0].path)])
    assert done.exit_code == 0, done.output


def test_composed_and_decomposed_letters_are_one(tmp_path):
    name = "caf\u00e9"
    for side, form in (("sharp", "NFC"), ("blur", "NFD")):
        images.write_image(tmp_path / side / f"{unicodedata.normalize(form, name)}.png", scene(1))
    assert len(datasets.from_folder(tmp_path).pairs) == 1
