"""The gate: every planted regression is caught, noise and improvements pass, and what does not compare is named."""

import dataclasses
import json
import math
import shutil

import pytest
import torch
from conftest import BrightBoxes, scene, stand_in
from torch import nn

from detbench import baseline as baselines
from detbench import check, detectors, images, quality, registry, runner, stats, store
from detbench.report import ci
from detbench.types import DeblurerSpec, DetbenchError, RunSpec
from detbench.weights import save_weights

FRAMES = 12


class Net(nn.Module):
    """A small residual network, and what a change of the code may do to it."""

    after = staticmethod(lambda frames: frames)

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.Conv2d(6, 3, 5, padding=2))

    def forward(self, frames):
        return type(self).after(frames + self.body(frames))


def blurred(frame, sigma):
    import cv2

    return cv2.GaussianBlur(frame, (0, 0), sigma)


def sharpening():
    """Weights with which the network adds 0.8 of what a pixel differs from its surroundings: a fair deblurring."""
    net, near = Net(), torch.full((5, 5), 1 / 25)
    centre = torch.zeros(5, 5)
    centre[2, 2] = 1
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        for channel in range(3):
            for half, sign in enumerate((1, -1)):  # ReLU keeps one sign each
                net.body[0].weight[2 * channel + half, channel] = sign * (centre - near)
                net.body[2].weight[channel, 2 * channel + half] = sign * 0.8 * centre
    return net.state_dict()


@pytest.fixture
def data(tmp_path):
    """Twelve pairs, each a clip."""
    for i in range(FRAMES):
        sharp = scene(i)
        images.write_image(tmp_path / "data" / "sharp" / f"frame{i:02}.png", sharp)
        images.write_image(tmp_path / "data" / "blur" / f"frame{i:02}.png", blurred(sharp, 1.2 + i / 12))
    return tmp_path / "data"


@pytest.fixture
def write(tmp_path):
    """Writes the weights, changed by a function of each tensor, and gives the file."""

    def write(change=lambda name, tensor: tensor):
        net = Net()
        net.load_state_dict({name: change(name, tensor) for name, tensor in sharpening().items()})
        save_weights(tmp_path / "net.safetensors", net, {"deblurer": "unsharp", "preset": "default", "images_seen": 9})
        return str(tmp_path / "net.safetensors")

    return write


@pytest.fixture
def spec(data, write, bright_boxes, monkeypatch):
    monkeypatch.setattr(registry, "get", lambda name: DeblurerSpec(Net))
    monkeypatch.setattr(Net, "after", staticmethod(lambda frames: frames))
    return RunSpec("unsharp", dataset=str(data), conf=0.77, device="cpu", weights=write())


@pytest.fixture
def baseline(spec, tmp_path):
    baselines.update(tmp_path / "baseline", runner.run(spec, tmp_path / "runs"))
    return tmp_path / "baseline"


def words(verdict):
    return {outcome.metric: outcome.word for outcome in verdict.outcomes}


def test_the_same_code_and_weights_pass_to_the_last_digit(baseline):
    verdict = baselines.check(baseline)
    assert verdict.passed
    assert set(words(verdict)) == set(check.TOLERANCES)
    for outcome in verdict.outcomes:
        assert outcome.interval == stats.Interval(0, 0, 0, 1)
        assert outcome.now == outcome.baseline
    assert verdict.fallen == []
    assert 0 < verdict.outcomes[0].now < 1  # there is something to lose and something to win


def test_ten_runs_with_other_thread_counts_pass(baseline):
    before = torch.get_num_threads()
    try:
        for threads in (2, 3, 4, 5, 6, 7, 8, 12, 16, 1):
            torch.set_num_threads(threads)
            verdict = baselines.check(baseline)
            assert verdict.passed, threads
            assert ("threads", str(before), str(threads)) in verdict.changes or threads == before
    finally:
        torch.set_num_threads(before)


def noise(name, tensor):
    torch.manual_seed(1)
    return tensor + 0.01 * torch.randn_like(tensor)


def half_a_pixel(frames):
    return (frames + nn.functional.pad(frames, (1, 0, 0, 0), "replicate")[..., :-1]) / 2


REGRESSIONS = {
    "weights damaged slightly": (noise, None),
    "wrong colour order": (None, lambda frames: frames.flip(1)),
    "half a pixel off": (None, half_a_pixel),
    "a little darker": (None, lambda frames: frames * 0.98),
    "deblurs no more": (lambda name, tensor: tensor * 0, None),
}


