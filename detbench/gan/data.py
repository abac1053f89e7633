"""Training material into batches of (blurred, sharp) crops.

All pictures are held in memory as uint8, and blur is synthesised from torch operations where the network is, so
that a batch costs a few crops and one pass over them. Batch ``i`` depends on the seed and ``i`` alone: a resumed
training sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detbench.data import blur
from detbench.gan.recipe import Recipe
from detbench.gan.sources import Boxes, Photo, Sources
from detbench.quality import psnr_db
from detbench.types import DetbenchError

SUB_FRAMES = 24
"""Positions of the camera in one synthesised exposure."""

MARGIN = 16
"""Pixels around a crop that may move into it while the camera shakes."""

LARGEST_ANGLE = np.deg2rad(1.0)
"""Of the camera's rotation during an exposure."""

OFF_CENTRE = 0.35
"""How far an object may lie from the middle of the crop around it, as a share of the crop's side."""

DRAWS = 20
"""How many crops of real pairs are drawn at most for one in which something moved."""


def cut(picture: Photo, side: int, corner: tuple[float, float]) -> Photo:
    """A square crop; pictures that are too small are continued by reflection.

    Args:
        picture: (H, W, C) uint8.
        side: of the crop, in pixels.
        corner: where the crop lies between the first and the last possible place, (down, right) in [0, 1].

    Returns:
        (side, side, C) uint8.
    """
    height, width = picture.shape[:2]
    if min(height, width) < side:
        missing = [(0, max(0, side - n)) for n in (height, width)]
        picture = np.pad(picture, [*missing, (0, 0)], mode="reflect")
        height, width = picture.shape[:2]
    top, left = round(corner[0] * (height - side)), round(corner[1] * (width - side))
    return picture[top : top + side, left : left + side]


def to_tensor(pictures: list[Photo], device: torch.device | str = "cpu") -> Tensor:
    """(H, W, C) uint8 pictures of one size to a (B, C, H, W) float32 tensor in [0, 1], made where it is to lie."""
    return torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2).float() / 255


@lru_cache(maxsize=2)
def _bank(seed: int, size: int) -> NDArray[np.complex128]:
    """Camera paths, (size, 2000): most of what it takes to make :class:`Batches`, which need the same ones twice."""
    paths = blur.trajectories(size, np.random.default_rng([seed, size]))
    paths.flags.writeable = False
    return paths


class Synthesis:
    """Blur of random strength and kind for batches of sharp crops.

    Camera shake (Algorithm 1 with a small rotation) or, for shares of the crops, an object that moves over a resting
    scene, or the convolution with one of Algorithm 1's kernels. A bank of trajectories is drawn once; each use picks
    one, turns it and scales it again. All crops of one kind are blurred at once, where the network is.
    """

    def __init__(self, recipe: Recipe, seed: int, bank: int = 2048) -> None:
        self.recipe = recipe
        self.paths = _bank(seed, bank)

    def __call__(self, sharp: Tensor, rng: np.random.Generator) -> Tensor:
        """Blur (B, 3, H, W) crops in [0, 1]."""
        n, _, height, width = sharp.shape
        extent = rng.uniform(*self.recipe.blur_extent, n)
        turned = self.paths[rng.integers(len(self.paths), size=n)] * np.exp(2j * np.pi * rng.random(n))[:, None]
        shifts = torch.from_numpy(blur.exposure(turned, SUB_FRAMES, extent)).float().to(sharp.device)
        light = blur.to_linear(sharp)
        out = torch.empty_like(light)
        kind = rng.random(n)
        moving = torch.from_numpy(kind < self.recipe.object_motion)
        still = torch.from_numpy(kind >= 1 - self.recipe.uniform_blur) & ~moving
        shaken = ~moving & ~still
        # The camera turns evenly to one side, by up to as much as would move the crop's corner by its shake.
        turn = rng.uniform(-1, 1, n) * np.minimum(LARGEST_ANGLE, extent / width)
        angles = torch.from_numpy(np.linspace(-0.5, 0.5, SUB_FRAMES) * turn[:, None]).float().to(sharp.device)
        sideways = rng.normal(0, 0.3, len(extent))  # as traffic moves, mostly
        straight = torch.from_numpy(blur.straight(extent, sideways, SUB_FRAMES)).float().to(sharp.device)
        masks = torch.from_numpy(np.stack([_blob(height, width, rng) for _ in range(n)])).to(sharp.device)
        if moving.any():
            out[moving] = blur.object_motion(light[moving], masks[moving], straight[moving])
        if still.any():
            out[still] = blur.convolve(light[still], blur.kernels(shifts[still], 2 * math.ceil(extent.max()) + 3))
        if shaken.any():
            out[shaken] = blur.camera_shake(light[shaken], shifts[shaken], angles[shaken])
        return blur.to_display(out)


