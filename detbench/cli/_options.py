"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from detbench.parse import two
from detbench.types import Backend, DetbenchError, Precision, RunSpec

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
OnlyBlurredOption = Annotated[
    bool, typer.Option("--only-blurred", help="Leave frames that measure sharp, as a whole, as they are.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
BackendOption = Annotated[
    Backend,
    typer.Option(
        help="What computes the deblurer. auto: the fastest that is installed and makes the same frames, within half a"
        " grey level; what it chose is in the results."
    ),
]
PrecisionOption = Annotated[
    Optional[Precision],
    typer.Option(help="Of the deblurer's arithmetic. Default: fp32; with --backend auto, auto."),
]
RunsArgument = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="Directories of runs, or folders of such directories.")
]


def precision_of(backend: str, precision: str | None) -> str:
    """What ``--precision`` says, or stands for where it is left out."""
    return precision or ("auto" if backend == "auto" else DEFAULTS.precision)


def size_of(text: str) -> tuple[int, int]:
    """Width and height that ``--size`` says.

    Raises:
        DetbenchError: it says neither.
    """
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise DetbenchError(f"--size {text} is not width x height in pixels, such as 1280x720.")
    return int(width), int(height)


def existing(*given: list[Path] | None) -> None:
    """See that files and folders are there, before what takes long.

    Raises:
        DetbenchError: one is not.
    """
    for path in (each for paths in given for each in paths or ()):
        if not path.exists():
            raise DetbenchError(f"There is no file or folder {path}.")


def value_range(text: str | None) -> tuple[float, float] | None:
    """What ``--value-range`` says.

    Raises:
        DetbenchError: it is no two numbers.
    """
    return None if text is None else two(text, "--value-range -1:1")
