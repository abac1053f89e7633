"""A report as one page that opens from disk: ``index.html``, with its styles and script inside, and picture files."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from detbench import match, store
from detbench.data import datasets, images
from detbench.files import write_file
from detbench.report.style import CASING, OUTLINES
from detbench.types import FramePair, RunResult

MOST = 24
"""Frames in a gallery at most."""

VIEWS = 240
"""Restored frames in a gallery at most: with many deblurers, there are fewer frames of each."""

BUDGET = 11_000_000
"""Bytes that a gallery's pictures may take: a page should stay below 15 MB."""

WIDTH = 960
"""Pictures in a gallery are at most so wide, in pixels."""

_FOLDER = "gallery"  # not "frames", which a run's directory has: a page may be written there
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Figure:
    """A picture of a section.

    Attributes:
        file: its path from the page's folder.
        alt: what it shows, for those who cannot see it.
        caption: printed below it.
    """

    file: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page, with a link in its navigation.

    Attributes:
        anchor: its id on the page.
        heading: its title.
        paragraphs: plain text (or ``markupsafe.Markup``).
        tables: HTML, put in as it is.
        figures: pictures, below the tables.
        folded: whether it is a detail, closed at first.
    """

    anchor: str
    heading: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    folded: bool = False


@dataclass(frozen=True)
class Gallery:
    """Frames to look at, each as several runs restored it.

    Attributes:
        models: the runs' names.
        classes: names of the objects' classes.
        frames: ``id``, ``clip``, ``number`` in the dataset, ``width`` and ``height`` in pixels, and the files
            ``blurred`` and ``sharp``.
        views: of ``frame`` by ``model`` (both indices), with the file ``restored`` or None, ``psnr`` in dB or None, and
            ``boxes``: x, y, width and height in percent of the frame, indices of class and of :data:`OUTLINES`,
            and the score (None for reference objects that were not found).
        total: how many frames there were to choose from.
    """

    models: Sequence[str]
    classes: Sequence[str]
    frames: Sequence[Mapping[str, Any]]
    views: Sequence[Mapping[str, Any]]
    total: int

    @property
    def summary(self) -> str:
        """What is shown, in words."""
        if not self.views:
            return "There are no frames to show."
        some = len(self.frames) < self.total
        shown = f"the {len(self.frames)} of {self.total} frames on which most changed" if some else "all frames"
        counts = f" Counts here are of these alone, in the tables of all {self.total}." if some else ""
        boxes = ", ".join(outline.legend for outline in OUTLINES.values())
        return (
            f"Shown are {shown}, each as it was blurred, restored and sharp.{counts} Boxes tell what became of the"
            f" sharp frame's objects, and which detections are none of them: {boxes}. Drag the divider, or press ? for"
            " keys."
        )

    @property
    def notes(self) -> list[str]:
        """Which runs have no restored frames to show."""
        lacking = {self.models[view["model"]] for view in self.views if view["restored"] is None}
        names = ", ".join(name for name in self.models if name in lacking)
        return (
            [f"Without restored frames, which older runs did not keep: {names}. Run again for them."] if names else []
        )


def write(out: Path, title: str, intro: str, sections: Sequence[Section], gallery: Gallery | None = None) -> Path:
    """Write ``index.html``. Equal arguments give equal bytes.

    Args:
        out: the page's folder; it is made.
        title: of the page.
        intro: a paragraph below the title, or empty.
        sections: in order.
        gallery: the frames, shown after the first section; its pictures lie in ``out`` already.

    Returns:
        The page's path.
    """
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    scripts = {
        "sections.js": any(section.tables or section.folded for section in sections),
        "page.js": gallery is not None and bool(gallery.views),
    }
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("page.html.j2").render(
        title=title,
        intro=intro,
        sections=sections,
        gallery=gallery,
        data=Markup(_json(gallery)) if gallery else "",
        css=Markup((_HERE / "page.css").read_text("utf-8")),
        outlines=OUTLINES,
        casing=CASING,
        scripts=[Markup((_HERE / file).read_text("utf-8")) for file, used in scripts.items() if used],
    )
    write_file(out / "index.html", page, "replace")
    return out / "index.html"


def gallery(
    runs: Sequence[RunResult],
    labels: Mapping[Path, str],
    pairs: Sequence[FramePair],
    out: Path,
    most: int = MOST,
    budget: int = BUDGET,
) -> Gallery:
    """Choose the frames on which most changed, and write their pictures as WebP below ``out``.

    Each frame comes as every run restored it, so that deblurers can be compared.

    Args:
        runs: on the same frames.
        labels: the runs' names by path.
        pairs: the dataset's frames; those that are not among them are left out.
        out: the page's folder.
        most: how many frames at most.
        budget: bytes that all pictures may take together.

    Raises:
        DetbenchError: a picture cannot be read, or a run's detections are damaged.
    """
    files = {pair.id: pair for pair in pairs}
    ids = [id for id in most_changed(runs) if id in files]
    most = min(most, max(1, VIEWS // max(1, len(runs))))
    models = [labels[run.path] for run in runs]
    names = [_file_name(model, i) for i, model in enumerate(models)]
    folder = out / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)

    frames: list[dict[str, Any]] = []
    restored: list[list[str | None]] = []
    written: set[str] = set()
    with ThreadPoolExecutor() as pool:
        for id in ids[:most]:
            previews = {
                f"{id}--{name}.webp": store.preview(run.path, id) for name, run in zip(names, runs, strict=True)
            }
            sources: dict[str, Callable[[], NDArray[np.uint8]]] = {
                f"{id}--blurred.webp": partial(datasets.read_blurred, files[id], runs[0].spec.noise),
                f"{id}--sharp.webp": partial(images.read_image, files[id].sharp),
            }
            sources |= {name: partial(images.read_image, path) for name, path in previews.items() if path.exists()}
            pictures = dict(zip(sources, pool.map(_webp, sources.values()), strict=True))
            budget -= sum(map(len, pictures.values()))
            if budget < 0:
                break
            for name, picture in pictures.items():
                write_file(folder / name, picture)
            written |= set(pictures)
            height, width = images.image_size(files[id].sharp)
            sides = {side: _address(f"{id}--{side}.webp") for side in ("blurred", "sharp")}
            frames.append({"id": id, "clip": files[id].clip, "width": width, "height": height} | sides)
            restored.append([_address(name) if name in sources else None for name in previews])
    for path in folder.glob("*--*.webp"):  # of an earlier page
        if path.name not in written:
            path.unlink()
    views, classes = _views(runs, frames, restored)
    return Gallery(models, classes, frames, views, len(ids))


def most_changed(runs: Sequence[RunResult]) -> list[str]:
    """Ids of the runs' frames: those first whose net gains or losses are largest, summed over the runs.

    Among equals, those with more objects recovered, lost or hallucinated.
    """
    net: dict[str, int] = {}
    all_: dict[str, int] = {}
    for score in (score for run in runs for score in run.scores):
        net[score.id] = net.get(score.id, 0) + abs(score.recovered - score.lost)
        all_[score.id] = all_.get(score.id, 0) + score.recovered + score.lost + score.hallucinated
    return sorted(net, key=lambda id: (-net[id], -all_[id], id))


def _views(
    runs: Sequence[RunResult], frames: Sequence[dict[str, Any]], restored: Sequence[Sequence[str | None]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Every frame by every run, and the names of the classes in them. Numbers the frames by their place in the runs."""
    entries = []
    for model, run in enumerate(runs):
        class_names, sizes = store.read_frames(run.path)
        seen = store.read_detections(run.path)
        place = {score.id: i for i, score in enumerate(run.scores)}
        for number, frame in enumerate(frames):
            i = place[frame["id"]]
            frame["number"] = i
            after, before, sharp = (seen[side][i].above(run.spec.conf) for side in ("restored", "blurred", "sharp"))
            psnr = run.scores[i].psnr_db
            view: dict[str, Any] = {
                "frame": number,
                "model": model,
                "restored": restored[number][model],
                "psnr": round(psnr, 2) if math.isfinite(psnr) else None,
            }
            boxes = [
                (_percent(box.xyxy, sizes[i]), class_names[box.label], box.outcome, box.score and round(box.score, 2))
                for box in match.outcomes(after, before, sharp, run.spec.match_iou).boxes(after, sharp)
            ]
            entries.append((view, boxes))
    classes = sorted({name for _, boxes in entries for _, name, _, _ in boxes})
    outcomes = list(OUTLINES)
    for view, boxes in entries:
        view["boxes"] = [
            [*xywh, classes.index(name), outcomes.index(outcome), score] for xywh, name, outcome, score in boxes
        ]
    return [view for view, _ in entries], classes


