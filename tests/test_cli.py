"""The commands a person types, end to end, on real frames with the shipped weights."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import detbench
from detbench import assets, benchmarks, cli, runner, store
from detbench.data import images

SMALL = ["--limit", "2", "--device", "cpu"]


def command(*arguments, **options):
    """Run detbench in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "detbench", *arguments], capture_output=True, text=True, timeout=300, **options
    )


@pytest.fixture(scope="session")
def warm(street):
    """Everything a run of the default dataset fetches."""
    return assets.fetch("yolo26n")


@pytest.mark.slow("a run in a process of its own")
def test_a_run_prints_a_table_its_signature_and_its_path(warm, tmp_path):
    done = command("run", "--deblurer", "dc250", *SMALL)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["verdict", "F1", "F1", "gained", "[95", "%]", "gap", "closed", "PSNR", "dB", "ms/frame"]
    assert [line.split("  ")[0] for line in lines[2:5]] == ["blurred", "dc250", "sharp, JPEG 95"]
    assert lines[5].startswith("Not enough data: 2 clips")
    assert lines[-3].startswith("signature: street|")
    assert lines[-1].startswith("Look at all runs there: detbench report ")
    path = tmp_path / lines[-2].removeprefix("run: ")
    assert store.read(path).spec.deblurer == "dc250"
    assert "frames/s" in done.stderr or "2/2" in done.stderr
    assert "%" not in done.stderr.replace(" %", "")


@pytest.mark.slow("a run in a process of its own")
def test_json_is_the_table_and_nothing_else_goes_to_stdout(warm):
    done = command("run", "--deblurer", "identity", "--json", *SMALL)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [row["name"] for row in report["rows"]] == ["blurred", "sharp, JPEG 95"]
    assert report["rows"][0]["f1"] <= report["rows"][-1]["f1"]
    assert set(report) == {"rows", "differences", "objects", "frames", "clips", "signature", "runs"}


CUT_OFF = """
import socket
def refuse(*arguments, **options):
    raise AssertionError(f"the network was used: {arguments}")
for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = socket.create_connection = refuse
import subprocess
start = subprocess.Popen.__init__
def watch(self, command, *arguments, **options):
    assert "pip" not in str(command), f"pip was called: {command}"
    start(self, command, *arguments, **options)
subprocess.Popen.__init__ = watch
from detbench.cli import app
app(["run", "--deblurer", "dc250", "--limit", "1", "--device", "cpu"])
"""