def quantise(images: Tensor, coarseness: Tensor) -> Tensor:
    """Artefacts like those of JPEG: the cosine transform of 8x8 blocks, rounded to multiples of its luminance table.

    Colours are treated alike and no chroma is left out: what matters here is blocks and ringing.

    Args:
        images: (B, C, H, W) float in [0, 1]; H and W divisible by 8.
        coarseness: (B,) factors of the table: 0 changes nothing, 1 is about quality 50.

    Returns:
        (B, C, H, W) float in [0, 1].
    """
    i = torch.arange(8, device=images.device, dtype=torch.float32)
    cosines = torch.cos((2 * i[None] + 1) * i[:, None] * math.pi / 16) / 2
    cosines[0] /= math.sqrt(2)
    count, channels, height, width = images.shape
    blocks = images.reshape(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4) * 255 - 128
    step = torch.tensor(LUMINANCE_TABLE, device=images.device).view(8, 8) * coarseness.view(-1, 1, 1, 1, 1, 1)
    spectrum = cosines @ blocks @ cosines.T
    rounded = torch.where(step > 0, (spectrum / step.clamp_min(1e-6)).round() * step, spectrum)
    back = (cosines.T @ rounded @ cosines).transpose(3, 4).reshape(images.shape)
    return ((back + 128) / 255).clamp(0, 1)


# ITU-T T.81, table K.1.
LUMINANCE_TABLE = [
    *[16.0, 11.0, 10.0, 16.0, 24.0, 40.0, 51.0, 61.0],
    *[12.0, 12.0, 14.0, 19.0, 26.0, 58.0, 60.0, 55.0],
    *[14.0, 13.0, 16.0, 24.0, 40.0, 57.0, 69.0, 56.0],
    *[14.0, 17.0, 22.0, 29.0, 51.0, 87.0, 80.0, 62.0],
    *[18.0, 22.0, 37.0, 56.0, 68.0, 109.0, 103.0, 77.0],
    *[24.0, 35.0, 55.0, 64.0, 81.0, 104.0, 113.0, 92.0],
    *[49.0, 64.0, 78.0, 87.0, 103.0, 121.0, 120.0, 101.0],
    *[72.0, 92.0, 95.0, 98.0, 112.0, 100.0, 103.0, 99.0],
]
"""Steps in grey levels of the cosine transform's coefficients."""


