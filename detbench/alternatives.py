"""Deblur, or adapt the detector? What else the same effort and time could be spent on, against the same objects.

All are scored against what the unadapted detector sees in the sharp frames; and since an adapted detector also learns
what kind of pictures it is shown, which is no cure of blur, what each costs on sharp frames stands beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detbench import classes, quality, stats, store, thresholds
from detbench.counts import Counts, f1
from detbench.data import datasets, images
from detbench.lineup import FLOOR
from detbench.results import Results
from detbench.signature import Signature
from detbench.types import Detections, RunResult, RunSpec

Frames = Sequence[Detections]

MERGE_IOU = 0.55
"""IoU from which two boxes of one class, seen in the blurred and in the restored frame, are one object."""


@dataclass(frozen=True, eq=False)
class Alternative:
    """What is done to see more in blurred frames.

    Attributes:
        name: of it.
        blurred: (frames,) counts in the blurred frames.
        sharp: (frames,) counts where the frames are sharp already.
        ms: deblurring and detection together, milliseconds a blurred frame.
    """

    name: str
    blurred: Counts
    sharp: Counts
    ms: float


@dataclass(frozen=True, eq=False)
class Table:
    """Alternatives on the same frames.

    Attributes:
        rows: the first is the detector as it is, on the blurred frames as they are.
        clips: (frames,) of which clip each is.
        severity: (frames,) of its blur; empty texts where the dataset does not say.
        detector: whose view of the sharp frames is to be found.
        signature: what the numbers must be quoted with.
    """

    rows: tuple[Alternative, ...]
    clips: tuple[str, ...]
    severity: tuple[str, ...]
    detector: str
    signature: str

    def gain(self, row: Alternative, frames: NDArray[np.bool_] | None = None) -> stats.Interval:
        """F1 of a row less that of the first, paired and clustered by clip; of some of the frames."""
        chosen = np.ones(len(self.clips), bool) if frames is None else frames
        clips = [clip for clip, its in zip(self.clips, chosen, strict=True) if its]
        sums = [each.blurred.columns()[chosen] for each in (row, self.rows[0])]
        return stats.bootstrap_difference(sums[0], sums[1], f1, clips)


def before_and_after(base: RunSpec, adapted: RunSpec, results: Results) -> Table:
    """A detector as it is and as it was adapted.

    Args:
        base: the detector as it is, on the frames as they are.
        adapted: the same, adapted.
        results: where runs come from.
    """
    looking = _Looking(base, results)
    return looking.table([looking.plain("as it is", base), looking.plain("adapted detector", adapted)])


def weigh(
    base: RunSpec, deblurer: str, results: Results, adapted: RunSpec | None, bigger: str, smaller: Sequence[int]
) -> Table:
    """Deblurring beside everything else that the same effort and time could go into.

    Args:
        base: the detector as it is, on the frames as they are.
        deblurer: that is weighed.
        results: where runs come from.
        adapted: the detector, adapted; None where there is none.
        bigger: a larger detector, on the frames as they are.
        smaller: working sizes that ask less of the detector: blur shrinks with the frame.
    """
    looking = _Looking(base, results)
    deblurred = replace(base, deblurer=deblurer)
    as_it_is, restored = looking.plain("as it is", base), looking.plain(f"deblurred: {deblurer}", deblurred)
    rows = [as_it_is, restored]
    if adapted:
        alone = looking.plain("adapted detector", adapted)
        both = looking.plain(f"adapted, deblurred: {deblurer}", replace(adapted, deblurer=deblurer))
        # It is the same network: by what its time differs, the machine does.
        rows += [replace(alone, ms=as_it_is.ms), replace(both, ms=restored.ms)]
    rows += [
        looking.both(f"both views: {deblurer}", deblurred),
        looking.selective(f"selective: {deblurer}", as_it_is, restored),
        looking.plain(f"bigger: {bigger}", replace(base, detector=bigger)),
        *(looking.plain(f"smaller: {size} px", replace(base, imgsz=size)) for size in smaller),
    ]
    return looking.table(rows)


class _Looking:
    """Runs, and what they find of the objects that the detector as it is sees in the sharp frames."""

    def __init__(self, base: RunSpec, results: Results) -> None:
        self.base, self.results = base, results
        self.floor = results.run(base)
        spec = self.floor.spec
        self.match_iou = spec.match_iou
        self.reference = [frame.above(spec.conf) for frame in store.read_detections(self.floor.path)["sharp"]]
        self.class_names = store.read_frames(self.floor.path)[0]

    def table(self, rows: Sequence[Alternative]) -> Table:
        scores = self.floor.scores
        signature = str(Signature.of(self.floor))
        clips, severity = (tuple(getattr(score, field) for score in scores) for field in ("clip", "severity"))
        return Table(tuple(rows), clips, severity, self.base.detector, signature)

    def plain(self, name: str, spec: RunSpec) -> Alternative:
        """What is seen in blurred and in sharp frames, with one run each."""
        blurred, sharp = self._runs(spec)
        return Alternative(name, self._counts(self._seen(blurred)), self._counts(self._seen(sharp)), _ms(blurred))

    def both(self, name: str, spec: RunSpec) -> Alternative:
        """What is seen in the frame as it is and in the restored one, merged: one more detection a frame."""
        restored, given = self._runs(spec), self._runs(replace(spec, deblurer=FLOOR))
        blurred, sharp = (
            self._counts([merged(a, b, MERGE_IOU) for a, b in zip(*map(self._seen, pair), strict=True)])
            for pair in zip(restored, given, strict=True)
        )
        return Alternative(name, blurred, sharp, _ms(restored[0]) + _ms(given[0]))

    def selective(self, name: str, as_it_is: Alternative, restored: Alternative) -> Alternative:
        """Restores only frames that measure blurred, by a threshold chosen on the other clips' frames."""
        clips = [score.clip for score in self.floor.scores]
        measured = self.results.measured("blurriness", self._blurriness)
        chosen = choose(measured, (restored.blurred, restored.sharp), (as_it_is.blurred, as_it_is.sharp), clips)
        blurred, sharp = (
            Counts.of(np.where(of[:, None], yes.columns(), no.columns()))
            for of, yes, no in zip(
                chosen, (restored.blurred, restored.sharp), (as_it_is.blurred, as_it_is.sharp), strict=True
            )
        )
        share = float(chosen[0].mean())
        return Alternative(name, blurred, sharp, share * restored.ms + (1 - share) * as_it_is.ms)

    def _blurriness(self) -> NDArray[np.float64]:
        """(2, frames) of the blurred and of the sharp frames."""
        known = {pair.id: pair for pair in datasets.of(self.floor.spec).pairs}
        pairs = [known[score.id] for score in self.floor.scores]
        return np.array(
            [
                [quality.blurriness(datasets.read_blurred(pair, self.base.noise)) for pair in pairs],
                [quality.blurriness(images.read_image(pair.sharp)) for pair in pairs],
            ]
        )

    def _runs(self, spec: RunSpec) -> tuple[RunResult, RunResult]:
        """On the blurred frames, and on the sharp ones."""
        blurred, sharp = (self.results.run(replace(spec, input=given)) for given in ("blurred", "sharp"))
        return blurred, sharp

    def _seen(self, run: RunResult) -> list[Detections]:
        """A run's detections that count, under the labels of the detector as it is."""
        found = [frame.above(run.spec.conf) for frame in store.read_detections(run.path)["restored"]]
        return classes.relabelled(found, store.read_frames(run.path)[0], self.class_names)

    def _counts(self, seen: Frames) -> Counts:
        """(frames,) counts against the objects that all are to find."""
        return thresholds.counts_by_threshold(seen, self.reference, self.match_iou, np.zeros(1))[:, 0]


