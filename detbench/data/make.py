"""Sharp pictures and videos → pairs of blurred and sharp frames, each a function of its seed and its name alone."""

from __future__ import annotations

import json
import math
import multiprocessing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from detbench.data.images import VIDEO_SUFFIXES, read_image, write_image
from detbench.data.video import Reader, media
from detbench.files import code, file_hash, sweep, write_file
from detbench.journal import Journal
from detbench.progress import track
from detbench.types import DetbenchError, canonical_hash

Frame = NDArray[np.uint8]
Kind = Literal["shake", "average", "psf", "defocus"]

SEVERITIES: Mapping[Kind, Mapping[str, tuple[float, float]]] = {
    "shake": {"light": (4, 6), "medium": (6, 10), "strong": (10, 28)},
    "psf": {"light": (4, 6), "medium": (6, 10), "strong": (10, 28)},
    "defocus": {"light": (1, 2), "medium": (2, 4), "strong": (4, 8)},
    "average": {"light": (7, 9), "medium": (11, 15), "strong": (17, 23)},
}
"""What is drawn from: of ``shake`` and ``psf`` the extent of the path and of ``defocus`` the radius of the disc, in
pixels of a frame 640 wide; of ``average`` the number of frames of 240 a second. The extents are those of the card
``street``; 7 to 23 frames are what GoPro's authors and Lenka average; the radii are our choice."""

VERSION = 1
"""Raise this when the same sources would give other frames."""

DEGREES = 0.4
"""The most that a shaking camera turns while the shutter is open."""

SUB_FRAMES = 49
"""Poses of the camera in one exposure."""

FRAMES_A_SECOND = 240
"""Videos with fewer than half as many get frames in between, along optical flow, until they have these."""

LARGEST_STEP = 0.05
"""Between two frames the picture may move by this share of its width, in the median: interpolation fails beyond."""

CUT = 45.0
"""Two frames that differ by more than this, in the mean over their pixels, are taken for a cut."""


