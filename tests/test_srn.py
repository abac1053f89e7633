"""The scale-recurrent network: its checkpoint read byte by byte, its padding, and that it deblurs."""

import struct

import numpy as np
import pytest
import torch

from deblurers import _tensor_bundle, srn
from detbench import assets, quality, registry
from detbench.restore import Restorer
from detbench.types import DetbenchError
from detbench.weights import save_weights

TENSORS = {
    "net/conv/biases": np.arange(3, dtype=np.float32),
    "net/conv/weights": np.linspace(-1, 1, 2 * 5 * 1 * 3, dtype=np.float32).reshape(2, 5, 1, 3),
    "net/conv2/biases": np.array([np.pi], np.float32),
    "step": np.array(7, np.float32),  # a scalar: its shape has no dimensions
    "wide": np.ones((1, 300), np.float32),  # numbers that take more than one byte
}


def varint(number):
    """Seven bits a byte, lowest first, the eighth bit set on all but the last."""
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def number(field, value):
    return varint(field << 3) + varint(value)


def message(field, content):
    return varint(field << 3 | 2) + varint(len(content)) + content


HEADER = number(1, 1)  # one data file


def entry(array, offset, dtype=1, size=None):
    """A BundleEntryProto; its zeros are left out, as protobuf does."""
    shape = b"".join(message(2, number(1, side)) for side in array.shape)
    place = (number(4, offset) if offset else b"") + number(5, array.nbytes if size is None else size)
    return number(1, dtype) + message(2, shape) + place + varint(6 << 3 | 5) + b"\1\2\3\4"


def block(pairs, restart_every=2):
    """A LevelDB block: keys share a prefix with the key before, except at every restart."""
    content, restarts, last = b"", [], b""
    for i, (key, value) in enumerate(pairs):
        if i % restart_every == 0:
            restarts.append(len(content))
            last = b""
        shared = next((n for n, (a, b) in enumerate(zip(key, last, strict=False)) if a != b), min(len(key), len(last)))
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return content + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def table(pairs, per_block=4, compression=0):
    """A LevelDB table: blocks, each with its compression and a checksum, an index of them, and a footer."""
    content = b""

    def append(pairs):
        nonlocal content
        written = block(pairs)
        handle = varint(len(content)) + varint(len(written))
        content += written + bytes([compression]) + b"crc!"
        return handle

    parts = [pairs[i : i + per_block] for i in range(0, len(pairs), per_block)]
    handles = [(part[-1][0], append(part)) for part in parts]
    footer = append([]) + append(handles)
    return content + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


@pytest.fixture
def write(tmp_path):
    """Write a checkpoint: tensors, then what to do otherwise."""

    def write(tensors=TENSORS, header=HEADER, compression=0, **changed):
        data, pairs = b"", [(b"", header)]
        for name, array in tensors.items():
            pairs.append((name.encode(), entry(array, len(data), **changed)))
            data += array.astype("<f4").tobytes()
        index_path, data_path = tmp_path / "some.index", tmp_path / "some.data-00000-of-00001"
        index_path.write_bytes(table(pairs, compression=compression))
        data_path.write_bytes(data)
        return index_path, data_path

    return write


def test_a_checkpoint_is_read_whole(write):
    tensors = _tensor_bundle.read(*write())
    assert list(tensors) == list(TENSORS)
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], array, strict=True)
        assert tensors[name].flags.writeable and tensors[name].flags.c_contiguous


@pytest.mark.parametrize(
    ("otherwise", "reason"),
    [
        ({"compression": 1}, "compressed"),
        ({"dtype": 2}, "type 2, not float32"),
        ({"size": 8}, r"shape \(3,\) has 8 bytes"),
        ({"header": number(1, 2)}, "single, little-endian"),
        ({"header": HEADER + number(2, 1)}, "single, little-endian"),
        ({"header": varint(1 << 3 | 3)}, "unknown kind 3"),
    ],
)
def test_what_the_reader_does_not_know_is_refused(write, otherwise, reason):
    with pytest.raises(ValueError, match=rf"some\.index .*{reason}"):
        _tensor_bundle.read(*write(**otherwise))


def test_a_short_data_file_is_named(write):
    index, data = write()
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"wide ends at byte 1340 of .*some\.data-00000-of-00001, which has 1339"):
        _tensor_bundle.read(index, data)


@pytest.mark.parametrize("content", [b"", b"no table at all", bytes(48), b"\xff" * 40 + _tensor_bundle.MAGIC])
def test_what_is_no_table_is_named(write, content):
    index, data = write()
    index.write_bytes(content)
    with pytest.raises(ValueError, match=r"some\.index"):
        _tensor_bundle.read(index, data)


def test_damage_anywhere_in_the_index_is_a_value_error_or_harmless(write):
    index, data = write()
    whole = index.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for i in range(len(whole)):
        for damaged in (whole[:i], whole[:i] + bytes([whole[i] ^ rng.integers(1, 256)]) + whole[i + 1 :]):
            index.write_bytes(damaged)
            try:
                _tensor_bundle.read(index, data)
            except ValueError as error:
                assert "some.index" in str(error)
                refused += 1
    assert refused > len(whole)  # all that were cut short, and some more


