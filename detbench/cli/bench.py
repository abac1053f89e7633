"""Where a frame's time goes: bench."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from detbench.cli._app import app, errors
from detbench.cli._options import (
    DEFAULTS,
    BackendOption,
    DeviceOption,
    PrecisionOption,
    WeightsOption,
    precision_of,
    size_of,
)
from detbench.cli._print import print_table
from detbench.lineup import RECOMMENDED
from detbench.types import RunSpec

if TYPE_CHECKING:
    from detbench.bench import Bench


@app.command()
def bench(
    deblurer: Annotated[str, typer.Argument(help="See `detbench list deblurers`.")] = RECOMMENDED,
    dataset: Annotated[str, typer.Option(help="Whose first frames are taken.")] = DEFAULTS.dataset,
    size: Annotated[
        Optional[str], typer.Option(help="Width and height that the frames are scaled to, such as 1280x720.")
    ] = None,
    detector: Annotated[str, typer.Option(help="See `detbench list detectors`.")] = DEFAULTS.detector,
    device: DeviceOption = "auto",
    backend: BackendOption = "torch",
    precision: PrecisionOption = None,
    weights: WeightsOption = None,
    figure: Annotated[
        Optional[Path], typer.Option(help="Draw the deblurer's layers below the machine's roofline: .png, .pdf, .svg.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with each layer.")] = False,
) -> None:
    """Say where a frame's time goes, and what share of this machine's rate the networks reach."""
    with errors():
        from detbench.bench import bench as bench_

        spec = RunSpec(
            deblurer,
            dataset=dataset,
            detector=detector,
            device=device,
            backend=backend,
            precision=precision_of(backend, precision),
            weights=str(weights) if weights else None,
        )
        found = bench_(spec, size_of(size) if size else None)
        if as_json:
            print(json.dumps(dataclasses.asdict(found), indent=1))
        else:
            _print(found)
        if figure:
            from detbench.report import roofline, style

            style.write(roofline.roofline(found), figure)


def _print(found: Bench) -> None:
    """A row a stage, and what the shares are of."""
    rows = []
    for stage in found.stages:
        computed = ["", "", ""]
        if stage.gflop is not None and stage.rate is not None:
            computed = [f"{stage.gflop:.1f}", f"{stage.gflop_per_s:.0f}", f"{stage.rate:.0%}"]
        rows.append([stage.name, f"{stage.ms:.1f}", f"{stage.share:.1%}", *computed])
    print_table(["", "ms/frame", "share", "GFLOP", "GFLOP/s", "of the matrix rate"], rows)
    width, height = found.size
    spec = found.spec
    print(f"{spec.deblurer} by {spec.backend} in {spec.precision}, {width}x{height}, on {spec.device}")
    print(
        f"This machine multiplies large matrices at {found.matrix_gflop_per_s:.0f} GFLOP/s in {spec.precision}, and"
        f" moves {found.memory_gb_per_s:.1f} GB/s; {found.peak_mb:.0f} MB were in use at most."
    )
