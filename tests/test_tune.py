"""Tuning: what is cut, shown and held out, and that a training for a detector goes on after a kill."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from spandrel.architectures.NAFNet import NAFNet
from torch import nn

from detbench import datasets, detectors, external, images, registry, runner
from detbench.cli import app
from detbench.gan import ablation, data, schedule, tune, validate
from detbench.gan import train as trainer
from detbench.gan.detector import FrozenDetector
from detbench.gan.prepare import between_minus_one_and_one
from detbench.gan.recipe import Recipe
from detbench.gan.sources import Sources, load_folders, load_training, split
from detbench.gan.train import learning_rate
from detbench.restore import Restorer
from detbench.types import DetbenchError, RunSpec
from detbench.weights import read_record, save_weights

CPU = torch.device("cpu")


def test_the_learning_rate_rises_along_a_line_and_falls_along_half_a_cosine():
    recipe = Recipe({}, iterations=100, schedule="cosine", warmup=10, learning_rate=1.0)
    rates = [learning_rate(recipe, i) for i in (1, 5, 10, 50, 75, 100)]
    # (1 + cos(pi i / 100)) / 2, of which a tenth, half and all after 1, 5 and 10 iterations
    assert rates == pytest.approx([0.0999753, 0.4969220, 0.9755283, 0.5, 0.1464466, 0.0], abs=1e-6)
    assert learning_rate(dataclasses.replace(recipe, warmup=0), 1) == pytest.approx(0.9997533)


class Darker(nn.Module):
    """Takes and gives [0, 1], from coarse to fine; not an odd function, so that a wrong range shows."""

    def __init__(self, coarse=False):
        super().__init__()
        self.factor, self.coarse = nn.Parameter(torch.tensor(0.5)), coarse

    def forward(self, x):
        assert x.min() >= 0
        y = self.factor * x**2
        return (y[..., ::2, ::2], y) if self.coarse else y


def test_a_network_in_another_range_is_trained_in_minus_one_to_one():
    frame = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    (wanted,) = Restorer(Darker(), multiple_of=1, value_range=(0.0, 1.0))([frame])
    net = between_minus_one_and_one(Darker(), (0.0, 1.0))
    (made,) = Restorer(net, multiple_of=1, value_range=(-1.0, 1.0))([frame])
    assert np.abs(made.astype(int) - wanted).max() <= 1
    assert made.mean() < 60
    assert list(net.state_dict()) == ["factor"]
    coarse = between_minus_one_and_one(Darker(coarse=True), (0.0, 1.0))(torch.full((1, 3, 4, 4), -1.0))
    assert [(y.shape[-1], y.unique().tolist()) for y in coarse] == [(2, [-1.0]), (4, [-1.0])]
    same = Darker()
    assert not between_minus_one_and_one(same, (-1.0, 1.0))._forward_hooks


# Crops


def places(height=400, width=300):
    """A picture of which each pixel tells where it lies: half of its column and row."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x // 2, y // 2, np.zeros_like(x)], axis=2).astype(np.uint8)


def drawn(sources, count=20, **changes):
    """The sharp side of crops of 96 pixels, as (least column, row), (most column, row), and their scale."""
    recipe = dataclasses.replace(Recipe({}, crop=96, batch=8, real_pairs=0.5, object_crops=1.0), **changes)
    made = data.Batches(sources, recipe, 0, 0, CPU)
    for number in range(count):
        batch = made.batch(number)
        for crop, scale in zip((batch.sharp + 1) * 255, batch.scale, strict=True):
            assert crop.shape == (3, 96, 96)
            yield crop[:2].amin((1, 2)).numpy(), crop[:2].amax((1, 2)).numpy(), scale


@pytest.mark.slow("blurs 320 crops")
def test_crops_are_cut_around_objects():
    box, other = np.float32([[230, 330, 270, 390]]), np.float32([[10, 20, 30, 60]])
    sources = Sources(
        photos=[places(), places()],
        pairs=[(places(), places())],
        photo_objects=[np.empty((0, 4), np.float32), box],
        pair_objects=[other],
    )
    seen = {"box": 0, "other": 0}
    for least, most, _ in drawn(sources):
        found = [
            name
            for name, (x, y) in {"box": (250, 360), "other": (20, 40)}.items()
            if (least - 2 <= (x, y)).all() and ((x, y) <= most + 2).all()
        ]
        assert len(found) == 1, (least, most)
        seen[found[0]] += 1
    assert min(seen.values()) > 20
    least = np.array([corner for corner, _, _ in drawn(sources, object_crops=0.0)])
    assert (least[:, 1] > 40).mean() > 0.3  # anywhere, by far not always in a corner
    assert (least[:, 1] < 250).mean() > 0.3


