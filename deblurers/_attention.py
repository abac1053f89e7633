"""Self-attention and channel attention, the two modules that Lenka's networks add to an encoder-decoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Each position becomes a mixture of all positions, in SAGAN's form; Lenka's equation (2).

    A = softmax(f(X)^T g(X)), O = v(A h(X)), Y = gamma O + X, with 1x1 convolutions f, g (``channels`` // 8 channels),
    h and v (``channels``). Gamma is learned and starts at 0, where the module is the identity.

    Args:
        channels: of the input and the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, max(channels // 8, 1), 1)
        self.key = nn.Conv2d(channels, max(channels // 8, 1), 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same. Time grows with (H W)^2, memory with H W alone."""
        query, key, value = (_positions(conv(x)) for conv in (self.query, self.key, self.value))
        # The kernels that never hold the (H W)^2 map want keys as long as values: zeros there change no product.
        # Scale 1 in place of 1/sqrt(length) makes it the equation's plain softmax.
        missing = (0, value.shape[-1] - key.shape[-1])
        mixed = F.scaled_dot_product_attention(F.pad(query, missing), F.pad(key, missing), value, scale=1.0)
        return x + self.gamma * self.out(mixed.transpose(-1, -2).reshape(x.shape))


def _positions(features: Tensor) -> Tensor:
    """(B, C, H, W) to (B, 1, H * W, C): one head, a row for each position."""
    return features.flatten(2).transpose(1, 2).unsqueeze(1).contiguous()


class ChannelAttention(nn.Module):
    """Each channel is scaled by what all channels' means say of it (squeeze and excitation); Lenka's equations (3)-(4).

    Z = mean of X over H and W, A = sigmoid(W2 relu(W1 Z)), Y = A X, with W1 and W2 as 1x1 convolutions without bias.

    Args:
        channels: of the input and the output.
        ratio: by how much W1 lowers the number of channels. Ours: to no fewer than 8, the least in the published
            networks, since one or two ReLUs are easily 0 for all frames and then never learn.
    """

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        squeezed = max(channels // ratio, 8)
        self.squeeze = nn.Conv2d(channels, squeezed, 1, bias=False)
        self.excite = nn.Conv2d(squeezed, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        means = x.mean((2, 3), keepdim=True)
        return x * self.excite(F.relu(self.squeeze(means))).sigmoid()
