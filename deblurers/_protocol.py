"""What all compact presets have in common: how the weights that ship were trained, whatever the network."""

from typing import Any

PROTOCOL: dict[str, Any] = {
    # Noise on a tenth of the crops only: most frames are clean, and a short training on noise learns to smooth.
    "noise_variance": 0.002,
    "noise_share": 0.1,
    # Blur of 5 px and more: L1 pulls as hard at crops that need next to nothing.
    "blur_extent": (5.0, 20.0),
    # In most crops of a video's averaged frames nothing moves: they teach to copy, and to leave real blur as it is.
    "redraw_above": 35.0,
    # Five to twenty times the papers' rates, which a short training can afford as they fall to zero.
    "learning_rate": 1e-3,
    "betas": (0.9, 0.999),
    "batch": 4,
    "crop": 128,
    "ema": 0.999,
}
"""Fields of their recipes."""

SHORT: dict[str, Any] = {
    **PROTOCOL,
    # In place of Adam, whose 24,000 iterations it does in 8,000 (reports/training/dc250.md).
    "optimizer": "muon",
    "iterations": 8_000,
    "decay_from": 0.6,
    # Late: an untrained generator learns only textures from its discriminator.
    "adversarial_from": 0.975,
}
"""Likewise, for 32,000 crops."""