@pytest.mark.slow("blurs 80 crops")
def test_crops_are_zoomed_for_the_detector_within_the_given_factors():
    sources = Sources(photos=[places()])
    scales = [scale for _, _, scale in drawn(sources, 10, detector_zoom=(1.0, 2.0))]
    assert min(scales) < 1.2 < 1.8 < max(scales) <= 2.0


@pytest.mark.slow("blurs 160 crops")
def test_a_crop_bears_the_scale_at_which_its_frame_is_seen():
    sources = Sources(photos=[places()], pairs=[(places(320, 200), places(320, 200))])
    found = {"pair": set(), "whole": set(), "half": set()}
    for least, most, scale in drawn(sources, 10, detector_imgsz=640, object_crops=0.0):
        halved = (most - least).min() > 140
        found["half" if halved else "pair" if scale == 2.0 else "whole"].add(scale)
    assert found == {"pair": {640 / 320}, "whole": {640 / 400}, "half": {2 * 640 / 400}}
    assert {scale for _, _, scale in drawn(sources, 10, object_crops=0.0)} == {1.0}


# What is held out


def write(folder, names, start=0):
    for i, name in enumerate(names, start):
        images.write_image(folder / name, np.full((16, 16, 3), i, np.uint8))


def grey(sources):
    """The pictures of sources, told apart by their grey level."""
    return sorted(int(p[0, 0, 0]) for p in (*sources.photos, *(sharp for _, sharp in sources.pairs)))


