"""Blurred frames alone: what a detector finds before and after deblurring, where nobody knows what is there.

Without sharp frames there is no precision and no recall. What can be had: how sure the detector is of what it finds,
how much of it stays, and, in videos, how long it can be followed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detbench import detectors, environment, resolve, restorers, stats
from detbench.data import layouts
from detbench.data.clips import by_number, by_pattern
from detbench.data.images import read_image
from detbench.data.video import Reader, media
from detbench.lineup import FLOOR, title
from detbench.match import found, match
from detbench.progress import say, track
from detbench.types import DetbenchError, Detections, RunSpec

Frame = NDArray[np.uint8]

TRACKER: Mapping[str, Any] = {
    "track_high_thresh": 0.25,
    "track_low_thresh": 0.1,
    "new_track_thresh": 0.25,
    "track_buffer": 30,
    "match_thresh": 0.8,
    "fuse_score": True,
}
"""Settings of ByteTrack (Zhang et al., ECCV 2022): ultralytics' own."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What a detector found in frames of which no sharp ones are known.

    Attributes:
        deblurer: what it is called in tables; :data:`detbench.lineup.FLOOR` for the blurred frames as they are.
        clips: (frames,) the clip of each frame.
        videos: names of the clips that are videos, whose frames follow each other.
        detections: one a frame, those that count.
        restore_ms: median time of the deblurer a frame, in milliseconds; NaN for the blurred frames.
    """

    deblurer: str
    clips: tuple[str, ...]
    videos: frozenset[str]
    detections: tuple[Detections, ...]
    restore_ms: float

    @property
    def sure_of(self) -> NDArray[np.float64]:
        """(frames,) the sum of confidences: how many objects are there, if a detector is as often right as it says."""
        return np.array([frame.score.sum(dtype=np.float64) for frame in self.detections])


@dataclass(frozen=True)
class Tracks:
    """How long what is found can be followed through videos.

    Attributes:
        count: of tracks.
        frames: mean number of frames in which a track is found.
        breaks: how often a track is lost and found again, in the mean.
    """

    count: int
    frames: float
    breaks: float


def is_alone(dataset: str, blur: str) -> bool:
    """Whether a dataset is pictures or a video without sharp frames, to be taken as they are."""
    place = Path(dataset)
    if blur or not place.exists() or place.suffix == ".txt":
        return False
    return layouts.recognise(place) is None if place.is_dir() else True


def look(spec: RunSpec, names: Sequence[str]) -> list[Seen]:
    """Look at the frames of a folder or a video as they are, and deblurred by each of some deblurers.

    Args:
        spec: dataset, detector and settings; its deblurer does not count.
        names: of the deblurers.

    Returns:
        What was found, of the blurred frames first.

    Raises:
        DetbenchError: no frames, or an unknown name.
    """
    spec, chosen = detectors.settled(replace(spec, device=environment.device(spec.device)))
    detector = chosen.for_run(spec)
    labels = resolve.labels(spec, detector.class_names)
    deblurers = [restorers.restorer(replace(spec, deblurer=name)) for name in names]
    seen = []
    for name, restore in [(FLOOR, None), *zip(names, deblurers, strict=True)]:
        called = title(replace(spec, deblurer=name))
        label = f"{called}: {Path(spec.dataset).name}"
        clips: list[str] = []
        videos: set[str] = set()
        detections: list[Detections] = []
        seconds: list[float] = []
        frames = islice(_frames(spec, videos), spec.limit)
        for clip, frame in track(frames, _count(spec), label):
            started = time.perf_counter()
            given = frame if restore is None else restore([frame])[0]
            seconds.append(time.perf_counter() - started)
            boxes = detectors.look(detector, given)
            clips.append(clip)
            detections.append(boxes if labels is None else boxes.where(np.isin(boxes.label, list(labels))))
        if not clips:
            raise DetbenchError(f"{spec.dataset} holds no frames.")
        ms = 1e3 * float(np.median(seconds)) if restore else float("nan")
        seen.append(Seen(called if restore else name, tuple(clips), frozenset(videos), tuple(detections), ms))
    return seen


def gain(before: Seen, after: Seen) -> stats.Interval:
    """How much surer the detector is: the sum of confidences a frame, after less before, its interval over clips."""
    ones = np.ones(len(before.clips))
    sums = [np.stack([seen.sure_of, ones], axis=1) for seen in (after, before)]
    return stats.bootstrap_difference(sums[0], sums[1], stats.mean, before.clips)


def kept(before: Seen, after: Seen, match_iou: float) -> tuple[float, float]:
    """What share of the detections in the blurred frames is found again, and how many others there are a frame."""
    again = new = total = 0
    for was, now in zip(before.detections, after.detections, strict=True):
        matched = match(now, was, match_iou)
        again += int(found(matched, len(was)).sum())
        new += int((matched < 0).sum())
        total += len(was)
    return again / total if total else float("nan"), new / len(before.clips)


def tracks(seen: Seen) -> Tracks | None:
    """Follow detections through videos with ByteTrack; None where there is no video."""
    if not seen.videos:
        return None
    lives: list[list[int]] = []
    for video in sorted(seen.videos):
        frames = [boxes for clip, boxes in zip(seen.clips, seen.detections, strict=True) if clip == video]
        lives += _followed(frames).values()
    spans = [(len(life), sum(b - a > 1 for a, b in pairwise(life))) for life in lives]
    if not spans:
        return Tracks(0, float("nan"), float("nan"))
    lengths, breaks = zip(*spans, strict=True)
    return Tracks(len(spans), float(np.mean(lengths)), float(np.mean(breaks)))


def _followed(frames: Sequence[Detections]) -> dict[int, list[int]]:
    """The numbers of the frames in which each track is found."""
    from ultralytics.trackers.byte_tracker import BYTETracker

    tracker: Any = BYTETracker(SimpleNamespace(**TRACKER))  # type: ignore[no-untyped-call]
    lives: dict[int, list[int]] = {}
    for number, boxes in enumerate(frames):
        for row in tracker.update(_Boxes(boxes.xyxy, boxes.score, boxes.label)):
            lives.setdefault(int(row[4]), []).append(number)
    return lives


class _Boxes:
    """Detections as ultralytics' tracker reads them."""

    def __init__(self, xyxy: NDArray[Any], conf: NDArray[Any], cls: NDArray[Any]) -> None:
        self.xyxy, self.conf, self.cls = xyxy, conf, cls

    @property
    def xywh(self) -> NDArray[Any]:
        """(N, 4) centres and sides."""
        corner, opposite = self.xyxy[:, :2], self.xyxy[:, 2:]
        return np.hstack([(corner + opposite) / 2, opposite - corner])

    def __len__(self) -> int:
        return len(self.conf)

    def __getitem__(self, chosen: Any) -> _Boxes:
        return _Boxes(self.xyxy[chosen], self.conf[chosen], self.cls[chosen])


def _frames(spec: RunSpec, videos: set[str]) -> Iterator[tuple[str, Frame]]:
    """Clip and frame of everything in a folder, or of a video; names of videos are added to a set as they are met."""
    place = Path(spec.dataset)
    films, pictures = media(place)
    for path, clip in zip(pictures, _clips(place, pictures, spec.clips), strict=True):
        yield clip, read_image(path)
    for film in films:
        videos.add(film.stem)
        for frame in Reader(film):
            yield film.stem, frame


def _clips(place: Path, pictures: Sequence[Path], pattern: str) -> list[str]:
    """The clips of pictures: by a pattern, by their folders, or by their numbers."""
    names = [path.relative_to(place).with_suffix("").as_posix() if place.is_dir() else path.stem for path in pictures]
    if pattern:
        return by_pattern(names, pattern)
    clips, note = by_number([name for name in names if "/" not in name])
    if note:
        say(note)
    lone = iter(clips)
    return [name.rpartition("/")[0].replace("/", "-") if "/" in name else next(lone) for name in names]


def _count(spec: RunSpec) -> int:
    films, pictures = media(Path(spec.dataset))
    count = len(pictures) + sum(Reader(film).count for film in films)
    return min(count, spec.limit or count)
