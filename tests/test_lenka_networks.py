"""Lenka's networks: the attention equations, the papers' layers, and every option forward and backward."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from deblurers._attention import ChannelAttention, SelfAttention
from deblurers._norm import NORMS
from deblurers._pix2pix import GLOBAL_RESIDUALS, Pix2Pix
from deblurers._rir import ResidualInResidual


def frames(height=32, width=None, batch=2):
    return torch.rand(batch, 3, height, width or height, generator=torch.Generator().manual_seed(0)) * 2 - 1


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def without_memory(build, **options):
    """A network whose weights take none: only its layers are of interest."""
    with torch.device("meta"):
        return build(**options)


def of_kind(net, *kinds):
    return [m for m in net.modules() if isinstance(m, kinds)]


def widths(net, kind, kernel):
    """Output channels of the convolutions of one kernel size, in their order."""
    return [m.out_channels for m in of_kind(net, kind) if m.kernel_size == (kernel, kernel)]


def applied(conv, columns):
    """A 1x1 convolution of (C, N) columns, as the equations write it."""
    bias = 0 if conv.bias is None else conv.bias.detach().numpy()[:, None]
    return conv.weight.detach().numpy()[:, :, 0, 0] @ columns + bias


@pytest.mark.parametrize("channels", [5, 16])
def test_self_attention_is_equation_2(channels):
    torch.manual_seed(0)
    attend = SelfAttention(channels).double()
    attend.gamma.data.fill_(0.7)
    x = torch.randn(2, channels, 3, 4, dtype=torch.float64)
    got = attend(x).detach().numpy()
    for b in range(2):
        columns = x[b].numpy().reshape(channels, 12)
        f, g, h = (applied(conv, columns) for conv in (attend.query, attend.key, attend.value))
        assert len(f) == len(g) == max(channels // 8, 1)
        mixed = np.zeros_like(h)
        for i in range(12):
            weights = np.exp([f[:, i] @ g[:, j] for j in range(12)])
            for j in range(12):
                mixed[:, i] += weights[j] / weights.sum() * h[:, j]
        expected = columns + 0.7 * applied(attend.out, mixed)
        assert got[b].reshape(channels, 12) == pytest.approx(expected, abs=1e-12)


def test_self_attention_starts_as_the_identity():
    x = torch.randn(1, 16, 5, 4)
    assert torch.equal(SelfAttention(16)(x), x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_self_attention_never_holds_the_map_of_all_pairs(layout):
    x = torch.randn(1, 24, 8, 8).to(memory_format=layout).requires_grad_()
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # raises where that kernel does not apply
        SelfAttention(24)(x).sum().backward()


def test_channel_attention_is_equations_3_and_4():
    torch.manual_seed(0)
    attend = ChannelAttention(32, ratio=2).double()
    x = torch.randn(2, 32, 3, 4, dtype=torch.float64)
    got = attend(x).detach().numpy()
    w1, w2 = (conv.weight.detach().numpy()[:, :, 0, 0] for conv in (attend.squeeze, attend.excite))
    assert (w1.shape, w2.shape) == ((16, 32), (32, 16))
    for b in range(2):
        z = np.array([x[b, c].numpy().sum() / 12 for c in range(32)])
        a = 1 / (1 + np.exp(-w2 @ np.maximum(w1 @ z, 0)))
        assert got[b] == pytest.approx(a[:, None, None] * x[b].numpy())
    assert ChannelAttention(32, ratio=16).squeeze.out_channels == 8


def test_the_papers_pix2pix_has_the_papers_layers():
    net = without_memory(Pix2Pix)
    assert widths(net, nn.Conv2d, 4) == [64, 128, 256, 512, 512, 512, 512, 512]
    assert widths(net, nn.ConvTranspose2d, 4) == [512, 512, 512, 512, 256, 128, 64, 3]
    convolutions = of_kind(net, nn.Conv2d, nn.ConvTranspose2d)
    assert {(m.kernel_size, m.stride, m.padding) for m in convolutions} == {((4, 4), (2, 2), (1, 1))}
    assert len(of_kind(net, nn.BatchNorm2d)) == 6 + 7
    assert len(of_kind(net, nn.Dropout)) == 3
    # In the public pix2pix, convolutions before a batch normalisation have no bias; in Lenka's code they do, and here.
    biases = sum([128, 256, 512, 512, 512, 512]) + sum([512, 512, 512, 512, 256, 128, 64])
    assert parameters(net) == 54_414_531 + biases


def test_attention_stands_where_the_code_has_it():
    net = without_memory(Pix2Pix, self_attention=True, channel_attention=True)
    for kind in (SelfAttention, ChannelAttention):
        encoders = [i for i, block in enumerate(net.encoder, start=1) if of_kind(block, kind)]
        decoders = [8 - i for i, block in enumerate(net.decoder) if of_kind(block, kind)]
        assert (encoders, decoders) == ([4, 7], [8, 5, 2])
    attended = [m.value.in_channels for m in of_kind(net, SelfAttention)]
    weighed = [m.squeeze.in_channels for m in of_kind(net, ChannelAttention)]
    assert attended == [256, 512, 512, 1024, 256]
    assert weighed == [256, 512, 512, 512, 1024, 256]  # the third stands between encoder and decoder
    added = sum(2 * (c + 1) * (c // 8 + c) + 1 for c in attended) + sum(2 * c * (c // 16) for c in weighed)
    assert parameters(net) == parameters(without_memory(Pix2Pix)) + added


@pytest.mark.parametrize(
    ("options", "encoders", "decoders"),
    [
        ({"levels": 5}, [4], [5, 2]),
        ({"levels": 5, "attend_from": 3}, [4], [5]),
        ({"levels": 4}, [4], [4]),
        ({"levels": 4, "attend_from": 1}, [4], [4, 1]),
    ],
)
def test_fewer_levels_attend_every_three_blocks_too_unless_that_is_too_fine(options, encoders, decoders):
    net = without_memory(Pix2Pix, width=8, self_attention=True, **options)
    assert [i for i, block in enumerate(net.encoder, start=1) if of_kind(block, SelfAttention)] == encoders
    assert [len(net.decoder) - i for i, block in enumerate(net.decoder) if of_kind(block, SelfAttention)] == decoders


def test_the_codes_residual_in_residual_has_the_codes_layers():
    net = without_memory(ResidualInResidual, levels=5, spectral_norm=False)  # RiR-Large, by our reading
    assert widths(net, nn.Conv2d, 4) == [64, 128, 128, 256, 256, 512, 512, 1024, 1024]  # each beside its shortcut
    assert widths(net, nn.ConvTranspose2d, 4) == [512, 512, 256, 256, 128, 128, 64, 64, 3]
    blocks = [64, 128, 256, 512, 1024, 1024, 512, 256]  # the decoders', but for the first, with a skip
    assert widths(net, nn.Conv2d, 3) == [c for c in blocks for _ in range(4)]
    assert [m.squeeze.out_channels for m in of_kind(net, ChannelAttention)] == [
        c // 8 for c in blocks for _ in range(4)
    ]
    assert [m.value.in_channels for m in of_kind(net, SelfAttention)] == [1024]
    assert len(of_kind(net, nn.BatchNorm2d)) == 17
    small = without_memory(ResidualInResidual, levels=4, spectral_norm=False)
    assert widths(small, nn.Conv2d, 4) == [64, 128, 128, 256, 256, 512, 512]
    assert widths(small, nn.ConvTranspose2d, 4) == [256, 256, 128, 128, 64, 64, 3]


@pytest.mark.parametrize("build", [Pix2Pix, ResidualInResidual])
@pytest.mark.parametrize("levels", [1, 2, 3, 5])
def test_frames_keep_their_shape(build, levels):
    net = build(width=4, levels=levels).eval()
    x = frames(2**levels, 3 * 2**levels)
    assert net(x).shape == x.shape


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("global_residual", GLOBAL_RESIDUALS)
@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize(
    ("build", "attention"),
    [
        (Pix2Pix, {}),
        (Pix2Pix, {"self_attention": True}),
        (Pix2Pix, {"channel_attention": True}),
        (Pix2Pix, {"self_attention": True, "channel_attention": True}),
        (ResidualInResidual, {}),
    ],
    ids=["pix2pix", "pix2pix-sa", "pix2pix-ca", "pix2pix-sa-ca", "rir"],
)
def test_all_options_train(build, attention, spectral_norm, global_residual, norm):
    torch.manual_seed(0)
    net = build(8, 4, **attention, spectral_norm=spectral_norm, global_residual=global_residual, norm=norm)
    for attend in of_kind(net, SelfAttention):
        attend.gamma.data.fill_(1.0)  # at 0, where it starts, nothing before it learns
    x = frames()
    made = net(x)
    assert made.shape == x.shape
    made.square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if parameter.ndim > 1:  # a bias before batch normalisation, or of a key, cancels out
            assert parameter.grad.any(), name


@pytest.mark.parametrize(
    "net",
    [
        lambda: Pix2Pix(8, 4, self_attention=True, channel_attention=True, spectral_norm=True),
        lambda: ResidualInResidual(8, 3),
    ],
    ids=["pix2pix", "rir"],
)
def test_spectral_norms_are_one(net):
    torch.manual_seed(0)
    net = net()
    for parameter in net.parameters():  # as after some updates: the first estimate no longer holds
        parameter.data += torch.randn_like(parameter) * parameter.std(correction=0)
    with torch.no_grad():
        for _ in range(50):
            net(frames(16))
    net.eval()
    for conv in of_kind(net, nn.Conv2d, nn.ConvTranspose2d):
        weight = conv.weight.transpose(0, 1) if isinstance(conv, nn.ConvTranspose2d) else conv.weight
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("build", [Pix2Pix, ResidualInResidual])
def test_the_global_residual_copies_where_the_last_layer_makes_nothing(build):
    x = frames()
    for residual, share in {"none": 0.0, "sum": 1.0, "mean": 0.5}.items():
        net = build(width=4, levels=3, global_residual=residual, spectral_norm=False)
        last = of_kind(net, nn.Conv2d, nn.ConvTranspose2d)[-1]
        assert last.out_channels == 3
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        assert torch.equal(net(x), share * x)


@pytest.mark.parametrize("build", [Pix2Pix, ResidualInResidual])
def test_the_global_residual_joins_input_and_output(build):
    nets = {residual: build(width=4, levels=3, global_residual=residual).eval() for residual in GLOBAL_RESIDUALS}
    for net in nets.values():
        net.load_state_dict(nets["none"].state_dict())
    x = frames()
    made = nets["none"](x)
    assert made.abs().max() <= 1
    assert torch.equal(nets["sum"](x), x + made)
    assert torch.equal(nets["mean"](x), (x + made) / 2)


PIX2PIX = {"width": 40, "levels": 4, "attend_from": 3, "norm": "layer", "dropout_blocks": 0, "leak": 0.2}
RIR = {"width": 16, "widest": 4, "norm": "layer", "spectral_norm": False}  # which costs nothing that is counted here
BOTH = {"self_attention": True, "channel_attention": True}


@pytest.mark.parametrize(
    ("build", "options", "size", "gmac"),
    [
        pytest.param(Pix2Pix, PIX2PIX, 2.41, 0.44, id="pix2pix"),
        pytest.param(Pix2Pix, PIX2PIX | {"self_attention": True}, 2.70, 0.50, id="pix2pix_sa"),
        pytest.param(Pix2Pix, PIX2PIX | BOTH, 2.73, 0.50, id="pix2pix_sa_ca_gr_sn_perc"),
        pytest.param(ResidualInResidual, RIR | {"levels": 4}, 1.63, 0.55, id="rir"),
        pytest.param(ResidualInResidual, RIR | {"levels": 5}, 2.78, 0.60, id="rir_large"),
    ],
)
def test_compact_sizes_cost_about_the_same(build, options, size, gmac):
    """The options proposed for the compact presets, in millions of parameters and 1e9 multiply-adds for 128x128."""
    net = without_memory(build, **options).eval()
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, 128, 128, device="meta"))
    assert parameters(net) / 1e6 == pytest.approx(size, abs=0.01)
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmac, abs=0.01)