@pytest.mark.parametrize("planted", REGRESSIONS)
def test_planted_regressions_are_caught(baseline, write, monkeypatch, planted):
    weights, code = REGRESSIONS[planted]
    if weights:
        write(weights)
    if code:
        monkeypatch.setattr(Net, "after", staticmethod(code))
    verdict = baselines.check(baseline)
    assert not verdict.passed
    assert words(verdict)["psnr_db"] == "failed"
    assert verdict.outcomes[-1].now == 1  # the detector is not to blame
    assert len(verdict.fallen) > FRAMES / 2
    if weights:
        assert [what for what, *_ in verdict.changes] == ["deblurer"]


def test_the_detector_seeing_less_is_caught_by_the_counts(baseline, monkeypatch):
    """Fainter frames: the detector misses more objects."""
    monkeypatch.setattr(Net, "after", staticmethod(lambda frames: frames * 0.85))
    assert {"f1", "recall"} <= {outcome.metric for outcome in baselines.check(baseline).failures}


def test_an_improvement_passes_and_is_called_one(spec, write, tmp_path):
    write(lambda name, tensor: tensor * 0.3 if name.startswith("body.2") else tensor)  # deblurs less
    baselines.update(tmp_path / "baseline", runner.run(spec, tmp_path / "runs"))
    write()
    verdict = baselines.check(tmp_path / "baseline")
    assert verdict.passed
    assert words(verdict)["psnr_db"] == words(verdict)["ssim"] == "improved"


def test_drops_within_the_tolerance_pass(baseline, monkeypatch):
    monkeypatch.setattr(Net, "after", staticmethod(lambda frames: frames * 0.9995))
    verdict = baselines.check(baseline)
    assert verdict.passed
    assert verdict.outcomes[3].interval.estimate != 0


def test_the_run_is_always_made_anew(baseline, tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    first = baselines.check(baseline, kept)
    assert first.now.path.parent == kept
    assert store.read(first.now.path) == first.now
    monkeypatch.setattr(Net, "after", staticmethod(half_a_pixel))
    again = baselines.check(baseline, kept)
    assert again.now.path == first.now.path
    assert not again.passed
    assert store.read(again.now.path).scores == again.now.scores
    assert not baselines.check(baseline).now.path.exists()


def test_a_detector_gone_blind_fails_although_nothing_is_missed(baseline, monkeypatch, home):
    """Where the reference is empty, F1 is 1: only the reference itself tells."""
    look = BrightBoxes.look
    monkeypatch.setattr(BrightBoxes, "look", lambda self, frame: look(self, frame // 2))
    shutil.rmtree(home / "detections")  # what was seen before is kept there
    verdict = baselines.check(baseline)
    assert words(verdict)["f1"] != "failed"
    assert words(verdict)["reference"] == "failed"
    seen = verdict.reference
    assert (seen.tp, seen.fp) == (0, 0)
    assert f"misses {seen.fn} of the baseline's {seen.fn} objects" in ci.summary(verdict)
    assert any(line.startswith("::warning") for line in ci.github(verdict))


def test_equal_frames_are_no_infinite_gain_or_loss(spec, tmp_path, monkeypatch):
    given = dataclasses.replace(spec, input="sharp", weights=None)
    monkeypatch.setattr(registry, "get", lambda name: DeblurerSpec(nn.Identity))
    result = runner.run(given, tmp_path / "runs")
    assert result.scores[0].psnr_db == math.inf
    baselines.update(tmp_path / "baseline", result)
    assert words(baselines.check(tmp_path / "baseline")) == dict.fromkeys(check.TOLERANCES, "passed")
    monkeypatch.setattr(registry, "get", lambda name: DeblurerSpec(lambda: nn.AvgPool2d(3, 1, 1)))
    verdict = baselines.check(tmp_path / "baseline")
    assert words(verdict)["psnr_db"] == "failed"
    assert "inf" in ci.summary(verdict)


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
        baselines.CannotCompare, match=r"detector_hash \(00000000 of yolo26n and aaaaaaaa of yolo26n\)"
    ) as e:
        baselines.check(baseline)
    assert e.value.exit_status == 2
    assert "dataset_hash" not in str(e.value)


def test_other_frames_are_named_by_their_hash(baseline, data):
    old = store.read(next(baseline.iterdir())).spec.dataset_hash
    images.write_image(data / "blur" / "frame00.png", scene(0))
    with pytest.raises(baselines.CannotCompare, match=rf"dataset_hash \({old[:8]} of data and [0-9a-f]{{8}} of data\)"):
        baselines.check(baseline)


def test_other_conventions_of_scores_are_named(baseline, monkeypatch):
    monkeypatch.setattr(quality, "SIGNATURE", "psnr,ssim:luma")
    with pytest.raises(baselines.CannotCompare, match=r"how scores are computed .*psnr,ssim:luma"):
        baselines.check(baseline)


def test_other_frames_in_the_table_are_named(baseline):
    (table,) = baseline.glob("*/frames.csv")
    table.write_text(table.read_text().replace("frame03,", "frame99,"))
    with pytest.raises(baselines.CannotCompare, match=r"frames \(12 and 12; in one only: frame03, frame99\)"):
        baselines.check(baseline)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: alter(path, dataset="/gone/away"), r"no dataset '/gone/away'"),
        (lambda path: alter(path, weights="gone.safetensors"), r"gone\.safetensors do not exist"),
        (lambda path: alter(path, device="cuda:77"), r"cuda:77"),
        (shutil.rmtree, "holds no finished run"),
        (lambda path: shutil.copytree(next(path.iterdir()), path / "second"), "holds 2 finished runs"),
        (lambda path: next(path.glob("*/frames.csv")).write_text("id\nx\n"), r"frames\.csv, line 2 is damaged"),
    ],
)
def test_a_baseline_that_cannot_be_used_is_no_verdict(baseline, damage, message):
    damage(baseline)
    with pytest.raises(baselines.CannotCompare, match=message):
        baselines.check(baseline)


