"""The command line: parse, call, print. No logic, and no import of torch before a command needs it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from detbench import __version__
from detbench.types import DetbenchError, RunResult, RunSpec

if TYPE_CHECKING:
    from detbench.compare import Comparison

app = typer.Typer(
    help="Does a deblurer help a detector see?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DEFAULTS = RunSpec("")


@contextmanager
def errors(interrupted: str = "what was computed is kept, and the same command goes on from there") -> Iterator[None]:
    """Show what the user can mend as one message, without a traceback.

    Args:
        interrupted: what to say after Ctrl-C.
    """
    try:
        yield
    except DetbenchError as error:
        print(f"detbench: {error}", file=sys.stderr)
        raise typer.Exit(getattr(error, "exit_status", 1)) from error
    except BrokenPipeError:  # whoever reads has seen enough, as `head` has: click ends quietly
        raise
    except OSError as error:
        print(f"detbench: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        print(f"\ndetbench: interrupted; {interrupted}.", file=sys.stderr)
        raise typer.Exit(130) from error


def _version(wanted: bool) -> None:
    if wanted:
        print(f"detbench {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Does a deblurer help a detector see?"""


DeblurerOption = Annotated[
    str,
    typer.Option("--deblurer", "--deblurrer", help="See `detbench list deblurers`; or spandrel:FILE or onnx:FILE."),
]
WeightsOption = Annotated[Optional[Path], typer.Option(help="A .safetensors file in place of the deblurer's own.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
PrecisionOption = Annotated[Literal["fp32", "bf16"], typer.Option(help="Of the deblurer's arithmetic.")]


@app.command()
def run(
    deblurer: Annotated[
        Optional[list[str]],
        typer.Option(
            "--deblurer",
            "--deblurrer",
            help="See `detbench list deblurers`; or spandrel:FILE or onnx:FILE. Repeat for several; all for all that"
            " run as they are. Default: dc250.",
        ),
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="See `detbench list datasets`; or a folder with sharp/ and blur/.")
    ] = DEFAULTS.dataset,
    detector: Annotated[
        Optional[list[str]],
        typer.Option(
            help="See `detbench list detectors`; or a .pt or .onnx file. Repeat for several, a table each. Default:"
            f" {DEFAULTS.detector}."
        ),
    ] = None,
    conf: Annotated[float, typer.Option(help="Drop detections scored below this.")] = DEFAULTS.conf,
    nms_iou: Annotated[float, typer.Option(help="IoU of the detector's non-maximum suppression.")] = DEFAULTS.nms_iou,
    match_iou: Annotated[
        float, typer.Option(help="IoU from which a detection is the reference object.")
    ] = DEFAULTS.match_iou,
    imgsz: Annotated[
        Optional[list[int]],
        typer.Option(
            help="Longer side in pixels that the detector works at. Repeat for several, a table each. Default:"
            f" {DEFAULTS.imgsz}."
        ),
    ] = None,
    limit: Annotated[Optional[int], typer.Option(help="Score the first N frames only.")] = None,
    given: Annotated[
        Literal["blurred", "sharp"],
        typer.Option("--input", help="What the deblurer gets: sharp shows what harm it does to frames without blur."),
    ] = DEFAULTS.input,
    noise: Annotated[
        float, typer.Option(help="Variance of Gaussian noise on the blurred frames, for values in 0..1.")
    ] = DEFAULTS.noise,
    seed: Annotated[int, typer.Option(help="Of deblurers that draw random numbers.")] = DEFAULTS.seed,
    seeds: Annotated[int, typer.Option(min=1, help="Run so many seeds, from --seed on.")] = 1,
    device: DeviceOption = DEFAULTS.device,
    precision: PrecisionOption = DEFAULTS.precision,
    weights: WeightsOption = None,
    out: Annotated[Path, typer.Option(help="Folder for run directories.")] = Path("reports/runs"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the table as JSON; several as a list, with their detector and imgsz.")
    ] = False,
) -> None:
    """Score a deblurer between its floor (blurred frames) and its ceiling (sharp frames, re-encoded).

    Restored frames are kept in the cache, 10 GB of them, and what was not used for longest goes first: before another
    detector, or with another --imgsz or --conf, no frame is restored again. DETBENCH_CACHE_GB sets another limit; 0
    keeps none.
    """
    with errors():
        spec = RunSpec(
            "",
            dataset=dataset,
            input=given,
            conf=conf,
            nms_iou=nms_iou,
            match_iou=match_iou,
            limit=limit,
            noise=noise,
            seed=seed,
            device=device,
            precision=precision,
            weights=str(weights) if weights else None,
        )
        from detbench import registry
        from detbench.runner import benchmarks

        names = registry.runnable() if deblurer == ["all"] else deblurer or ["dc250"]
        specs = [replace(spec, deblurer=name, seed=seed + i) for name in names for i in range(seeds)]
        views: list[dict[str, Any]] = [
            {"detector": which, "imgsz": size}
            for which in dict.fromkeys(detector or [DEFAULTS.detector])
            for size in dict.fromkeys(imgsz or [DEFAULTS.imgsz])
        ]
        found = benchmarks(specs, views, out)
        if as_json:
            told = [_benchmark_json(results) for results in found]
            print(
                json.dumps(told[0] if len(views) == 1 else [v | t for v, t in zip(views, told, strict=True)], indent=1)
            )
            return
        for i, (view, results) in enumerate(zip(views, found, strict=True)):
            if len(views) > 1:
                print("\n" * (i > 0) + f"{view['detector']}, imgsz {view['imgsz']}")
            _print_benchmark(results)


@app.command(name="list")
def list_(
    what: Annotated[Literal["deblurers", "datasets", "detectors"], typer.Argument(help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, deblurers with paper and licence.")] = False,
) -> None:
    """List what can be named."""
    with errors():
        rows: list[dict[str, Any]] = []
        if what == "deblurers":
            from detbench import registry
            from detbench.weights import count_parameters, read_record

            for name, entry in registry.entries().items():
                there = entry.weights.exists()
                row = {
                    "deblurer": name,
                    "family": entry.stated("family"),
                    "parameters": count_parameters(entry.weights) if there else None,
                    "images seen": read_record(entry.weights).get("images_seen", 0) if there else None,
                    "what it is": entry.title,
                }
                cited = {field: entry.stated(field) for field in ("paper", "licence")} if as_json else {}
                rows.append(row | cited)
        elif what == "datasets":
            from detbench import datasets

            rows += [{"dataset": c.name, "role": c.role, "what it is": c.title} for c in datasets.cards().values()]
        else:
            from detbench import assets, detect

            for asset in map(assets.find, detect.names()):
                rows.append({"detector": asset.name, "what it is": asset.what, "MB": f"{asset.size / 1e6:.1f}"})
        if as_json:
            print(json.dumps(rows, indent=1))
        else:
            cells = [[f"{told:,}" if isinstance(told, int) else told or "" for told in row.values()] for row in rows]
            _print_table(list(rows[0]), cells)


@app.command()
def figure(
    run_path: Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory.")],
    target: Annotated[Path, typer.Argument(metavar="OUTPUT", help="The picture: .png, .pdf or .svg.")],
) -> None:
    """Draw what the detector saw in a run's best, median and worst frame."""
    with errors():
        from detbench import figure as module
        from detbench import store

        if target.suffix not in (".png", ".pdf", ".svg"):
            raise DetbenchError(f"{target}: name it .png, .pdf or .svg.")
        result = store.read(run_path)
        panels = module.panels(result, module.best_median_worst(result))
        module.draw(result, store.read_detections(run_path), panels, target)
        print(f"drawn: {target}", file=sys.stderr)


RunsArgument = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="Directories of runs, or folders of such directories.")
]


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
        from detbench.report import collect, document

        print(document.write(collect.collect(runs, split=group), out))


@app.command()
def compare(
    runs: RunsArgument,
    threshold: Annotated[
        Literal["run", "loco"],
        typer.Option(help="loco: each run counts from the confidence that is best for it on all other clips."),
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
        from detbench.report import collect

        results = [store.read(path) for path in collect.find(runs)[0]]
        if len(results) < 2:
            raise DetbenchError("Comparing takes two finished runs or more: the first is what the others are held to.")
        compared = module.compare(results, threshold, without or ())
        signature = "|".join([results[0].environment["signature"], *(f"without:{clip}" for clip in compared.without)])
        if as_json:
            told = {"rows": compared.rows(), "sentences": compared.sentences(), "signature": signature}
            print(json.dumps(told, indent=1))
            return
        _print_table(list(module.HEADINGS), compared.cells())
        print(*compared.sentences(), f"signature: {signature}", sep="\n")


@app.command()
def check(
    baseline: Annotated[Path, typer.Option(help="Folder with the run that others are held to.")] = Path(
        "reports/baseline"
    ),
    update: Annotated[bool, typer.Option("--update", help="Write a new baseline, and tell what changes.")] = False,
    out: Annotated[Optional[Path], typer.Option(help="Keep the new run's directory in this folder.")] = None,
    junit: Annotated[Optional[Path], typer.Option(help="Write JUnit XML to this file.")] = None,
    summary: Annotated[Optional[Path], typer.Option(help="Append a Markdown summary to this file.")] = None,
    weights: WeightsOption = None,
    device: Annotated[
        Optional[str], typer.Option(help="In place of the baseline's: auto, cpu, cuda or cuda:N.")
    ] = None,
) -> None:
    """Run a baseline's spec anew; exit 1 if scores fell for sure, 2 if they cannot be compared.

    A deblurer that fails on a frame exits with 1, too. On GitHub, annotations are printed and the summary goes to the
    job's page by itself.
    """
    with errors():
        from detbench import check as module

        given = str(weights) if weights else None
        if update:
            print(*module.update(baseline, weights=given, device=device), sep="\n")
            return
        try:
            verdict = module.check(baseline, out, weights=given, device=device)
        except module.CannotCompare as error:
            module.deliver(error, junit, summary)
            raise
        print(module.summary(verdict))
        module.deliver(verdict, junit, summary)
        if not verdict.passed:
            raise typer.Exit(1)


@app.command()
def claims(
    device: DeviceOption = "auto",
    target: Annotated[Path, typer.Option("--out", help="The page to write, as Markdown.")] = Path("reports/claims.md"),
) -> None:
    """Test what the publications claim, and what we do, on `street`; runs what is not run yet."""
    with errors():
        from detbench import claims as module

        found = module.write(target, device=device)
        _print_table(["claim", "verdict", ""], [[claim.key, claim.verdict, claim.says] for claim in found])
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
) -> None:
    """Run every shipped deblurer on `street` before several detectors; write reports/ and the README's leaderboard."""
    with errors():
        from detbench import publish as module

        root = Path.cwd()
        if not (check or mark):
            print(*module.publish(root, device=device), sep="\n")
        for path in module.mark(root) if mark else ():
            print(path)
        if check and (told := module.stale(root / "reports") + module.waiting(root / "reports")):
            print(*told, sep="\n")
            raise typer.Exit(1)


@app.command()
def deblur(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="An image, a folder of images, or a video.")],
    target: Annotated[Path, typer.Argument(metavar="OUTPUT", help="A file for a file, a folder for a folder.")],
    deblurer: DeblurerOption = "dc250",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    weights: WeightsOption = None,
) -> None:
    """Restore your own frames. Writes 8-bit RGB: transparency, colour profiles and sound are not kept."""
    with errors("the images written so far are complete"):
        from detbench import deblur as module
        from detbench.runner import restorer

        restore = restorer(
            RunSpec(deblurer, device=device, precision=precision, weights=str(weights) if weights else None)
        )
        count = module.deblur(source, target, restore)
        print(f"{count} frame{'s' if count != 1 else ''} restored: {target}", file=sys.stderr)


