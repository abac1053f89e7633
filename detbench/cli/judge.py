"""Commands that judge runs: figure, report, compare, check, claims, publish."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from detbench.cli._app import app, errors
from detbench.cli._options import DeviceOption, RunsArgument, WeightsOption
from detbench.cli._print import print_swaps, print_table, print_verdict
from detbench.lineup import RECOMMENDED
from detbench.types import DetbenchError, RunSpec

BASELINE, NEW = Path("reports/baseline"), Path("new")
"""Where a gate's baseline lies, and what starts one there."""


@app.command()
def figure(
    run_path: Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory.")],
    target: Annotated[
        Path,
        typer.Argument(metavar="OUTPUT", help="A picture (.png, .pdf, .svg), a moving one (.webp), a video (.mp4)."),
    ],
) -> None:
    """Draw what the detector saw in a run's best, median and worst frame.

    As .webp a wipe over the three best frames; as a video all of them: blurred, restored and sharp, side by side.
    """
    with errors():
        from detbench import figure as module
        from detbench import store
        from detbench.data.video import WRITTEN

        if target.suffix not in (".png", ".pdf", ".svg", ".webp", *WRITTEN):
            raise DetbenchError(f"{target}: name it .png, .pdf, .svg, .webp or .mp4.")
        module.write(store.read(run_path), target)
        print(f"drawn: {target}", file=sys.stderr)


@app.command()
def report(
    runs: RunsArgument,
    out: Annotated[Path, typer.Option(help="Folder for the page, its tables and its figures.")] = Path(
        "reports/report"
    ),
    group: Annotated[
        bool, typer.Option("--group", help="A part for each dataset, detector and setting among the runs.")
    ] = False,
) -> None:
    """Make a page to look at, with tables (Markdown, LaTeX, CSV) and figures (PNG, PDF, SVG) beside it."""
    with errors():
        from detbench.report import collect, groups

        print(groups.write(collect.collect(runs, split=group), out))


@app.command()
def compare(
    runs: RunsArgument,
    threshold: Annotated[
        Literal["run", "leave-one-clip-out", "loco"],
        typer.Option(
            help="leave-one-clip-out (or loco): each run counts from the confidence that is best for it on all other"
            " clips."
        ),
    ] = "run",
    without: Annotated[
        Optional[list[str]], typer.Option(metavar="CLIP", help="A clip to leave out; repeat for several.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the differences as JSON.")] = False,
) -> None:
    """Compare runs with the first of them: intervals clustered by clip, p-values, and what can be concluded."""
    with errors():
        from detbench import compare as module
        from detbench import store
        from detbench.lineup import to_compare
        from detbench.report import collect, conclusions
        from detbench.signature import Signature

        paths = collect.find(runs)[0]
        results = [store.read(path) for path in paths]
        if not set(paths) <= set(runs):  # a folder's runs come in the order of their names
            if len({(result.spec.detector_hash, result.spec.imgsz) for result in results}) > 1:
                print_swaps(collect.before_several(collect.collect(runs, split=True)), as_json)
                return
            results = to_compare(results)
        if len(results) < 2:
            raise DetbenchError("Comparing takes two finished runs or more: the first is what the others are held to.")
        found = module.compare(results, "run" if threshold == "run" else "leave-one-clip-out", without or ())
        signature = replace(Signature.of(results[0]), without=tuple(found.without))
        if as_json:
            plain = {"rows": found.rows(), "sentences": conclusions.sentences(found), "signature": str(signature)}
            print(json.dumps(plain, indent=1))
            return
        print_table(list(conclusions.HEADINGS), conclusions.cells(found))
        print(
            *conclusions.sentences(found),
            conclusions.TEST,
            f"signature: {signature.short} (whole with --json)",
            sep="\n",
        )


