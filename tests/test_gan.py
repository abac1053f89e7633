"""Training: the equations, the batches, and a trainer that resumes as if nothing had happened."""

import csv
import dataclasses
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deblurers._norm import NORMS
from deblurers.deepdeblur import DeepDeblur
from detbench import images, registry
from detbench.gan import data, pack, schedule, validate
from detbench.gan.discriminators import ScoreDiscriminator
from detbench.gan.initialise import INITIALISE
from detbench.gan.recipe import Recipe
from detbench.gan.sources import load_folders
from detbench.gan.step import stage
from detbench.gan.train import learning_rate, train
from detbench.types import DeblurerSpec, DetbenchError, Preset
from detbench.weights import read_record


def test_the_papers_networks_have_the_papers_layers():
    spec = registry.get("dc250")
    net = spec.build(**spec.presets["paper"].options)
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert [m.out_channels for m in convolutions[:8]] == [64, 128, 256, 512, 512, 512, 512, 512]
    assert all(m.kernel_size == (5, 5) and m.stride == (2, 2) for m in convolutions)
    assert sum(isinstance(m, nn.Dropout) for m in net.modules()) == 3
    assert sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) == 13
    with torch.no_grad():
        assert net(torch.rand(2, 3, 256, 256) * 2 - 1).abs().max() <= 1
    judge = ScoreDiscriminator()
    assert [m.stride[0] for m in judge.modules() if isinstance(m, nn.Conv2d)] == [2, 2, 2, 1]
    assert judge(torch.rand(2, 3, 256, 256), torch.rand(2, 3, 256, 256)).shape == (2, 1)


@pytest.mark.slow("trains 85 million parameters")
def test_the_papers_size_trains_on_single_crops(tmp_path):
    images.write_image(
        tmp_path / "photos" / "0.png", np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    )
    photo = [tmp_path / "photos"]
    spec = registry.get("dc250")
    options = {"preset": "paper", "iterations": 1, "device": "cpu"}
    best = train("dc250", spec, tmp_path / "out", data=photo, validation=photo, **options)
    assert read_record(best)["preset"] == "paper"


def test_layer_normalisation_is_of_each_pixels_channels():
    x = torch.randn(2, 8, 3, 5)
    got = NORMS["layer"](8)(x).detach().numpy()
    for pixel in np.ndindex(2, 3, 5):
        values = x.numpy()[pixel[0], :, pixel[1], pixel[2]]
        expected = (values - values.mean()) / np.sqrt(values.var() + 1e-5)
        assert got[pixel[0], :, pixel[1], pixel[2]] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("init", INITIALISE)
def test_first_weights_have_the_said_spread(init):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(32, 64, 5), nn.BatchNorm2d(64), nn.ConvTranspose2d(64, 32, 5, 2), nn.Conv2d(32, 3, 3))
    INITIALISE[init](net)
    if init == "normal":
        assert net[0].weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert net[1].weight.mean().item() == pytest.approx(1, abs=0.01)
    else:
        assert net[0].weight.std().item() == pytest.approx((2 / 1.04 / 800) ** 0.5, rel=0.02)
        assert net[2].weight.std().item() == pytest.approx((2 / 1.04 / 400) ** 0.5, rel=0.02)
        assert net[3].weight.std().item() == pytest.approx(1e-3, rel=0.1)
    assert not net[0].bias.any()


def test_hes_first_weights_start_every_scale_near_its_input():
    torch.manual_seed(0)
    net = DeepDeblur(width=24, blocks=6, kernel=3, residual=True)
    INITIALISE["he"](net)
    frame = torch.rand(1, 3, 32, 32) * 2 - 1
    for result, factor in zip(net(frame), (4, 2, 1), strict=True):
        difference = (result - F.avg_pool2d(frame, factor)).std().item()
        assert 0.01 < difference < 0.5


RECIPE = Recipe(
    content={"l1": 100.0, "dark_channel": 250.0},
    adversarial="bce",
    discriminator={"kind": "score", "width": 4},
    adversarial_from=0.2,
    generator_steps=2,
    iterations=6,
    decay_from=0.5,
    batch=2,
    crop=32,
    noise_variance=0.002,
    blur_extent=(1.0, 6.0),
    ema=0.5,
)


