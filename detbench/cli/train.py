"""Commands that train: train, tune."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from detbench.cli._app import app, errors
from detbench.cli._options import DEFAULTS, DeviceOption, existing
from detbench.cli._print import compared, print_alternatives, print_benchmark
from detbench.parse import seconds, two
from detbench.types import DetbenchError, DetectorSpec, RunSpec

TrainName = Annotated[Optional[str], typer.Argument(help="The deblurer to train.")]
TrainEverything = Annotated[bool, typer.Option("--all", help="Train all that have a recipe, one after the other.")]
TrainBudget = Annotated[
    str, typer.Option(help="Stop after 90s, 30m or 2h; the same command goes on. Shared out with --all.")
]
TrainData = Annotated[
    Optional[list[Path]],
    typer.Option(
        help="Photos, sharp/ and blur/ pairs, a GoPro tree, or a pack; repeat for several. Default: street_train."
    ),
]
TrainValidation = Annotated[
    Optional[list[Path]],
    typer.Option(help="The same, for validation. Default: every eighth of the street_train photos."),
]
TrainPack = Annotated[
    Optional[Path], typer.Option(help="Write the training data to this folder as packs, and do not train.")
]
TrainWeights = Annotated[
    Optional[Path],
    typer.Option("--from", help="A .safetensors file to start from, as the recipe does not."),
]
TrainSteps = Annotated[Optional[int], typer.Option(min=1, help="Iterations, in place of the recipe's.")]
TrainPreset = Annotated[Optional[str], typer.Option(help="Size of the network, such as paper or compact.")]
TrainOut = Annotated[
    Optional[Path],
    typer.Option(help="Folder for checkpoints, log and weights. Default: reports/training/NAME; its parent for --all."),
]
TrainEvery = Annotated[int, typer.Option(min=1, help="Iterations between validations and checkpoints.")]
TrainSeed = Annotated[int, typer.Option(help="Of the first weights and the crops.")]


@app.command()
def train(
    name: TrainName = None,
    everything: TrainEverything = False,
    budget: TrainBudget = "",
    data: TrainData = None,
    validation: TrainValidation = None,
    pack: TrainPack = None,
    weights: TrainWeights = None,
    steps: TrainSteps = None,
    preset: TrainPreset = None,
    out: TrainOut = None,
    every: TrainEvery = 1000,
    seed: TrainSeed = 0,
    device: DeviceOption = "auto",
) -> None:
    """Train a deblurer by its recipe; the same command goes on after a kill. Works under torchrun."""
    with errors("the same command goes on from the last checkpoint"):
        existing(data, validation)
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
        trainings, time = Path("reports/training"), seconds(budget) if budget else math.inf
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


TuneName = Annotated[str, typer.Argument(help="The deblurer whose weights are tuned, or spandrel:FILE.")]
TuneData = Annotated[
    list[Path],
    typer.Option(
        help="Sharp photos or a video, which are blurred here, or sharp/ and blur/ pairs, or a GoPro tree; repeat"
        " for several."
    ),
]
TuneDetector = Annotated[
    Optional[list[str]],
    typer.Option(
        help="A YOLO by name, or its .pt file. Repeat for several: the loss is their mean. Default:"
        f" {DEFAULTS.detector}."
    ),
]
TuneBudget = Annotated[str, typer.Option(help="How long, as 90s, 30m or 2h, from the start to the table.")]
TuneBlurPx = Annotated[
    str, typer.Option(metavar="LEAST:MOST", help="Extent in pixels of the blur that sharp pictures get.")
]
TuneImgsz = Annotated[int, typer.Option(help="Longer side in pixels that the detector will work at.")]
TuneWeights = Annotated[
    Optional[Path], typer.Option("--from", help="A .safetensors file to start from, not the deblurer's own.")
]
TuneValidation = Annotated[
    Optional[list[Path]], typer.Option(help="As --data. Default: every eighth clip of the data.")
]
TuneOut = Annotated[
    Optional[Path], typer.Option(help="Folder for checkpoints, log and weights. Default: reports/tuning/NAME.")
]
TuneSeed = Annotated[int, typer.Option(help="Of the crops and their blur.")]


@app.command()
def tune(
    name: TuneName,
    data: TuneData,
    detector: TuneDetector = None,
    budget: TuneBudget = "2h",
    blur_px: TuneBlurPx = "4:20",
    imgsz: TuneImgsz = DetectorSpec.imgsz,
    weights: TuneWeights = None,
    validation: TuneValidation = None,
    out: TuneOut = None,
    seed: TuneSeed = 0,
    device: DeviceOption = "auto",
) -> None:
    """Tune a deblurer so that your detector sees in its frames what it sees in sharp ones.

    The detector stays as it is. Pictures of some clips are kept back, and show what it sees before and after. The same
    command goes on after a kill.
    """
    with errors("the same command goes on from the last checkpoint"):
        existing(data, validation)
        from detbench import compare as module
        from detbench.benchmarks import benchmarks
        from detbench.gan.tune import tune as tune_
        from detbench.report.conclusions import sentences
        from detbench.table import SHOWN

        detectors = list(dict.fromkeys(detector or [DEFAULTS.detector]))
        place = out or Path("reports/tuning") / Path(name.partition(":")[2] or name).stem
        tuned = tune_(
            name,
            place,
            data=data,
            detectors=detectors,
            budget=seconds(budget),
            validation=validation,
            weights=weights,
            blur_px=two(blur_px, "--blur-px 4:20"),
            imgsz=imgsz,
            seed=seed,
            device=device,
        )
        spec = RunSpec(name, dataset=str(tuned.validation), imgsz=imgsz, device=device)
        starts = [replace(spec, weights=str(each) if each else None) for each in (weights, tuned.weights)]
        views = [{"detector": each} for each in detectors]
        for view, lineup in zip(views, benchmarks(starts, views, place / "runs"), strict=True):
            print(f"{view['detector']} on {len(lineup.floor.scores)} frames that were not trained on:")
            print_benchmark(lineup, SHOWN)
            printed = sentences(compared(lineup))
            for line in sentences(module.compare(lineup.models)):  # after against before
                if line not in printed:
                    print(line)
        print(f"try it: detbench run --deblurer {name} --weights {tuned.weights}")


@app.command()
def adapt(
    data: TuneData,
    detector: Annotated[str, typer.Option(help="A YOLO's name, or a .pt file.")] = DEFAULTS.detector,
    budget: TuneBudget = "2h",
    blur_px: TuneBlurPx = "4:20",
    imgsz: TuneImgsz = DetectorSpec.imgsz,
    validation: TuneValidation = None,
    out: TuneOut = None,
    seed: TuneSeed = 0,
    device: DeviceOption = "auto",
) -> None:
    """Adapt a detector to blur, in place of deblurring: it learns to see in blurred frames what it saw in sharp ones.

    A copy of the detector learns from the detector itself, without labels, and costs nothing more a frame. Pictures of
    some clips are kept back, and show what it sees before and after. The same command goes on after a kill.
    """
    with errors("the same command goes on from the last checkpoint"):
        existing(data, validation)
        from detbench import alternatives
        from detbench.gan.adapt import RECIPE
        from detbench.gan.adapt import adapt as adapt_
        from detbench.results import Results

        name = Path(detector).stem
        place = out or Path("reports/adapting") / name
        made = adapt_(
            detector,
            place,
            data=data,
            budget=seconds(budget),
            validation=validation,
            recipe=replace(RECIPE, blur_extent=two(blur_px, "--blur-px 4:20")),
            imgsz=imgsz,
            seed=seed,
            device=device,
        )
        base = RunSpec("identity", dataset=str(made.validation), detector=detector, imgsz=imgsz, device=device)
        own = replace(base, detector=f"adapted:{detector}", detector_weights=str(made.weights))
        print_alternatives(alternatives.before_and_after(base, own, Results(place / "runs")))
        print(f"try it: detbench run --detector adapted:{detector} --detector-weights {made.weights}")
