"""Backends: they make torch's frames, what cannot be is said in a line, and auto takes none that does not."""

import importlib.util
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import scene
from torch import nn
from unsharp import Net

from detbench import backends, benchmarks, convert, restorers, runner
from detbench.lineup import lined_up
from detbench.restore import Restorer
from detbench.signature import Signature
from detbench.types import DetbenchError, RunSpec

CONVERTING = ("onnx", "openvino")


class Blurrer(nn.Module):
    """Halves the sides and doubles them again, so that both must be even; values in [-1, 1]."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.down, self.up = nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 3, 4, 2, 1)

    def forward(self, x):
        return x + 0.2 * torch.tanh(self.up(self.down(x).relu()))


class Unusual(nn.Module):
    """Has an operator that no converter knows."""

    def forward(self, x):
        return x + 0 * torch.linalg.svdvals(x).sum()


class Random(nn.Module):
    """Draws: what is traced once draws otherwise, or not at all."""

    def forward(self, x):
        return (x + 0.3 * torch.rand_like(x)).clamp(0, 1)


def again(*_, **__):
    raise AssertionError("again")


def frames():
    return [scene(seed, 50, 66) for seed in range(3)]


def restorer(net=Blurrer, **options):
    return Restorer(net(), multiple_of=2, value_range=(-1.0, 1.0), **options)


@pytest.mark.parametrize("backend", CONVERTING)
@pytest.mark.parametrize("shape", [(48, 64), (50, 66), (33, 47), (200, 300)])
def test_frames_are_those_of_torch(home, backend, shape):
    frame = scene(1, *shape)
    made, wanted = (restorer(backend=each)([frame])[0].astype(int) for each in (backend, "torch"))
    assert np.abs(made - wanted).max() <= 1
    assert np.abs(made - wanted).mean() < 0.01
    assert np.abs(wanted - frame).max() > 3


@pytest.mark.parametrize("backend", CONVERTING)
def test_tiles_and_batches(home, backend):
    many = [scene(seed, 96, 140) for seed in range(3)]
    made, wanted = (restorer(backend=each, overlap=16, max_pixels=5000)(many) for each in (backend, "torch"))
    assert np.abs(np.array(made).astype(int) - np.array(wanted)).max() <= 1


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
@pytest.mark.slow("compiles C++")
def test_compile_makes_the_frames_of_torch():
    made, wanted = (np.array(restorer(backend=each)(frames()[:1])).astype(int) for each in ("compile", "torch"))
    assert np.abs(made - wanted).max() <= 1


def test_bf16_is_near(home):
    whole = np.array(restorer()(frames())).astype(int)
    for backend in ("torch", "openvino") if backends.openvino_has_bf16() else ("torch",):
        made = np.array(restorer(backend=backend, precision="bf16")(frames()))
        assert 0 < np.abs(made - whole).mean() < 0.5


def test_openvino_does_not_compute_in_fp32_unasked(home, monkeypatch):
    monkeypatch.setattr(backends, "openvino_has_bf16", lambda: False)
    with pytest.raises(DetbenchError, match="openvino computes in fp32 on this processor"):
        restorer(backend="openvino", precision="bf16")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "tensorrt"}, r"Backend 'tensorrt' is not known: choose auto, torch, compile, onnx, openvino"),
        ({"precision": "fp16"}, "torch does not compute in fp16 on cpu: choose fp32 or bf16"),
        ({"backend": "onnx", "precision": "bf16"}, "onnx computes in fp32"),
        ({"backend": "onnx", "net": Unusual}, "The backend onnx cannot take this network: .*linalg_svd"),
        ({"backend": "openvino", "net": Unusual}, "The backend openvino cannot take this network: .*linalg_svd"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(home, options, message):
    with pytest.raises(DetbenchError, match=message) as error:
        restorer(**options)
    assert "\n" not in str(error.value)


def test_openvino_is_for_cpus():
    with pytest.raises(DetbenchError, match="computes on CPUs, not on cuda:0"):
        backends.compute(Blurrer(), "openvino", "fp32", "cuda:0", 2)


@pytest.mark.parametrize("backend", CONVERTING)
def test_a_backend_that_is_not_installed(monkeypatch, backend):
    found = importlib.util.find_spec
    missing = ("onnxruntime", "openvino")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else found(name))
    with pytest.raises(DetbenchError, match=rf"pip install 'detbench\[{backend}\]'"):
        restorer(backend=backend)
    with pytest.raises(DetbenchError, match=rf"pip install 'detbench\[{backend}\]'"):
        choose(making(Blurrer), backend=backend)
    assert set(backends.candidates("auto", "auto", "cpu")) == {("torch", "fp32"), ("torch", "bf16")}


@pytest.mark.parametrize("backend", CONVERTING)
def test_a_cache_that_cannot_be_written(home, clock, backend):
    home.mkdir()
    (home / "converted").write_text("no folder")
    assert np.array_equal(restorer(backend=backend, key="a" * 64)(frames()), restorer(backend=backend)(frames()))
    clock[backend, "fp32"] = 1.0
    assert choose(making(Blurrer), "c" * 64, precision="fp32") == (backend, "fp32")


@pytest.mark.parametrize("backend", CONVERTING)
def test_a_network_is_converted_once(home, monkeypatch, backend):
    import openvino

    first = restorer(backend=backend, key="a" * 64)(frames())
    assert len(list((home / "converted").iterdir())) == {"onnx": 1, "openvino": 2}[backend]
    monkeypatch.setattr(openvino, "convert_model", again)
    monkeypatch.setattr(convert, "onnx", again)
    assert np.array_equal(restorer(backend=backend, key="a" * 64)(frames()), first)
    with pytest.raises(DetbenchError, match="again"):
        restorer(backend=backend, key="b" * 64)


def choose(make, key="", backend="auto", precision="auto", frames=frames):
    options = {"backend": backend, "precision": precision, "device": "cpu", "key": key}
    return backends.choose("mine", make, frames(), **options)


@pytest.fixture
def clock(monkeypatch):
    """What takes how long: by (backend, precision), in milliseconds."""
    times = {}
    monkeypatch.setattr(backends, "_ms", lambda restore, frame: times[restore.called])
    monkeypatch.setattr(backends, "openvino_has_bf16", lambda: True)  # where it has not, it computes in fp32
    times.update(dict.fromkeys([(b, p) for b in backends.PACKAGES for p in ("fp32", "bf16")], 100.0))
    return times


def making(net, offset=None):
    """Makes restorers that know what they are called; of those in ``offset`` the frames are that much brighter."""

    class Called(Restorer):
        called = None

        def __call__(self, given):
            more = (offset or {}).get(self.called, 0)
            return [np.clip(frame.astype(int) + more, 0, 255).astype(np.uint8) for frame in super().__call__(given)]

    def make(backend, precision):
        made = Called(net(), multiple_of=2, value_range=(-1.0, 1.0), backend=backend, precision=precision)
        made.called = (backend, precision)
        return made

    return make


def test_auto_takes_the_fastest(home, clock, capsys):
    clock["openvino", "bf16"] = 40.0
    assert choose(making(Blurrer)) == ("openvino", "bf16")
    assert "openvino in bf16 takes 40% of the time of torch in fp32" in capsys.readouterr().err
    assert choose(making(Blurrer), precision="fp32") == ("torch", "fp32")
    assert choose(making(Blurrer), backend="openvino") == ("openvino", "bf16")


def test_auto_takes_none_whose_frames_differ(home, clock, capsys):
    clock["openvino", "bf16"] = 40.0
    clock["onnx", "fp32"] = 50.0
    assert choose(making(Blurrer, {("openvino", "bf16"): 2})) == ("onnx", "fp32")
    assert "not taken: openvino in bf16 is 2." in capsys.readouterr().err
    with pytest.raises(DetbenchError, match="openvino in fp32 is 2.*; openvino in bf16 is 2"):
        choose(making(Blurrer, {("openvino", its): 2 for its in ("bf16", "fp32")}), backend="openvino")


def test_auto_falls_back_where_a_backend_cannot(home, clock, capsys):
    clock["onnx", "fp32"] = clock["openvino", "fp32"] = 1.0
    assert choose(making(Unusual), precision="fp32") == ("torch", "fp32")
    assert "linalg_svd" in capsys.readouterr().err
    assert choose(making(Random), precision="fp32") == ("torch", "fp32")
    with pytest.raises(DetbenchError, match="openvino cannot take this network"):
        choose(making(Unusual), backend="openvino", precision="auto")


def test_what_was_chosen_is_remembered(home, clock):
    clock["openvino", "bf16"] = 40.0
    assert choose(making(Blurrer), "c" * 64) == ("openvino", "bf16")
    assert choose(again, "c" * 64) == ("openvino", "bf16")
    with pytest.raises(AssertionError, match="again"):
        choose(again, "d" * 64)
    with pytest.raises(AssertionError, match="again"):  # what is the fastest on small frames need not be on large ones
        choose(again, "c" * 64, frames=lambda: [scene(0, 100, 132)])
    (place,) = (home / "converted").glob("*.json")
    place.write_text("{")  # damaged: it is chosen again
    assert choose(making(Blurrer), "c" * 64) == ("openvino", "bf16")


def test_a_runs_backend_is_in_its_name_signature_and_environment(unsharp_spec, tmp_path):
    whole = benchmarks.benchmark([unsharp_spec], tmp_path)
    other = benchmarks.benchmark([replace(unsharp_spec, backend="onnx")], tmp_path)
    assert whole.models[0].path != other.models[0].path
    assert other.models[0].environment["backend"].startswith("onnx ")
    assert "computed" not in str(whole.signature)
    assert "|computed:onnx-fp32|" in str(other.signature)
    assert "computed" not in str(Signature.of(other.floor))
    both = lined_up([whole.floor, *whole.models, *other.models, whole.ceiling])
    assert "|computed:torch-fp32+onnx-fp32|" in str(both.signature)
    assert whole.models[0].counts == other.models[0].counts


def test_runs_of_torch_keep_their_names():
    assert RunSpec("dc0").hash8 == RunSpec("dc0", backend="torch").hash8
    assert RunSpec("dc0").hash8 != RunSpec("dc0", backend="onnx").hash8


def test_auto_becomes_what_it_is_before_a_run_is_named(unsharp_spec, tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "choose", lambda *_, **asked: ("onnx", "fp32"))
    result = runner.run(replace(unsharp_spec, backend="auto", precision="auto"), tmp_path)
    assert (result.spec.backend, result.spec.precision) == ("onnx", "fp32")
    assert result.path == runner.run(replace(unsharp_spec, backend="onnx"), tmp_path).path


def test_auto_of_frames_that_come_later(unsharp_spec, monkeypatch):
    """`deblur` has no dataset to choose by: the first frames are."""
    seen = []

    def choose(name, make, frames, **asked):
        seen.extend(frames)
        return "torch", "bf16"

    monkeypatch.setattr(backends, "choose", choose)
    restore = restorers.restorer(replace(unsharp_spec, backend="auto", precision="auto"))
    assert not seen
    wanted = restorers.restorer(replace(unsharp_spec, precision="bf16"))(frames())
    assert np.array_equal(restore(frames()), wanted)
    assert len(seen) == 3


def test_networks_and_functions_that_are_handed_over(data, tmp_path):
    spec = RunSpec("mine", dataset=str(data), conf=0.6, backend="auto", precision="fp32")
    assert runner.run(spec, tmp_path, deblurer=lambda frame: frame).spec.backend == "torch"
    torch.manual_seed(0)
    assert runner.run(spec, tmp_path, deblurer=Net()).spec.backend in backends.PACKAGES
