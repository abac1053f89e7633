"""A detector that is adapted to blur: what it learns, what it keeps, and how it is used."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from detbench import assets, detectors
from detbench.cli import app
from detbench.data import images
from detbench.detectors import adapted
from detbench.gan import adapt, training
from detbench.gan.data import Batch, Batches
from detbench.gan.detector import FrozenDetector
from detbench.gan.prepare import fabric_on
from detbench.gan.sources import Sources
from detbench.gan.step import stage, training_state
from detbench.testing import check_detector
from detbench.types import DetbenchError
from detbench.weights import read_record, save_weights

RECIPE = dataclasses.replace(adapt.RECIPE, iterations=2, batch=2, crop=64)


@pytest.fixture(scope="module")
def teacher():
    return FrozenDetector("yolo26n", torch.device("cpu"))


@pytest.fixture
def crops(traffic):
    sharp = torch.from_numpy(np.stack(traffic[:2])[:, 64:192, 64:192]).permute(0, 3, 1, 2).float() / 127.5 - 1
    return Batch(torch.nn.functional.avg_pool2d(sharp, 5, 1, 2), sharp, (1.0, 1.0))


def test_a_pupil_begins_as_its_teacher(teacher, crops):
    (seen,) = teacher.pupil()(crops.sharp, crops.scale)
    (view,) = teacher.look(crops.sharp, crops.scale)
    assert torch.equal(seen[1], view.logits) and torch.equal(seen[2], view.sides)
    assert all(torch.equal(a, b) for a, b in zip(seen[0], view.features, strict=True))


def test_it_learns_and_its_teacher_does_not(teacher, crops):
    """Ten steps on one batch: what it sees in the blurred crops comes nearer to what is to be seen."""
    before = {name: value.clone() for name, value in teacher.state().items()}
    fabric = fabric_on("cpu")
    recipe = dataclasses.replace(RECIPE, init_from="yolo26n", learning_rate=3e-4, ema=0.0)
    state = training_state(teacher.pupil(), recipe, fabric)
    losses = [adapt.step(state, recipe, stage(recipe, i), crops, fabric, teacher) for i in range(1, 11)]
    assert losses[-1].generator < 0.8 * losses[0].generator
    assert set(losses[0].others) == {"features", "classes", "boxes"}
    assert all(torch.equal(before[name], value) for name, value in teacher.state().items())


def test_sharp_frames_cost_nothing_before_anything_is_learnt(teacher, traffic):
    sight = adapt.Sight(Sources(pairs=[(traffic[0], traffic[0]), (traffic[1], traffic[1])]), RECIPE, teacher)
    row = sight(teacher.pupil()).row
    assert row["task_validation"] == pytest.approx(0, abs=1e-4)
    assert (row["f1_validation"], row["f1_sharp"]) == (1, 1)


def test_a_share_of_the_crops_stays_sharp(traffic):
    recipe = dataclasses.replace(RECIPE, batch=400, crop=32, noise_variance=0.0)
    batch = Batches(Sources(photos=traffic), recipe, 0, (0, 1), torch.device("cpu")).batch(0)
    sharp = (batch.blurred == batch.sharp).flatten(1).all(1)
    assert 0.2 < sharp.float().mean() < 0.4
    none = Batches(
        Sources(photos=traffic), dataclasses.replace(recipe, sharp_share=0.0), 0, (0, 1), torch.device("cpu")
    )
    assert torch.equal(none.batch(0).sharp, batch.sharp)


@pytest.fixture
def footage(stocked, traffic, tmp_path):
    for i, frame in enumerate(traffic):
        images.write_image(tmp_path / "footage" / f"{i}.png", frame)
    return tmp_path / "footage"


@pytest.mark.slow("a training, and a detector's check")
def test_what_it_writes_is_a_detector(footage, traffic, monkeypatch):
    monkeypatch.setattr(training, "_affordable", lambda *_: (2, 1))
    made = adapt.adapt("yolo26n", Path("out"), data=[footage], budget=60, recipe=RECIPE, imgsz=320, device="cpu")
    record = read_record(made.weights)
    assert (record["detector"], record["detector_sha256"]) == ("yolo26n", assets.find("yolo26n").sha256)
    assert record["images_seen"] in (2, 4)
    found = detectors.resolve("adapted:yolo26n", made.weights)
    assert (found.spec.imgsz, found.spec.stride, found.spec.licence) == (640, 32, "AGPL-3.0 (Ultralytics)")
    assert found.sha256 != detectors.resolve("yolo26n").sha256
    check_detector(found.spec, made.weights, traffic, imgsz=320)
    assert sorted(p.suffix for p in (made.validation / "sharp").rglob("*.png")) == [".png"]


def test_weights_of_another_detector_are_refused(teacher, tmp_path):
    save_weights(tmp_path / "net.safetensors", torch.nn.Linear(2, 2), {"detector_sha256": "0" * 64})
    found = detectors.resolve("adapted:yolo26n", tmp_path / "net.safetensors")
    with pytest.raises(DetbenchError, match=r"net.safetensors holds no weights that yolo26n was adapted to"):
        found.build(conf=0.25, nms_iou=0.7, imgsz=320, device="cpu")
    save_weights(tmp_path / "net.safetensors", torch.nn.Linear(2, 2), {"detector_sha256": teacher.sha256})
    with pytest.raises(DetbenchError, match="These weights are of another network"):
        found.build(conf=0.25, nms_iou=0.7, imgsz=320, device="cpu")


def test_what_does_not_ship_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(adapted, "WEIGHTS", tmp_path)
    with pytest.raises(DetbenchError, match=r"No adapted yolo26n ships here \(there are: none\): run `detbench adapt"):
        detectors.resolve("adapted:yolo26n")


@pytest.mark.slow("a training, and six runs")
def test_the_command_shows_what_it_changed(footage, monkeypatch, capsys):
    monkeypatch.setattr(training, "_affordable", lambda *_: (2, 1))
    monkeypatch.setattr(adapt, "RECIPE", RECIPE)
    app(["adapt", "--data", str(footage), "--imgsz", "320", "--device", "cpu"], standalone_mode=False)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[-3:] == ["sharp", "frames", "ms/frame"]
    assert [line.split("  ")[0].strip() for line in printed[2:4]] == ["as it is", "adapted detector"]
    assert printed[-1] == (
        "try it: detbench run --detector adapted:yolo26n --detector-weights reports/adapting/yolo26n/best.safetensors"
    )
    again = ["run", "--deblurer", "unsharp", "--dataset", str(Path("reports/adapting/yolo26n/validation"))]
    weights = printed[-1].split()[-1]
    app(
        [*again, "--detector", "adapted:yolo26n", "--detector-weights", weights, "--device", "cpu"],
        standalone_mode=False,
    )
    assert "signature: validation|" in (signature := capsys.readouterr().out)
    assert "|adapted:yolo26n|" in signature