def test_whole_clips_are_held_out(tmp_path):
    for clip in range(10):
        sides = ["sharp", "blur"] if clip % 3 == 2 else ["frames"]  # real pairs, and photographs
        for side in sides:
            write(tmp_path / f"clip{clip}" / side, [f"{i}.png" for i in range(3)], 10 * clip)
    train, held_out = load_training([tmp_path], None)
    assert (len(train.photos), len(train.pairs)) == (6 * 3, 2 * 3)
    assert grey(held_out) == [0, 1, 2, 80, 81, 82]
    assert len(grey(train)) + len(grey(held_out)) == 30
    assert not {level // 10 for level in grey(train)} & {level // 10 for level in grey(held_out)}
    both = train.photo_clips + train.pair_clips
    assert not set(both) & {*held_out.photo_clips, *held_out.pair_clips}
    assert len(train.photo_clips) == len(train.photos)
    given = load_training([tmp_path / "clip0"], [tmp_path / "clip2"])
    assert [grey(each) for each in given] == [[0, 1, 2], [20, 21, 22]]


def test_files_without_clips_are_clips_of_their_own(tmp_path):
    write(tmp_path, [f"{i:02d}.png" for i in range(17)])
    train, held_out = load_training([tmp_path], None)
    assert grey(held_out) == [0, 8, 16]
    assert grey(train) == [i for i in range(17) if i % 8]


def test_of_a_single_clip_the_end_is_held_out_and_its_neighbours_left_out(tmp_path):
    write(tmp_path / "clip", [f"{i:02d}.png" for i in range(32)])
    train, held_out = load_training([tmp_path], None)
    assert grey(held_out) == [28, 29, 30, 31]
    assert grey(train) == list(range(26))
    for count, kept in ((10, 8), (3, 1), (2, 1)):  # one is left out wherever there are three
        few = Sources([places(8, 8 + i) for i in range(count)], photo_clips=["a"] * count)
        train, held_out = split(few)
        assert (len(train.photos), [p.shape[1] for p in held_out.photos]) == (kept, [8 + count - 1])
    with pytest.raises(DetbenchError, match="One picture cannot both"):
        split(Sources([places()], photo_clips=["a"]))


def test_a_video_is_a_clip(tmp_path, monkeypatch):
    import cv2

    writer = cv2.VideoWriter(str(tmp_path / "drive.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 48))
    for i in range(30):
        writer.write(np.full((48, 64, 3), (0, 0, 8 * i), np.uint8))  # ever redder
    writer.release()
    monkeypatch.setattr("detbench.gan.sources.VIDEO_FRAMES", 10)
    sources = load_folders([tmp_path / "drive.avi"])
    assert sources.photo_clips == ["drive"] * 10
    assert [frame.shape for frame in sources.photos] == [(48, 64, 3)] * 10
    reds = [float(frame[..., 0].mean()) for frame in sources.photos]
    assert reds == pytest.approx(np.linspace(0, 8 * 29, 10).tolist(), abs=12)  # to the frame, and to MJPEG
    assert all(frame[..., 2].max() < 20 for frame in sources.photos)
    assert (sources.record[0]["folder"], sources.record[0]["files"]) == ("drive.avi", 1)
    train, held_out = split(sources)
    assert (len(train.photos), len(held_out.photos)) == (8, 1)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(DetbenchError, match=r"broken\.mp4 cannot be read as a video"):
        load_folders([tmp_path / "broken.mp4"])


def test_as_many_frames_of_each_clip_are_validated_on(monkeypatch):
    monkeypatch.setattr(tune, "VALIDATION_FRAMES", 8)
    frames = [np.full((4, 4, 3), level, np.uint8) for level in range(41)]
    sources = Sources(
        photos=frames[:31],  # a long clip, and one of a single frame
        photo_clips=["long"] * 30 + ["single"],
        pairs=[(frame, frame) for frame in frames[31:]],
        pair_clips=["pairs"] * 10,
    )
    few = tune._few(sources)
    assert [int(p[0, 0, 0]) for p in few.photos] == [0, 10, 19, 29, 30]
    assert few.photo_clips == ["long"] * 4 + ["single"]
    assert [int(sharp[0, 0, 0]) for _, sharp in few.pairs] == [31, 35, 40]
    assert few.pair_clips == ["pairs"] * 3
    assert grey(tune._few(few)) == grey(few)


# Validation


@pytest.mark.slow("three validations before a detector")
def test_weights_are_judged_by_what_detectors_see(traffic):
    import cv2

    recipe = Recipe({}, detector=("yolo26n",), detector_classes=1.0, detector_imgsz=320, crop=64)
    detectors = [FrozenDetector("yolo26n", CPU)]
    verdicts = []
    for sigma in (0, 1, 4):
        pairs = [(cv2.GaussianBlur(frame, (0, 0), sigma) if sigma else frame, frame) for frame in traffic[:2]]
        frames = validate.Frames(Sources(pairs=pairs), recipe, detectors, 1, "fp32")
        net = nn.Conv2d(3, 3, 1, bias=False)
        net.weight.data = torch.eye(3)[..., None, None]
        verdicts.append(frames(net))
    assert verdicts[0].score == 0
    assert verdicts[0].row["f1_validation"] == 1
    assert verdicts[0].row["f1_validation"] > verdicts[1].row["f1_validation"] > verdicts[2].row["f1_validation"]
    assert verdicts[0].score > verdicts[1].score > verdicts[2].score
    assert all(verdict.score == -verdict.row["task_validation"] for verdict in verdicts)
    assert [frame.shape for frame in verdicts[0].restored] == [(64, 64, 3)] * 2


# Whole tunings


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
    runner.restorer(RunSpec("dc0", weights=str(tuned.weights)))


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

    monkeypatch.setattr(trainer, "step", cut)
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


def test_extents_are_read():
    assert schedule.extents("4:20") == (4.0, 20.0)
    for text in ("4", "4-20", "4:20:30", "few:many"):
        with pytest.raises(DetbenchError, match="are no two extents: write 4:20"):
            schedule.extents(text)


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
    assert "features" in told.err and "iterations/s" in told.err and "min left" in told.err


def test_the_ablations_table_has_the_mean_and_the_range_of_seeds():
    class Run:
        def __init__(self, f1, psnr):
            self.f1, self.psnr = f1, psnr

        def mean(self, measure):
            assert measure == "psnr_db"
            return self.psnr

    found = {
        "blurred": [[Run(0.5, 20.0), Run(0.25, 20.0), Run(0.125, 20.0)]],
        "all": [[Run(0.6, 21.0), Run(0.3, 21.0), Run(0.2, 21.0)], [Run(0.8, 23.0), Run(0.5, 23.0), Run(0.2, 23.0)]],
    }
    assert ablation.table(found).splitlines()[2:] == [
        "| blurred | 0.500 | 0.250 | 0.125 | 20.00 |",
        "| all | 0.700 (0.600 to 0.800) | 0.400 (0.300 to 0.500) | 0.200 (0.200 to 0.200) | 22.00 (21.00 to 23.00) |",
    ]
    recipe = registry.get(ablation.NAME).presets["default"].recipe
    assert [dataclasses.replace(recipe, **changes) == recipe for changes in ablation.VARIANTS.values()].count(True) == 1
