"""Published checkpoints as deblurers: tiny real ones, and everything that a file of the wrong kind can be."""

import os
import subprocess
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.NAFNet import NAFNet
from spandrel.architectures.Uformer import Uformer

from detbench import external
from detbench.restore import Restorer
from detbench.types import DetbenchError

SIZES = [(16, 16), (33, 47), (20, 100), (65, 130)]


def restorer(name, **settings):
    """As the runner makes it."""
    spec, _ = external.load(name)
    preset = spec.presets[spec.preset]
    net = spec.build(**preset.options)
    return Restorer(net, multiple_of=preset.multiple_of, value_range=spec.value_range, **settings)


def frames(count, height, width):
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8))


def levels(output):
    """A network's output as frames."""
    return output.mul(255).clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def assert_same(restored, wanted):
    """Equal frames, up to the rounding of another memory layout."""
    assert np.abs(np.stack(restored).astype(int) - levels(wanted)).max() <= 1


def batch(given):
    return torch.from_numpy(np.stack(given)).permute(0, 3, 1, 2).float() / 255


def test_importing_it_imports_no_torch():
    program = "import sys, detbench.external; assert not {'torch', 'spandrel', 'onnxruntime'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("kind", ["spandrel", "onnx"])
@pytest.mark.parametrize("place", ["", "nowhere.pth", "."])
def test_a_missing_file_is_named(kind, place):
    with pytest.raises(DetbenchError, match=f"{kind}:{place}: there is no file .*{kind}:PATH"):
        external.load(f"{kind}:{place}")


# spandrel


@pytest.fixture
def nafnet():
    return random(NAFNet(width=4, enc_blk_nums=[1, 1], middle_blk_num=1, dec_blk_nums=[1, 1]))


