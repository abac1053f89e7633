"""A metric without a threshold: how far a detector's features of a restored frame are from those of the sharp one.

The maps that enter its head, compared as the features' term of :func:`detbench.gan.detector.terms` does; what the
blurred frames have is 100 %. Task-driven restoration uses such distances as losses (Kim et al., "Beyond Image
Super-Resolution for Image Recognition with Task-Driven Perceptual Loss" (SR4IR), CVPR 2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from detbench import runner, stats
from detbench.counts import f1
from detbench.data import images
from detbench.gan.detector import FrozenDetector, View, terms
from detbench.lineup import Lineup, labels
from detbench.metrics import Sums
from detbench.progress import track

Frame = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Distances:
    """How far the deblurers' frames are from the sharp ones, to the detector.

    Attributes:
        blurred: (frames,) of the blurred frames as they are.
        restored: by the deblurers' names in tables, (frames,) each.
        clips: (frames,) of which clip each is.
    """

    blurred: NDArray[np.float64]
    restored: Mapping[str, NDArray[np.float64]]
    clips: Sequence[str]

    def change(self, deblurer: str) -> stats.Interval:
        """A deblurer's distance as a share of the blurred frames', less 1: below 0 it is nearer. Over clips."""
        both = np.stack([self.restored[deblurer], self.blurred], axis=1)
        whole, drawn = (stats.mean(sums) for sums in (both.sum(axis=0), stats.resampled_sums(both, self.clips)))
        return stats.interval(float(whole) - 1, drawn - 1)


def measure(lineup: Lineup) -> Distances:
    """Look at the frames of all runs of a lineup with its detector.

    Args:
        lineup: before a YOLO whose features can be reached.

    Raises:
        DetbenchError: the detector has no detection head whose features can be reached.
    """
    spec = lineup.floor.spec
    detector = FrozenDetector(spec.detector, torch.device(spec.device))
    named = labels([lineup.floor, *lineup.models])
    runs = {named[run.path]: runner.restored_frames(run.spec) for run in (lineup.floor, *lineup.models)}
    found: dict[str, list[float]] = {name: [] for name in runs}
    ids = [score.id for score in lineup.floor.scores]
    for frames in track(zip(*runs.values(), strict=True), len(ids), f"{spec.detector}'s features"):
        pair = frames[0][0]
        sharp = _view(detector, images.read_image(pair.sharp), spec.imgsz)
        for name, (_, frame) in zip(found, frames, strict=True):
            found[name].append(float(terms(_view(detector, frame, spec.imgsz), sharp)["features"]))
    values = {name: np.array(its) for name, its in found.items()}
    blurred = values.pop(named[lineup.floor.path])
    return Distances(blurred, values, [score.clip for score in lineup.floor.scores])


@torch.no_grad()
def _view(detector: FrozenDetector, frame: Frame, imgsz: int) -> View:
    picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float().to(detector.device)
    (view,) = detector.look(picture / 127.5 - 1, [imgsz / max(frame.shape)])
    return view


@dataclass(frozen=True)
class Needed:
    """How many clips it takes until the 95 % interval of a difference leaves out 0, of each pair of deblurers.

    Attributes:
        f1: (pairs,) going by F1.
        distance: (pairs,) going by the distance.
    """

    f1: NDArray[np.float64]
    distance: NDArray[np.float64]


def needed(lineup: Lineup, distances: Distances) -> Needed:
    """From the intervals that there are, whose width falls with the square root of the number of clips."""
    named = labels([lineup.floor, *lineup.models])
    runs = {named[run.path]: run for run in lineup.models}
    names, clips = list(runs), distances.clips
    counts = np.stack([Sums.of(runs[name].scores).counts.columns() for name in names], axis=1).astype(np.float64)
    sums = np.stack([np.stack([distances.restored[name], distances.blurred], axis=1) for name in names], axis=1)
    pairs = [(a, b) for a in range(len(names)) for b in range(a)]
    return Needed(
        *(
            np.array([_clips(whole[a] - whole[b], drawn[:, a] - drawn[:, b], len(set(clips))) for a, b in pairs])
            for whole, drawn in (
                (statistic(values.sum(axis=0)), statistic(stats.resampled_sums(values, clips)))
                for values, statistic in ((counts, f1), (sums, stats.mean))
            )
        )
    )


def _clips(estimate: float, drawn: NDArray[np.float64], clips: int) -> float:
    """How many clips a difference needs; infinity where there is none."""
    found = stats.interval(float(estimate), drawn)
    return clips * ((found.high - found.low) / 2 / abs(estimate)) ** 2 if estimate else float("inf")
