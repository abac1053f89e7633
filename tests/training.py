"""A training of moments, for the tests of the trainer and of what it works with."""

import csv

import numpy as np

from detbench import registry
from detbench.gan.recipe import Recipe
from detbench.gan.train import train
from detbench.types import DeblurerSpec, Preset

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


def places(height=400, width=300):
    """A picture of which each pixel tells where it lies: half of its column and row."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x // 2, y // 2, np.zeros_like(x)], axis=2).astype(np.uint8)


def grey(sources):
    """The pictures of sources, told apart by their grey level."""
    return sorted(int(p[0, 0, 0]) for p in (*sources.photos, *(sharp for _, sharp in sources.pairs)))