def random(net):
    """The network with weights that let every layer count."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net.eval()


@pytest.mark.parametrize("size", SIZES)
def test_spandrel_restores_as_the_architecture_does(nafnet, size):
    torch.save({"params": nafnet.state_dict()}, "naf.pth")
    given = frames(3, *size)
    x = batch(given)
    with torch.inference_mode():
        wanted = torch.cat([nafnet(frame) for frame in x.split(1)])
    assert torch.equal(external.load("spandrel:naf.pth")[0].build()(x), wanted.clamp(0, 1))
    assert_same(restorer("spandrel:naf.pth")(given), wanted)
    assert (levels(wanted) != given).mean() > 0.5


@pytest.mark.filterwarnings("ignore:torch.meshgrid.*indexing:UserWarning")  # of Uformer
@pytest.mark.parametrize("size", [(33, 47), (65, 130)])
def test_spandrel_pads_to_what_the_architecture_wants(size):
    """Uformer takes squares whose sides are multiples of 128. Only the network knows that they must be squares."""
    net = random(Uformer(img_size=128, embed_dim=4, depths=[1] * 9, num_heads=[1] * 9, win_size=8))
    torch.save(net.state_dict(), "uformer.pth")
    spec, _ = external.load("spandrel:uformer.pth")
    assert spec.presets[spec.preset].multiple_of == 128
    given = frames(2, *size)
    height, width = size
    rows, columns = -height % 128, -width % 128
    padded = np.pad(np.stack(given), ((0, 0), (0, rows), (0, columns), (0, 0)), mode="reflect")
    if missing := width + columns - height - rows:
        padded = np.pad(padded, ((0, 0), (0, missing - 1), (0, 0), (0, 0)), mode="reflect")
        padded = np.pad(padded, ((0, 0), (0, 1), (0, 0), (0, 0)), mode="edge")  # a reflection has one row less
    with torch.inference_mode():
        wanted = net(batch(padded))[..., :height, :width]
    assert_same(restorer("spandrel:uformer.pth")(given), wanted)
    assert levels(wanted).std() > 10


@pytest.mark.parametrize("file", ["naf.safetensors", "naf.SafeTensors", "naf.pt", "naf.ckpt", "naf"])
def test_a_checkpoint_may_have_any_form_that_cannot_run_code(nafnet, file):
    save = save_file if file.lower().endswith("safetensors") else torch.save
    save(nafnet.half().state_dict(), file)
    net = external.load(f"spandrel:{file}")[0].build()
    assert not net.training
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(net(x), nafnet.float()(x).clamp(0, 1))


def test_paths_may_be_relative_or_below_the_home(nafnet, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    torch.save(nafnet.state_dict(), "naf.pth")
    for place in ("naf.pth", "~/naf.pth", str(tmp_path / "naf.pth")):
        assert external.load(f"spandrel:{place}")[1].read_bytes() == (tmp_path / "naf.pth").read_bytes()


def test_a_network_moves_between_devices_and_precisions(nafnet):
    torch.save(nafnet.state_dict(), "naf.pth")
    net = external.load("spandrel:naf.pth")[0].build()
    assert {p.device.type for p in net.to("meta").parameters()} == {"meta"}
    given = frames(1, 32, 32)
    exact, rounded = (restorer("spandrel:naf.pth", precision=p)(given)[0] for p in ("fp32", "bf16"))
    assert 0 < np.abs(exact.astype(float) - rounded).mean() < 8


def test_a_changed_checkpoint_is_read_again(nafnet):
    torch.save(nafnet.state_dict(), "naf.pth")
    external.load("spandrel:naf.pth")
    Path("naf.pth").write_bytes(b"changed")
    os.utime("naf.pth", (0, 0))
    with pytest.raises(DetbenchError, match=r"naf\.pth cannot be read"):
        external.load("spandrel:naf.pth")


class Trap:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return open, ("sprung", "w")


def scripted(file):
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # torch's: TorchScript is on its way out
        torch.jit.script(torch.nn.Conv2d(3, 3, 3)).save(file)


@pytest.mark.parametrize(
    "write",
    [
        lambda file: torch.save({"params": Trap()}, file),
        lambda file: torch.save(Trap(), file, _use_new_zipfile_serialization=False),
        lambda file: torch.save(torch.nn.Conv2d(3, 3, 3), file),
        scripted,
        lambda file: Path(file).touch(),
        lambda file: Path(file).write_bytes(b"not a checkpoint at all"),
    ],
    ids=["pickle", "old-pickle", "module", "torchscript", "empty", "garbage"],
)
@pytest.mark.parametrize("file", ["x.pth", "x.pt", "x.safetensors"])
def test_what_is_damaged_or_could_run_code_is_refused(write, file):
    write(file)
    with pytest.raises(DetbenchError, match=rf"{file} cannot be read as weights .*state_dict"):
        external.load(f"spandrel:{file}")
    assert not Path("sprung").exists()


@pytest.mark.parametrize(
    "content", [{}, torch.zeros(3), [1, 2], {"a.weight": torch.zeros(3)}, {"params": {"intro.weight": 1}}]
)
def test_weights_of_no_known_architecture_are_refused(content):
    torch.save(content, "x.pth")
    with pytest.raises(DetbenchError, match=r"x\.pth holds no network that spandrel .*pip install spandrel-extra"):
        external.load("spandrel:x.pth")


def test_weights_that_lack_a_layer_are_refused(nafnet):
    weights = nafnet.state_dict()
    del weights["ending.bias"]
    torch.save(weights, "naf.pth")
    with pytest.raises(DetbenchError, match=r"naf\.pth holds no network that spandrel"):
        external.load("spandrel:naf.pth")


@pytest.mark.parametrize(
    ("net", "what"),
    [
        (Compact(num_feat=4, num_conv=1, upscale=4), "4x SR network of 3 to 3 channels"),
        (NAFNet(img_channel=1, width=4, enc_blk_nums=[1], dec_blk_nums=[1]), "1x Restoration network of 1 to 1"),
    ],
)
def test_networks_that_do_not_restore_rgb_are_refused(net, what):
    torch.save(net.state_dict(), "x.pth")
    with pytest.raises(DetbenchError, match=rf"x\.pth is .*, a {what}.*give one that restores RGB"):
        external.load("spandrel:x.pth")


def test_extra_architectures_are_known_when_installed(nafnet, monkeypatch):
    installed = []
    extra = types.SimpleNamespace(install=lambda *, ignore_duplicates: installed.append(ignore_duplicates))
    monkeypatch.setitem(sys.modules, "spandrel_extra_arches", extra)
    torch.save(nafnet.state_dict(), "naf.pth")
    external.load("spandrel:naf.pth")
    assert installed == [True]


@pytest.mark.parametrize(("kind", "package"), [("spandrel", "spandrel"), ("onnx", "onnxruntime")])
def test_a_missing_package_is_named(kind, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(DetbenchError, match=rf"{kind}:x needs .*pip install 'detbench\[{kind}\]'"):
        external.load(f"{kind}:x")


# ONNX

ANY = ("batch", 3, "height", "width")


def write_onnx(*nodes, constants=(), inputs=(ANY,), outputs=(ANY,), kind=TensorProto.FLOAT, made=None, **settings):
    """net.onnx, of inputs a, b, ... and outputs z, y, ..."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(n, kind, shape) for n, shape in zip("abc", inputs, strict=False)],
        [helper.make_tensor_value_info(n, made or kind, shape) for n, shape in zip("zyx", outputs, strict=False)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(constants).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, "net.onnx", **settings)


