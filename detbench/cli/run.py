"""Commands that restore and score: run, deblur."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from detbench.cli._app import app, errors
from detbench.cli._options import (
    DEFAULTS,
    BackendOption,
    DeblurerOption,
    DeviceOption,
    OnlyBlurredOption,
    PrecisionOption,
    ValueRangeOption,
    WeightsOption,
    precision_of,
    value_range,
)
from detbench.cli._print import print_benchmarks, print_plan, print_unreferenced
from detbench.lineup import RECOMMENDED
from detbench.types import DetbenchError, OnError, RunSpec

RunDeblurer = Annotated[
    Optional[list[str]],
    typer.Option(
        "--deblurer",
        "--deblurrer",
        help="See `detbench list deblurers`; or spandrel:FILE or onnx:FILE; or frames:DIR, frames that were restored"
        " elsewhere, matched by name. Repeat for several; all for all that run as they are. Default:"
        f" {RECOMMENDED}.",
    ),
]
RunDataset = Annotated[
    str,
    typer.Option(
        help="See `detbench list datasets`; or a folder with sharp/ and blur/, or in the layout of GoPro, REDS,"
        " RealBlur (or its list), HIDE, DVD, Köhler, or DeblurGAN's images of two halves; or BENCHMARK:DIR; or sharp"
        " pictures or a video, with --blur; or blurred ones alone, without any reference."
    ),
]
RunClips = Annotated[
    str,
    typer.Option(
        help="Regular expression with a group (?P<clip>...): what clip a frame of your folder is of. Frames of one clip"
        " are not independent."
    ),
]
RunDetector = Annotated[
    Optional[list[str]],
    typer.Option(
        help="See `detbench list detectors`: a name, a YOLO's or RT-DETR's file, onnx:FILE, torchvision:NAME,"
        " transformers:ORG/NAME, adapted:NAME (docs/detectors.md). Repeat for a table each. Default:"
        f" {DEFAULTS.detector}."
    ),
]
RunDetectorWeights = Annotated[
    Optional[Path],
    typer.Option(help="A file in place of the detector's own weights: for torchvision:NAME and adapted:NAME."),
]
RunConf = Annotated[
    float, typer.Option(help="Drop detections scored below this; 0 for the detector's own (0.25 of most).")
]
RunNmsIou = Annotated[float, typer.Option(help="IoU of the detector's non-maximum suppression.")]
RunMatchIou = Annotated[float, typer.Option(help="IoU from which a detection is the reference object.")]
RunImgsz = Annotated[
    Optional[list[int]],
    typer.Option(
        help="Longer side in pixels that the detector works at. Repeat for several, a table each. Default: the"
        " detector's own (640 of YOLOs)."
    ),
]
RunOnError = Annotated[
    OnError,
    typer.Option(
        help="skip: a frame that cannot be read, or fails before a deblurer, is left out of all runs that are compared."
    ),
]
RunLimit = Annotated[Optional[int], typer.Option(help="Score the first N frames only.")]
RunGiven = Annotated[
    Literal["blurred", "sharp"],
    typer.Option("--input", help="What the deblurer gets: sharp shows what harm it does to frames without blur."),
]
RunNoise = Annotated[float, typer.Option(help="Variance of Gaussian noise on the blurred frames, for values in 0..1.")]
RunSeed = Annotated[int, typer.Option(help="Of deblurers that draw random numbers.")]
RunSeeds = Annotated[int, typer.Option(min=1, help="Run so many seeds, from --seed on.")]
RunOut = Annotated[Path, typer.Option(help="Folder for run directories.")]
RunColumns = Annotated[
    Optional[str],
    typer.Option(
        help="Columns of the table: all, or keys with commas between: verdict, f1, gain, gap_closed, psnr_db,"
        " restore_ms (these by default), precision, recall, recovered, lost, hallucinated, ssim."
    ),
]
RunAsJson = Annotated[
    bool, typer.Option("--json", help="Print the table as JSON; several as a list, with their detector and imgsz.")
]


RunBlur = Annotated[
    str,
    typer.Option(
        help="Blur for sharp pictures, or a video, that have no blurred ones: shake, psf, defocus, or average (a"
        " video's frames), with :light, :medium, :strong or :LEAST-MOST; or without, all three in turn."
    ),
]
RunClasses = Annotated[
    Optional[str], typer.Option(help="The detector's classes that count, such as person,car. Default: all.")
]
RunTruth = Annotated[
    Optional[Path],
    typer.Option(
        help="COCO's JSON of boxes that people drew on these frames: a second table, against them, with AP and AR."
    ),
]


RunDevice = Annotated[
    str,
    typer.Option(help="auto, cpu, cuda, cuda:N or mps; or several, a process each: cuda:0,cuda:1, or cpu,cpu."),
]
RunShard = Annotated[
    Optional[str],
    typer.Option(
        help="Score a share of the frames, such as 3/8, on a machine of several; `detbench merge` joins them."
    ),
]


RunEngine = Annotated[
    Literal["local", "ray"],
    typer.Option(help="ray: the frames are shared out over a Ray cluster; the results are those of one machine."),
]
RunAddress = Annotated[
    Optional[str], typer.Option(help="Of the Ray cluster: auto, or HOST:PORT. Default: one of this machine alone.")
]
RunCpus = Annotated[
    Optional[int],
    typer.Option(min=1, help="Processors, and threads, of each of Ray's tasks. Default: as many as torch takes here."),
]
RunConfig = Annotated[
    Optional[Path],
    typer.Option(
        help="A TOML file whose keys are these options, and lists stand for each of theirs: deblurer = ['dc250',"
        " 'srn'], detector = [...], precision = [...], seed = [0, 1]. What is finished is not run again."
    ),
]
RunDry = Annotated[bool, typer.Option("--dry-run", help="With --config: show the plan, and run nothing.")]


@app.command()
def run(
    context: typer.Context,
    deblurer: RunDeblurer = None,
    dataset: RunDataset = DEFAULTS.dataset,
    clips: RunClips = DEFAULTS.clips,
    blur: RunBlur = DEFAULTS.blur,
    truth: RunTruth = None,
    classes: RunClasses = None,
    detector: RunDetector = None,
    detector_weights: RunDetectorWeights = None,
    conf: RunConf = DEFAULTS.conf,
    nms_iou: RunNmsIou = DEFAULTS.nms_iou,
    match_iou: RunMatchIou = DEFAULTS.match_iou,
    imgsz: RunImgsz = None,
    limit: RunLimit = None,
    on_error: RunOnError = DEFAULTS.on_error,
    given: RunGiven = DEFAULTS.input,
    noise: RunNoise = DEFAULTS.noise,
    seed: RunSeed = DEFAULTS.seed,
    seeds: RunSeeds = 1,
    device: RunDevice = DEFAULTS.device,
    backend: BackendOption = "torch",
    precision: PrecisionOption = None,
    weights: WeightsOption = None,
    values: ValueRangeOption = None,
    only_blurred: OnlyBlurredOption = False,
    shard: RunShard = None,
    engine: RunEngine = "local",
    address: RunAddress = None,
    cpus_per_task: RunCpus = None,
    config: RunConfig = None,
    dry_run: RunDry = False,
    out: RunOut = Path("reports/runs"),
    columns: RunColumns = None,
    as_json: RunAsJson = False,
) -> None:
    """Score a deblurer between its floor (blurred frames) and its ceiling (sharp frames, re-encoded).

    Restored frames are kept in the cache, 10 GB of them, and what was not used for longest goes first: with another
    detector, or another --imgsz or --conf, no frame is restored again. DETBENCH_CACHE_GB sets another limit; 0
    keeps none.
    """
    with errors():
        if (address or cpus_per_task) and engine != "ray":
            raise DetbenchError("--address and --cpus-per-task are Ray's: add --engine ray.")
        devices = _several(device, alone=engine == "local" and not (shard or config))
        if config or dry_run:
            _run_matrix(context, config, dry_run, out, as_json, columns)
            return
        spec = RunSpec(
            "",
            dataset=dataset,
            clips=clips,
            blur=blur,
            classes=tuple(name.strip() for name in classes.split(",")) if classes else (),
            input=given,
            conf=conf,
            nms_iou=nms_iou,
            match_iou=match_iou,
            limit=limit,
            on_error=on_error,
            noise=noise,
            seed=seed,
            device=devices[0].partition(":")[0] if devices else device,
            backend=backend,
            precision=precision_of(backend, precision),
            weights=str(weights) if weights else None,
            value_range=value_range(values),
            only_blurred=only_blurred,
            detector_weights=str(detector_weights) if detector_weights else None,
        )
        from detbench import registry, table, unreferenced
        from detbench.benchmarks import benchmarks, framed
        from detbench.runner import run_shard
        from detbench.shards import Shard

        keys = table.chosen(columns) if columns else table.SHOWN

        names = registry.runnable() if deblurer == ["all"] else deblurer or [RECOMMENDED]
        if unreferenced.is_alone(dataset, blur):
            if truth or noise or given != DEFAULTS.input or seeds > 1 or on_error != DEFAULTS.on_error:
                options = "--truth, --noise, --input, --seeds and --on-error"
                raise DetbenchError(f"{dataset} has no sharp frames: leave out {options}.")
            for each in detector or [DEFAULTS.detector]:
                for size in imgsz or [DEFAULTS.imgsz]:
                    print_unreferenced(replace(spec, detector=each, imgsz=size), names, as_json)
            return
        specs = [replace(spec, deblurer=name, seed=seed + i) for name in names for i in range(seeds)]
        part = Shard.parse(shard) if shard else None
        references: list[dict[str, Any]] = [{"truth": None}, {"truth": str(truth)}] if truth else [{}]
        views = [
            {"detector": which, "imgsz": size} | against
            for which in dict.fromkeys(detector or [DEFAULTS.detector])
            for size in dict.fromkeys(imgsz or [DEFAULTS.imgsz])
            for against in references
        ]
        if part:
            for asked in framed(specs, views):
                print(run_shard(asked, part, out))
            return
        if engine == "ray":
            _score_on_cluster(specs, views, out, address, cpus_per_task)
        elif devices:
            _score_by_processes(specs, views, out, devices)
        print_benchmarks(views, benchmarks(specs, views, out), as_json, keys)


def _run_matrix(
    context: typer.Context, config: Path | None, dry_run: bool, out: Path, as_json: bool, columns: str | None
) -> None:
    """Show the plan of a file of runs, and run it."""
    beside = {"context", "config", "dry_run", "out", "as_json", "columns", "engine", "address", "cpus_per_task"}
    given = [name for name in context.params if name not in beside and _is_given(context, name)]
    if config is None:
        raise DetbenchError("--dry-run needs --config.")
    if given:
        what = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise DetbenchError(f"{config} says what is run: leave out {what}.")
    from detbench import best, matrix, table
    from detbench.benchmarks import benchmarks

    matrices = matrix.read(config)
    rows = matrix.plan(matrices, out, best.guess)
    print_plan(rows)
    if not dry_run:
        for each in matrices:
            if context.params["engine"] == "ray":
                address, cpus = context.params["address"], context.params["cpus_per_task"]
                _score_on_cluster(each.specs, each.views, out, address, cpus)
            made = benchmarks(each.specs, each.views, out)
            print_benchmarks(each.views, made, as_json, table.chosen(columns) if columns else table.SHOWN)


def _several(device: str, alone: bool) -> list[str]:
    """The devices that ``--device`` names, if several; they are refused where frames are shared out already."""
    from detbench import processes

    devices = processes.several(device)
    if devices and not alone:
        raise DetbenchError(f"--device {device}: give one, with --engine ray, --shard and --config.")
    return devices


def _score_by_processes(
    specs: Sequence[RunSpec], views: Sequence[Mapping[str, Any]], out: Path, devices: Sequence[str]
) -> None:
    """Score a benchmark's frames by a process for each device."""
    from detbench import benchmarks, processes

    benchmarks.check(specs, views, out)
    for spec in benchmarks.framed(specs, views):
        processes.score(spec, devices, out)


