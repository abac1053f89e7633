"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from detbench.types import DetbenchError, RunSpec

DEFAULTS = RunSpec("")

DeblurerOption = Annotated[
    str,
    typer.Option("--deblurer", "--deblurrer", help="See `detbench list deblurers`; or spandrel:FILE or onnx:FILE."),
]
WeightsOption = Annotated[Optional[Path], typer.Option(help="A .safetensors file in place of the deblurer's own.")]
ValueRangeOption = Annotated[
    Optional[str],
    typer.Option(
        "--value-range",
        metavar="LOW:HIGH",
        help="Of a checkpoint's values (onnx:FILE, spandrel:FILE), such as -1:1. Default: 0:1, for files do not say.",
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
PrecisionOption = Annotated[Literal["fp32", "bf16"], typer.Option(help="Of the deblurer's arithmetic.")]
RunsArgument = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="Directories of runs, or folders of such directories.")
]


def value_range(text: str | None) -> tuple[float, float] | None:
    """What ``--value-range`` says.

    Raises:
        DetbenchError: it is no two numbers.
    """
    if text is None:
        return None
    try:
        low, high = map(float, text.split(":"))
    except ValueError as error:
        raise DetbenchError(f"--value-range is {text!r}: give two numbers, such as -1:1.") from error
    return low, high
