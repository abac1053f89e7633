"""A disk that fails or is full, at any moment: one line, every file as it was or whole, and the same bytes later."""

import platform

import numpy as np
import pytest
import torch
import training
import videos
from conftest import scene
from faulty import CALLS, fail_and_repeat
from test_kills import bytes_of, weights

from detbench import baseline, benchmarks, export, figure, reference, runner
from detbench.data import images, make
from detbench.deblur import deblur
from detbench.kept import Frames
from detbench.report.collect import collect
from detbench.report.document import Report
from detbench.results import Results
from detbench.types import RunSpec

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.slow("processes of their own"),
    pytest.mark.skipif(platform.machine() not in CALLS or platform.system() != "Linux", reason="needs Linux's seccomp"),
]


@pytest.fixture
def spec(data, monkeypatch):
    """A run of moments that keeps no restored frames."""
    monkeypatch.setenv("DETBENCH_CACHE_GB", "0")
    torch.set_num_threads(1)  # threads do not live on in another process
    return RunSpec("unsharp", dataset=str(data), conf=0.6, device="cpu")


@pytest.fixture
def fails(tmp_path, tries, tally):
    """Let a work's writing fail, again and again."""

    def fail(what, work, made=bytes_of, meanwhile=None, least=3):
        count = tally(f"a disk that fails or is full: {what}")
        fail_and_repeat(work, made, tmp_path / "made", tries(50, least), count, meanwhile)

    return fail


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_pictures(fails, suffix):
    frame = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    fails(f"pictures ({suffix})", lambda out: images.write_image(out / f"a{suffix}", frame))


def test_videos(tmp_path, fails):
    source = videos.write(tmp_path / "in.mp4", videos.frames(60))
    fails("videos", lambda out: deblur(source, out / "out.mp4", lambda frames: frames, overwrite=True))


def test_runs(spec, fails):
    fails("runs", lambda out: runner.run(spec, out))


def test_data(tmp_path, fails):
    for i in range(6):
        images.write_image(tmp_path / "in" / f"{i}.png", scene(i, 96, 128))
    blur = make.parse("shake:medium")
    fails("`data make`", lambda out: make.make(tmp_path / "in", out, blur))


def test_trainings(folder, fails):
    """Weights and checkpoint are of an earlier iteration, if there are any; they can be read."""

    def readable(out):
        for path in out.glob("*.safetensors"):
            training.tensors(path)
        for path in out.glob("checkpoint.pt"):
            torch.load(path, weights_only=True)
        assert not list(out.rglob(".part-*"))
        return {}

    torch.set_num_threads(1)
    fails("trainings", lambda out: training.start(folder, out, every=2), weights, readable)


def test_results(spec, tmp_path, fails):
    results = Results(tmp_path / "runs")
    run = results.run(spec)
    fails("results", lambda out: results.save(out / "all.tar.xz", [run.path]))


def test_exports(monkeypatch, fails):
    monkeypatch.setattr(export, "TRIED", export.TRIED[:1])
    fails("exports", lambda out: export.export("fastsrn_task_small", out / "net.onnx"))


def test_reports(spec, tmp_path, fails):
    benchmarks.benchmark([spec], tmp_path / "runs")
    (group,) = collect([tmp_path / "runs"])
    fails("reports", lambda out: Report(group, out).write(), least=1)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.mp4"])
def test_figures(spec, tmp_path, fails, name):
    run = runner.run(spec, tmp_path / "runs")
    fails(f"figures ({name[1:]})", lambda out: figure.write(run, out / name))


def test_references(spec, tmp_path, fails):
    run = runner.run(spec, tmp_path / "runs")

    def work(out):
        if not (out / "annotations.json").exists():  # a whole one is not written over
            reference.export(run, out)

    fails("references", work)


def test_baselines(spec, tmp_path, fails):
    run = runner.run(spec, tmp_path / "runs")
    fails("baselines", lambda out: baseline.update(out, run))


def test_restored_frames(tmp_path, fails, monkeypatch):
    """What cannot be kept is not, which is said; and nothing but whole frames is found."""
    key, frame = "0" * 32, scene(1)

    def work(out):
        monkeypatch.setenv("DETBENCH_HOME", str(out))
        Frames(["of a test"], 1e9).add(key, frame, 3.0)

    def made(out):
        monkeypatch.setenv("DETBENCH_HOME", str(out))
        found = Frames(["of a test"], 1e9).find([key])
        return {key: found[0][0].tobytes()} if found else {}

    fails("restored frames", work, made)
