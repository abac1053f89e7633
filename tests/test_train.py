"""The trainer: it resumes as if nothing had happened, goes back when it diverges, and leaves records."""

import dataclasses
import math
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import training
from training import RECIPE, rows_of, small_spec, start, tensors

from detbench import registry
from detbench.data import images
from detbench.gan import data, validate
from detbench.gan.prepare import fabric_on
from detbench.gan.recipe import Recipe
from detbench.gan.sources import load_folders
from detbench.gan.step import OPTIMIZERS, stage, training_state, update
from detbench.gan.train import train
from detbench.gan.training import learning_rate
from detbench.types import DetbenchError
from detbench.weights import read_record


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_training_equals_an_uninterrupted_one(folder, tmp_path, monkeypatch, optimizer):
    monkeypatch.setattr(training, "RECIPE", dataclasses.replace(RECIPE, optimizer=optimizer))
    start(folder, tmp_path / "whole", every=2)

    class Killed(Exception):
        pass

    from detbench.gan import training as module

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
    monkeypatch.setattr(training, "RECIPE", dataclasses.replace(RECIPE, batch=3))
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
    from detbench.gan.training import IDLE_LINES, _diverged

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
        "import training\n"
        "if __name__ == '__main__': training.start(Path(sys.argv[3]), Path(sys.argv[4]), iterations=2)\n"
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


def test_a_mistake_in_a_bare_training_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["detbench.gan", "--all", "--data", str(tmp_path), "--validation", str(tmp_path)])
    with pytest.raises(SystemExit) as told:
        runpy.run_module("detbench.gan", run_name="__main__")
    assert isinstance(told.value.code, str)  # which Python prints, alone, before it exits with 1
    assert told.value.code.startswith(f"detbench.gan: {tmp_path} holds no images")


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


def test_the_learning_rate_rises_along_a_line_and_falls_along_half_a_cosine():
    recipe = Recipe({}, iterations=100, schedule="cosine", warmup=10, learning_rate=1.0)
    rates = [learning_rate(recipe, i) for i in (1, 5, 10, 50, 75, 100)]
    # (1 + cos(pi i / 100)) / 2, of which a tenth, half and all after 1, 5 and 10 iterations
    assert rates == pytest.approx([0.0999753, 0.4969220, 0.9755283, 0.5, 0.1464466, 0.0], abs=1e-6)
    assert learning_rate(dataclasses.replace(recipe, warmup=0), 1) == pytest.approx(0.9997533)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_gradient_that_is_not_finite_is_left_out(value):
    recipe = Recipe(content={"l1": 1.0}, clip_gradient=1.0, ema=0.5)
    fabric = fabric_on("cpu")
    state = training_state(torch.nn.Conv2d(3, 3, 1), recipe, fabric)
    now = stage(recipe, 1)
    before = [parameter.clone() for parameter in state.generator.parameters()]
    shown = torch.ones(1, 3, 4, 4)
    update(state, recipe, now, (state.generator(shown) * value).sum(), fabric)
    for one, other, mean in zip(before, state.generator.parameters(), state.averaged.parameters(), strict=True):
        assert torch.equal(one, other)
        assert torch.isfinite(mean).all()
    update(state, recipe, now, state.generator(shown).sum(), fabric)
    assert not torch.equal(before[0], next(state.generator.parameters()))
