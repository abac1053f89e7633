"""Every deblurer of the publications, also future ones: it can be trained, and training does what it is for."""

import dataclasses

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric

from detbench import registry
from detbench.data import images
from detbench.gan import data, losses
from detbench.gan.sources import load_folders
from detbench.gan.step import Stage, step, training_state
from detbench.gan.train import train
from detbench.types import Preset
from detbench.weights import load_weights

SPECS = {name: registry.get(name) for name in registry.entries()}
FAMILIES = {"dark channel", "DeblurGAN", "pix2pix", "residual in residual"}
"""Of the publications: their deblurers come in a published and a compact size, and play against a discriminator."""
TRAINED = [
    name
    for name, spec in SPECS.items()
    if spec.presets[spec.preset].recipe and (spec.family in FAMILIES or name == "deepdeblur")
]


@pytest.mark.parametrize("name", TRAINED)
def test_it_has_a_published_and_a_compact_size(name):
    spec = SPECS[name]
    assert spec.preset == "compact"
    assert {"paper", "compact"} <= spec.presets.keys()
    assert spec.family
    for label, preset in spec.presets.items():
        assert preset.recipe.adversarial
        assert preset.recipe.setting == (label if label in ("faithful", "oracle") else "corrected")


@pytest.mark.parametrize("name", TRAINED)
def test_its_compact_size_is_small(name):
    spec = SPECS[name]
    net = spec.build(**spec.presets["compact"].options)
    assert sum(p.numel() for p in net.parameters()) <= 4_000_000


def test_all_of_the_publications_are_here():
    """A family that is spelt in another way would slip through."""
    assert set(PUBLISHED) <= set(TRAINED)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(4):
        photo = np.kron(rng.integers(0, 256, (20, 24, 3)), np.ones((6, 6, 1))).astype(np.uint8)
        images.write_image(folder / f"{i}.png", photo)
    return folder


def tiny(name):
    """A deblurer's compact preset, reduced to what trains in a second: its own loss, game and layers."""
    spec = SPECS[name]
    preset = spec.presets["compact"]
    recipe = dataclasses.replace(
        preset.recipe,
        discriminator={**preset.recipe.discriminator, "width": 4},
        crop=32,
        batch=1,
        iterations=100,
        noise_variance=0.0,
        l1_until=0.0,
        blur_extent=(3.0, 6.0),
        ema=0.0,
    )
    options = {**preset.options, "width": 8}
    if "levels" in options:
        options["levels"] = min(options["levels"], 4)  # more leave too little of the crop
    return dataclasses.replace(spec, presets={"compact": Preset(options, 32, recipe)})


@pytest.mark.parametrize("name", TRAINED)
def test_one_step_lowers_its_loss(name, photos):
    spec = tiny(name)
    recipe = spec.presets["compact"].recipe
    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu")
    both = training_state(spec.build(**spec.presets["compact"].options), recipe, fabric)
    both.set_learning_rate(1e-4)
    batches = data.Batches(load_folders([photos]), recipe, 0, (0, 1), torch.device("cpu"))
    batch = batches.batch(0)
    content = [
        step(both, recipe, Stage(recipe.content, False, recipe.ema), batch, fabric).content.item() for _ in range(2)
    ]
    assert content[1] < content[0]


@pytest.mark.slow("a training of 100 iterations for each")
@pytest.mark.parametrize("name", TRAINED)
def test_a_short_training_lowers_the_validation_error(name, photos, tmp_path):
    spec = tiny(name)
    recipe = spec.presets["compact"].recipe
    pairs = data.validation_pairs(load_folders([photos]), recipe)
    blurred, sharp = (2 * data.to_tensor(list(side)) - 1 for side in zip(*pairs, strict=True))

    def error(iterations):
        """Of the recipe's own content losses on crops it is not trained on; the second call goes on from the first."""
        train(name, spec, tmp_path, data=[photos], validation=[photos], device="cpu", iterations=iterations, every=1000)
        net = spec.build(**spec.presets["compact"].options)
        load_weights(net, tmp_path / "last.safetensors")
        with torch.no_grad():
            restored = net.eval()(blurred)
            return losses.content_loss(recipe.content, restored, losses.target(recipe.content, restored, sharp)).item()

    first = error(1)
    assert error(100) < 0.99 * first


