"""Frames with what the detector saw in them: blurred, restored and sharp, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detbench import match, store
from detbench.data import datasets, images, video
from detbench.files import replacing
from detbench.lineup import name
from detbench.progress import track
from detbench.report import style
from detbench.types import DetbenchError, Detections, RunResult

Frame = NDArray[np.uint8]


def best_median_worst(result: RunResult) -> list[str]:
    """Ids of the frames with the best, the median and the worst net gain, objects recovered less objects lost.

    Of frames with the same gain, the one with the most reference objects comes first.
    """
    ranked = best(result)
    return list(dict.fromkeys([ranked[0], ranked[len(ranked) // 2], ranked[-1]]))


def best(result: RunResult) -> list[str]:
    """Ids of all frames, those first in which most objects were recovered, less those lost."""
    ranked = sorted(result.scores, key=lambda s: (s.lost - s.recovered, -(s.tp + s.fn), s.id))
    return [score.id for score in ranked]


def panels(result: RunResult, ids: Sequence[str]) -> Iterator[tuple[str, tuple[Frame, Frame, Frame]]]:
    """Some frames of a finished run with their ids, as (blurred, restored, sharp), each (H, W, 3) uint8 RGB.

    Raises:
        DetbenchError: the dataset has changed since, or the restored frames are gone.
    """
    dataset = datasets.of(result.spec)
    if dataset.identity != result.spec.dataset_hash:
        raise DetbenchError(f"{dataset.name} has changed since {result.path} was made: run it again.")
    pairs = {pair.id: pair for pair in dataset.pairs}
    read, blurred = images.read_image, partial(datasets.read_blurred, noise=result.spec.noise)
    for id in ids:
        yield id, (blurred(pairs[id]), read(store.preview(result.path, id)), read(pairs[id].sharp))


def outcomes(
    seen: Detections, blurred: Detections, sharp: Detections, iou_threshold: float
) -> list[tuple[NDArray[np.float32], str]]:
    """Boxes of one frame with their outcomes.

    Args:
        seen: detections in the frame.
        blurred: detections in the blurred frame.
        sharp: detections in the sharp frame, the reference.
        iou_threshold: from which a detection is a reference object.

    Returns:
        (4,) corners in pixels and a key of :data:`style.OUTLINES` each; what changed comes last, to be drawn on top.
    """
    boxes = match.outcomes(seen, blurred, sharp, iou_threshold).boxes(seen, sharp)
    order = list(style.OUTLINES)
    return [(box.xyxy, box.outcome) for box in sorted(boxes, key=lambda box: -order.index(box.outcome))]


def write(result: RunResult, target: Path) -> None:
    """Show what the detector saw in a run.

    Args:
        result: a finished run.
        target: as ``.png``, ``.pdf`` or ``.svg`` the best, median and worst frame; as ``.webp`` a wipe over the three
            best; as a video all frames, in their order.

    Raises:
        DetbenchError: as for :func:`panels`; or the run's detections are damaged.
    """
    seen = store.read_detections(result.path)
    if target.suffix in video.WRITTEN:
        film(result, seen, target)
    elif target.suffix == ".webp":
        wipe(result, seen, dict(panels(result, best(result)[:3])), target)
    else:
        draw(result, seen, dict(panels(result, best_median_worst(result))), target)


DPI = 100
PIXEL = 72 / DPI
"""Of a drawn figure: pixels an inch, and a pixel in points."""


def draw(
    result: RunResult,
    detections: Mapping[str, Sequence[Detections]],
    panels: Mapping[str, tuple[Frame, Frame, Frame]],
    target: Path,
) -> None:
    """Draw a row a frame: blurred | restored | sharp, with boxes coloured by outcome.

    Args:
        result: the run.
        detections: as from ``store.read_detections``.
        panels: (blurred, restored, sharp) frames by id, each (H, W, 3) uint8 RGB.
        target: the picture's file; its suffix names the format.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from matplotlib.style import context

    scores = {score.id: score for score in result.scores}
    heights = [frames[0].shape[0] / frames[0].shape[1] for frames in panels.values()]
    figure = Figure(figsize=(15, 5 * sum(heights) + 0.7), layout="constrained")
    grid = figure.subplots(len(panels), 3, squeeze=False, height_ratios=heights)
    for axes, (id, frames) in zip(grid, panels.items(), strict=True):
        score = scores[id]
        sharp, blurred, restored = _seen(result, detections, id)
        titles = [f"{id}: blurred", f"{name(result)}: +{score.recovered} \N{MINUS SIGN}{score.lost}", "sharp"]
        for ax, frame, seen, title in zip(axes, frames, (blurred, restored, sharp), titles, strict=True):
            before = sharp if ax is axes[2] else blurred  # the reference is neither recovered nor missed
            _panel(ax, frame, outcomes(seen, before, sharp, result.spec.match_iou), title)
    handles = [Patch(fill=False, label=outline.legend, **_line(outline)) for outline in style.OUTLINES.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    with context(style.NAMES), style.quiet():
        style.write(figure, target, dpi=DPI)


STEPS, STEP_MS, HOLD_MS, WIPE_WIDTH = 20, 70, 900, 640
"""Of a wipe: pictures from one side to the other, how long each and the two ends are shown, the width in pixels."""


def wipe(
    result: RunResult,
    detections: Mapping[str, Sequence[Detections]],
    panels: Mapping[str, tuple[Frame, Frame, Frame]],
    target: Path,
) -> None:
    """Write an animated WebP in which a divider uncovers the restored frame, named, over the blurred one.

    Arguments are as of :func:`draw`; the frames follow each other.
    """
    from PIL import Image, ImageOps

    pictures: list[Image.Image] = []
    for id, (blurred, restored, _) in panels.items():
        sharp, before, after = _seen(result, detections, id)
        sides = [
            _outlined(frame, outcomes(seen, before, sharp, result.spec.match_iou), WIPE_WIDTH, words)
            for frame, seen, words in ((blurred, before, ""), (restored, after, name(result)))
        ]
        size = pictures[0].size if pictures else sides[0].size
        sides = [ImageOps.pad(side, size) for side in sides]  # frames may differ in size, a film's pictures may not
        width, height = size
        for step in [*range(STEPS), *range(STEPS, 0, -1)]:
            at = round(width * step / STEPS)
            picture = sides[0].copy()
            picture.paste(sides[1].crop((0, 0, at, height)), (0, 0))
            picture.paste("white", (max(0, at - 1), 0, min(width, at + 1), height))
            pictures.append(picture)
    durations = [HOLD_MS if i % STEPS == 0 else STEP_MS for i in range(len(pictures))]
    first, *others = pictures
    with replacing(target) as partial:
        first.save(partial, save_all=True, append_images=others, duration=durations, loop=0, quality=70, method=4)


PANEL_WIDTH, PICTURES_A_SECOND, FILM_CRF = 640, Fraction(2), "20"
"""Of a film: the width of each of its three panels in pixels, how fast single pictures follow each other, and x264's
constant rate factor, for people to look at."""


def film(result: RunResult, detections: Mapping[str, Sequence[Detections]], target: Path) -> None:
    """Write a video of all frames: blurred | restored | sharp, with boxes; as fast as the video that they are from.

    Arguments are as of :func:`draw`.
    """
    from PIL import ImageOps

    source = Path(result.spec.dataset)
    filmed = source.suffix.lower() in images.VIDEO_SUFFIXES and source.is_file()
    rate = video.Reader(source).rate if filmed else PICTURES_A_SECOND
    panel: tuple[int, int] | None = None
    with ExitStack() as stack:
        shown = panels(result, [score.id for score in result.scores])
        for number, (id, frames) in enumerate(track(shown, len(result.scores), f"drawing {target.name}")):
            sharp, *seen = _seen(result, detections, id)
            views = zip(
                frames, (*seen, sharp), ("blurred", name(result), "sharp"), (seen[0], seen[0], sharp), strict=True
            )
            sides = [
                _outlined(frame, outcomes(its, before, sharp, result.spec.match_iou), PANEL_WIDTH, words)
                for frame, its, words, before in views
            ]
            if panel is None:
                panel = (sides[0].width // 2 * 2, sides[0].height // 2 * 2)
                writer = stack.enter_context(video.Writer(target, (panel[1], 3 * panel[0]), rate, crf=FILM_CRF))
            row = np.hstack([np.asarray(ImageOps.pad(side, panel)) for side in sides])
            writer.write(row, number / rate)


def _seen(result: RunResult, detections: Mapping[str, Sequence[Detections]], id: str) -> list[Detections]:
    """What was detected in a frame from the run's confidence on: sharp, blurred, restored."""
    (number,) = (i for i, score in enumerate(result.scores) if score.id == id)
    return [detections[side][number].above(result.spec.conf) for side in ("sharp", "blurred", "restored")]


def _outlined(frame: Frame, boxes: list[tuple[NDArray[np.float32], str]], most: int, words: str) -> Any:
    """A frame as a picture, at most so many pixels wide, with its boxes, and words in its corner."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(frame)
    scale = min(1.0, most / picture.width)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(picture)
    for xyxy, outcome in boxes:
        outline, (x0, y0, x1, y1) = style.OUTLINES[outcome], (float(value) * scale for value in xyxy)
        width = round(outline.width)
        pen.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=style.CASING, width=width + 2)
        pen.rectangle((x0, y0, x1, y1), outline=outline.colour, width=width)
    if words:
        font = ImageFont.load_default(size=max(11, picture.height // 24))
        left, top, right, bottom = pen.textbbox((8, 6), words, font)
        pen.rectangle((left - 5, top - 4, right + 5, bottom + 4), fill="black")
        pen.text((8, 6), words, "white", font)
    return picture


def _panel(ax: Any, frame: Frame, boxes: list[tuple[NDArray[np.float32], str]], title: str) -> None:
    """One frame with its boxes."""
    from matplotlib.patches import Rectangle

    ax.imshow(frame)
    ax.set_title(title, fontsize=11)
    ax.set_axis_off()
    for (x0, y0, x1, y1), outcome in boxes:
        ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, **_line(style.OUTLINES[outcome])))


def _line(outline: style.Outline) -> dict[str, Any]:
    """How matplotlib draws it, to which dashes are multiples of the width."""
    from matplotlib.patheffects import withStroke

    dash = [length / outline.width for length in outline.dash]
    return {
        "edgecolor": outline.colour,
        "linewidth": outline.width * PIXEL,
        "linestyle": (0, dash) if dash else "-",
        "path_effects": [withStroke(linewidth=(outline.width + 2) * PIXEL, foreground=style.CASING)],
    }