@app.command()
def train(
    name: Annotated[Optional[str], typer.Argument(help="The deblurer to train.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Train all that have a recipe, one after the other.")
    ] = False,
    budget: Annotated[
        str, typer.Option(help="Stop after 90s, 30m or 2h; the same command goes on. Shared out with --all.")
    ] = "",
    data: Annotated[
        Optional[list[Path]],
        typer.Option(
            help="Photos, sharp/ and blur/ pairs, a GoPro tree, or a pack; repeat for several. Default: street_train."
        ),
    ] = None,
    validation: Annotated[
        Optional[list[Path]],
        typer.Option(help="The same, for validation. Default: every eighth of the street_train photos."),
    ] = None,
    pack: Annotated[
        Optional[Path], typer.Option(help="Write the training data to this folder as packs, and do not train.")
    ] = None,
    weights: Annotated[
        Optional[Path],
        typer.Option("--from", help="A .safetensors file to start from, as the recipe does not."),
    ] = None,
    steps: Annotated[Optional[int], typer.Option(min=1, help="Iterations, in place of the recipe's.")] = None,
    preset: Annotated[Optional[str], typer.Option(help="Size of the network, such as paper or compact.")] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(
            help="Folder for checkpoints, log and weights. Default: reports/training/NAME; its parent for --all."
        ),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Iterations between validations and checkpoints.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the first weights and the crops.")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Train a deblurer by its recipe; the same command goes on after a kill. Works under torchrun."""
    with errors("the same command goes on from the last checkpoint"):
        if weights and name is None:
            raise DetbenchError(f"--from {weights} is for one deblurer: name it.")
        if weights and not weights.is_file():
            raise DetbenchError(f"The weights {weights} do not exist.")
        if (name is not None) + everything + (pack is not None) != 1:
            raise DetbenchError("Give the name of a deblurer, or --all, or --pack DIR.")
        from detbench import registry
        from detbench.gan import pack as pack_
        from detbench.gan import schedule, sources
        from detbench.gan.train import train as train_

        if pack:
            for path in pack_.pack(sources.load_training(data, validation)[0], pack):
                print(path)
            return
        trainings, time = Path("reports/training"), schedule.seconds(budget) if budget else math.inf
        options: dict[str, Any] = {
            "data": data,
            "validation": validation,
            "preset": preset,
            "weights": weights,
            "iterations": steps,
            "seed": seed,
            "device": device,
            "every": every,
        }
        if name is None:
            specs = {name: registry.get(name) for name in registry.entries()}
            left = schedule.train_all(specs, out or trainings, time, **options)
            print(f"not finished: {', '.join(left)}" if left else "all are finished", file=sys.stderr)
            return
        best = train_(name, registry.get(name), out or trainings / name, budget=time, **options)
        print(f"best weights: {best}\ntry them: detbench run --deblurer {name} --weights {best}", file=sys.stderr)


@app.command()
def tune(
    name: Annotated[str, typer.Argument(help="The deblurer whose weights are tuned, or spandrel:FILE.")],
    data: Annotated[
        list[Path],
        typer.Option(
            help="Sharp photos or a video, which are blurred here, or sharp/ and blur/ pairs, or a GoPro tree; repeat"
            " for several."
        ),
    ],
    detector: Annotated[
        Optional[list[str]],
        typer.Option(
            help="See `detbench list detectors`; or a .pt file. Repeat for several: the loss is their mean. Default:"
            f" {DEFAULTS.detector}."
        ),
    ] = None,
    budget: Annotated[str, typer.Option(help="How long, as 90s, 30m or 2h, from the start to the table.")] = "2h",
    blur_px: Annotated[
        str, typer.Option(metavar="LEAST:MOST", help="Extent in pixels of the blur that sharp pictures get.")
    ] = "4:20",
    imgsz: Annotated[int, typer.Option(help="Longer side in pixels that the detector will work at.")] = DEFAULTS.imgsz,
    weights: Annotated[
        Optional[Path], typer.Option("--from", help="A .safetensors file to start from, not the deblurer's own.")
    ] = None,
    validation: Annotated[
        Optional[list[Path]], typer.Option(help="As --data. Default: every eighth clip of the data.")
    ] = None,
    out: Annotated[
        Optional[Path], typer.Option(help="Folder for checkpoints, log and weights. Default: reports/tuning/NAME.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the crops and their blur.")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Tune a deblurer so that your detector sees in its frames what it sees in sharp ones.

    The detector stays as it is. Pictures of some clips are kept back, and show what it sees before and after. The same
    command goes on after a kill.
    """
    with errors("the same command goes on from the last checkpoint"):
        from detbench import compare as module
        from detbench.gan import schedule
        from detbench.gan.tune import tune as tune_
        from detbench.runner import benchmarks

        detectors = list(dict.fromkeys(detector or [DEFAULTS.detector]))
        place = out or Path("reports/tuning") / Path(name.partition(":")[2] or name).stem
        tuned = tune_(
            name,
            place,
            data=data,
            detectors=detectors,
            budget=schedule.seconds(budget),
            validation=validation,
            weights=weights,
            blur_px=schedule.extents(blur_px),
            imgsz=imgsz,
            seed=seed,
            device=device,
        )
        spec = RunSpec(name, dataset=str(tuned.validation), imgsz=imgsz, device=device)
        starts = [replace(spec, weights=str(each) if each else None) for each in (weights, tuned.weights)]
        views = [{"detector": each} for each in detectors]
        for view, results in zip(views, benchmarks(starts, views, place / "runs"), strict=True):
            print(f"{view['detector']} on {len(results[0].scores)} frames that were not trained on:")
            _print_benchmark(results)
            said = _compared(results).sentences()
            for line in module.compare(results[1:3]).sentences():  # after against before
                if line not in said:
                    print(line)
        print(f"try it: detbench run --deblurer {name} --weights {tuned.weights}")


def _print_benchmark(results: list[RunResult]) -> None:
    """A benchmark's table, what can be concluded of it, its signature, and where its runs lie."""
    from detbench import table

    _print_table(
        ["", *(heading for heading, _ in table.COLUMNS.values())], [table.cells(row) for row in table.rows(results)]
    )
    if models := table.models(results):
        print(*_compared(results).sentences(), sep="\n")
    print(f"signature: {results[0].environment['signature']}")
    for result in models.values():
        print(f"run: {result.path}")


def _benchmark_json(results: list[RunResult]) -> dict[str, Any]:
    """The same as plain data."""
    from detbench import table

    return {
        "rows": [table.plain(row) for row in table.rows(results)],
        "differences": _compared(results).rows(),
        "signature": results[0].environment["signature"],
        "runs": {label: str(result.path) for label, result in table.models(results).items()},
    }


def _compared(results: list[RunResult]) -> Comparison:
    """A benchmark's deblurers against what they were given."""
    from detbench import compare as module
    from detbench import table

    models = list(table.models(results).values())
    # Sharp frames, deblurred, are to stay what they were.
    base = results[-1] if models and models[0].spec.input == "sharp" else results[0]
    return module.compare([base, *models])


def _print_table(headings: list[str], rows: list[list[str]]) -> None:
    """A table on stdout: the first column to the left, numbers to the right, as wide as it needs to be."""
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(headings))]
    for row in [headings, ["-" * width for width in widths], *rows]:
        line = [cell.rjust(w) if n else cell.ljust(w) for cell, w, n in zip(row, widths, numeric, strict=True)]
        print("  ".join(line).rstrip())


def _is_number(cell: Any) -> bool:
    return (bool(cell) and cell.strip("%-+.").replace(",", "").replace(".", "").isdigit()) or cell in ("-", "inf")
