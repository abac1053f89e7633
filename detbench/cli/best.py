"""Which deblurer to take: best."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from detbench.cli._app import app, errors
from detbench.cli._options import DEFAULTS, BackendOption, DeviceOption, PrecisionOption, precision_of, size_of
from detbench.cli._print import print_table
from detbench.counts import counted

if TYPE_CHECKING:
    from detbench.best import Choice, Time
    from detbench.types import RunSpec


@app.command()
def best(
    budget_ms: Annotated[
        float,
        typer.Option(min=0.0, help="Milliseconds that deblurring a frame may take; 33 for 30 frames a second."),
    ],
    detector: Annotated[
        Optional[str], typer.Option(help="With which the scores were made. Default: the leaderboard's.")
    ] = None,
    imgsz: Annotated[
        Optional[int], typer.Option(help="Size that the detector works at, where there are several.")
    ] = None,
    size: Annotated[str, typer.Option(help="Width and height of your frames, in pixels.")] = "640x360",
    device: DeviceOption = "auto",
    backend: BackendOption = "torch",
    precision: PrecisionOption = None,
    runs: Annotated[
        Optional[Path], typer.Option(help="A folder of your own runs, whose scores count in place of the published.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say which deblurer brings the most F1 within a time a frame, measured on this machine.

    Times are with the backend and the precision that are asked for; scores are those of the runs, by default torch's in
    fp32.
    """
    with errors():
        from detbench import best as module
        from detbench.lineup import FLOOR
        from detbench.types import RunSpec

        boards = module.of_folder(runs) if runs else module.published()
        board = module.before(boards, detector, imgsz)
        spec = RunSpec(FLOOR, device=device, backend=backend, precision=precision_of(backend, precision))
        found = module.choose(board, budget_ms, module.measurer(size_of(size), spec))
        if as_json:
            print(json.dumps(_plain(found, size), indent=1))
            return
        _print(found, size, _options(spec))
        others = dict.fromkeys(its.looked_at_by for its in boards if its.looked_at_by != board.looked_at_by)
        if runs and others:
            print(f"The runs in {runs} are with {', '.join(others)}, too: give --detector and --imgsz.")


def _options(spec: RunSpec) -> str:
    """What a command needs for a deblurer to take the time that was measured."""
    usual = replace(DEFAULTS, precision=precision_of(spec.backend, None))
    given = {name: getattr(spec, name) for name in ("device", "backend", "precision")}
    return "".join(f" --{name} {value}" for name, value in given.items() if value != getattr(usual, name))


def _print(found: Choice, size: str, options: str) -> None:
    """Those that were tried, and the answer."""
    board = found.board
    where = f"on {board.dataset} ({counted(board.clips, 'clip')}), with {board.looked_at_by}"
    rows = [
        [score.deblurer, f"{score.f1:.3f}", score.verdict.gain.format("{:.3f}"), _time(taken)]
        for score, taken in found.tried
    ]
    if rows:
        print_table(["helps for sure", "F1", "F1 gained [95 %]", "ms/frame here"], rows)
    for name, why in found.failed.items():
        print(f"Not tried: {name}. {why}")
    if found.best:
        taken = found.tried[-1][1]
        if found.less:
            print(f"Not measured, for they bring less: {', '.join(found.less)}.")
        print(
            f"Take {found.best.deblurer}: F1 {board.floor:.3f} -> {found.best.f1:.3f} {where}, for {taken.ms:.0f} ms a"
            f" frame of {size} on this machine."
        )
        print(f"Next: detbench deblur INPUT OUTPUT --deblurer {found.best.deblurer}{options}")
    else:
        print(f"Take none: nothing that helps for sure {where} takes {found.budget_ms:g} ms a frame of {size} or less.")
        if found.cheapest:
            score, taken = found.cheapest
            print(f"The best of the fastest is {score.deblurer}, with {taken.ms:.0f} ms.")
            print(f"Next: detbench best --budget-ms {taken.ms * 1.2:.0f}{options}, a fifth more")
    print(f"Without a deblurer F1 is {board.floor:.3f}, at no time.")


def _time(taken: Time) -> str:
    if taken.guessed:
        return f"about {taken.ms:.0f}"
    spread = taken.least is not None and taken.most is not None and taken.least < taken.most
    return f"{taken.ms:.0f}" + (f" ({taken.least:.0f} to {taken.most:.0f})" if spread else "")


def _plain(found: Choice, size: str) -> dict[str, Any]:
    """The same as plain data."""
    board = found.board
    return {
        "best": found.best.deblurer if found.best else None,
        "budget_ms": found.budget_ms,
        "size": size,
        "dataset": board.dataset,
        "clips": board.clips,
        "detector": board.detector,
        "imgsz": board.imgsz,
        "f1_without": board.floor,
        "tried": [
            {"deblurer": score.deblurer, "f1": score.f1, "gain": score.verdict.gain.estimate}
            | {"low": score.verdict.gain.low, "high": score.verdict.gain.high}
            | {"ms": taken.ms, "guessed": taken.guessed, "least_ms": taken.least, "most_ms": taken.most}
            for score, taken in found.tried
        ],
        "failed": found.failed,
    }
