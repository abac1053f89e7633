"""The losses of the recipes, as functions of tensors in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from detbench.gan import vgg

Critic = Callable[[Tensor, Tensor], Tensor]
"""A discriminator: (blurred, candidate) to scores."""

# --- content -----------------------------------------------------------------------------------------------------


def dark_channel(images: Tensor, patch: int = 15) -> Tensor:
    """The smallest value of all colours in the patch around each pixel (He et al.; eq. 3 of Zhang et al.).

    Min-pooling, one axis after the other: the minimum over a square is the minimum over its rows' minima.
    Pixels outside the image do not count.

    Args:
        images: (B, 3, H, W) float.
        patch: side of the square patch in pixels, odd; 15 in Zhang et al.'s code.

    Returns:
        (B, 1, H, W) float. Differentiable almost everywhere: the gradient goes to the smallest value.
    """
    dark = -images.amin(dim=1, keepdim=True)
    dark = F.max_pool2d(dark, (patch, 1), stride=1, padding=(patch // 2, 0))
    return -F.max_pool2d(dark, (1, patch), stride=1, padding=(0, patch // 2))


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference of neighbours across, plus that of neighbours down: (B, C, H, W) to (B, C)."""
    return images.diff(dim=-1).abs().mean(dim=(-2, -1)) + images.diff(dim=-2).abs().mean(dim=(-2, -1))


@dataclass(frozen=True)
class Content:
    """A content loss: a distance between what is looked at in the restored and in the sharp image.

    Attributes:
        of: (B, 3, H, W) images in [-1, 1] to what is compared.
        distance: of that, restored and sharp, to a scalar.
    """

    of: Callable[[Tensor], Tensor]
    distance: Callable[[Tensor, Tensor], Tensor]


def _same(images: Tensor) -> Tensor:
    return images


CONTENT = {
    "l1": Content(_same, F.l1_loss),
    "l2": Content(_same, F.mse_loss),
    # Eq. 7 of Zhang et al., the norm squared as in their code; of intensities in [0, 1], hence the 4, which the prior
    # is about (dark means near 0). An interpretation: the paper does not give the range.
    "dark_channel": Content(dark_channel, lambda restored, sharp: F.mse_loss(restored, sharp) / 4),
    # DeblurGAN tried it and dropped it (section 4). Its form is not published, so this is an interpretation; the sharp
    # image does not matter.
    "tv": Content(total_variation, lambda restored, sharp: restored.mean()),
    # VGG19's conv3_3 after the ReLU, as DeblurGAN's text has it (eq. 5), ...
    "perceptual": Content(vgg.features, F.mse_loss),
    # ... and before the ReLU, of input that is not normalised as VGG19 expects, as its code has it.
    "perceptual_as_coded": Content(partial(vgg.features, as_coded=True), F.mse_loss),
}
"""Content losses by name."""

Target = list[dict[str, Tensor]]
"""For each output of a network: what its content losses, by name, compare it with."""


@torch.no_grad()
def target(weights: Mapping[str, float], restored: Tensor | tuple[Tensor, ...], sharp: Tensor) -> Target:
    """What is looked at in the sharp image, once for all updates of the generator on one batch.

    Args:
        weights: weight by name in :data:`CONTENT`.
        restored: the network's output, (B, 3, H, W); or several, of the same or smaller sizes. Only sizes matter.
        sharp: (B, 3, H, W) in [-1, 1]; reduced to the size of each output.
    """
    outputs = (restored,) if isinstance(restored, Tensor) else restored
    images = [sharp if o.shape == sharp.shape else F.interpolate(sharp, o.shape[-2:], mode="area") for o in outputs]
    return [{name: CONTENT[name].of(image.float()) for name in weights} for image in images]


def content_loss(weights: Mapping[str, float], restored: Tensor | tuple[Tensor, ...], target: Target) -> Tensor:
    """The weighted sum of the named content losses, computed in float32.

    Args:
        weights: weight by name in :data:`CONTENT`.
        restored: (B, 3, H, W) in [-1, 1]; or several such outputs of one network, whose losses are averaged.
        target: from :func:`target`.
    """
    outputs = (restored,) if isinstance(restored, Tensor) else restored
    terms = [
        weight * CONTENT[name].distance(CONTENT[name].of(output.float()), sharp[name])
        for output, sharp in zip(outputs, target, strict=True)
        for name, weight in weights.items()
    ]
    return torch.stack(terms).sum() / len(outputs)


# --- adversarial -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Adversarial:
    """An adversarial loss, of generator and discriminator.

    Attributes:
        discriminator: the discriminator's loss of its scores of real and of restored images.
        generator: the generator's loss of the scores of restored images.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def bce_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Binary cross entropy of the discriminator, eq. 4 of Zhang et al., from scores before the sigmoid."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def bce_generator(fake: Tensor) -> Tensor:
    """-log D(fake): the form of eq. 5's adversarial term whose gradient does not vanish, used in practice."""
    return F.softplus(-fake).mean()


def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """The critic's loss of WGAN (Arjovsky et al.; DeblurGAN's eq. 3): how much higher it scores what is restored."""
    return fake.mean() - real.mean()


def wasserstein_generator(fake: Tensor) -> Tensor:
    """Minus the critic's mean score of what is restored: DeblurGAN's eq. 4, without the constant."""
    return -fake.mean()


def least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Squared distance of scores to 1 for real and 0 for restored images, halved (LSGAN: Mao et al., eq. 9)."""
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def least_squares_generator(fake: Tensor) -> Tensor:
    """Squared distance of restored images' scores to 1, halved (LSGAN: Mao et al., eq. 9)."""
    return (fake - 1).square().mean() / 2


ADVERSARIAL = {
    "bce": Adversarial(bce_discriminator, bce_generator),
    "lsgan": Adversarial(least_squares_discriminator, least_squares_generator),
    "wgan": Adversarial(wasserstein_discriminator, wasserstein_generator),
}
"""Adversarial losses by name."""


def gradient_penalty(
    critic: Critic, blurred: Tensor, sharp: Tensor, restored: Tensor, per_pixel: bool = False
) -> Tensor:
    """How far the critic's gradient norm is from 1 between real and restored images (Gulrajani et al., eq. 3).

    Args:
        critic: scores (blurred, candidate).
        blurred: (B, 3, H, W) in [-1, 1].
        sharp: likewise.
        restored: likewise; no gradient flows into it.
        per_pixel: take the norm over each pixel's channels instead of over all values of an image, as DeblurGAN's
            code does: a known defect, for ``faithful`` recipes.

    Returns:
        Scalar: the mean of (norm - 1)^2, its graph kept for the critic's update.
    """
    share = torch.rand(len(sharp), 1, 1, 1, device=sharp.device)
    between = torch.lerp(restored.detach().float(), sharp.float(), share).requires_grad_()
    scores = critic(blurred, between).float()
    (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    norm = gradient.norm(dim=1) if per_pixel else gradient.flatten(1).norm(dim=1)
    return (norm - 1).square().mean()
