"""Deblurers as files of other formats: they compute the same, or are not written."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import scene
from typer.testing import CliRunner

from detbench import cli, convert, export, registry, restorers
from detbench.types import DetbenchError, RunSpec

EVERY = sorted(set(registry.runnable()) - {"deblurgan_edge", "srn"})
"""The two that cannot: an operator that ONNX lacks, and sizes that Python computes with."""


@pytest.mark.slow("exports every deblurer")
@pytest.mark.parametrize("name", EVERY)
def test_every_deblurer_becomes_onnx(name, tmp_path):
    made = export.export(name, tmp_path / "net.onnx")
    assert made.difference < 1e-4
    frame = scene(3, 128, 192)  # which neither of the two pads
    (ours,) = restorers.restorer(RunSpec(name, device="cpu"))([frame])
    (its,) = restorers.restorer(RunSpec(f"onnx:{made.path}", device="cpu"))([frame])
    assert np.abs(ours.astype(int) - its).max() <= 1


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_torchscript_too(tmp_path):
    made = export.export("dc0", tmp_path / "net.torchscript")
    script = torch.jit.load(made.path)
    assert script(torch.rand(2, 3, 64, 128)).shape == (2, 3, 64, 128)


def test_what_is_not_the_same_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_run_torchscript", lambda data: lambda frame: frame * 0.5)
    with pytest.raises(DetbenchError, match="from the network: not written"):
        export.export("dc0", tmp_path / "net.torchscript")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["deblurgan_edge", "net.onnx"], "cannot become .onnx"),
        (["dc0", "net.pb"], "name it .onnx or .torchscript"),
        (["dc205", "net.onnx"], "Did you mean dc250"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(arguments, says):
    done = CliRunner().invoke(cli.app, ["export", *arguments])
    assert done.exit_code == 1
    assert says in done.stderr
    assert "Traceback" not in done.output


def test_without_onnx_it_says_what_to_install(tmp_path, monkeypatch):
    nothing = SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: None))
    monkeypatch.setattr(convert, "importlib", nothing)
    with pytest.raises(DetbenchError, match=r"pip install 'detbench\[onnx\]'"):
        export.export("dc0", tmp_path / "net.onnx")