def convolution(order=(0, 1, 2), dtype=np.float32):
    """A 3x3 convolution that puts channels into another order."""
    weight = np.zeros((3, 3, 3, 3), dtype)
    weight[range(3), order, 1, 1] = 1
    return {
        "constants": {"weight": weight},
        "kind": TensorProto.FLOAT16 if dtype == np.float16 else TensorProto.FLOAT,
    }, helper.make_node("Conv", ["a", "weight"], ["z"], auto_pad="SAME_UPPER")


SAME = helper.make_node("Identity", ["a"], ["z"])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_onnx_computes_what_its_graph_says(size, dtype, order):
    settings, node = convolution(order, dtype)
    write_onnx(node, **settings)
    given = frames(3, *size)
    assert (np.stack(restorer("onnx:net.onnx")(given)) == np.stack(given)[..., order]).all()


@pytest.mark.parametrize("shape", [(1, 3, "height", "width"), ("n", "c", None, None)])
def test_onnx_may_be_bound_to_one_image_or_to_nothing(shape):
    write_onnx(SAME, inputs=[shape], outputs=[shape])
    given = frames(3, 33, 47)
    assert (np.stack(restorer("onnx:net.onnx")(given)) == np.stack(given)).all()


def test_onnx_takes_and_gives_unit_range():
    write_onnx(helper.make_node("Sub", ["one", "a"], ["z"]), constants={"one": np.float32(1)})
    (given,) = frames(1, 30, 50)
    assert (restorer("onnx:net.onnx")([given])[0] == 255 - given).all()