def _score_on_cluster(
    specs: Sequence[RunSpec], views: Sequence[Mapping[str, Any]], out: Path, address: str | None, cpus: int | None
) -> None:
    """Score a benchmark's frames on a Ray cluster."""
    from detbench import benchmarks, cluster

    benchmarks.check(specs, views, out)
    with cluster.connected(address):
        for spec in benchmarks.framed(specs, views):
            cluster.score(spec, out, cpus)


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of run directories with shards.")],
    out: Annotated[Optional[Path], typer.Option(help="Where the whole runs go. Default: the first folder.")] = None,
) -> None:
    """Join what `detbench run --shard` scored into runs: the same as without shards, times aside."""
    with errors():
        from detbench import benchmarks, runner
        from detbench.shards import gather

        place = out or folders[0]
        for spec in benchmarks.without_failing(gather(folders, place), place):
            print(runner.run(spec, place).path)


@app.command()
def deblur(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="An image, a folder of images, or a video.")],
    target: Annotated[Path, typer.Argument(metavar="OUTPUT", help="A file for a file, a folder for a folder.")],
    deblurer: DeblurerOption = RECOMMENDED,
    device: DeviceOption = "auto",
    backend: BackendOption = "torch",
    precision: PrecisionOption = None,
    weights: WeightsOption = None,
    values: ValueRangeOption = None,
    only_blurred: OnlyBlurredOption = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over files that are there.")] = False,
    codec: Annotated[str, typer.Option(help="FFmpeg's name of the encoder of videos, such as libx265.")] = "libx264",
) -> None:
    """Restore your own frames: images, videos (with their sound), or a folder of both.

    Images become 8-bit RGB, without transparency and colour profiles; videos H.264, upright and deinterlaced.
    """
    with errors("what was written so far is complete"):
        from detbench import deblur as module
        from detbench.restorers import OnlyBlurred, restorer

        given = str(weights) if weights else None
        spec = RunSpec(
            deblurer,
            device=device,
            backend=backend,
            precision=precision_of(backend, precision),
            weights=given,
            value_range=value_range(values),
            only_blurred=only_blurred,
        )
        restore = restorer(spec)
        count = module.deblur(source, target, restore, overwrite, codec)
        left = restore.left if isinstance(restore, OnlyBlurred) else 0
        alone = f"; {left} measured sharp and left alone" if only_blurred else ""
        frames = f"{count - left} frame{'s' if count - left != 1 else ''}"
        print(f"{frames} restored by {deblurer}{alone}: {target}", file=sys.stderr)


@app.command()
def export(
    deblurer: Annotated[str, typer.Argument(help="See `detbench list deblurers`.")],
    target: Annotated[Path, typer.Argument(metavar="OUTPUT", help="NAME.onnx, or NAME.torchscript.")],
    weights: WeightsOption = None,
) -> None:
    """Write a deblurer as a file that other programs run; what it computes is compared with the network first."""
    with errors():
        from detbench.export import export as export_

        made = export_(deblurer, target, weights)
        print(
            f"{made.path}: (batch, 3, height, width) RGB in 0..1 to the same, sides divisible by {made.multiple_of};"
            f" within {made.difference:.1e} of the network."
        )
        if target.suffix == ".onnx":
            print(f"detbench runs it too: detbench run --deblurer onnx:{made.path}")