def test_it_has_as_many_parameters_as_the_checkpoint():
    assert sum(parameter.numel() for parameter in srn.SRN().parameters()) == 6_881_251


@pytest.mark.parametrize("size", [(8, 8), (6, 14)])
def test_halving_pads_as_tensorflow_does(size):
    torch.manual_seed(0)
    conv = srn.HalvingConv(2, 3)
    x = torch.randn(1, 2, *size)
    weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    wanted = np.zeros((3, *(-(-side // 2) for side in size)), np.float32)  # SAME: the sides divided by 2, rounded up
    before = [max((out - 1) * 2 + 5 - side, 0) // 2 for side, out in zip(size, wanted.shape[1:], strict=True)]
    for c, i, j in np.ndindex(wanted.shape):
        total = bias[c]
        for k, v, u in np.ndindex(2, 5, 5):
            row, column = 2 * i + v - before[0], 2 * j + u - before[1]
            if 0 <= row < size[0] and 0 <= column < size[1]:
                total += weight[c, k, v, u] * x[0, k, row, column].item()
        wanted[c, i, j] = total
    np.testing.assert_allclose(conv(x)[0].detach().numpy(), wanted, atol=1e-5)


@torch.inference_mode()
def test_the_shape_stays_and_so_does_the_result():
    torch.manual_seed(0)
    net = srn.SRN().eval()
    frames = torch.rand(2, 3, 32, 48)
    restored = net(frames)
    assert restored.shape == frames.shape
    assert torch.equal(restored, net(frames))
    np.testing.assert_allclose(restored[:1], net(frames[:1]), atol=1e-5)


def test_gradients_reach_every_layer_and_leave_the_input_alone():
    net = srn.SRN()
    frames = torch.rand(1, 3, 16, 32)
    before = frames.clone()
    net(frames).square().sum().backward()
    assert torch.equal(frames, before)
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


@pytest.fixture
def offline(monkeypatch):
    """Whoever fetches something now fails."""

    def fetch(asset):
        pytest.fail(f"{asset} was fetched")

    monkeypatch.setattr(assets, "fetch", fetch)


def test_its_hash_follows_the_pins_and_needs_no_download(offline, monkeypatch):
    loaded, before = registry.load("srn"), registry.fingerprint("srn")
    assert loaded.weights is None
    assert registry.fingerprint("srn") == before
    pins = {name: assets.find(name) for name in loaded.spec.assets}
    pins["srn-data"] = assets.Asset("srn-data", "other", "0" * 64, 1, "none", ())
    monkeypatch.setattr(assets, "find", pins.__getitem__)
    assert registry.fingerprint("srn") != before


def test_a_weights_file_goes_before_the_published_ones(offline, tmp_path):
    net = srn.SRN()
    save_weights(tmp_path / "w.safetensors", net, {"deblurer": "srn"})
    built = registry.load("srn", tmp_path / "w.safetensors").build()
    wanted = net.layers["enc1_1"].weight.half().float()
    assert torch.equal(built.layers["enc1_1"].weight, wanted)


def test_published_weights_that_do_not_fit_are_named(monkeypatch, write):
    paths = dict(zip(registry.get("srn").assets, write(), strict=True))
    monkeypatch.setattr(assets, "fetch", paths.__getitem__)
    with pytest.raises(DetbenchError, match=r"some\.index, .*some\.data.* do not fit"):
        registry.load("srn").build()
    paths["srn-index"].write_bytes(b"")
    with pytest.raises(DetbenchError, match=r"some\.index.*magic number"):
        registry.load("srn").build()


def lettering():
    """Sharp dark and bright lettering on grey, (96, 160, 3) uint8."""
    import cv2

    frame = np.full((96, 160, 3), 128, np.uint8)
    frame[48:] = (90, 120, 150)
    for row, (text, colour) in enumerate([("TEXT 1234", 20), ("MNKW xyz", 235), ("EH+=#TL", 20)]):
        cv2.putText(frame, text, (6, 28 + 30 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (colour,) * 3, 2)
    return frame


@pytest.mark.slow("reads 66 MB of weights, and may fetch them")
def test_the_published_weights_fit_and_deblur():
    """Fetches 66 MB (twice) with pip when the files are not in the cache yet."""
    deblurer = registry.load("srn")
    index, data = (assets.fetch(name) for name in deblurer.spec.assets)
    tensors = _tensor_bundle.read(index, data)
    assert len(tensors) == 84
    assert sum(tensor.size for tensor in tensors.values()) == 6_881_251
    net = deblurer.build()
    weight = tensors["g_net/dec2_4/weights"]  # height, width, out, in
    assert net.layers["dec2_4"].weight[5, 7, 1, 2] == weight[1, 2, 7, 5]

    sharp = lettering()
    shifted = [np.roll(sharp, shift, axis=1) for shift in range(-4, 5)]
    blurred = np.mean(shifted, axis=0).round().astype(np.uint8)  # a horizontal motion of nine pixels
    restored = Restorer(net, multiple_of=deblurer.preset.multiple_of)([blurred])[0]
    assert quality.psnr_db(restored, sharp) > quality.psnr_db(blurred, sharp) + 2
