"""Tuning: a training for a detector, which goes on after a kill, and what is refused."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from spandrel.architectures.NAFNet import NAFNet
from torch import nn
from training import grey

from detbench import detectors, external, registry, restorers, runner
from detbench.cli import app
from detbench.data import datasets, images
from detbench.gan import training as trainer
from detbench.gan import tune
from detbench.gan.sources import Sources
from detbench.types import DetbenchError, RunSpec
from detbench.weights import read_record, save_weights

CPU = torch.device("cpu")


def test_as_many_frames_of_each_clip_are_validated_on(monkeypatch):
    monkeypatch.setattr(tune, "VALIDATION_FRAMES", 8)
    frames = [np.full((4, 4, 3), level, np.uint8) for level in range(41)]
    sources = Sources(
        photos=frames[:31],  # a long clip, and one of a single frame
        photo_clips=["long"] * 30 + ["single"],
        pairs=[(frame, frame) for frame in frames[31:]],
        pair_clips=["pairs"] * 10,
    )
    few = tune.few(sources)
    assert [int(p[0, 0, 0]) for p in few.photos] == [0, 10, 19, 29, 30]
    assert few.photo_clips == ["long"] * 4 + ["single"]
    assert [int(sharp[0, 0, 0]) for _, sharp in few.pairs] == [31, 35, 40]
    assert few.pair_clips == ["pairs"] * 3
    assert grey(tune.few(few)) == grey(few)


@pytest.fixture
def footage(stocked, traffic, tmp_path, monkeypatch):
    """Four frames with cars, one of which is held out; and a tuning that is small and short."""
    for i, frame in enumerate(traffic):
        images.write_image(tmp_path / "footage" / f"{i}.png", frame)
    monkeypatch.setattr(tune, "CROP", 64)
    return tmp_path / "footage"


@pytest.fixture
def six_steps(monkeypatch):
    """Every budget is for six steps, with a validation after three."""
    monkeypatch.setattr(trainer, "_affordable", lambda *_: (6, 3))


def start(footage, out, name="dc0", **options):
    settings = {"data": [footage], "detectors": ["yolo26n"], "budget": 60.0, "imgsz": 320, "device": "cpu"}
    return tune.tune(name, Path(out), **settings | options)


class Killed(Exception):
    pass


def killed(footage, out, at, monkeypatch, **options):
    """A tuning that is killed when it has kept a checkpoint of an iteration."""
    saved = trainer.save_checkpoint

    def kill(out, both, record, progress):
        saved(out, both, record, progress)
        if progress["iteration"] == at:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "save_checkpoint", kill)
        with pytest.raises(Killed):
            start(footage, out, **options)


def same(one, other):
    ours, theirs = (load_file(Path(out) / "last.safetensors") for out in (one, other))
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow("three tunings")
def test_a_seed_decides_a_tuning_and_a_kill_does_not(footage, six_steps, monkeypatch):
    tuned = start(footage, "one")
    killed(footage, "two", 3, monkeypatch)
    start(footage, "two", budget=1.0)
    assert same("one", "two")
    start(footage, "three", seed=1)
    assert not same("one", "three")

    record = read_record(tuned.weights)
    assert record["deblurer"] == "dc0"
    assert record["init"] == {"from": "dc0", "sha256": registry.fingerprint("dc0")}
    assert record["detectors"] == {"yolo26n": detectors.resolve("yolo26n").sha256}
    assert (record["recipe"]["iterations"], record["recipe"]["detector_imgsz"]) == (6, 320)
    assert record["recipe"]["blur_extent"] == [4.0, 20.0]
    assert {"psnr_validation", "task_validation", "f1_validation"} <= record.keys()
    start_of = registry.load("dc0").build().state_dict()
    changed = [not torch.equal(t, start_of[name].half()) for name, t in load_file("one/last.safetensors").items()]
    assert any(changed)
    kept = datasets.load(str(tuned.validation))
    assert len(kept.pairs) == 1
    assert not np.array_equal(images.read_image(kept.pairs[0].sharp), images.read_image(kept.pairs[0].blurred))
    restorers.restorer(RunSpec("dc0", weights=str(tuned.weights)))


def test_a_budget_becomes_a_number_of_steps_once(footage, monkeypatch, capsys):
    monkeypatch.setattr(trainer, "LEAST", 2)
    monkeypatch.setattr(trainer, "TIMED", 2)
    killed(footage, "out", 0, monkeypatch, budget=40.0)
    said = capsys.readouterr().err

    def planned():
        record = torch.load("out/checkpoint.pt", weights_only=True)["record"]
        return record["recipe"]["iterations"], record["every"]

    first = planned()
    assert first[0] >= 2
    assert math.ceil(first[0] / trainer.VALIDATIONS) <= first[1] <= first[0]
    assert f"{first[0]} iterations of " in said and "fit into the budget" in said
    monkeypatch.setattr(trainer, "_affordable", lambda *_: pytest.fail("timed again"))

    def cut(*_):
        raise Killed

    monkeypatch.setattr("detbench.gan.train.step", cut)
    with pytest.raises(Killed):
        start(footage, "out", budget=1.0)
    assert f"going on from iteration 0 of {first[0]}" in capsys.readouterr().err
    assert planned() == first


@pytest.mark.slow("two tunings")
def test_a_timing_changes_nothing(footage, monkeypatch):
    """Six steps after a timing are the six steps without."""
    timing = trainer._affordable
    monkeypatch.setattr(trainer, "TIMED", 2)
    monkeypatch.setattr(trainer, "_affordable", lambda *_: (6, 6))
    start(footage, "one")
    monkeypatch.setattr(trainer, "_affordable", lambda *given: (6, timing(*given[:-1], 1e6) and 6))
    start(footage, "two")
    assert same("one", "two")


@pytest.mark.slow("times the steps of a tuning")
def test_a_budget_that_is_too_short_says_what_is_needed(footage):
    with pytest.raises(DetbenchError, match=r"budget is too short, by \d+ s or more: here one validation takes"):
        start(footage, "out", budget=0.5)
    assert not Path("out").exists()


def test_data_without_objects_are_refused(footage, tmp_path):
    for i in range(4):
        images.write_image(tmp_path / "empty" / f"{i}.png", np.full((160, 160, 3), 90 + i, np.uint8))
    with pytest.raises(DetbenchError, match="yolo26n finds no object in any of 3 pictures: give --data with objects"):
        start(tmp_path / "empty", "out")
    with pytest.raises(DetbenchError, match="yolo26n finds no object in the 4 sharp validation frames"):
        start(footage, "out", validation=[tmp_path / "empty"])
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("identity", "identity has no weights: there is nothing to tune"),
        ("jpeg95", "jpeg95 has no weights: there is nothing to tune"),
        ("unsharp", "unsharp has no weights: there is nothing to tune"),
        ("onnx:some.onnx", "onnx:some.onnx cannot be tuned: ONNX Runtime does not differentiate"),
        ("dc00", "no deblurer 'dc00'"),
    ],
)
def test_what_cannot_be_differentiated_is_refused(name, reason, tmp_path):
    with pytest.raises(DetbenchError, match=reason):
        start(tmp_path, "out", name=name)


def test_weights_of_another_network_are_refused(footage):
    save_weights(Path("other.safetensors"), nn.Conv2d(3, 3, 3), {})
    with pytest.raises(DetbenchError, match=r"other\.safetensors does not fit this network"):
        start(footage, "out", weights=Path("other.safetensors"))
    with pytest.raises(DetbenchError, match="holds weights of dc250, not of dc0"):
        start(footage, "out", weights=registry.find("dc250").weights)
    assert not Path("out").exists()


@pytest.mark.parametrize("blur", [(0.0, 20.0), (5.0, 4.0), (4.0, 60.0)])
def test_blur_that_cannot_be_made_is_refused(blur, tmp_path):
    with pytest.raises(DetbenchError, match=r"blur of .* px cannot be made: give two extents .* such as 4:20"):
        start(tmp_path, "out", blur_px=blur)


@pytest.mark.parametrize(("name", "rate"), [("dc0", 5e-4), ("srn", 5e-5), ("fastsrn", 5e-5)])
def test_published_weights_are_tuned_with_more_care_than_our_own(name, rate):
    spec = registry.get(name)
    recipe = tune.recipe_for(spec, spec.preset)
    assert recipe.crop % spec.presets[spec.preset].multiple_of == 0
    assert recipe.learning_rate == rate
    assert recipe.ema and recipe.schedule == "cosine" and recipe.detector_features and recipe.object_crops


@pytest.mark.slow("a tuning and two runs")
@pytest.mark.filterwarnings("ignore:'saved_variables' is deprecated")  # of NAFNet's normalisation
def test_a_checkpoint_of_spandrels_is_tuned_and_run(footage, six_steps):
    torch.manual_seed(0)
    net = NAFNet(width=4, enc_blk_nums=[1], middle_blk_num=1, dec_blk_nums=[1])
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.05)
    torch.save({"params": net.state_dict()}, "naf.pth")
    built = external.load("spandrel:naf.pth")[0].build()
    built(torch.rand(2, 3, 32, 32) * 0.8 + 0.1).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in built.parameters())

    tuned = start(footage, "out", name="spandrel:naf.pth")
    assert registry.fingerprint("spandrel:naf.pth", tuned.weights) != registry.fingerprint("spandrel:naf.pth")
    spec = RunSpec("spandrel:naf.pth", dataset=str(tuned.validation), imgsz=320, device="cpu")
    before, after = (
        runner.run(dataclasses.replace(spec, weights=weights), Path("runs")) for weights in (None, str(tuned.weights))
    )
    assert before.path != after.path
    assert before.scores[0].psnr_db != after.scores[0].psnr_db
    with pytest.raises(DetbenchError, match=r"onnx:naf\.pth is a file with its own weights: leave out --weights"):
        registry.load("onnx:naf.pth", tuned.weights)


@pytest.mark.slow("a tuning and its runs")
def test_the_command_prints_before_and_after(footage, six_steps, capsys):
    arguments = ["tune", "dc0", "--data", str(footage), "--imgsz", "320", "--budget", "30s", "--device", "cpu"]
    app(arguments, standalone_mode=False)
    told = capsys.readouterr()
    assert "yolo26n on 1 frames that were not trained on:" in told.out
    assert [line.split()[0] for line in told.out.splitlines() if line.startswith(("blurred", "dc0", "sharp"))]
    assert told.out.splitlines()[-1] == (
        "try it: detbench run --deblurer dc0 --weights reports/tuning/dc0/best.safetensors"
    )
    assert "features" in told.err and "iterations/s" in told.err and "min to the recipe's end" in told.err