def _percent(xyxy: NDArray[np.float32], size: tuple[int, int]) -> list[float]:
    """Corners in pixels of a frame of (height, width) as x, y, width and height in percent of it."""
    x0, y0, x1, y1 = (xyxy.astype(np.float64) / (np.array([*size, *size])[[1, 0, 3, 2]] / 100)).tolist()
    return [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)]


def _webp(read: Callable[[], NDArray[np.uint8]]) -> bytes:
    """A picture as WebP, small enough for a page."""
    from PIL import Image

    picture = Image.fromarray(read())
    if picture.width > WIDTH:
        size = (WIDTH, max(1, round(picture.height * WIDTH / picture.width)))
        picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2)
    file = io.BytesIO()
    picture.save(
        file, "WEBP", quality=75, method=0
    )  # the fastest: twice as fast as the default for a quarter more bytes
    return file.getvalue()


def _file_name(model: str, number: int) -> str:
    """A name for a run that no other has, whatever the case its letters are in."""
    return f"{number:02}-{re.sub(r'[^a-z0-9]+', '-', model.lower()).strip('-')}"


def _address(name: str) -> str:
    """Of a picture, from the page."""
    return quote(f"{_FOLDER}/{name}", errors="surrogateescape")


def _json(gallery: Gallery) -> str:
    """A gallery for the page's script: JSON that holds no ``<``, so that nothing in it can end the script element."""
    data = {
        "models": gallery.models,
        "classes": gallery.classes,
        "outcomes": list(OUTLINES),
        "words": {outcome: outline.words for outcome, outline in OUTLINES.items()},
        "frames": gallery.frames,
        "views": gallery.views,
    }
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c")
