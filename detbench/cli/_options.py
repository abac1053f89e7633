"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from detbench.types import RunSpec

DEFAULTS = RunSpec("")

DeblurerOption = Annotated[
    str,
    typer.Option("--deblurer", "--deblurrer", help="See `detbench list deblurers`; or spandrel:FILE or onnx:FILE."),
]
WeightsOption = Annotated[Optional[Path], typer.Option(help="A .safetensors file in place of the deblurer's own.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
PrecisionOption = Annotated[Literal["fp32", "bf16"], typer.Option(help="Of the deblurer's arithmetic.")]
RunsArgument = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="Directories of runs, or folders of such directories.")
]
