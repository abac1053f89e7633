"""Batches: crops, blurred, each a function of its number."""

import dataclasses

import numpy as np
import pytest
import torch
from training import RECIPE, places

from detbench.data import images
from detbench.gan import data
from detbench.gan.recipe import Recipe
from detbench.gan.sources import Sources, load_folders


def batches(folder, **changes):
    recipe = dataclasses.replace(RECIPE, batch=16, **changes)
    return data.Batches(load_folders([folder]), recipe, 0, (0, 1), torch.device("cpu"))


def test_a_batch_depends_on_its_number_alone(folder):
    first = batches(folder).batch(3)
    data._bank.cache_clear()  # another process draws its own
    again = batches(folder).batch(3)
    assert torch.equal(first.blurred, again.blurred)
    assert torch.equal(first.sharp, again.sharp)
    assert not torch.equal(first.blurred, batches(folder).batch(4).blurred)
    streamed = batches(folder).stream(3)
    assert torch.equal(next(streamed).blurred, first.blurred)
    assert torch.equal(next(streamed).blurred, batches(folder).batch(4).blurred)


def test_processes_share_the_batch_of_one(folder):
    """Two with half the batch each see what one sees, crop by crop, and so their mean loss is its loss."""
    recipe = dataclasses.replace(
        RECIPE, batch=8, real_pairs=0.5, jpeg_share=0.5, sharp_share=0.2, detector_imgsz=64, detector_zoom=(0.8, 1.5)
    )
    sources, cpu = load_folders([folder]), torch.device("cpu")
    whole = data.Batches(sources, recipe, 0, (0, 1), cpu)
    halves = [data.Batches(sources, dataclasses.replace(recipe, batch=4), 0, (rank, 2), cpu) for rank in (0, 1)]
    for number in (0, 5):
        one, parts = whole.batch(number), [half.batch(number) for half in halves]
        for rank, part in enumerate(parts):
            assert torch.equal(part.blurred, one.blurred[rank::2])
            assert torch.equal(part.sharp, one.sharp[rank::2])
            assert part.scale == one.scale[rank::2]
        losses = [float((part.blurred - part.sharp).abs().mean()) for part in parts]
        assert sum(losses) / 2 == pytest.approx(float((one.blurred - one.sharp).abs().mean()))
    assert not torch.equal(parts[0].blurred, parts[1].blurred)


def test_crops_of_pairs_in_which_nothing_moved_are_drawn_anew(tmp_path):
    """In three of four pairs blurred and sharp are alike."""
    rng = np.random.default_rng(0)
    for i in range(4):
        sharp = rng.integers(0, 256, (48, 48, 3), np.uint8)
        images.write_image(tmp_path / "sharp" / f"{i}.png", sharp)
        images.write_image(tmp_path / "blur" / f"{i}.png", sharp // 2 if i == 0 else sharp)

    def share(**recipe):
        made = batches(tmp_path, noise_variance=0.0, **recipe)
        drawn = [made.batch(i) for i in range(50)]
        return np.mean([[not torch.equal(*pair) for pair in zip(b.blurred, b.sharp, strict=True)] for b in drawn])

    assert share(redraw_above=35.0) > 0.95
    assert share(redraw_above=0.0) < 0.5


def test_batches_are_blurred_crops_in_range(folder):
    batch = batches(folder, real_pairs=0.0, noise_variance=0.0, blur_extent=(5.0, 8.0)).batch(0)
    blurred, sharp = batch.blurred, batch.sharp
    assert blurred.shape == sharp.shape == (16, 3, 32, 32)
    assert blurred.abs().max() <= 1
    assert sharp.abs().max() <= 1

    def roughness(x):
        return x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean()

    assert roughness(blurred) < 0.9 * roughness(sharp)
    assert abs(blurred.mean() - sharp.mean()) < 0.1


@pytest.mark.slow("makes 768 crops")
def test_noise_has_the_said_variance(folder):
    quiet, loud, half = (
        torch.cat([made.batch(i).blurred for i in range(16)])
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


def test_coarse_quantisation_makes_blocks_and_none_changes_nothing():
    torch.manual_seed(0)
    images = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8), size=(32, 32), mode="bicubic").clamp(0, 1)
    made = data.quantise(images, torch.tensor([0.0, 2.0]))
    assert torch.allclose(made[0], images[0], atol=1e-5)
    assert 0.005 < (made[1] - images[1]).abs().mean() < 0.1
    # As coarse as Pillow's JPEG of about that quality, on luminance.
    grey = images[1].mean(dim=0).mul(255).round().byte().numpy()
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "jpeg", quality=50)
    theirs = np.asarray(Image.open(buffer)).astype(float)
    mine = data.quantise(torch.from_numpy(grey)[None, None].float() / 255, torch.ones(1))[0, 0].numpy() * 255
    assert np.abs(mine - theirs).mean() < 1


