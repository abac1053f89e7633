"""CONTRIBUTING's examples, taken from its text: each is one file, and passes what is asked of every file."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import detbench
from detbench import detectors, registry, runner
from detbench.cli import app
from detbench.data import images
from detbench.detectors import KINDS
from detbench.signature import Signature
from detbench.testing import check_deblurer, check_detector
from detbench.types import RunSpec

ROOT = Path(detbench.__file__).parent.parent


def example(heading):
    """The Python file below a heading."""
    section = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, re.S)
    return block


DEBLURER, DETECTOR = example("Add a deblurer in one file"), example("Add a detector in one file")


def invoke(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.slow("a pytest in a process of its own")
def test_the_example_deblurer_passes_the_tests_of_every_file(tmp_path):
    """In a copy of ``deblurers/`` that holds it beside all others."""
    ignored = shutil.ignore_patterns("weights", "__pycache__")
    shutil.copytree(ROOT / "deblurers", tmp_path / "deblurers", ignore=ignored)
    (tmp_path / "deblurers" / "weights").symlink_to(ROOT / "deblurers" / "weights")
    (tmp_path / "deblurers" / "gentle.py").write_text(DEBLURER, "utf-8")
    over_all = [path for path in (ROOT / "tests").glob("test_*.py") if "registry.entries()" in path.read_text("utf-8")]
    options = ["-p", "no:cacheprovider", "-q", "-c", ROOT / "pyproject.toml", "-k", "gentle", *sorted(over_all)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-m", "pytest", *map(str, options)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 5


@pytest.mark.slow("a training")
def test_the_example_deblurer_is_listed_checked_trained_and_used_as_the_text_says(install, tmp_path):
    install("detbench.deblurers", "mine", DEBLURER.replace("gentle:", "mine:"))
    assert re.search(r"mine .*a 3x3 convolution", invoke("list", "deblurers"))
    check_deblurer(registry.get("mine"))
    random = np.random.default_rng(0)
    for i in range(2):
        picture = np.kron(random.integers(0, 256, (24, 24, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        images.write_image(tmp_path / "photos" / f"{i}.png", picture)
    invoke("train", "mine", "--steps", 3, "--data", "photos", "--validation", "photos", "--device", "cpu")
    weights = "reports/training/mine/best.safetensors"
    invoke("deblur", "photos/0.png", "out.png", "--deblurer", "mine", "--weights", weights)
    assert images.read_image(tmp_path / "out.png").shape == (192, 192, 3)


def test_the_example_detector_is_listed_checked_and_scored(install, pairs, home, tmp_path):
    install("detbench.detectors", "mine", DETECTOR.replace("bright:", "mine:"))
    assert detectors.named()["mine"].title.startswith("connected regions")
    check_detector(KINDS.get("mine"))
    result = runner.run(RunSpec("unsharp", dataset=str(pairs), detector="mine", device="cpu"), tmp_path / "runs")
    assert result.spec.detector_hash == detectors.resolve("mine").sha256
    assert result.total("tp") > 0
    assert "|mine:" in str(Signature.of(result))


def test_the_example_detector_agrees_with_opencv():
    module = {"__name__": "bright"}
    exec(DETECTOR, module)
    frame = np.zeros((40, 60, 3), np.uint8)
    cv2.rectangle(frame, (5, 6), (14, 25), (200, 200, 200), -1)
    (found,) = module["Bright"](None, conf=0.25, nms_iou=0.7, imgsz=64, device="cpu")([frame])
    np.testing.assert_array_equal(found.xyxy, [[5, 6, 15, 26]])
    np.testing.assert_allclose(found.score, [200 / 255])