def test_too_few_clips_can_never_fail_and_so_are_refused(spec, tmp_path):
    result = runner.run(dataclasses.replace(spec, limit=9), tmp_path / "runs")
    with pytest.raises(baselines.CannotCompare, match="has 9 clips.*10 clips or more"):
        baselines.update(tmp_path / "baseline", result)
    assert not (tmp_path / "baseline").exists()


def test_a_deblurer_that_fails_has_failed(baseline, monkeypatch):
    monkeypatch.setattr(Net, "after", staticmethod(lambda frames: frames * math.nan))
    with pytest.raises(DetbenchError, match="failed on frame frame00") as error:
        baselines.check(baseline)
    assert not isinstance(error.value, baselines.CannotCompare)


# --- baselines ----------------------------------------------------------------------------------------------------


def test_a_baseline_is_small_and_works_in_another_checkout(baseline, data, tmp_path, monkeypatch):
    (run,) = baseline.iterdir()
    names = {"manifest.json", "frames.csv", "detections-sharp.json", "detections-blurred.json"}
    assert {path.name for path in run.iterdir()} == names | {"detections-restored.json"}
    assert str(tmp_path) not in (run / "manifest.json").read_text().replace('"weights": "net', "")
    for name in ("data", "baseline", "net.safetensors"):
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert baselines.check(tmp_path / "elsewhere" / "baseline").passed


def test_places_can_be_given(baseline, data, tmp_path):
    data.rename(tmp_path / "moved")
    with pytest.raises(baselines.CannotCompare, match="no dataset"):
        baselines.check(baseline)
    assert baselines.check(baseline, dataset=str(tmp_path / "moved")).passed


def test_other_weights_can_be_tried(baseline, write, tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    good = (tmp_path / "net.safetensors").read_bytes()
    shutil.copy(write(noise), damaged)
    (tmp_path / "net.safetensors").write_bytes(good)
    assert baselines.check(baseline).passed
    assert not baselines.check(baseline, weights=str(damaged)).passed


def test_an_update_replaces_the_baseline_and_tells_the_difference(baseline, write):
    old = store.read(next(baseline.iterdir()))
    write(noise)
    told = baselines.update(baseline)
    new = store.read(next(baseline.iterdir()))
    assert len(list(baseline.iterdir())) == 1
    assert new.spec.deblurer_hash != old.spec.deblurer_hash
    assert "12 frames in 12 clips" in told[0]
    assert any(line.startswith("PSNR dB ") and " → " in line for line in told)
    assert f"deblurer: {old.spec.deblurer_hash[:8]} → {new.spec.deblurer_hash[:8]}" in told
    assert baselines.check(baseline).passed


def test_a_baseline_on_other_frames_is_replaced_saying_so(baseline, spec, data, tmp_path):
    images.write_image(data / "blur" / "frame00.png", scene(0))
    with pytest.raises(baselines.CannotCompare):
        baselines.update(baseline)
    told = baselines.update(baseline, runner.run(spec, tmp_path / "runs"))
    assert any("cannot be compared with" in line and "dataset_hash" in line for line in told)
    assert baselines.check(baseline).passed
    (run,) = baseline.iterdir()
    (run / "frames.csv").unlink()
    told = baselines.update(baseline, runner.run(spec, tmp_path / "runs"))
    assert any("could not be read" in line for line in told)
    assert baselines.check(baseline).passed