@dataclass(frozen=True)
class Blur:
    """How frames are blurred.

    Attributes:
        kind: ``shake`` (a camera that moves and turns), ``psf`` (one point-spread function everywhere), ``defocus`` (a
            disc), or ``average`` (neighbouring frames of a video).
        severity: a key of :data:`SEVERITIES`; or ``mixed`` for all of these in turn; or ``LEAST-MOST``, as there.
        faithful: of ``psf``: what DeblurGAN's public code does, in place of what its paper says: other constants,
            kernels off their centre, black borders, display values blurred as they are and stretched to 0..255 after.
        noise_variance: of the Gaussian noise on the blurred frame, for values in [0, 1].
        jpeg_quality: of a JPEG that the blurred frame was; 0 for none.
        seed: of all that is drawn.
    """

    kind: Kind = "shake"
    severity: str = "mixed"
    faithful: bool = False
    noise_variance: float = 0.0
    jpeg_quality: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be made.

        Raises:
            DetbenchError: naming the field and what is allowed.
        """
        if self.kind not in get_args(Kind):
            raise DetbenchError(f"There is no blur {self.kind!r}: there are {', '.join(get_args(Kind))}.")
        ranges = list(self.ranges.values())
        if any(not 0 < least <= most for least, most in ranges) or max(most for _, most in ranges) > 60:
            raise DetbenchError(f"Blur of severity {self.severity} cannot be made: give 0 < LEAST <= MOST <= 60.")
        if self.faithful and self.kind != "psf":
            raise DetbenchError(f"The blur {self.kind} has no faithful setting: psf has.")
        if not 0 <= self.noise_variance <= 0.25 or not 0 <= self.jpeg_quality <= 100:
            raise DetbenchError("Give a noise variance in 0..0.25 and a JPEG quality in 1..100, or 0 for none.")

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """What each severity is drawn from, by name."""
        known = SEVERITIES[self.kind]
        if self.severity == "mixed":
            return dict(known)
        if self.severity in known:
            return {self.severity: known[self.severity]}
        least, _, most = self.severity.partition("-")
        try:
            return {self.severity: (float(least), float(most))}
        except ValueError:
            raise DetbenchError(
                f"There is no severity {self.severity!r} of {self.kind}: give {', '.join(known)}, mixed or LEAST-MOST."
            ) from None


def parse(text: str) -> Blur:
    """``KIND``, ``KIND:SEVERITY`` or ``KIND:LEAST-MOST``.

    Raises:
        DetbenchError: it is none of these.
    """
    kind, _, severity = text.partition(":")
    return Blur(kind, severity or "mixed")  # type: ignore[arg-type]  # which Blur checks


@dataclass(frozen=True)
class Planned:
    """A pair that is to be made.

    Attributes:
        id: of the frame.
        clip: that it is from.
        severity: name of its severity.
        source: the picture or the video.
        frame: number of the sharp frame in the video.
        count: of ``average``: how many frames, odd.
    """

    id: str
    clip: str
    severity: str
    source: Path
    frame: int = 0
    count: int = 0


def plan(source: Path, blur: Blur, limit: int | None = None) -> list[Planned]:
    """What is to be made of a picture, a folder of pictures or videos, or a video.

    Args:
        source: where they lie. A picture is a clip, a folder of pictures below ``source`` is one, a video is one.
        blur: how they are to be blurred.
        limit: so many frames of each video at most, evenly spread; None for as many as do not share a source frame.

    Raises:
        DetbenchError: nothing is there; or frames are to be averaged and there is no video.
    """
    films, stills = media(source)
    if blur.kind == "average" and not films:
        raise DetbenchError(f"{source} holds no video: single pictures cannot be averaged. Give another blur.")
    turns, made = cycle(blur.ranges.items()), list[Planned]()
    for path in stills if blur.kind != "average" else ():
        below = path.relative_to(source) if source.is_dir() else Path(path.name)
        id = below.with_suffix("").as_posix().replace("/", "-")
        clip = below.parent.as_posix().replace("/", "-") if below.parent.parts else id
        made.append(Planned(id, clip, next(turns)[0], path))
    for path in films:
        reader = Reader(path)
        widest = max(_reach(int(most) | 1, _factor(reader)) for _, most in blur.ranges.values())
        reach = widest if blur.kind == "average" else 0
        step = 2 * reach + 1 if blur.kind == "average" else max(reader.count // 200, 1)
        numbers = list(range(reach, reader.count - reach, step))
        if limit and len(numbers) > limit:
            numbers = [numbers[i] for i in np.linspace(0, len(numbers) - 1, limit).round().astype(int)]
        for number in numbers:
            severity, (least, most) = next(turns)
            rng = np.random.default_rng([blur.seed, code(f"{path.stem} {number}")])
            count = 2 * int(rng.integers(int(least) // 2, int(most) // 2 + 1)) + 1 if blur.kind == "average" else 0
            made.append(Planned(f"{path.stem}-{number:06d}", path.stem, severity, path, number, count))
    if not made:
        raise DetbenchError(f"{source} has too few frames: nothing can be made of it.")
    return made


def asked(shots: Sequence[Planned], blur: Blur) -> dict[str, Any]:
    """What made frames depend on, as plain data: how they are blurred, and of what they are made."""
    sources = dict.fromkeys(shot.source for shot in shots)
    frames = [[shot.id, shot.frame, shot.count, shot.severity] for shot in shots]
    return {
        "version": VERSION,
        "blur": asdict(blur),
        "sources": [[path.name, file_hash(path)] for path in sources],
        "planned": canonical_hash(frames),
    }


def make(source: Path, out: Path, blur: Blur, limit: int | None = None, workers: int = 1) -> list[dict[str, Any]]:
    """Write ``sharp/``, ``blur/`` and ``manifest.json``; what is there already is not made again.

    The frames are the same whatever the number of processes and wherever a kill fell.

    Args:
        source: as for :func:`plan`.
        out: a folder.
        blur: how frames are blurred.
        limit: as for :func:`plan`.
        workers: processes.

    Returns:
        What the manifest says of each frame: id, clip, severity, source and what was drawn for it; those that were left
        out say why.

    Raises:
        DetbenchError: nothing to make frames of; or the folder holds others.
    """
    shots = plan(source, blur, limit)
    wanted = asked(shots, blur)
    sweep(out)
    with Journal(out / "journal.jsonl") as journal:
        if journal.get("", wanted) != wanted:
            raise DetbenchError(f"{out} holds frames that were made of others or otherwise: give another folder.")
        if not journal:
            journal.add("", wanted)
        todo = [shot for shot in shots if shot.id not in journal]
        done = len(shots) - len(todo)
        for id, row in track(_made(todo, out, blur, workers), len(shots), f"making {out.name}", done=done):
            journal.add(id, row)
        rows = [{"id": shot.id, "clip": shot.clip, "severity": shot.severity, **journal[shot.id]} for shot in shots]
    write_file(out / "manifest.json", json.dumps(wanted | {"frames": rows}, indent=1) + "\n")
    return rows


def _made(shots: Sequence[Planned], out: Path, blur: Blur, workers: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Id and what was drawn of each frame, as they are finished."""
    if workers <= 1 or len(shots) < 2:
        yield from _make_some(shots, out, blur)
        return
    size = math.ceil(len(shots) / (4 * workers))
    chunks = [shots[i : i + size] for i in range(0, len(shots), size)]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_alone) as pool:
        for job in as_completed([pool.submit(_make_list, chunk, out, blur) for chunk in chunks]):
            yield from job.result()


def _alone() -> None:
    """One thread a process: there are as many processes as are wanted."""
    import torch

    torch.set_num_threads(1)


def _make_list(shots: Sequence[Planned], out: Path, blur: Blur) -> list[tuple[str, dict[str, Any]]]:
    return list(_make_some(shots, out, blur))


