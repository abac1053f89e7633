"""The committed run: made again without a cache, refused where nothing compares, replaced by a newer one."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
import torch
from conftest import BrightBoxes, scene, stand_in
from unsharp import Net, half_a_pixel, noise

from detbench import baseline as baseline_module
from detbench import detectors, runner, store
from detbench.data import images
from detbench.report import ci
from detbench.types import DetbenchError
from detbench.weights import save_weights


def test_the_run_is_always_made_again(baseline, tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    first = baseline_module.check(baseline, kept)
    assert first.now.path.parent == kept
    assert store.read(first.now.path) == first.now
    monkeypatch.setattr(Net, "after", staticmethod(half_a_pixel))
    again = baseline_module.check(baseline, kept)
    assert again.now.path == first.now.path
    assert not again.passed
    assert store.read(again.now.path).scores == again.now.scores
    assert not baseline_module.check(baseline).now.path.exists()


# --- what does not compare ----------------------------------------------------------------------------------------


def alter(baseline, **changes):
    """Change the spec that a baseline says it was made with."""
    (manifest,) = baseline.glob("*/manifest.json")
    data = json.loads(manifest.read_text())
    data["spec"] |= changes
    manifest.write_text(json.dumps(data))


def test_another_detector_is_named_by_its_hash(baseline, monkeypatch):
    monkeypatch.setattr(detectors, "resolve", stand_in(BrightBoxes, lambda name: "a" * 64))
    with pytest.raises(
        baseline_module.CannotCompare, match=r"detector_hash \(00000000 of yolo26n and aaaaaaaa of yolo26n\)"
    ) as e:
        baseline_module.check(baseline)
    assert e.value.exit_status == 2
    assert "dataset_hash" not in str(e.value)


def test_other_frames_are_named_by_their_hash(baseline, unsharp_data):
    old = store.read(next(baseline.iterdir())).spec.dataset_hash
    images.write_image(unsharp_data / "blur" / "scene-a.png", scene(0))
    with pytest.raises(
        baseline_module.CannotCompare, match=rf"dataset_hash \({old[:8]} of data and [0-9a-f]{{8}} of data\)"
    ):
        baseline_module.check(baseline)


def test_other_conventions_of_scores_are_named(baseline, monkeypatch):
    monkeypatch.setattr(runner, "CONVENTIONS", "p,r,f1:micro|psnr,ssim:luma")
    with pytest.raises(baseline_module.CannotCompare, match=r"how scores are computed .*psnr,ssim:luma"):
        baseline_module.check(baseline)


def test_other_frames_in_the_table_are_named(baseline):
    (table,) = baseline.glob("*/frames.csv")
    table.write_text(table.read_text().replace("scene-d,", "scene-z,"))
    with pytest.raises(baseline_module.CannotCompare, match=r"frames \(12 and 12; in one only: scene-d, scene-z\)"):
        baseline_module.check(baseline)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: alter(path, dataset="/gone/away"), r"no file or folder /gone/away"),
        (lambda path: alter(path, weights="gone.safetensors"), r"gone\.safetensors do not exist"),
        (lambda path: alter(path, device="cuda:77"), r"cuda:77"),
        (shutil.rmtree, "There is no baseline .*--baseline new"),
        (lambda path: shutil.rmtree(next(path.iterdir())), "holds no finished run"),
        (lambda path: shutil.copytree(next(path.iterdir()), path / "second"), "holds 2 finished runs"),
        (lambda path: next(path.glob("*/frames.csv")).write_text("id\nx\n"), r"frames\.csv, line 2 is damaged"),
    ],
)
def test_a_baseline_that_cannot_be_used_is_no_verdict(baseline, damage, message):
    damage(baseline)
    with pytest.raises(baseline_module.CannotCompare, match=message):
        baseline_module.check(baseline)


def test_too_few_clips_can_never_fail_and_so_are_refused(unsharp_spec, tmp_path):
    result = runner.run(dataclasses.replace(unsharp_spec, limit=9), tmp_path / "runs")
    with pytest.raises(baseline_module.CannotCompare, match="has 9 clips.*10 clips or more"):
        baseline_module.update(tmp_path / "baseline", result)
    assert not (tmp_path / "baseline").exists()


def test_a_run_that_nobody_can_make_again_starts_no_gate(unsharp_spec, tmp_path):
    spec = dataclasses.replace(unsharp_spec, deblurer="mine", weights=None)
    own = runner.run(spec, tmp_path / "runs", deblurer=np.flipud)
    with pytest.raises(baseline_module.CannotCompare, match="cannot be made here. There is no deblurer 'mine'"):
        baseline_module.start(tmp_path / "baseline", own.path)
    assert not (tmp_path / "baseline").exists()


def test_a_deblurer_that_fails_has_failed(baseline, monkeypatch):
    monkeypatch.setattr(Net, "after", staticmethod(lambda frames: frames * math.nan))
    with pytest.raises(DetbenchError, match="failed on frame scene-a") as error:
        baseline_module.check(baseline)
    assert not isinstance(error.value, baseline_module.CannotCompare)


# --- what a baseline holds -----------------------------------------------------------------------------------------


def test_a_baseline_is_small_and_works_in_another_checkout(baseline, unsharp_data, tmp_path, monkeypatch):
    (run,) = baseline.iterdir()
    names = {"manifest.json", "frames.csv", "detections-sharp.json", "detections-blurred.json"}
    assert {path.name for path in run.iterdir()} == names | {"detections-restored.json"}
    assert str(tmp_path) not in (run / "manifest.json").read_text().replace('"weights": "net', "")
    for name in ("data", "baseline", "net.safetensors"):
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert baseline_module.check(tmp_path / "elsewhere" / "baseline").passed


def test_places_can_be_given(baseline, unsharp_data, tmp_path):
    unsharp_data.rename(tmp_path / "moved")
    with pytest.raises(baseline_module.CannotCompare, match="no dataset"):
        baseline_module.check(baseline)
    assert baseline_module.check(baseline, dataset=str(tmp_path / "moved")).passed


def test_other_weights_can_be_tried(baseline, write_unsharp, tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    good = (tmp_path / "net.safetensors").read_bytes()
    shutil.copy(write_unsharp(noise), damaged)
    (tmp_path / "net.safetensors").write_bytes(good)
    assert baseline_module.check(baseline).passed
    assert not baseline_module.check(baseline, weights=str(damaged)).passed


def test_weights_of_another_deblurer_are_no_verdict(baseline, tmp_path):
    other = tmp_path / "other.safetensors"
    save_weights(other, torch.nn.Identity(), {"deblurer": "dc250"})
    with pytest.raises(baseline_module.CannotCompare, match="holds weights of dc250"):
        baseline_module.check(baseline, weights=str(other))


def test_an_update_replaces_the_baseline_and_says_the_difference(baseline, write_unsharp):
    old = store.read(next(baseline.iterdir()))
    write_unsharp(noise)
    lines = ci.replaced(baseline_module.update(baseline))
    new = store.read(next(baseline.iterdir()))
    assert len(list(baseline.iterdir())) == 1
    assert new.spec.deblurer_hash != old.spec.deblurer_hash
    assert "12 frames in 12 clips" in lines[0]
    assert any(line.startswith("PSNR dB ") and " → " in line for line in lines)
    assert f"deblurer: {old.spec.deblurer_hash[:8]} → {new.spec.deblurer_hash[:8]}" in lines
    assert baseline_module.check(baseline).passed


def test_a_baseline_on_other_frames_is_replaced_saying_so(baseline, unsharp_spec, unsharp_data, tmp_path):
    images.write_image(unsharp_data / "blur" / "scene-a.png", scene(0))
    with pytest.raises(baseline_module.CannotCompare):
        baseline_module.update(baseline)
    lines = ci.replaced(baseline_module.update(baseline, runner.run(unsharp_spec, tmp_path / "runs")))
    assert any("cannot be compared with" in line and "dataset_hash" in line for line in lines)
    assert baseline_module.check(baseline).passed
    (run,) = baseline.iterdir()
    (run / "frames.csv").unlink()
    lines = ci.replaced(baseline_module.update(baseline, runner.run(unsharp_spec, tmp_path / "runs")))
    assert any("could not be read" in line for line in lines)
    assert baseline_module.check(baseline).passed