@pytest.mark.parametrize("kind", ["object_motion", "uniform_blur", "camera_shake"])
def test_each_kind_of_blur_blurs(folder, kind):
    shares = {"object_motion": 0.0, "uniform_blur": 0.0} | ({kind: 1.0} if kind != "camera_shake" else {})
    made = batches(folder, real_pairs=0.0, noise_variance=0.0, blur_extent=(5.0, 8.0), **shares)
    blurred, sharp = (batch := made.batch(0)).blurred, batch.sharp
    assert blurred.diff(dim=-1).abs().mean() < 0.97 * sharp.diff(dim=-1).abs().mean()
    assert abs(blurred.mean() - sharp.mean()) < 0.15  # light is averaged, which makes contours brighter


def test_pairs_may_be_shaken_besides(folder):
    plain, shaken = (
        batches(folder, real_pairs=1.0, noise_variance=0.0, shaken_pairs=share, blur_extent=(5.0, 8.0)).batch(0)
        for share in (0.0, 1.0)
    )
    assert torch.equal(plain.blurred, plain.sharp)  # as this folder's pairs are
    assert torch.equal(shaken.sharp, plain.sharp)
    assert shaken.blurred.diff(dim=-1).abs().mean() < 0.9 * plain.blurred.diff(dim=-1).abs().mean()


def drawn(sources, count=20, **changes):
    """The sharp side of crops of 96 pixels, as (least column, row), (most column, row), and their scale."""
    recipe = dataclasses.replace(Recipe({}, crop=96, batch=8, real_pairs=0.5, object_crops=1.0), **changes)
    made = data.Batches(sources, recipe, 0, (0, 1), torch.device("cpu"))
    for number in range(count):
        batch = made.batch(number)
        for crop, scale in zip((batch.sharp + 1) * 255, batch.scale, strict=True):
            assert crop.shape == (3, 96, 96)
            yield crop[:2].amin((1, 2)).numpy(), crop[:2].amax((1, 2)).numpy(), scale


@pytest.mark.slow("blurs 320 crops")
def test_crops_are_cut_around_objects():
    box, other = np.float32([[230, 330, 270, 390]]), np.float32([[10, 20, 30, 60]])
    sources = Sources(
        photos=[places(), places()],
        pairs=[(places(), places())],
        photo_objects=[np.empty((0, 4), np.float32), box],
        pair_objects=[other],
    )
    seen = {"box": 0, "other": 0}
    for least, most, _ in drawn(sources):
        found = [
            name
            for name, (x, y) in {"box": (250, 360), "other": (20, 40)}.items()
            if (least - 2 <= (x, y)).all() and ((x, y) <= most + 2).all()
        ]
        assert len(found) == 1, (least, most)
        seen[found[0]] += 1
    assert min(seen.values()) > 20
    least = np.array([corner for corner, _, _ in drawn(sources, object_crops=0.0)])
    assert (least[:, 1] > 40).mean() > 0.3  # anywhere, by far not always in a corner
    assert (least[:, 1] < 250).mean() > 0.3


@pytest.mark.slow("blurs 80 crops")
def test_crops_are_zoomed_for_the_detector_within_the_given_factors():
    sources = Sources(photos=[places()])
    scales = [scale for _, _, scale in drawn(sources, 10, detector_zoom=(1.0, 2.0))]
    assert min(scales) < 1.2 < 1.8 < max(scales) <= 2.0


@pytest.mark.slow("blurs 160 crops")
def test_a_crop_bears_the_scale_at_which_its_frame_is_seen():
    sources = Sources(photos=[places()], pairs=[(places(320, 200), places(320, 200))])
    found = {"pair": set(), "whole": set(), "half": set()}
    for least, most, scale in drawn(sources, 10, detector_imgsz=640, object_crops=0.0):
        halved = (most - least).min() > 140
        found["half" if halved else "pair" if scale == 2.0 else "whole"].add(scale)
    assert found == {"pair": {640 / 320}, "whole": {640 / 400}, "half": {2 * 640 / 400}}
    assert {scale for _, _, scale in drawn(sources, 10, object_crops=0.0)} == {1.0}
