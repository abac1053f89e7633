"""jpeg95: no deblurer but a JPEG codec at quality 95; on sharp frames, the ceiling.

The reference is what a detector sees in the sharp frames, and that flips under changes nobody can see. What is left
of it after a harmless re-encoding is the best that a deblurer can be asked for.
"""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from detbench.types import DeblurerSpec


class Jpeg(nn.Module):
    """Encode and decode as JPEG.

    Args:
        quality: of Pillow's encoder, 1 to 95.
    """

    def __init__(self, quality: int = 95) -> None:
        super().__init__()
        self.quality = quality

    def forward(self, frames: Tensor) -> Tensor:
        """(B, 3, H, W) float in [0, 1] to the same."""
        pixels = (frames * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        decoded = torch.from_numpy(np.stack([self._reencode(picture) for picture in pixels]))
        return (decoded.permute(0, 3, 1, 2).float() / 255).to(frames.device)

    def _reencode(self, picture: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=self.quality)
        return np.asarray(Image.open(file))


SPEC = DeblurerSpec(build=Jpeg)
