"""Training: the equations, the batches, and a trainer that resumes as if nothing had happened."""

import csv
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deblurers._unet import NORMS
from detbench import images, registry
from detbench.gan import data, losses
from detbench.gan.discriminators import Discriminator
from detbench.gan.recipe import Recipe
from detbench.gan.train import INITIALISE, learning_rate, train
from detbench.types import DeblurerSpec, DetbenchError, Preset
from detbench.weights import read_record


def naive_dark_channel(image, patch):
    """Equation 3 of Zhang et al., pixel by pixel; image is (3, H, W)."""
    _, height, width = image.shape
    reach = patch // 2
    return np.array(
        [
            [image[:, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].min() for x in range(width)]
            for y in range(height)
        ]
    )


@pytest.mark.parametrize("patch", [3, 15])
def test_the_dark_channel_is_equation_3(patch):
    image = torch.rand(2, 3, 20, 26)
    got = losses.dark_channel(image, patch)
    for i in range(2):
        assert np.array_equal(got[i, 0].numpy(), naive_dark_channel(image[i].numpy(), patch))


def test_the_dark_channels_gradient_goes_to_the_darkest_value():
    image = torch.rand(1, 3, 9, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: losses.dark_channel_loss(x, torch.zeros_like(x)), image)
    losses.dark_channel(image, 17).sum().backward()
    assert image.grad.count_nonzero() == 1
    assert image.grad.flatten()[image.flatten().argmin()] == 81


def test_losses_on_literal_tensors():
    restored, sharp = torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 3, 4, 4)
    assert losses.content_loss({"l1": 100.0}, restored, sharp).item() == pytest.approx(50)
    assert losses.content_loss({"dark_channel": 250.0}, restored, sharp).item() == pytest.approx(15.625)
    assert losses.content_loss({"l1": 100.0, "dark_channel": 250.0}, restored, sharp).item() == pytest.approx(65.625)
    undecided, sure = torch.zeros(2, 1), torch.full((2, 1), 20.0)
    assert losses.bce_discriminator(undecided, undecided).item() == pytest.approx(2 * np.log(2))
    assert losses.bce_discriminator(sure, -sure).item() == pytest.approx(0, abs=1e-6)
    assert losses.bce_generator(undecided).item() == pytest.approx(np.log(2))
    assert losses.bce_generator(sure).item() == pytest.approx(0, abs=1e-6)


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
    judge = Discriminator()
    assert [m.stride[0] for m in judge.modules() if isinstance(m, nn.Conv2d)] == [2, 2, 2, 1]
    assert judge(torch.rand(2, 3, 256, 256), torch.rand(2, 3, 256, 256)).shape == (2, 1)


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


RECIPE = Recipe(
    content={"l1": 100.0, "dark_channel": 250.0},
    adversarial="bce",
    discriminator={"width": 4},
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

    saved = module._checkpoint

    def kill(*arguments):
        saved(*arguments)
        raise Killed

    module._checkpoint = kill
    try:
        with pytest.raises(Killed):
            start(folder, tmp_path / "cut", every=2)
    finally:
        module._checkpoint = saved
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


def test_a_short_training_lowers_the_error(folder, tmp_path):
    recipe = dataclasses.replace(RECIPE, learning_rate=2e-3, noise_variance=0.0, init="he", iterations=100, ema=0.0)
    sources = data.load_folders([folder / "photos"])
    folders = {"data": [folder / "photos"], "validation": [folder / "photos"]}
    train("small", small_spec(recipe), tmp_path / "out", device="cpu", every=10, **folders)
    rows = rows_of(tmp_path / "out" / "log.csv")
    psnr = [float(row["psnr_validation"]) for row in rows]
    blurred, sharp = zip(*data.validation_pairs(sources, recipe), strict=True)
    from detbench.gan.train import mean_psnr

    assert max(psnr) > mean_psnr(list(blurred), list(sharp)) + 0.1
    assert float(rows[-1]["content"]) < float(rows[0]["content"])


def test_another_trainings_checkpoint_is_refused(folder, tmp_path, monkeypatch):
    start(folder, tmp_path / "out", iterations=2)
    with pytest.raises(DetbenchError, match=r"checkpoint\.pt was made with another seed"):
        start(folder, tmp_path / "out", iterations=4, seed=1)
    monkeypatch.setattr(sys.modules[__name__], "RECIPE", dataclasses.replace(RECIPE, batch=3))
    with pytest.raises(DetbenchError, match=r"another recipe"):
        start(folder, tmp_path / "out", iterations=4)


def test_what_has_no_recipe_cannot_be_trained(folder, tmp_path):
    with pytest.raises(DetbenchError, match="identity has no recipe"):
        train("identity", registry.get("identity"), tmp_path)


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
    sources = data.load_folders([folder])
    assert (len(sources.photos), len(sources.pairs)) == (4, 4)
    assert sources.record[0]["files"] == 12
    (folder / "pairs" / "train" / "GOPR01" / "sharp" / "2.png").unlink()
    with pytest.raises(DetbenchError, match=r"blur/2\.png has no partner 2 in .*sharp"):
        data.load_folders([folder])


def test_a_folder_called_sharp_may_hold_photographs(folder):
    sharp = folder / "pairs" / "train" / "GOPR01" / "sharp"
    assert len(data.load_folders([sharp]).photos) == 4


def test_pairs_match_by_stem(folder):
    blur = folder / "pairs" / "train" / "GOPR01" / "blur"
    images.write_image(blur / "0.jpg", images.read_image(blur / "0.png"))
    (blur / "0.png").unlink()
    assert len(data.load_folders([folder / "pairs"]).pairs) == 4


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DetbenchError, match="holds no images"):
        data.load_folders([tmp_path])


def batches(folder, **changes):
    recipe = dataclasses.replace(RECIPE, batch=16, **changes)
    return data.Batches(data.load_folders([folder]), recipe, 0, 0, torch.device("cpu"))


def test_a_batch_depends_on_its_number_alone(folder):
    first, again = batches(folder).batch(3), batches(folder).batch(3)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], batches(folder).batch(4)[0])
    streamed = batches(folder).stream(3)
    assert torch.equal(next(streamed)[0], first[0])
    assert torch.equal(next(streamed)[0], batches(folder).batch(4)[0])


def test_batches_are_blurred_crops_in_range(folder):
    blurred, sharp = batches(folder, real_pairs=0.0, noise_variance=0.0, blur_extent=(5.0, 8.0)).batch(0)
    assert blurred.shape == sharp.shape == (16, 3, 32, 32)
    assert blurred.abs().max() <= 1
    assert sharp.abs().max() <= 1

    def roughness(x):
        return x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean()

    assert roughness(blurred) < 0.9 * roughness(sharp)
    assert abs(blurred.mean() - sharp.mean()) < 0.1


def test_noise_has_the_said_variance(folder):
    quiet, loud, half = (
        torch.cat([made.batch(i)[0] for i in range(16)])
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