@pytest.mark.parametrize("name", ["dc0", "deblurgan_comb", "pix2pix_sa_gr", "pix2pix_sa_ca_gr_sn_perc", "rir"])
def test_what_corrects_its_input_starts_by_copying(name):
    preset = SPECS[name].presets["compact"]
    torch.manual_seed(0)
    net = training_state(SPECS[name].build(**preset.options), preset.recipe, Fabric(accelerator="cpu")).generator
    frame = torch.rand(1, 3, 64, 64) * 2 - 1
    assert (net(frame) - frame).abs().mean() < 0.05


@pytest.mark.parametrize("name", TRAINED)
def test_a_seed_decides_what_it_makes(name):
    spec = tiny(name)
    frame = torch.rand(1, 3, 32, 32) * 2 - 1
    made = []
    for _ in range(2):
        torch.manual_seed(5)
        net = spec.build(**spec.presets["compact"].options).eval()
        with torch.no_grad():
            made.append(net(frame))
    assert torch.equal(*made)


def test_the_published_sizes():
    spec = SPECS["deblurgan_comb"]
    net = spec.build(**spec.presets["paper"].options)
    assert sum(p.numel() for p in net.parameters()) == 11_378_179


# The generator's whole loss for restored crops of 0.5 everywhere, sharp ones of 0 and a discriminator's score of 1: L1
# is 0.5, L2 0.25, the dark channel's 0.0625, total variation 0, the perceptual loss 1 (of features that are twice the
# image), BCE -log(sigmoid(1)) = 0.3133, and WGAN's loss -1.
PUBLISHED = {
    "dc0": 100 * 0.5 + 0.3132617,
    "dc250": 100 * 0.5 + 250 * 0.0625 + 0.3132617,
    "dc250p": 100 * 0.5 + 250 * 0.0625 + 100 * 1.0 + 0.3132617,
    "deblurgan_wild": 100 * 1.0 - 1,
    "deblurgan_synth": 100 * 1.0 - 1,
    "deblurgan_comb": 100 * 1.0 - 1,
    "deblurgan_tv": 100 * 1.0 + 100 * 0.0 - 1,
    "deblurgan_l1": 100 * 0.5 - 1,
    "deblurgan_edge": 100 * 1.0 - 1,
    "deblurgan_feedback": 100 * 1.0 - 1,
    "pix2pix": 100 * 0.5 + 0.3132617,
    "pix2pix_sa": 100 * 0.5 + 0.3132617,
    "pix2pix_sa_gr": 100 * 0.5 + 0.3132617,
    "pix2pix_sa_sn": 100 * 0.5 + 0.3132617,
    "pix2pix_sa_ca_gr_sn_perc": 100 * 1.0 + 0.3132617,
    "rir": 100 * 1.0 + 0.3132617,
    "rir_large": 100 * 0.5 + 0.3132617,
    "deepdeblur": 0.5 * 0.25 + 1e-4 * 0.3132617,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_its_published_loss_on_literal_tensors(name, monkeypatch):
    recipe = SPECS[name].presets["paper"].recipe
    twice = losses.Content(lambda images: 2 * images, torch.nn.functional.mse_loss)
    monkeypatch.setitem(losses.CONTENT, "perceptual", twice)
    restored, sharp = torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, 3, 8, 8)
    target = losses.target(recipe.content, restored, sharp)
    content = losses.content_loss(recipe.content, restored, target).item()
    adversarial = losses.ADVERSARIAL[recipe.adversarial].generator(torch.ones(1, 1)).item()
    assert content + recipe.adversarial_weight * adversarial == pytest.approx(PUBLISHED[name], rel=1e-6)