@pytest.mark.slow("a run in a process of its own")
def test_with_a_warm_cache_the_network_is_not_touched(warm, tmp_path):
    empty = tmp_path / "home of nobody"
    empty.mkdir()
    environment = {**os.environ, "HOME": str(empty), "DETBENCH_HOME": str(assets.home())}
    done = subprocess.run(
        [sys.executable, "-c", CUT_OFF], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "dc250" in done.stdout
    assert not list(empty.iterdir())
    assert {p.name for p in tmp_path.iterdir()} == {"home of nobody", "reports"}


@pytest.mark.slow("three runs in processes of their own")
def test_a_killed_run_goes_on_to_the_same_numbers(warm, tmp_path, monkeypatch):
    monkeypatch.setenv("DETBENCH_CACHE_GB", "0")  # or the second run has nothing to do
    arguments = ["run", "--deblurer", "dc250", "--limit", "6", "--device", "cpu", "--json"]
    whole = command(*arguments, "--out", "whole")
    assert whole.returncode == 0, whole.stderr

    running = subprocess.Popen(
        [sys.executable, "-m", "detbench", *arguments, "--out", "cut"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and running.poll() is None:
        journal = next((tmp_path / "cut").glob("street-dc250-*/journal.jsonl"), None)
        if journal and b"\n" in journal.read_bytes():  # a whole row: the kill may cut one short
            break
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not list((tmp_path / "cut").glob("street-dc250-*/manifest.json"))

    resumed = command(*arguments, "--out", "cut")
    assert resumed.returncode == 0, resumed.stderr

    def numbers(done):
        return [{k: v for k, v in row.items() if k != "restore_ms"} for row in json.loads(done.stdout)["rows"]]

    assert numbers(resumed) == numbers(whole)
    (path,) = (tmp_path / "cut").glob("street-dc250-*")
    assert store.read(path).environment["resumed_after"] > 0


@pytest.fixture
def photo(tmp_path):
    frame = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    images.write_image(tmp_path / "in" / "a.png", frame)
    images.write_image(tmp_path / "in" / "deeper" / "b.jpg", frame)
    return frame


def invoke(*arguments):
    return CliRunner().invoke(cli.app, list(arguments))


def test_deblur_an_image(photo, tmp_path):
    done = invoke("deblur", "in/a.png", "out.png", "--deblurer", "identity")
    assert done.exit_code == 0, done.output
    assert (images.read_image(tmp_path / "out.png") == photo).all()


def test_deblur_a_folder(photo, tmp_path):
    done = invoke("deblur", "in", "out", "--deblurer", "identity")
    assert done.exit_code == 0, done.output
    assert (images.read_image(tmp_path / "out" / "a.png") == photo).all()
    assert (tmp_path / "out" / "deeper" / "b.jpg").exists()


def test_one_unreadable_image_does_not_stop_the_others(photo, tmp_path):
    (tmp_path / "in" / "0.png").write_bytes(b"")
    done = invoke("deblur", "in", "out", "--deblurer", "identity")
    assert done.exit_code == 1
    assert "1 of 3 images" in done.stderr
    assert "0.png" in done.stderr
    assert (images.read_image(tmp_path / "out" / "a.png") == photo).all()


def test_deblur_a_video(tmp_path):
    import cv2

    writer = cv2.VideoWriter("in.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 12.5, (64, 48))
    for i in range(5):
        writer.write(np.full((48, 64, 3), 40 * i, np.uint8))
    writer.release()
    done = invoke("deblur", "in.mp4", "out/put.mp4", "--deblurer", "identity")
    assert done.exit_code == 0, done.output
    capture = cv2.VideoCapture(str(tmp_path / "out" / "put.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == 12.5
    means = []
    while (frame := capture.read())[0]:
        assert frame[1].shape == (48, 64, 3)
        means.append(frame[1].mean())
    assert means == pytest.approx([0, 40, 80, 120, 160], abs=8)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["put.mp4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["deblur", "missing.png", "out.png"], "missing.png does not exist"),
        (["deblur", "in/a.png", "in/a.png"], "is the input itself"),
        (["deblur", "in/a.png", "in"], "is the input itself"),
        (["deblur", "in", "in/out"], "lies in the input"),
        (["run", "--out", "notes.txt", "--deblurer", "identity", "--dataset", "pair"], "notes.txt"),
        (["figure", "nowhere", "out.foo"], "name it .png"),
        (["figure", "nowhere", "out.png"], "no run's directory"),
        (["train", "dc250", "--device", "tpu"], "choose auto, cpu"),
        (["train", "dc250", "--preset", "huge"], "no preset 'huge': choose paper or compact"),
        (["deblur", "notes.txt", "out.png"], "neither an image nor a video"),
        (["deblur", "broken.mp4", "out.mp4"], "cannot be read as a video"),
        (["deblur", "in/a.png", "out.png", "--deblurer", "dc205"], "Did you mean dc250"),
        (["run", "--dataset", "nowhere"], "no dataset 'nowhere'"),
        (["run", "--conf", "2"], "conf is 2"),
        (["train", "identity"], "identity has no recipe"),
        (["train", "dc250", "--data", "missing"], "There is no file or folder missing"),
    ],
)
def test_mistakes_get_one_clear_line(photo, tmp_path, arguments, message):
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    for side in ("sharp", "blur"):
        images.write_image(tmp_path / "pair" / side / "a.png", photo)
    done = invoke(*arguments)
    assert done.exit_code == 1
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert done.stdout == ""


def test_json_has_no_nan(photo, tmp_path, warm):
    for side in ("sharp", "blur"):
        images.write_image(tmp_path / "pair" / side / "a.png", photo)
    arguments = ["--dataset", "pair", "--deblurer", "unsharp", "--device", "cpu", "--conf", "0.01", "--json"]
    done = invoke("run", *arguments)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout, parse_constant=pytest.fail)
    assert report["rows"][0]["psnr_db"] is None
    assert [row["low"] for row in report["differences"] if row["model"] == "unsharp"] == [None] * 5


def test_version():
    assert invoke("--version").stdout == f"detbench {detbench.__version__}\n"


@pytest.mark.parametrize(("what", "name"), [("deblurers", "dc250"), ("datasets", "street"), ("detectors", "yolo26n")])
def test_list(what, name):
    done = invoke("list", what)
    assert done.exit_code == 0
    assert any(line.startswith(f"{name} ") for line in done.stdout.splitlines())
    assert name in [next(iter(row.values())) for row in json.loads(invoke("list", what, "--json").stdout)]


def test_the_frames_of_a_dataset_have_a_place(street):
    done = invoke("data", "path", "street")
    assert done.exit_code == 0, done.output
    names = [{path.name for path in (Path(done.stdout.strip()) / side).iterdir()} for side in ("blur", "sharp")]
    assert names[0] == names[1] and len(names[0]) == 68
    assert "no dataset 'street_train' that is built here" in invoke("data", "path", "street_train").stderr


def test_the_list_of_deblurers_fits_a_screen():
    assert max(map(len, invoke("list", "deblurers").stdout.splitlines())) <= 165
    rows = {row["deblurer"]: row for row in json.loads(invoke("list", "deblurers", "--json").stdout)}
    assert "CVPR 2018" in rows["srn"]["paper"]
    assert "MIT" in rows["srn"]["licence"]
    assert rows["dc250"]["images seen"] == 192_000


def test_the_public_names():
    nouns = ["DeblurerSpec", "DetbenchError", "DetectorSpec", "Preset", "RunResult", "RunSpec"]
    assert detbench.__all__ == [*nouns, "__version__", "benchmark", "run"]
    assert detbench.benchmark is benchmarks.benchmark
    assert detbench.run is runner.run