def _make_some(shots: Iterable[Planned], out: Path, blur: Blur) -> Iterator[tuple[str, dict[str, Any]]]:
    """Make and write frames, each video read forwards once."""
    readers: dict[Path, Reader] = {}
    for shot in shots:
        row: dict[str, Any] = {"source": shot.source.name}
        rng = np.random.default_rng([blur.seed, code(shot.id)])
        if shot.source.suffix.lower() in VIDEO_SUFFIXES:
            if shot.source not in readers:
                readers = {shot.source: Reader(shot.source)}
            row["frame"] = shot.frame
            sharp, blurred, drawn = _filmed(readers[shot.source], shot, blur, rng)
        else:
            sharp = read_image(shot.source)
            blurred, drawn = blurred_frame(sharp, blur, blur.ranges[shot.severity], rng)
        row["made"] = blurred is not None
        if blurred is not None:
            write_image(out / "sharp" / f"{shot.id}.png", sharp)
            write_image(out / "blur" / f"{shot.id}.png", _degraded(blurred, blur, rng))
        yield shot.id, row | drawn


def _filmed(
    reader: Reader, shot: Planned, blur: Blur, rng: np.random.Generator
) -> tuple[Frame, Frame | None, dict[str, Any]]:
    """A video's sharp frame, the blurred one, or None where it is left out, and what was drawn, or why."""
    from detbench.data import blur as optics

    if blur.kind != "average":
        sharp = reader.frame(shot.frame)
        return sharp, *blurred_frame(sharp, blur, blur.ranges[shot.severity], rng)
    factor = _factor(reader)
    reach = _reach(shot.count, factor)
    around = [reader.frame(number) for number in range(shot.frame - reach, shot.frame + reach + 1)]
    sharp, half = around[reach], shot.count // 2
    drawn = {"frames": shot.count, "interpolated": factor}
    if reason := _unfit(around, factor):
        return sharp, None, drawn | {"left_out": reason}
    slow = optics.slow_motion(around, factor) if factor > 1 else around
    middle = reach * factor
    return sharp, optics.average_frames(slow[middle - half : middle + half + 1]), drawn


def _unfit(around: Sequence[Frame], factor: int) -> str:
    """Why frames cannot be averaged; empty if they can."""
    import cv2

    small = [cv2.cvtColor(cv2.resize(frame, (160, 120)), cv2.COLOR_RGB2GRAY) for frame in around]
    for one, other in pairwise(small):
        if np.abs(one.astype(int) - other).mean() > CUT:
            return "a cut"
        if factor > 1:
            flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(one, other, None)
            if np.median(np.hypot(flow[..., 0], flow[..., 1])) > LARGEST_STEP * 160:
                return "too large a step"
    return ""


def blurred_frame(
    frame: Frame, blur: Blur, amount: tuple[float, float], rng: np.random.Generator
) -> tuple[Frame, dict[str, Any]]:
    """A frame blurred on its own.

    Args:
        frame: (H, W, 3) uint8 RGB.
        blur: how; ``average`` is not for single frames.
        amount: least and largest, as in :data:`SEVERITIES`.
        rng: of what is drawn.

    Returns:
        (H, W, 3) uint8, and what was drawn, in pixels of the frame.
    """
    from detbench.data import blur as optics
    from detbench.data import degrade

    scale = frame.shape[1] / 640
    drawn = float(rng.uniform(*amount)) * scale
    if blur.kind == "defocus":
        return degrade.defocused(frame, drawn), {"radius_px": round(drawn, 3)}
    if blur.kind == "psf":
        apply = degrade.psf_faithful if blur.faithful else degrade.psf_corrected
        return apply(frame, drawn, rng), {"extent_px": round(drawn, 3)}
    degrees = float(rng.uniform(-DEGREES, DEGREES))
    path = optics.trajectories(1, rng)
    drawn_too = {"extent_px": round(drawn, 3), "degrees": round(degrees, 4)}
    return degrade.shaken(frame, path, drawn, degrees, SUB_FRAMES), drawn_too


def _degraded(frame: Frame, blur: Blur, rng: np.random.Generator) -> Frame:
    """A blurred frame with its noise, after JPEG."""
    from detbench.data import degrade

    if blur.noise_variance:
        frame = degrade.noisy(frame, blur.noise_variance, rng)
    return degrade.recompressed(frame, blur.jpeg_quality) if blur.jpeg_quality else frame


def _factor(reader: Reader) -> int:
    """How many frames are made of one: 1 where the video is fast enough."""
    speed = float(reader.rate)
    return 1 if speed >= FRAMES_A_SECOND / 2 else round(FRAMES_A_SECOND / speed)


def _reach(count: int, factor: int) -> int:
    """How many source frames before and after the sharp one an exposure of so many frames needs."""
    return math.ceil(count // 2 / factor)
