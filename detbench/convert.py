"""A network → what other runtimes read."""

from __future__ import annotations

import importlib.util
import io

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from detbench.types import DetbenchError

OPSET = 17
"""Of ONNX: what ONNX Runtime 1.18 and OpenVINO know."""

SMALLEST = 64
"""Sides of the frames, in pixels, are multiples of this and of what the network wants."""


def bare(network: nn.Module) -> nn.Module:
    """A network in eval mode whose normalised weights (spectral normalisation) become weights as any other."""
    for module in network.modules():
        for parameter in list(getattr(module, "parametrizations", {})):
            parametrize.remove_parametrizations(module, parameter)
    return network


def example(multiple_of: int) -> Tensor:
    """(1, 3, h, w) of noise in [0, 1], such as a network is traced on; its sides are such multiples."""
    length = side(multiple_of)
    return torch.rand(1, 3, length, 2 * length, generator=torch.Generator().manual_seed(0))


def side(multiple_of: int) -> int:
    """The least side of frames that a network is traced on, in pixels."""
    return SMALLEST * multiple_of if SMALLEST % multiple_of else SMALLEST


def onnx(network: nn.Module, frame: Tensor) -> bytes:
    """A network as an ONNX file's content: ``frame`` to ``restored``, (batch, 3, height, width) of any size.

    Args:
        network: on the CPU.
        frame: that it is traced on.

    Raises:
        DetbenchError: the package onnx is missing. Whatever torch raises where an operator is.
    """
    if importlib.util.find_spec("onnx") is None:
        raise DetbenchError("Writing ONNX needs onnx: pip install 'detbench[onnx]'")
    file = io.BytesIO()
    free = {0: "batch", 2: "height", 3: "width"}
    torch.onnx.export(
        network,
        (frame,),
        file,  # type: ignore[arg-type]  # which it takes, says its documentation
        input_names=["frame"],
        output_names=["restored"],
        dynamic_axes={"frame": free, "restored": free},
        opset_version=OPSET,
        dynamo=False,  # the other exporter wants onnxscript, and fixes sizes that Python computes with
    )
    return file.getvalue()
