"""Commands for what takes room: cache, cache clean."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Optional

import typer

from detbench.cli._app import app, errors
from detbench.cli._print import print_table
from detbench.parse import seconds

cache = typer.Typer(
    help="What lies in the cache and among the runs, and how it is removed.", invoke_without_command=True
)
app.add_typer(cache, name="cache")

RunsOption = Annotated[Path, typer.Option(help="Folder of run directories.")]
FEW = 3
"""Of more files of one kind than this, the small ones are shown as one row."""

SMALL = 1_000_000
"""Files of fewer bytes are."""


@cache.callback()
def show(
    context: typer.Context,
    runs: RunsOption = Path("reports/runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """List what lies in the cache and in reports/runs: how large, when it was last used, and what it is there for."""
    if context.invoked_subcommand:
        return
    with errors():
        from detbench import assets
        from detbench import cache as module

        kept = module.contents(runs=runs)
        if as_json:
            print(json.dumps([{**vars(each), "path": str(each.path)} for each in kept], indent=1))
            return
        rows = []
        for kind in dict.fromkeys(each.kind for each in kept):
            of_kind = [each for each in kept if each.kind == kind]
            least = SMALL if len(of_kind) > FEW else 0
            rows += [
                [each.name, kind, _megabytes(each.size), _day(each.used), each.what]
                for each in of_kind
                if each.size >= least
            ]
            if small := [each for each in of_kind if each.size < least]:
                size, used = sum(each.size for each in small), max(each.used for each in small)
                rows.append([f"{len(small)} small ones", kind, _megabytes(size), _day(used), small[0].what])
        print_table(["", "kind", "MB", "last used", "for"], rows)
        print(f"{_megabytes(sum(each.size for each in kept))} MB in {assets.home()} and {runs}")


@cache.command()
def clean(
    older: Annotated[str, typer.Option(help="Not used for so long: 30d, 12h. 0 for everything.")] = "30d",
    keep: Annotated[
        Optional[list[str]],
        typer.Option(
            help="A kind (asset, dataset, detections, restored, run), or the beginning of a name, that stays."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    runs: RunsOption = Path("reports/runs"),
) -> None:
    """Remove what was not used for long; asks first. What is needed again is fetched or made again."""
    with errors():
        from detbench import cache as module

        old = module.chosen(module.contents(runs=runs), time.time(), seconds(older), keep or ())
        if not old:
            print(f"Nothing was left unused for {older}.")
            return
        sizes: dict[str, list[int]] = {}
        for each in old:
            sizes.setdefault(each.kind, []).append(each.size)
        told = ", ".join(f"{len(its)} {kind} ({_megabytes(sum(its))} MB)" for kind, its in sizes.items())
        if not yes and not typer.confirm(f"Remove {told}?", err=True):
            raise typer.Exit(1)
        print(f"{_megabytes(module.remove(old))} MB are free again.", file=sys.stderr)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))