def test_onnx_sees_sides_that_published_networks_can_divide():
    """The output is black unless both sides are multiples of 64."""
    nodes = [
        helper.make_node("Shape", ["a"], ["shape"], start=2),
        helper.make_node("Mod", ["shape", "64"], ["rest"]),
        helper.make_node("ReduceMax", ["rest"], ["worst"], keepdims=0),
        helper.make_node("Equal", ["worst", "0"], ["fine"]),
        helper.make_node("Cast", ["fine"], ["factor"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["a", "factor"], ["z"]),
    ]
    write_onnx(*nodes, constants={"64": np.int64([64]), "0": np.int64(0)})
    (given,) = frames(1, 65, 130)
    assert (restorer("onnx:net.onnx")([given])[0] == given).all()
    assert (restorer("onnx:net.onnx", max_pixels=1, overlap=5)([given])[0] == given).all()


@pytest.mark.parametrize("shape", [(1, 3, 256, 256), ("n", 3, 256, "width"), ("n", 3, "height", 256)])
def test_onnx_of_a_fixed_size_asks_for_another_export(shape):
    write_onnx(SAME, inputs=[shape], outputs=[shape])
    with pytest.raises(
        DetbenchError, match=r"net\.onnx fails on .*256.*of any height and width.* again .*dynamic_axes"
    ):
        external.load("onnx:net.onnx")


@pytest.mark.parametrize(
    "shape", [("n", 1, "h", "w"), (4, 3, "h", "w"), ("n", "h", "w", 3), (3, "h", "w"), ("n", 1, 3, "h", "w")]
)
def test_onnx_of_other_shapes_is_refused(shape):
    write_onnx(SAME, inputs=[shape], outputs=[shape])
    with pytest.raises(DetbenchError, match=r"net\.onnx fails on .*It must make one image of one, as float32"):
        external.load("onnx:net.onnx")


def test_onnx_of_other_types_is_refused():
    write_onnx(SAME, kind=TensorProto.DOUBLE)
    with pytest.raises(DetbenchError, match=r"net\.onnx fails on .*tensor\(double\).*as float32 or float16"):
        external.load("onnx:net.onnx")
    write_onnx(helper.make_node("Cast", ["a"], ["z"], to=TensorProto.UINT8), made=TensorProto.UINT8)
    with pytest.raises(DetbenchError, match=r"net\.onnx makes a tensor\(uint8\).* and makes floats"):
        external.load("onnx:net.onnx")


@pytest.mark.parametrize(("inputs", "outputs"), [(2, 1), (1, 2), (0, 1)])
def test_onnx_of_several_images_or_none_is_refused(inputs, outputs):
    sources = ["a", "b"][:inputs] or ["constant"]
    nodes = [helper.make_node("Sum", sources, [name]) for name in "zy"[:outputs]]
    constants = {} if inputs else {"constant": np.zeros((1, 3, 8, 8), np.float32)}
    write_onnx(*nodes, constants=constants, inputs=[ANY] * inputs, outputs=[ANY] * outputs)
    with pytest.raises(DetbenchError, match=r"net\.onnx fails on .*It must make one image of one"):
        external.load("onnx:net.onnx")


def test_onnx_that_enlarges_is_refused():
    node = helper.make_node("Resize", ["a", "", "scales"], ["z"], mode="nearest")
    write_onnx(node, constants={"scales": np.float32([1, 1, 2, 2])}, outputs=[("n", 3, "tall", "broad")])
    with pytest.raises(DetbenchError, match=r"net\.onnx makes a .*\(1, 3, 128, 384\) of .*\(1, 3, 64, 192\).*keeps"):
        external.load("onnx:net.onnx")


def test_onnx_that_only_claims_to_take_any_size_is_refused():
    node = helper.make_node("Reshape", ["a", "shape"], ["z"])
    write_onnx(node, constants={"shape": np.int64([1, 3, 32, 32])})
    with pytest.raises(DetbenchError, match=r"net\.onnx fails on an image of 192x64.*any height and width"):
        external.load("onnx:net.onnx")


@pytest.mark.parametrize("content", [b"", b"no protobuf", b"\x08" * 99])
def test_onnx_that_is_damaged_is_named(tmp_path, content, capfd):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(DetbenchError, match=r"net\.onnx cannot be opened by ONNX Runtime .*that is whole"):
        external.load("onnx:net.onnx")
    assert capfd.readouterr() == ("", "")


def test_onnx_with_weights_in_a_second_file_is_refused(tmp_path):
    """Even from the folder they lie in, where ONNX Runtime would find them: they are not in the checkpoint's hash."""
    settings, node = convolution()
    write_onnx(node, **settings, save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    assert (tmp_path / "net.onnx.data").exists()
    with pytest.raises(DetbenchError, match=r"net\.onnx cannot be opened .*second file, onnx\.save"):
        external.load("onnx:net.onnx")
    onnx.save(onnx.load("net.onnx"), "whole.onnx")
    given = frames(1, 20, 20)
    assert (restorer("onnx:whole.onnx")(given)[0] == given[0]).all()


def test_onnx_refuses_precisions_and_devices_it_does_not_have():
    write_onnx(SAME)
    with pytest.raises(DetbenchError, match=r"net\.onnx has a precision of its own: leave out --precision bf16"):
        restorer("onnx:net.onnx", precision="bf16")(frames(1, 8, 8))
    net = external.load("onnx:net.onnx")[0].build()
    with pytest.raises(DetbenchError, match=r"net\.onnx cannot run on meta: .*onnxruntime-gpu.*--device cpu"):
        net(torch.zeros(1, 3, 8, 8, device="meta"))