@app.command()
def check(
    folder: Annotated[
        Path,
        typer.Option("--baseline", help="Folder with the run that others are held to; `new` starts reports/baseline."),
    ] = BASELINE,
    start: Annotated[
        Optional[Path],
        typer.Option("--from", help=f"Of a new baseline: a finished run. Default: {RECOMMENDED} on 20 frames."),
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Write a new baseline, and tell what changes.")] = False,
    out: Annotated[Optional[Path], typer.Option(help="Keep the new run's directory in this folder.")] = None,
    junit: Annotated[Optional[Path], typer.Option(help="Write JUnit XML to this file.")] = None,
    summary: Annotated[Optional[Path], typer.Option(help="Append a Markdown summary to this file.")] = None,
    weights: WeightsOption = None,
    device: Annotated[
        Optional[str], typer.Option(help="In place of the baseline's: auto, cpu, cuda, cuda:N or mps.")
    ] = None,
) -> None:
    """Make a baseline's run again; exit 1 if scores fell for sure, 2 if they cannot be compared.

    A deblurer that fails on a frame exits with 1, too. On GitHub, annotations are printed and the summary goes to the
    job's page by itself.
    """
    with errors():
        from detbench import baseline as module
        from detbench.report import ci

        given = str(weights) if weights else None
        if start and folder != NEW:
            raise DetbenchError("--from is for a new gate: give --baseline new with it.")
        if folder == NEW and not folder.exists():
            print(*ci.replaced(module.start(BASELINE, start, device=device)), sep="\n")
            print(ci.WORKFLOW.format(baseline=BASELINE))
            return
        if update:
            print(*ci.replaced(module.update(folder, weights=given, device=device)), sep="\n")
            return
        try:
            verdict = module.check(folder, out, weights=given, device=device)
        except module.CannotCompare as error:
            ci.deliver(error, junit, summary)
            raise
        print_verdict(verdict)
        ci.deliver(verdict, junit, summary)
        if not verdict.passed:
            raise typer.Exit(1)


@app.command()
def claims(
    device: DeviceOption = "auto",
    target: Annotated[Path, typer.Option("--out", help="The page to write, as Markdown.")] = Path("reports/claims.md"),
) -> None:
    """Test what the publications claim, and what we do, on `street`; runs what is not run yet."""
    with errors():
        from detbench import registry
        from detbench.report import claims as module
        from detbench.results import Results

        found = module.write(target, Results(), RunSpec("", device=device), registry.runnable())
        print_table(["claim", "verdict", ""], [[claim.key, claim.verdict, claim.says] for claim in found])
        print(f"written: {target}", file=sys.stderr)


@app.command()
def publish(
    device: DeviceOption = "auto",
    check: Annotated[
        bool, typer.Option("--check", help="Run nothing; say what is not as published, and exit 1 if anything is not.")
    ] = False,
    mark: Annotated[
        bool, typer.Option("--mark", help="Run nothing; mark the rows that are older than their weights.")
    ] = False,
    from_results: Annotated[
        bool, typer.Option("--from-results", help="Run nothing; write all pages again from reports/results/.")
    ] = False,
    anew: Annotated[bool, typer.Option("--anew", help="Run all, also what reports/results/ knows.")] = False,
    times: Annotated[
        bool, typer.Option("--times", help="Take all times anew, in turn, and write all pages again; keep all scores.")
    ] = False,
    add: Annotated[
        Optional[Path],
        typer.Option(
            metavar="RUN",
            help="Run nothing; put your finished run, of the leaderboard's signature, on it: of a plug-in, a checkpoint"
            " or frames that were restored elsewhere.",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="With --add: the model's name on the leaderboard.")] = "",
    by: Annotated[str, typer.Option(help="With --add: who made it, and how anybody makes it again.")] = "",
) -> None:
    """Run every shipped deblurer on `street` with several detectors; write reports/ and the README's leaderboard."""
    with errors():
        from detbench import publish as module
        from detbench import published, store

        root = Path.cwd()
        if add and not (name.strip() and by.strip()):
            raise DetbenchError("--add wants --name, what the model is called, and --by, who makes it again and how.")
        if from_results or add:
            print(*module.again(root, store.read(add) if add else None, name.strip(), by.strip()), sep="\n")
            return
        if times:
            print(*module.retimed(root, device), sep="\n")
            return
        if not (check or mark):
            print(*module.publish(root, device=device, anew=anew), sep="\n")
        for path in published.mark(root) if mark else ():
            print(path)
        if check and (unpublished := published.stale(root / "reports") + published.waiting(root / "reports")):
            print(*unpublished, sep="\n")
            raise typer.Exit(1)