def _blob(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(1, H, W) mask of a moving object in a random place."""
    centre, reach = rng.uniform(0.2, 0.8, 2), rng.uniform(0.15, 0.5, 2)
    (y0, x0), (y1, x1) = ((centre + side * reach) * (height - 1, width - 1) for side in (-1, 1))
    return blur.outline((x0, y0, x1, y1), height, width)


@dataclass(frozen=True)
class Batch:
    """Crops to train on.

    Attributes:
        blurred: (B, 3, crop, crop) float32 in [-1, 1], channels last.
        sharp: likewise.
        scale: for each crop, by what factor a detector would scale the frame that it is from.
    """

    blurred: Tensor
    sharp: Tensor
    scale: tuple[float, ...]


class Batches:
    """Training batches by number, the next one prepared while the network works on this one.

    Args:
        sources: what to draw from.
        recipe: crop side, batch size and kinds of blur.
        seed: of the training.
        share: number of this process, and how many there are. All draw one batch for all of them, and each takes its
            part: together they see what one process with as large a batch sees.
        device: where blur is synthesised and the batches lie.
    """

    def __init__(
        self, sources: Sources, recipe: Recipe, seed: int, share: tuple[int, int], device: torch.device
    ) -> None:
        if not sources.photos and not sources.pairs:
            raise DetbenchError("There is nothing to train on: no photographs and no pairs.")
        self.sources, self.recipe, self.device = sources, recipe, device
        self.seed, (self.rank, self.world) = seed, share
        # Pictures in which there are objects to cut around.
        self.photos_full, self.pairs_full = (
            [i for i, boxes in enumerate(objects) if len(boxes)]
            for objects in (sources.photo_objects, sources.pair_objects)
        )
        self.synthesis = Synthesis(recipe, seed)
        self.shake = Synthesis(replace(recipe, object_motion=0.0, uniform_blur=0.0), seed)

    def batch(self, number: int, attempt: int = 0) -> Batch:
        """Batch ``number``.

        Args:
            number: of the batch.
            attempt: how often the training was rolled back before: it must not meet the same batches again.
        """
        recipe, size = self.recipe, self.recipe.batch * self.world
        rng = np.random.default_rng([self.seed, 0, number, attempt])
        photos, pairs = self.sources.photos, self.sources.pairs
        share = recipe.real_pairs if photos and pairs else float(not photos)
        n_real = int(rng.binomial(size, share))
        real = [self._moved(rng) for _ in range(n_real)]
        made = [self._photo(rng) for _ in range(size - n_real)]
        blurred, sharp = [], []
        if real:
            both = to_tensor([crop for crop, _ in real], self.device)
            blurred.append(both[:, :3])
            sharp.append(both[:, 3:])
            shaken = torch.from_numpy(rng.random(n_real) < recipe.shaken_pairs)
            if shaken.any():
                blurred[-1][shaken] = self.shake(blurred[-1][shaken], rng)
        if made:
            crops = to_tensor([crop for crop, _ in made], self.device)
            blurred.append(self.synthesis(crops, rng))
            sharp.append(crops)
        x, y = (torch.cat(each)[..., MARGIN:-MARGIN, MARGIN:-MARGIN] for each in (blurred, sharp))
        if recipe.noise_variance:
            generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
            variance = rng.uniform(0, recipe.noise_variance, len(x)) * (rng.random(len(x)) < recipe.noise_share)
            deviation = torch.from_numpy(np.sqrt(variance)).float()
            noise = torch.randn(x.shape, generator=generator, device=self.device)
            x = (x + noise * deviation.to(self.device)[:, None, None, None]).clamp(0, 1)
        if recipe.jpeg_share:
            coarse = torch.from_numpy(rng.uniform(0.5, 3.0, len(x)) * (rng.random(len(x)) < recipe.jpeg_share)).float()
            x = quantise(x, coarse.to(self.device))
        zooms = rng.uniform(*recipe.detector_zoom, len(x))
        if recipe.sharp_share:
            x = torch.where(torch.from_numpy(rng.random((len(x), 1, 1, 1)) < recipe.sharp_share).to(x.device), y, x)
        scales = [zoom * self._scale(pixels) for zoom, (_, pixels) in zip(zooms, (*real, *made), strict=True)]
        mine = slice(self.rank, None, self.world)
        x, y = ((2 * each[mine] - 1).contiguous(memory_format=torch.channels_last) for each in (x, y))
        return Batch(x, y, tuple(scales[mine]))

    def _scale(self, longest: float) -> float:
        """By what a detector would scale a picture whose longer side has so many pixels."""
        return self.recipe.detector_imgsz / longest if self.recipe.detector_imgsz else 1.0

    def _photo(self, rng: np.random.Generator) -> tuple[Photo, float]:
        """A photograph's crop, with its margin, and the longer side of what it is from, in pixels.

        At the photograph's own scale or, as often as its size allows, at half of it, flipped at random.
        """
        index, box = self._pick(self.sources.photo_objects, self.photos_full, len(self.sources.photos), rng)
        photo, side = self.sources.photos[index], self.recipe.crop + 2 * MARGIN
        half = min(photo.shape[:2]) >= 2 * side and rng.random() < 0.5
        crop = cut(photo, side * (1 + half), self._corner(photo, side * (1 + half), box, rng))
        if half:
            rows = crop[::2].astype(np.uint16) + crop[1::2]
            crop = ((rows[:, ::2] + rows[:, 1::2] + 2) // 4).astype(np.uint8)
        return crop[:, ::-1] if rng.random() < 0.5 else crop, max(photo.shape) / (1 + half)

    def _moved(self, rng: np.random.Generator) -> tuple[Photo, float]:
        """A crop of a pair, of those that are drawn the first that is blurred enough; else the last."""
        limit = self.recipe.redraw_above
        for _ in range(DRAWS):
            crop, longest = self._pair(rng)
            inner = crop[MARGIN:-MARGIN, MARGIN:-MARGIN]
            if not limit or psnr_db(inner[..., :3], inner[..., 3:]) <= limit:
                break
        return crop, longest

    def _pair(self, rng: np.random.Generator) -> tuple[Photo, float]:
        """The same crop of both pictures of a pair, with its margin, stacked to six channels; and their longer side."""
        index, box = self._pick(self.sources.pair_objects, self.pairs_full, len(self.sources.pairs), rng)
        pair, side = self.sources.pairs[index], self.recipe.crop + 2 * MARGIN
        corner = self._corner(pair[0], side, box, rng)
        crop = np.concatenate([cut(picture, side, corner) for picture in pair], axis=2)
        return crop[:, ::-1] if rng.random() < 0.5 else crop, max(pair[0].shape)

    def _pick(
        self, objects: list[Boxes], full: list[int], count: int, rng: np.random.Generator
    ) -> tuple[int, Boxes | None]:
        """One of ``count`` pictures; for a share of the draws one of those with objects, and one of these."""
        if self.recipe.object_crops and rng.random() < self.recipe.object_crops and full:
            index = full[rng.integers(len(full))]
            return index, objects[index][rng.integers(len(objects[index]))]
        return int(rng.integers(count)), None

    @staticmethod
    def _corner(picture: Photo, side: int, box: Boxes | None, rng: np.random.Generator) -> tuple[float, float]:
        """Where to cut, as for :func:`cut`: anywhere, or so that an object lies near the crop's middle."""
        if box is None:
            return rng.random(), rng.random()
        room = np.maximum(np.array(picture.shape[:2]) - side, 1)
        centre = np.array([box[1] + box[3], box[0] + box[2]]) / 2
        down, right = ((centre + side * (rng.uniform(-OFF_CENTRE, OFF_CENTRE, 2) - 0.5)) / room).clip(0, 1)
        return float(down), float(right)

    def stream(self, start: int, attempt: int = 0) -> Iterator[Batch]:
        """Batches ``start``, ``start + 1`` and so on without end, prepared one ahead in a thread."""
        # One thread: a second team of OpenMP threads beside the network's takes more from it than it gives.
        with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            ahead = pool.submit(self.batch, start, attempt)
            while True:
                ready, start = ahead, start + 1
                ahead = pool.submit(self.batch, start, attempt)
                yield ready.result()


def validation_pairs(sources: Sources, recipe: Recipe) -> list[tuple[Photo, Photo]]:
    """A fixed validation set: the given pairs, and the middle of each photograph under fixed synthetic blur.

    The blur is one kernel of 5 to 20 px for each photograph, whatever blur the recipe trains on.

    Args:
        sources: not trained on.
        recipe: whose crops are as large.

    Returns:
        (blurred, sharp) pairs, (crop, crop, 3) uint8 each.
    """
    side = recipe.crop
    cuts = [(cut(b, side, (0.5, 0.5)), cut(s, side, (0.5, 0.5))) for b, s in sources.pairs]
    fixed = replace(recipe, object_motion=0.0, uniform_blur=1.0, blur_extent=(5.0, 20.0))
    synthesis = Synthesis(fixed, seed=0, bank=256)
    for i, photo in enumerate(sources.photos):
        cuts.append(_blurred(cut(photo, side + 2 * MARGIN, (0.5, 0.5)), synthesis, i))
    return cuts


def validation_frames(sources: Sources, recipe: Recipe) -> list[tuple[Photo, Photo]]:
    """A fixed validation set of whole frames: the given pairs, and the photographs under the recipe's synthetic blur.

    Args:
        sources: not trained on.
        recipe: whose blur the photographs get.

    Returns:
        (blurred, sharp) pairs, (H, W, 3) uint8 each.
    """
    synthesis = Synthesis(recipe, seed=0, bank=256)
    return [*sources.pairs, *(_blurred(photo, synthesis, i) for i, photo in enumerate(sources.photos))]


def _blurred(picture: Photo, synthesis: Synthesis, number: int) -> tuple[Photo, Photo]:
    """A picture under fixed blur, and the picture, both without the margin that may have moved into it."""
    image = to_tensor([picture])
    both = torch.cat([synthesis(image, np.random.default_rng([0, number])), image])[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
    blurred, sharp = (both * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return blurred, sharp