@pytest.fixture
def folder(tmp_path):
    """Photographs with structure, and real pairs in a GoPro-like tree."""
    rng = np.random.default_rng(0)
    for i in range(4):
        photo = np.kron(rng.integers(0, 256, (20, 24, 3)), np.ones((6, 6, 1))).astype(np.uint8)
        images.write_image(tmp_path / "photos" / f"{i}.png", photo)
        for side in ("blur", "sharp"):
            images.write_image(tmp_path / "pairs" / "train" / "GOPR01" / side / f"{i}.png", photo[:60, :90] // 2)
    return tmp_path


def small_spec(recipe=None):
    build = registry.get("dc250").build
    options = {"width": 4, "levels": 2, "dropout_blocks": 1, "global_skip": True}
    return DeblurerSpec(
        build, presets={"tiny": Preset(options, 4, recipe or RECIPE)}, preset="tiny", value_range=(-1.0, 1.0)
    )


def start(folder, out, **options):
    folders = {"data": [folder / "photos", folder / "pairs"], "validation": [folder / "photos"]}
    return train("small", small_spec(), out, device="cpu", **folders, **options)


def rows_of(log):
    with log.open(newline="") as file:
        return list(csv.DictReader(file))


def tensors(path):
    from safetensors.torch import load_file

    return load_file(path)


def test_a_resumed_training_equals_an_uninterrupted_one(folder, tmp_path):
    start(folder, tmp_path / "whole", every=2)

    class Killed(Exception):
        pass

    from detbench.gan import train as module

    saved = module.save_checkpoint

    def kill(out, both, record, progress):
        saved(out, both, record, progress)
        if progress["iteration"]:
            raise Killed

    module.save_checkpoint = kill
    try:
        with pytest.raises(Killed):
            start(folder, tmp_path / "cut", every=2)
    finally:
        module.save_checkpoint = saved
    start(folder, tmp_path / "cut", every=2)
    whole, cut = (tensors(tmp_path / run / "last.safetensors") for run in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    logs = [rows_of(tmp_path / run / "log.csv") for run in ("whole", "cut")]
    for rows in logs:
        assert [row["iteration"] for row in rows] == ["2", "4", "6"]
        for row in rows:
            del row["seconds"], row["waiting"]
    assert logs[0] == logs[1]


def test_training_leaves_weights_with_their_record_and_samples(folder, tmp_path):
    best = start(folder, tmp_path / "out", iterations=3, every=2)
    record = read_record(best)
    assert record["deblurer"] == "small"
    assert record["images_seen"] in (4, 6)
    assert record["recipe"]["iterations"] == 3
    assert [source["files"] for source in record["data"]] == [4, 8]
    assert sorted(p.name for p in (tmp_path / "out" / "samples").iterdir()) == ["0000002.png", "0000003.png"]
    assert images.read_image(tmp_path / "out" / "samples" / "0000003.png").shape[1] == 3 * 32


@pytest.mark.slow("a training of 100 iterations")
def test_a_short_training_lowers_the_error(folder, tmp_path):
    recipe = dataclasses.replace(RECIPE, learning_rate=2e-3, noise_variance=0.0, init="he", iterations=100, ema=0.0)
    recipe = dataclasses.replace(recipe, object_motion=0.0, uniform_blur=1.0, blur_extent=(5.0, 20.0))
    sources = load_folders([folder / "photos"])
    folders = {"data": [folder / "photos"], "validation": [folder / "photos"]}
    train("small", small_spec(recipe), tmp_path / "out", device="cpu", every=10, **folders)
    rows = rows_of(tmp_path / "out" / "log.csv")
    psnr = [float(row["psnr_validation"]) for row in rows]
    blurred, sharp = zip(*data.validation_pairs(sources, recipe), strict=True)
    assert max(psnr) > validate.mean_psnr(list(blurred), list(sharp)) + 0.1
    content = [float(row["content"]) for row in rows]
    assert np.mean(content[1:4]) > np.mean(content[7:])


def test_recipes_with_other_blur_are_validated_on_the_same_pictures(folder):
    sources = load_folders([folder / "photos"])
    other = dataclasses.replace(RECIPE, object_motion=1.0, uniform_blur=0.0, blur_extent=(1.0, 2.0))
    for mine, its in zip(data.validation_pairs(sources, RECIPE), data.validation_pairs(sources, other), strict=True):
        assert np.array_equal(mine, its)
        assert not np.array_equal(*mine)


@pytest.mark.slow("a training, begun three times")
def test_another_trainings_checkpoint_is_refused(folder, tmp_path, monkeypatch):
    start(folder, tmp_path / "out", iterations=2)
    with pytest.raises(DetbenchError, match=r"checkpoint\.pt was made with another seed"):
        start(folder, tmp_path / "out", iterations=4, seed=1)
    monkeypatch.setattr(sys.modules[__name__], "RECIPE", dataclasses.replace(RECIPE, batch=3))
    with pytest.raises(DetbenchError, match=r"another recipe"):
        start(folder, tmp_path / "out", iterations=4)


@pytest.mark.slow("two trainings")
def test_a_checkpoint_older_than_a_field_of_recipes_goes_on(folder, tmp_path):
    start(folder, tmp_path, iterations=2)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del state["record"]["recipe"]["redraw_above"]
    torch.save(state, tmp_path / "checkpoint.pt")
    start(folder, tmp_path, iterations=4)
    assert rows_of(tmp_path / "log.csv")[-1]["iteration"] == "4"


def shared_spec(**changes):
    return small_spec(dataclasses.replace(RECIPE, l1_until=0.5, **changes))


@pytest.mark.slow("five trainings")
def test_recipes_that_differ_in_their_own_losses_share_the_stage_of_l1_alone(folder, tmp_path):
    folders = {"data": [folder / "photos"], "validation": [folder / "photos"], "device": "cpu", "every": 3}
    dark, plain = shared_spec(), shared_spec(content={"l1": 100.0})
    whole = train("dark", dark, tmp_path / "whole", **folders)
    train("plain", plain, tmp_path / "plain", budget=0, **folders)
    assert [row["iteration"] for row in rows_of(tmp_path / "plain" / "log.csv")] == ["3"]
    shutil.copytree(tmp_path / "plain", tmp_path / "forked")
    forked = train("dark", dark, tmp_path / "forked", **folders)
    for file in ("best.safetensors", "last.safetensors"):
        ours, theirs = (tensors(tmp_path / run / file) for run in ("forked", "whole"))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert read_record(forked)["deblurer"] == "dark"
    changes = read_record(forked)["changes"]
    assert changes == [{"iteration": 3, "recipe_was": {"content": {"l1": 100.0}}}]
    assert read_record(whole)["changes"] == []
    rest = train("plain", plain, tmp_path / "plain", **folders)
    different = [tensors(path) for path in (rest, forked)]
    assert any(not torch.equal(different[0][name], different[1][name]) for name in different[0])
    with pytest.raises(DetbenchError, match="another deblurer, recipe"):
        train("plain", plain, tmp_path / "forked", **folders)
    with pytest.raises(DetbenchError, match="another recipe"):  # L1 alone again, up to iteration 10
        train("dark", dark, tmp_path / "forked", **folders | {"iterations": 20})


def test_weights_of_the_shared_stage_never_ship(folder, tmp_path, monkeypatch):
    """However well they do: the best weights are those of the recipe's own losses."""
    monkeypatch.setattr(validate, "mean_psnr", lambda restored, sharp: next(falling))
    falling = iter([30.0, 29.0, 28.0])
    folders = {"data": [folder / "photos"], "validation": [folder / "photos"], "device": "cpu", "every": 2}
    best = train("dark", shared_spec(), tmp_path / "out", **folders)
    assert (read_record(best)["iterations"], read_record(best)["psnr_validation"]) == (4, 29.0)


def test_each_stage_has_its_losses():
    recipe = dataclasses.replace(RECIPE, iterations=100, l1_until=0.5, adversarial_from=0.8, ema=0.9)
    stages = {iteration: stage(recipe, iteration) for iteration in (1, 50, 51, 80, 81)}
    assert [now.content == {"l1": 100.0} for now in stages.values()] == [True, True, False, False, False]
    assert stages[51].content == recipe.content
    assert [now.adversarial for now in stages.values()] == [False, False, False, False, True]
    assert stages[1].ema == pytest.approx(2 / 11)
    assert stages[81].ema == pytest.approx(0.9)
    assert stage(dataclasses.replace(recipe, ema=0.0), 50).ema == 0


def sick(folder, out, monkeypatch, when):
    """A training whose content loss is NaN in some calls, told by their number."""
    from detbench.gan import losses

    calls, honest = [], losses.content_loss

    def content_loss(*arguments):
        calls.append(1)
        return honest(*arguments) * (float("nan") if when(len(calls)) else 1.0)

    monkeypatch.setattr(losses, "content_loss", content_loss)
    recipe = dataclasses.replace(RECIPE, adversarial_from=1.0)
    folders = {"data": [folder / "photos"], "validation": [folder / "photos"]}
    return train("small", small_spec(recipe), out, device="cpu", every=2, **folders)


def test_a_training_that_diverges_goes_back_to_its_checkpoint(folder, tmp_path, monkeypatch, capsys):
    best = sick(folder, tmp_path, monkeypatch, lambda call: call == 3)  # in the second leg of two iterations
    last = best.with_name("last.safetensors")
    assert "a loss is not finite at iteration 4: back to 2" in capsys.readouterr().err
    assert read_record(last)["rollbacks"] == 1
    assert all(torch.isfinite(t).all() for weights in (best, last) for t in tensors(weights).values())
    rates = [float(row["learning_rate"]) for row in rows_of(tmp_path / "log.csv")]
    assert rates[0] == RECIPE.learning_rate
    assert rates[1] == pytest.approx(learning_rate(RECIPE, 4) / 2)


def test_a_training_that_keeps_diverging_stops(folder, tmp_path, monkeypatch):
    with pytest.raises(DetbenchError, match="a loss is not finite at iteration 2, after 3 returns"):
        sick(folder, tmp_path, monkeypatch, lambda call: True)


def test_a_discriminator_at_zero_is_a_divergence():
    from detbench.gan.train import IDLE_LINES, _diverged

    assert _diverged({"d_loss": 1e-5}, IDLE_LINES - 1) is None
    assert "below 0.001 for 2000 iterations" in _diverged({"d_loss": 1e-5}, IDLE_LINES)


def test_what_has_no_recipe_cannot_be_trained(folder, tmp_path):
    with pytest.raises(DetbenchError, match="identity has no recipe"):
        train("identity", registry.get("identity"), tmp_path)


@pytest.mark.slow("three processes that import torch")
def test_two_processes_train_together(folder, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys; from pathlib import Path; sys.path[:0] = sys.argv[1:3]\n"
        "import test_gan\n"
        "if __name__ == '__main__': test_gan.start(Path(sys.argv[3]), Path(sys.argv[4]), iterations=2)\n"
    )
    here = Path(__file__).parent
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", program]
    done = subprocess.run(
        [*command, here, here.parent, folder, tmp_path / "out"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert read_record(tmp_path / "out" / "last.safetensors")["images_seen"] == 2 * 2 * 2


def test_the_learning_rate_falls_to_zero():
    recipe = dataclasses.replace(RECIPE, iterations=100, decay_from=0.5, learning_rate=1.0)
    assert [learning_rate(recipe, i) for i in (1, 50, 75, 100)] == [1, 1, 0.5, 0]
    assert learning_rate(dataclasses.replace(recipe, decay_from=1.0), 100) == 1


def test_pairs_and_photographs_are_told_apart(folder):
    sources = load_folders([folder])
    assert (len(sources.photos), len(sources.pairs)) == (4, 4)
    assert sources.record[0]["files"] == 12
    (folder / "pairs" / "train" / "GOPR01" / "sharp" / "2.png").unlink()
    with pytest.raises(DetbenchError, match=r"blur/2\.png has no partner 2 in .*sharp"):
        load_folders([folder])


def test_a_folder_called_sharp_may_hold_photographs(folder):
    sharp = folder / "pairs" / "train" / "GOPR01" / "sharp"
    assert len(load_folders([sharp]).photos) == 4


def test_pairs_match_by_stem(folder):
    blur = folder / "pairs" / "train" / "GOPR01" / "blur"
    images.write_image(blur / "0.jpg", images.read_image(blur / "0.png"))
    (blur / "0.png").unlink()
    assert len(load_folders([folder / "pairs"]).pairs) == 4


def test_a_pack_gives_back_what_went_in(folder, tmp_path):
    sources = load_folders([folder])
    whole = pack.pack(sources, tmp_path / "whole")
    assert [path.name for path in whole] == ["pack-000.zip"]
    shards = pack.pack(sources, tmp_path / "shards", shard=whole[0].stat().st_size // 2)
    assert len(shards) > 2
    assert all(path.stat().st_size <= whole[0].stat().st_size // 2 for path in shards)
    for packs in (whole, shards):
        back = load_folders(packs)
        assert (len(back.photos), len(back.pairs)) == (4, 4)
        for got, wanted in zip(back.photos, sources.photos, strict=True):
            assert np.abs(got.astype(int) - wanted).mean() < 4
        for got, wanted in zip(back.pairs, sources.pairs, strict=True):
            assert np.abs(got[0].astype(int) - wanted[0]).mean() < 4
            assert np.abs(got[1].astype(int) - wanted[1]).mean() < 4
    assert load_folders(whole).record[0]["folder"] == "pack-000"
    assert load_folders([tmp_path / "shards"]).record == load_folders(shards).record


@pytest.mark.slow("two trainings")
def test_a_budget_is_shared_and_what_is_finished_is_skipped(folder, tmp_path, capsys):
    folders = {"data": [folder / "photos"], "validation": [folder / "photos"], "device": "cpu"}
    specs = {"one": small_spec(), "two": small_spec(), "identity": registry.get("identity")}
    assert schedule.train_all(specs, tmp_path, budget=0.0, **folders) == ["one", "two"]
    assert schedule.train_all(specs, tmp_path, budget=600.0, **folders) == []
    assert "training one (1 of 2), for 5 min at most" in capsys.readouterr().err
    assert schedule.train_all(specs, tmp_path, budget=600.0, **folders) == []
    assert not capsys.readouterr().err


@pytest.mark.slow("a training of 110 iterations")
def test_a_training_out_of_time_leaves_a_checkpoint(folder, tmp_path):
    recipe = dataclasses.replace(RECIPE, iterations=110)
    folders = {"data": [folder / "photos"], "validation": [folder / "photos"], "device": "cpu"}
    train("small", small_spec(recipe), tmp_path, budget=0.0, **folders)
    assert rows_of(tmp_path / "log.csv")[-1]["iteration"] == "100"
    train("small", small_spec(recipe), tmp_path, **folders)
    assert rows_of(tmp_path / "log.csv")[-1]["iteration"] == "110"


@pytest.mark.parametrize(("text", "wanted"), [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400)])
def test_times_are_read(text, wanted):
    assert schedule.seconds(text) == wanted


def test_a_mistake_in_a_bare_training_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["detbench.gan", "--all", "--data", str(tmp_path), "--validation", str(tmp_path)])
    with pytest.raises(SystemExit) as told:
        runpy.run_module("detbench.gan", run_name="__main__")
    assert isinstance(told.value.code, str)  # which Python prints, alone, before it exits with 1
    assert told.value.code.startswith(f"detbench.gan: {tmp_path} holds no images")


def test_what_is_no_time_is_refused():
    with pytest.raises(DetbenchError, match="'soon' is no time"):
        schedule.seconds("soon")


@pytest.mark.slow("trains in a process of its own")
def test_training_needs_few_packages(folder, tmp_path):
    """It must run from a source tree on a machine that has little beside torch."""
    program = (
        "import sys, runpy\n"
        "for name in 'ultralytics cv2 pandas typer pycocotools platformdirs tensorboard'.split():\n"
        "    sys.modules[name] = None\n"
        "runpy.run_module('detbench.gan', run_name='__main__')\n"
    )
    options = ["--steps", "1", "--device", "cpu", "--out", tmp_path / "out"]
    photos = ["--data", folder / "photos", "--data", folder / "pairs", "--validation", folder / "photos"]
    done = subprocess.run(
        [sys.executable, "-c", program, "dc250p", *photos, *options],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parent.parent,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "best.safetensors").exists()


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DetbenchError, match="holds no images"):
        load_folders([tmp_path])


def batches(folder, **changes):
    recipe = dataclasses.replace(RECIPE, batch=16, **changes)
    return data.Batches(load_folders([folder]), recipe, 0, 0, torch.device("cpu"))


def test_a_batch_depends_on_its_number_alone(folder):
    first = batches(folder).batch(3)
    data._bank.cache_clear()  # another process draws its own
    again = batches(folder).batch(3)
    assert torch.equal(first.blurred, again.blurred)
    assert torch.equal(first.sharp, again.sharp)
    assert not torch.equal(first.blurred, batches(folder).batch(4).blurred)
    streamed = batches(folder).stream(3)
    assert torch.equal(next(streamed).blurred, first.blurred)
    assert torch.equal(next(streamed).blurred, batches(folder).batch(4).blurred)


def test_crops_of_pairs_in_which_nothing_moved_are_drawn_anew(tmp_path):
    """In three of four pairs blurred and sharp are alike."""
    rng = np.random.default_rng(0)
    for i in range(4):
        sharp = rng.integers(0, 256, (48, 48, 3), np.uint8)
        images.write_image(tmp_path / "sharp" / f"{i}.png", sharp)
        images.write_image(tmp_path / "blur" / f"{i}.png", sharp // 2 if i == 0 else sharp)

    def share(**recipe):
        made = batches(tmp_path, noise_variance=0.0, **recipe)
        drawn = [made.batch(i) for i in range(50)]
        return np.mean([[not torch.equal(*pair) for pair in zip(b.blurred, b.sharp, strict=True)] for b in drawn])

    assert share(redraw_above=35.0) > 0.95
    assert share(redraw_above=0.0) < 0.5


def test_batches_are_blurred_crops_in_range(folder):
    batch = batches(folder, real_pairs=0.0, noise_variance=0.0, blur_extent=(5.0, 8.0)).batch(0)
    blurred, sharp = batch.blurred, batch.sharp
    assert blurred.shape == sharp.shape == (16, 3, 32, 32)
    assert blurred.abs().max() <= 1
    assert sharp.abs().max() <= 1

    def roughness(x):
        return x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean()

    assert roughness(blurred) < 0.9 * roughness(sharp)
    assert abs(blurred.mean() - sharp.mean()) < 0.1


@pytest.mark.slow("makes 768 crops")
def test_noise_has_the_said_variance(folder):
    quiet, loud, half = (
        torch.cat([made.batch(i).blurred for i in range(16)])
        for made in (
            batches(folder, noise_variance=0.0),
            batches(folder, noise_variance=0.002),
            batches(folder, noise_variance=0.002, noise_share=0.5),
        )
    )
    grey = quiet.abs() < 0.7  # far enough from black and white for noise not to be clipped
    assert ((loud - quiet)[grey] / 2).var().item() == pytest.approx(0.001, rel=0.15)
    untouched = ((half - quiet).abs().amax(dim=(1, 2, 3)) == 0).float().mean()
    assert untouched.item() == pytest.approx(0.5, abs=0.1)


def test_small_pictures_are_continued_by_reflection():
    picture = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    crop = data.cut(picture, 24, (0.0, 0.0))
    assert crop.shape == (24, 24, 3)
    assert (crop[:16, :16] == picture).all()
    assert (crop[16] == crop[14]).all()


def test_coarse_quantisation_makes_blocks_and_none_changes_nothing():
    torch.manual_seed(0)
    images = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8), size=(32, 32), mode="bicubic").clamp(0, 1)
    made = data.quantise(images, torch.tensor([0.0, 2.0]))
    assert torch.allclose(made[0], images[0], atol=1e-5)
    assert 0.005 < (made[1] - images[1]).abs().mean() < 0.1
    # As coarse as Pillow's JPEG of about that quality, on luminance.
    grey = images[1].mean(dim=0).mul(255).round().byte().numpy()
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "jpeg", quality=50)
    theirs = np.asarray(Image.open(buffer)).astype(float)
    mine = data.quantise(torch.from_numpy(grey)[None, None].float() / 255, torch.ones(1))[0, 0].numpy() * 255
    assert np.abs(mine - theirs).mean() < 1


@pytest.mark.parametrize("kind", ["object_motion", "uniform_blur", "camera_shake"])
def test_each_kind_of_blur_blurs(folder, kind):
    shares = {"object_motion": 0.0, "uniform_blur": 0.0} | ({kind: 1.0} if kind != "camera_shake" else {})
    made = batches(folder, real_pairs=0.0, noise_variance=0.0, blur_extent=(5.0, 8.0), **shares)
    blurred, sharp = (batch := made.batch(0)).blurred, batch.sharp
    assert blurred.diff(dim=-1).abs().mean() < 0.97 * sharp.diff(dim=-1).abs().mean()
    assert abs(blurred.mean() - sharp.mean()) < 0.15  # light is averaged, which makes contours brighter


def test_pairs_may_be_shaken_besides(folder):
    plain, shaken = (
        batches(folder, real_pairs=1.0, noise_variance=0.0, shaken_pairs=share, blur_extent=(5.0, 8.0)).batch(0)
        for share in (0.0, 1.0)
    )
    assert torch.equal(plain.blurred, plain.sharp)  # as this folder's pairs are
    assert torch.equal(shaken.sharp, plain.sharp)
    assert shaken.blurred.diff(dim=-1).abs().mean() < 0.9 * plain.blurred.diff(dim=-1).abs().mean()
