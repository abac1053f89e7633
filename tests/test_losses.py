"""The losses, against naive loops and on literal tensors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from detbench.data.images import read_image
from detbench.gan import losses, vgg
from detbench.gan.discriminators import PatchDiscriminator, ScoreDiscriminator


def naive_dark_channel(image, patch):
    """Equation 3 of Zhang et al., pixel by pixel; image is (3, H, W)."""
    _, height, width = image.shape
    reach = patch // 2
    return np.array(
        [
            [image[:, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].min() for x in range(width)]
            for y in range(height)
        ]
    )


def content_loss(weights, restored, sharp):
    return losses.content_loss(weights, restored, losses.target(weights, restored, sharp))


@pytest.mark.parametrize("patch", [3, 15])
def test_the_dark_channel_is_equation_3(patch):
    image = torch.rand(2, 3, 20, 26)
    got = losses.dark_channel(image, patch)
    for i in range(2):
        assert np.array_equal(got[i, 0].numpy(), naive_dark_channel(image[i].numpy(), patch))


def test_the_dark_channels_gradient_goes_to_the_darkest_value():
    image = torch.rand(1, 3, 9, 9, dtype=torch.float64, requires_grad=True)
    black = torch.zeros(1, 1, 9, 9)
    distance = losses.CONTENT["dark_channel"].distance
    assert torch.autograd.gradcheck(lambda x: distance(losses.dark_channel(x), black), image)
    losses.dark_channel(image, 17).sum().backward()
    assert image.grad.count_nonzero() == 1
    assert image.grad.flatten()[image.flatten().argmin()] == 81


def test_losses_on_literal_tensors():
    restored, sharp = torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 3, 4, 4)
    assert content_loss({"l1": 100.0}, restored, sharp).item() == pytest.approx(50)
    assert content_loss({"dark_channel": 250.0}, restored, sharp).item() == pytest.approx(15.625)
    assert content_loss({"l1": 100.0, "dark_channel": 250.0}, restored, sharp).item() == pytest.approx(65.625)
    undecided, sure = torch.zeros(2, 1), torch.full((2, 1), 20.0)
    assert losses.bce_discriminator(undecided, undecided).item() == pytest.approx(2 * np.log(2))
    assert losses.bce_discriminator(sure, -sure).item() == pytest.approx(0, abs=1e-6)
    assert losses.bce_generator(undecided).item() == pytest.approx(np.log(2))
    assert losses.bce_generator(sure).item() == pytest.approx(0, abs=1e-6)


def test_squares_and_total_variation_on_literal_tensors():
    restored, sharp = torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 3, 4, 4)
    assert content_loss({"l2": 2.0}, restored, sharp).item() == pytest.approx(0.5)
    assert content_loss({"tv": 1.0}, restored, sharp).item() == 0
    ramp = torch.arange(4.0).expand(1, 3, 4, 4) / 10
    assert content_loss({"tv": 1.0}, ramp, sharp).item() == pytest.approx(0.1)


def test_several_outputs_are_averaged_each_at_its_size():
    sharp = torch.rand(1, 3, 8, 8)
    small = nn.functional.avg_pool2d(sharp, 2)
    got = content_loss({"l1": 1.0}, (small + 0.1, sharp + 0.3), sharp)
    assert got.item() == pytest.approx(0.2)


def test_adversarial_losses_on_literal_scores():
    real, fake = torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [2.0]])
    wgan, lsgan = losses.ADVERSARIAL["wgan"], losses.ADVERSARIAL["lsgan"]
    assert wgan.discriminator(real, fake).item() == -1
    assert wgan.generator(fake).item() == -1
    assert lsgan.discriminator(real, fake).item() == pytest.approx((2 + 2) / 2)
    assert lsgan.generator(fake).item() == pytest.approx(0.5)


@pytest.mark.parametrize("per_pixel", [False, True])
def test_the_gradient_penalty_is_that_of_finite_differences(per_pixel):
    torch.manual_seed(0)
    weights = torch.randn(3, 4, 4, dtype=torch.float64)

    def critic(blurred, candidate):
        return (candidate.double().tanh() * weights).sum(dim=(1, 2, 3), keepdim=True)

    sharp, restored = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    torch.manual_seed(1)
    got = losses.gradient_penalty(critic, sharp, sharp, restored, per_pixel)
    torch.manual_seed(1)
    share = torch.rand(2, 1, 1, 1)
    between = (restored + share * (sharp - restored)).double()
    gradient = torch.zeros_like(between)
    for place in np.ndindex(*between.shape):
        nudge = torch.zeros_like(between)
        nudge[place] = 1e-6
        up, down = ((b.tanh() * weights).sum(dim=(1, 2, 3))[place[0]] for b in (between + nudge, between - nudge))
        gradient[place] = (up - down) / 2e-6
    squares = gradient.square()
    norms = squares.sum(dim=1).sqrt() if per_pixel else squares.sum(dim=(1, 2, 3)).sqrt()
    assert got.item() == pytest.approx((norms - 1).square().mean().item(), rel=1e-4)


def test_the_penalty_trains_the_critic_and_not_the_generator():
    critic = PatchDiscriminator(width=4, conditional=False, norm="instance", padding=2)
    restored = torch.rand(2, 3, 32, 32, requires_grad=True)
    sharp = torch.rand(2, 3, 32, 32)
    losses.gradient_penalty(critic, sharp, sharp, restored).backward()
    assert restored.grad is None
    assert all(p.grad is not None for p in critic.parameters() if p.ndim > 1)


def test_discriminators_score_as_published():
    image = torch.rand(1, 3, 256, 256)
    assert PatchDiscriminator(4, conditional=False, norm="instance", padding=2)(image, image).shape == (1, 1, 35, 35)
    assert PatchDiscriminator(4)(image, image).shape == (1, 1, 30, 30)
    assert ScoreDiscriminator(256, 4)(image, image).shape == (1, 1)
    channels = [m.out_channels for m in PatchDiscriminator().modules() if isinstance(m, nn.Conv2d)]
    assert channels == [64, 128, 256, 512, 1]
    unconditional = PatchDiscriminator(4, conditional=False).eval()
    assert torch.equal(unconditional(image, image), unconditional(1 - image, image))


def test_a_normalised_spectrum_is_one():
    torch.manual_seed(0)
    critic = PatchDiscriminator(4, spectral_norm=True)
    image = torch.rand(2, 3, 32, 32)
    for _ in range(50):
        critic(image, image)
    for layer in critic.modules():
        if isinstance(layer, nn.Conv2d):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)


def random_vgg():
    torch.manual_seed(0)
    sizes = [3, 64, 64, 128, 128, 256, 256, 256]
    weights = {}
    for i, name in enumerate(vgg.LAYERS):
        weights[f"{name}.weight"] = torch.randn(sizes[i + 1], sizes[i], 3, 3) / (3 * sizes[i] ** 0.5)
        weights[f"{name}.bias"] = torch.randn(sizes[i + 1]) / 10
    return weights, vgg.Features(weights, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def test_the_features_are_torchvisions_conv3_3():
    from torchvision.models import vgg19

    weights, mine = random_vgg()
    layers = vgg19(weights=None).features[:16].eval()
    state = {
        f"{i}.{part}": weights[f"{name}.{part}"]
        for name, i in zip(vgg.LAYERS, vgg.TORCHVISION_NUMBERS, strict=True)
        for part in ("weight", "bias")
    }
    layers.load_state_dict(state)
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = ((images + 1) / 2 - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
    with torch.no_grad():
        assert torch.allclose(mine(images), layers(normalised), atol=1e-5)
        assert torch.allclose(mine(images, as_coded=True), layers[:15](images), atol=1e-5)


def test_the_quantised_weights_are_vgg19s():
    net = vgg.quantised_weights()
    # An edge between black and white excites conv3_3 far more than an even grey does.
    flat, edge = torch.zeros(1, 3, 96, 96), torch.ones(1, 3, 96, 96)
    edge[..., :48] = -1
    with torch.no_grad():
        quiet, loud = net(flat)[..., 8:-8, 8:-8], net(edge)[..., 8:-8, 8:-8]
    assert quiet.std(dim=(2, 3)).max() < 1e-3 * loud.std(dim=(2, 3)).max()
    assert 0.5 < loud.square().mean().sqrt() < 10  # as large as torchvision's
    assert net.weight3_3.shape == (256, 256, 3, 3)


VGG16 = Path(__file__).parents[2] / "shared/data/vgg/vgg16_to_conv3_3_oihw.npz"


@pytest.mark.skipif(not VGG16.is_file(), reason="VGG16's weights are not here")
def test_the_quantised_weights_see_what_vgg16s_do_in_torchvisions_convention(street):
    """Another training of the same first layers: both see the most where the other does, and as strongly."""
    stored = np.load(VGG16)
    weights = {name.removeprefix("conv"): torch.from_numpy(stored[name]) for name in stored.files}
    sixteen = vgg.Features(weights, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    nineteen = vgg.quantised_weights()
    # Of the three colours, both look at green most and at blue least: they agree in which channel is which.
    for net in (sixteen, nineteen):
        red, green, blue = net.weight1_1.square().sum(dim=(0, 2, 3))
        assert green > red > blue
    seen = {sixteen: [], nineteen: []}
    for pair in street.pairs[:45:6]:  # photographs by day
        frame = torch.from_numpy(read_image(pair.sharp)).permute(2, 0, 1)[None, :, :256, :256] / 127.5 - 1
        for net, strengths in seen.items():
            with torch.no_grad():
                strengths.append(nn.functional.avg_pool2d(net(frame).square().sum(dim=1), 8).flatten())
    a, b = (torch.cat(strengths) for strengths in seen.values())
    assert torch.corrcoef(torch.stack([a.log(), b.log()]))[0, 1] > 0.8
    assert (b.mean() / a.mean()).sqrt().item() == pytest.approx(1, abs=0.2)  # the division by 145