def merged(a: Detections, b: Detections, iou: float) -> Detections:
    """Detections of two views of one frame: of boxes of one class that overlap, the surest stays (torchvision's NMS).

    Args:
        a: of one view.
        b: of the other.
        iou: from which two boxes are one object, in [0, 1].
    """
    import torch
    from torchvision.ops import batched_nms

    xyxy, score, label = (
        np.concatenate([getattr(each, field) for each in (a, b)]) for field in ("xyxy", "score", "label")
    )
    stay = batched_nms(*map(torch.from_numpy, (xyxy, score, label)), iou).numpy()
    return Detections(xyxy[stay], score[stay], label[stay])


def choose(
    measured: NDArray[np.float64],
    restored: tuple[Counts, Counts],
    as_it_is: tuple[Counts, Counts],
    clips: Sequence[str],
) -> NDArray[np.bool_]:
    """Which frames are restored, by a threshold of their blurriness that was chosen without their clip.

    It is the one with the best F1 over all frames of the other clips, blurred and sharp; of equal ones the middle.

    Args:
        measured: (2, frames) blurriness of the blurred and of the sharp frames.
        restored: (frames,) counts of both, restored.
        as_it_is: likewise, left as they are.
        clips: (frames,) of which clip each is.

    Returns:
        (2, frames) whether a blurred and a sharp frame is restored.
    """
    values = np.unique(measured)
    tried = np.concatenate([[values[0] - 1], (values[:-1] + values[1:]) / 2, [values[-1] + 1]])
    yes, no = (np.stack([each.columns() for each in pair]) for pair in (restored, as_it_is))
    above = measured[..., None] > tried  # (2, frames, tried)
    counted = np.where(above[..., None], yes[:, :, None], no[:, :, None]).sum(axis=0)  # (frames, tried, 3)
    clip = np.unique(np.asarray(clips), return_inverse=True)[1]
    others = counted.sum(axis=0) - stats.sum_by(clips, counted)  # (clips, tried, 3)
    f1 = Counts.of(others).f1
    equal = (tried[row == row.max()] for row in f1)
    best = np.array([(each[0] + each[-1]) / 2 for each in equal])
    return measured > best[clip]


def _ms(run: RunResult) -> float:
    """Deblurring and detection together, milliseconds a frame; of frames that are left as they are, detection alone."""
    return run.median("detect_ms") + (0.0 if run.spec.deblurer == FLOOR else run.median("restore_ms"))
