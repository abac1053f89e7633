"""VGG19 up to conv3_3, for the perceptual loss.

torchvision's ImageNet weights come first; where they cannot be fetched (575 MB from the model hub), a quantised copy of
the original Caffe weights does, which lies in a small package. The two are different trainings of one architecture, so
a training's record says which was used: :func:`source`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detbench import assets
from detbench.progress import say
from detbench.types import DetbenchError

LAYERS = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3")
"""Convolutions up to conv3_3; max-pooling comes before each block but the first."""

TORCHVISION_NUMBERS = (0, 2, 5, 7, 10, 12, 14)
"""Their places in torchvision's ``features``."""


class Features(nn.Module):
    """VGG19's conv3_3 of images in [-1, 1].

    Not cut out of torchvision's definition: trainings must run on machines that have torch without it.

    Args:
        weights: ``X_Y.weight`` (out, in, 3, 3) and ``X_Y.bias`` of :data:`LAYERS`, for RGB.
        mean: of the input's channels in [0, 1], which the weights expect subtracted.
        deviation: which they expect it divided by, then.
        scale: the output is multiplied by this.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], mean: list[float], deviation: list[float], scale: float = 1.0
    ) -> None:
        super().__init__()
        for name in LAYERS:
            for part in ("weight", "bias"):
                self.register_buffer(f"{part}{name}", weights[f"{name}.{part}"].float())
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1))
        self.scale = scale

    def forward(self, images: Tensor, as_coded: bool = False) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to (B, 256, H / 4, W / 4).

        Args:
            images: RGB.
            as_coded: leave out the last ReLU, and give torchvision's weights the images in [-1, 1] as they are, as
                DeblurGAN's code does; other weights get the same images in proportion.
        """
        if as_coded:  # what torchvision's normalisation would have to be for x itself to come out of it
            x = images * (torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1).to(images) / self.deviation)
        else:
            x = ((images + 1) / 2 - self.mean) / self.deviation
        for name in LAYERS:
            if name in ("2_1", "3_1"):
                x = F.max_pool2d(x, 2)
            x = F.conv2d(x, getattr(self, f"weight{name}"), getattr(self, f"bias{name}"), padding=1)
            if not (as_coded and name == LAYERS[-1]):
                x = F.relu(x)
        return x * self.scale


def features(images: Tensor, as_coded: bool = False) -> Tensor:
    """conv3_3 of images in [-1, 1], on their device; see :class:`Features`."""
    net = _network(images.device)
    result: Tensor = net(images.contiguous(memory_format=torch.channels_last), as_coded)
    return result


def source() -> str:
    """Which weights :func:`features` uses: the asset's name and hash."""
    asset = assets.find(_load()[0])
    return f"{asset.name}:{asset.sha256[:8]}"


@cache
def _network(device: torch.device) -> nn.Module:
    return _load()[1].to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


@cache
def _load() -> tuple[str, Features]:
    """The first of the two sets of weights that can be had, and its asset's name."""
    try:
        return "vgg19", torchvision_weights()
    except DetbenchError:
        say("torchvision's VGG19 cannot be fetched: using the quantised original weights for the perceptual loss")
        return "vgg19-quantised", quantised_weights()


def torchvision_weights() -> Features:
    """The official ImageNet weights (IMAGENET1K_V1).

    Raises:
        DetbenchError: they cannot be fetched.
    """
    stored = torch.load(assets.fetch("vgg19"), map_location="cpu", weights_only=True, mmap=True)
    numbers = zip(LAYERS, TORCHVISION_NUMBERS, strict=True)
    weights = {f"{name}.{part}": stored[f"features.{i}.{part}"] for name, i in numbers for part in ("weight", "bias")}
    return Features(weights, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def quantised_weights() -> Features:
    """The original weights of Simonyan and Zisserman, each layer through a codebook of 256 values.

    Their features on photographs are about 145 times as large as torchvision's (root mean square after the ReLU of
    VGG16's conv3_3 there, and of these, on three Kodak photographs): the output is divided by that, so that a recipe's
    weight means much the same with either. An interpretation.

    Raises:
        DetbenchError: they cannot be fetched.
    """
    stored: dict[str, Any] = torch.load(assets.fetch("vgg19-quantised"), map_location="cpu", weights_only=True)
    weights = {}
    for name in LAYERS:
        block, number = name.split("_")
        prefix = f"block{block}_conv{number}"
        weights[f"{name}.weight"] = stored[f"{prefix}_W_table"][stored[f"{prefix}_W_q"].long()]
        weights[f"{name}.bias"] = stored[f"{prefix}_b"]
    weights["1_1.weight"] = weights["1_1.weight"].flip(1)  # they are for BGR
    return Features(weights, [123.68 / 255, 116.779 / 255, 103.939 / 255], [1 / 255] * 3, scale=1 / 145)
