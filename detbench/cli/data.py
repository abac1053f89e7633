"""Commands for data: data make, data check, reference export, reference import."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from detbench.cli._app import app, errors
from detbench.counts import counted
from detbench.types import DetbenchError

data = typer.Typer(help="Make and check data to train and evaluate on.", no_args_is_help=True)
reference = typer.Typer(help="Reference boxes: out, to be looked at and corrected, and in again.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(reference, name="reference")


@data.command()
def make(
    out: Annotated[Path, typer.Argument(help="Folder for sharp/, blur/ and manifest.json.")],
    source: Annotated[
        Path, typer.Option("--from", help="A video, a picture, or a folder of these, whose folders below are clips.")
    ],
    blur: Annotated[
        str,
        typer.Option(
            help="shake, psf, defocus, or average (a video's frames, 7 to 23, in linear light); with :light, :medium,"
            " :strong or :LEAST-MOST (pixels of a frame 640 wide; frames of 240 a second); or all three in turn."
        ),
    ] = "shake",
    psf: Annotated[
        Literal["corrected", "faithful"], typer.Option(help="Of psf: as DeblurGAN's paper has it, or as its code does.")
    ] = "corrected",
    noise: Annotated[float, typer.Option(help="Variance of Gaussian noise, for values in 0..1.")] = 0.0,
    jpeg: Annotated[int, typer.Option(help="Quality of the JPEG that blurred frames were; 0 for none.")] = 0,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    limit: Annotated[Optional[int], typer.Option(help="So many frames of each video at most.")] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0 for as many as there are cores.")] = 0,
) -> None:
    """Make blurred frames of sharp ones. The same command goes on after a kill; the seed decides every pixel."""
    with errors("the same command goes on from there"):
        from detbench.data import make as module

        how = replace(
            module.parse(blur), faithful=psf == "faithful", noise_variance=noise, jpeg_quality=jpeg, seed=seed
        )
        rows = module.make(source, out, how, limit, workers or os.cpu_count() or 1)
        left_out = [row for row in rows if not row["made"]]
        clips = len({row["clip"] for row in rows})
        print(f"{counted(len(rows) - len(left_out), 'pair')} of {counted(clips, 'clip')}: {out}", file=sys.stderr)
        for reason in sorted({row["left_out"] for row in left_out}):
            count = sum(row["left_out"] == reason for row in left_out)
            print(f"left out: {count} for {reason} between their frames", file=sys.stderr)


@data.command()
def path(
    name: Annotated[str, typer.Argument(help="A dataset that is built here: see `detbench list datasets`.")] = "street",
) -> None:
    """Print the folder with the frames of a dataset, in sharp/ and blur/, for what is not run by detbench."""
    with errors():
        from detbench.data import datasets

        print(datasets.evaluation_folder(name))


@data.command()
def check(
    name: Annotated[str, typer.Argument(help="A published benchmark: see `detbench list datasets`, role protocol.")],
    root: Annotated[Path, typer.Option(help="Where its data were unpacked.")],
) -> None:
    """Say precisely what of a benchmark's data is missing or differs; exit 1 if anything is."""
    with errors():
        from detbench.data import protocols
        from detbench.data.cards import cards

        known = {each: card for each, card in cards().items() if card.role == "protocol"}
        if name not in known:
            raise DetbenchError(f"There is no benchmark {name!r}: there are {', '.join(known)}.")
        found = protocols.problems(known[name], root)
        if found:
            raise DetbenchError("\n".join(found))
        print(f"{name}: all there. Go on with: detbench run --dataset {name}:{root}")


@reference.command()
def export(
    run: Annotated[Path, typer.Argument(help="Directory of a finished run, whose reference it is.")],
    out: Annotated[Path, typer.Argument(help="Folder for images/, annotations.json and contact-sheet.jpg.")],
) -> None:
    """Write the reference for CVAT, Label Studio or FiftyOne (COCO format), with a sheet to look at."""
    with errors():
        from detbench import reference as module
        from detbench import store

        print(module.export(store.read(run), out))


@reference.command(name="import")
def import_(
    path: Annotated[Path, typer.Argument(metavar="JSON", help="COCO's JSON, as annotation tools export it.")],
    dataset: Annotated[str, typer.Option(help="Whose frames the boxes are of, as for `detbench run`.")],
) -> None:
    """Check boxes that people drew or corrected, and keep them: `detbench run --truth` scores against them."""
    with errors():
        from detbench import reference as module
        from detbench.data import datasets

        kept = module.take(path, datasets.load(dataset))
        print(f"kept: {kept}. Go on with: detbench run --dataset {dataset} --truth {kept}")
