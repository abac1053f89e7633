"""A deblurer as a file that others run, ONNX or TorchScript, of which it is tried that it computes the same."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detbench import convert, registry, sessions
from detbench.files import write_file
from detbench.types import DetbenchError

Write = Callable[[nn.Module, Tensor], bytes]
"""A network and a frame to a file's content."""

Open = Callable[[bytes], Callable[[Tensor], Tensor]]
"""A file's content to what computes with it."""

MOST = 0.5 / 255
"""How far a file may be from the network: half a grey level."""

TRIED = ((1, 2, 3), (2, 3, 2))
"""Batch, and sides in multiples of the least that will do: of frames that the file is tried on."""


@dataclass(frozen=True)
class Exported:
    """A file.

    Attributes:
        path: of it.
        multiple_of: both sides of a frame must be divisible by this.
        difference: the largest to the network's own values, in [0, 1].
    """

    path: Path
    multiple_of: int
    difference: float


class Unit(nn.Module):
    """A network of values in its own range as one of values in [0, 1]."""

    def __init__(self, network: nn.Module, value_range: tuple[float, float]) -> None:
        super().__init__()
        self.network, (self.low, self.high) = network, value_range

    def forward(self, frame: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] to the same."""
        made = self.network(frame * (self.high - self.low) + self.low)
        return ((made - self.low) / (self.high - self.low)).clamp(0, 1)


def export(name: str, target: Path, weights: Path | None = None) -> Exported:
    """Write a deblurer's network to a file: (batch, 3, height, width) RGB in [0, 1] to the same, of any size.

    Args:
        name: of the deblurer.
        target: ends in ``.onnx``, or in ``.torchscript``.
        weights: a safetensors file in place of its own.

    Returns:
        The file, with what its users must know.

    Raises:
        DetbenchError: an unknown deblurer; another suffix; an operator that the format does not have; or the file does
            not compute what the network does, on frames of other sizes than it was made with.
    """
    writers: dict[str, tuple[Write, Open]] = {
        ".onnx": (convert.onnx, _run_onnx),
        ".torchscript": (_torchscript, _run_torchscript),
    }
    if target.suffix not in writers:
        raise DetbenchError(f"{target}: name it {' or '.join(writers)}.")
    write, run = writers[target.suffix]
    deblurer = registry.load(name, weights)
    network = Unit(convert.bare(deblurer.build()), deblurer.spec.value_range).eval()
    multiple = deblurer.preset.multiple_of
    side = convert.side(multiple)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad(), sessions.muted():
        try:
            data = write(network, convert.example(multiple))
            made, difference = run(data), 0.0
            for batch, height, width in TRIED:
                frame = torch.rand(batch, 3, side * height, side * width, generator=generator)
                difference = max(difference, float((made(frame) - network(frame)).abs().max()))
        except DetbenchError:
            raise
        except Exception as error:  # exporters and runtimes fail with whatever comes first
            raise DetbenchError(
                f"{name} cannot become {target.suffix}, which lacks something that is in it: {sessions.reason(error)}"
            ) from error
    if not difference <= MOST:
        raise DetbenchError(f"{name} as {target.suffix} is {difference:.3g} (of 0..1) from the network: not written.")
    write_file(target, data)
    return Exported(target, multiple, difference)


def _run_onnx(data: bytes) -> Callable[[Tensor], Tensor]:
    session: Any = sessions.session(Path("exported.onnx"), data, "cpu")
    return lambda frame: torch.from_numpy(session.run(None, {"frame": frame.numpy()})[0])


def _torchscript(network: nn.Module, frame: Tensor) -> bytes:
    file = io.BytesIO()
    traced: Any = torch.jit.trace(network, (frame,), check_trace=False)  # type: ignore[no-untyped-call]
    torch.jit.save(traced, file)
    return file.getvalue()


def _run_torchscript(data: bytes) -> Callable[[Tensor], Tensor]:
    script: Callable[[Tensor], Tensor] = torch.jit.load(io.BytesIO(data))  # type: ignore[no-untyped-call]
    return script
