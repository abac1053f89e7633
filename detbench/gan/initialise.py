"""First weights of the networks."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.utils import parametrize


def initialise_normal(net: nn.Module) -> None:
    """Weights of convolutions and fully connected layers ~ N(0, 0.02), of normalisations ~ N(1, 0.02); biases 0."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.BatchNorm2d):
            nn.init.normal_(_weight(module), 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def initialise_he(net: nn.Module) -> None:
    """He's initialisation for LeakyReLU 0.2, biases 0, and near zero the last layer, or all of ``net.last_layers``."""
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    for layer in layers:
        fan_in = float(layer.in_channels * math.prod(layer.kernel_size))
        if isinstance(layer, nn.ConvTranspose2d):  # of whose inputs each output sees one in stride^2
            fan_in /= math.prod(layer.stride)
        nn.init.normal_(_weight(layer), 0.0, math.sqrt(2 / (1 + 0.2**2) / fan_in))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    for layer in getattr(net, "last_layers", layers[-1:]):
        nn.init.normal_(_weight(layer), 0.0, 1e-3)


def _weight(module: nn.Module) -> Tensor:
    """A layer's weight as it is stored, which under spectral normalisation is not the one it uses."""
    if parametrize.is_parametrized(module, "weight"):
        stored: Tensor = module.parametrizations.weight.original  # type: ignore[union-attr, assignment]
        return stored
    assert isinstance(module.weight, Tensor)
    return module.weight


INITIALISE = {"normal": initialise_normal, "he": initialise_he}
"""First weights of the generator, by a recipe's ``init``."""
