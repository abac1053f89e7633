"""The one loop that restores, detects and scores, frame by frame.

The networks run in the calling thread. Decoding ahead and scoring behind them happen in worker threads, and at most
a few frames are in flight, so memory does not grow with the dataset.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detbench import detectors, kept, match, quality, store
from detbench.data import datasets, images
from detbench.data.coco import Truth
from detbench.files import code
from detbench.types import DetbenchError, Detections, FramePair, FrameScore, RunSpec

Frame = NDArray[np.uint8]

Deblur: TypeAlias = Callable[[Sequence[FramePair], Sequence[Frame]], list[Frame]]
"""From pairs whose frames have one size, and what of each is to be deblurred, to as many frames."""

BATCH = {"cpu": 1, "cuda": 8, "mps": 8}
"""Frames a batch: a CPU gains nothing from more."""

IN_FLIGHT = 4
"""Batches that are decoded ahead of the networks, and as many that are scored behind them."""


class Batch(NamedTuple):
    """Frames that are restored together.

    Attributes:
        pairs: which they are.
        sharp: (H, W, 3) uint8 each, as all frames here.
        blurred: with noise, if the spec wants some.
        given: those of the two that the deblurer gets.
        draws: what its random draws depend on: not on where a run was interrupted.
        keys: under which the restored frames are kept.
        found: the restored frames that are kept, and the milliseconds that each took; None if any is missing.
    """

    pairs: tuple[FramePair, ...]
    sharp: list[Frame]
    blurred: list[Frame]
    given: list[Frame]
    draws: str
    keys: list[str]
    found: list[tuple[Frame, float]] | None


@dataclass(frozen=True, eq=False)
class Restored:
    """A restored frame, and what the detector saw: all that its scores are computed from.

    Attributes:
        pair: which frame it is.
        sharp: (H, W, 3) uint8.
        frame: likewise, what the deblurer made.
        reference: what is to be found: seen in the sharp frame, as in the others down to a low score, or drawn.
        seen_blurred: in the blurred one.
        seen: in the restored one.
        restore_ms: what restoring took, in milliseconds.
        detect_ms: what detecting in it took.
        key: under which it is to be kept for other runs; empty if it is kept already.
    """

    pair: FramePair
    sharp: Frame
    frame: Frame
    reference: Detections
    seen_blurred: Detections
    seen: Detections
    restore_ms: float
    detect_ms: float
    key: str


@dataclass
class Loop:
    """The work of one run, frame by frame.

    Attributes:
        spec: what is run.
        restorer: the deblurer.
        detector: looks at sharp, blurred and restored frames alike.
        references: detections on sharp and blurred frames, kept between runs.
        kept: restored frames, likewise.
        path: the run's directory, where the restored frames go for people to look at.
        truth: what is to be found, where people drew it.
        labels: the classes that count; None for all.
        timed: whether the time that restoring takes says anything of the deblurer.
        found: how many restored frames were kept from before; their times are of then.
    """

    spec: RunSpec
    restorer: Deblur
    detector: detectors.Detector
    references: store.Journal
    kept: kept.Frames
    path: Path
    truth: Truth | None = None
    labels: frozenset[int] | None = None
    timed: bool = True
    found: int = 0

    @property
    def batch(self) -> int:
        """How many frames are restored at once."""
        return BATCH[self.spec.device.partition(":")[0]]

    def rows(self, pairs: tuple[FramePair, ...], done: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Journal rows of the frames that are not done, in order.

        Frames are cut into batches before those that are done are left out: a batch that a kill cut short is worked
        on whole again, so the numbers do not depend on where that was.
        """
        batches = [pairs[i : i + self.batch] for i in range(0, len(pairs), self.batch)]
        todo = [batch for batch in batches if any(pair.id not in done for pair in batch)]
        with ThreadPoolExecutor(2) as pool:
            scored = (
                pool.submit(self._score, restored)
                for batch in _ahead(pool, self._read, todo)
                for restored in self._look(batch)
            )
            for row in _behind(scored):
                if row["score"]["id"] not in done:
                    yield row["score"]["id"], row

    def silent_below(self, pairs: Sequence[FramePair]) -> float:
        """The confidence below which the detector keeps what it finds to itself, by what it finds in sharp frames."""
        seen = [self._reference("sharp", pair.id, images.read_image(pair.sharp))[0] for pair in pairs]
        return detectors.silent_below(seen, min(self.spec.conf, store.FLOOR))

    def _read(self, pairs: tuple[FramePair, ...]) -> Batch:
        """Read the sharp and blurred frames of a batch, and the restored ones if they are kept."""
        sharp = [images.read_image(pair.sharp) for pair in pairs]
        blurred = [datasets.read_blurred(pair, self.spec.noise) for pair in pairs]
        given = sharp if self.spec.input == "sharp" else blurred
        draws = draws_of(self.spec, pairs[0])
        keys = self.kept.keys(draws, given)
        return Batch(pairs, sharp, blurred, given, draws, keys, self.kept.find(keys))

    def _look(self, batch: Batch) -> Iterator[Restored]:
        """Run the networks on one batch."""
        restored = batch.found or self._restore(batch)
        self.found += len(batch.found or ())
        for pair, sharp, blurred, key, (frame, restore_ms) in zip(
            batch.pairs, batch.sharp, batch.blurred, batch.keys, restored, strict=True
        ):
            reference = self.truth.objects[pair.id] if self.truth else self._reference("sharp", pair.id, sharp)[0]
            seen_blurred, blurred_ms = self._reference("blurred", pair.id, blurred)
            # The floor changes no pixel, so the detector need not look twice.
            same = np.array_equal(frame, blurred)
            seen, detect_ms = (seen_blurred, blurred_ms) if same else self._detect(frame)
            new = "" if batch.found else key
            reference = self._of_classes(reference)
            seen_blurred, seen = (self._counted(each, reference, pair.id) for each in (seen_blurred, seen))
            yield Restored(pair, sharp, frame, reference, seen_blurred, seen, restore_ms, detect_ms, new)

    def _of_classes(self, seen: Detections) -> Detections:
        """Those of the classes that count."""
        return seen if self.labels is None else seen.where(np.isin(seen.label, list(self.labels)))

    def _counted(self, seen: Detections, reference: Detections, id: str) -> Detections:
        """The detections that may be right or wrong."""
        seen = self._of_classes(seen)
        if self.truth is None or not len(self.truth.crowds[id]):
            return seen
        return seen.where(match.outside_crowds(seen, reference, self.truth.crowds[id], self.spec.match_iou))

    def _restore(self, batch: Batch) -> list[tuple[Frame, float]]:
        """What the deblurer makes of a batch, and the milliseconds a frame."""
        seed(batch.draws)
        restored: list[tuple[Frame, float]] = []
        for _, group in itertools.groupby(range(len(batch.given)), key=lambda i: batch.given[i].shape):
            members = list(group)
            started = time.perf_counter()
            try:
                made = self.restorer([batch.pairs[i] for i in members], [batch.given[i] for i in members])
            except DetbenchError as error:
                names = ", ".join(batch.pairs[i].id for i in members)
                raise DetbenchError(f"{self.spec.deblurer} failed on frame {names}: {error}") from error
            restore_ms = (time.perf_counter() - started) * 1e3 / len(members) if self.timed else math.nan
            restored += [(frame, restore_ms) for frame in made]
        return restored

    def _detect(self, frame: Frame) -> tuple[Detections, float]:
        """What the detector sees, and after how many milliseconds."""
        started = time.perf_counter()
        seen = detectors.look(self.detector, frame)
        return seen, (time.perf_counter() - started) * 1e3

    def _reference(self, side: str, id: str, frame: Frame) -> tuple[Detections, float]:
        """The same for an unrestored frame, computed once for all deblurers."""
        key = f"{side}/{id}"
        if key not in self.references.rows:
            seen, ms = self._detect(frame)
            self.references.add(key, store.detections_to_json(seen) | {"ms": ms})
        row = self.references.rows[key]
        return store.detections_from_json(row), row["ms"]

    def _score(self, of: Restored) -> dict[str, Any]:
        """The journal's row of one frame, which is kept for other runs if it has a key."""
        conf = self.spec.conf
        counts = match.score_frame(
            of.seen.above(conf), of.seen_blurred.above(conf), of.reference.above(conf), self.spec.match_iou
        )
        images.write_image(store.preview(self.path, of.pair.id, of.frame.shape[:2]), of.frame)
        nearest = max((of.sharp, *map(images.read_image, of.pair.others)), key=partial(quality.psnr_db, of.frame))
        if of.key:
            self.kept.add(of.key, of.frame, of.restore_ms)
        score = FrameScore(
            id=of.pair.id,
            clip=of.pair.clip,
            **dataclasses.asdict(counts),
            psnr_db=quality.psnr_db(of.frame, nearest),
            ssim=quality.ssim(of.frame, nearest),
            restore_ms=of.restore_ms,
            detect_ms=of.detect_ms,
            severity=of.pair.severity,
        )
        row = {"score": dataclasses.asdict(score), "size": of.sharp.shape[:2]}
        seen = {"sharp": of.reference, "blurred": of.seen_blurred, "restored": of.seen}
        return row | {side: store.detections_to_json(detections) for side, detections in seen.items()}


def draws_of(spec: RunSpec, first: FramePair) -> str:
    """What the random draws of a batch depend on, which begins with a pair: not on where a run was interrupted."""
    return f"{spec.seed} {first.id}"


def seed(draws: str) -> None:
    """Let torch draw what belongs to a batch."""
    import torch

    torch.manual_seed(code(draws))


def _ahead(pool: ThreadPoolExecutor, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Results of a function on items, in order, a few of them computed ahead."""
    return _behind(pool.submit(function, item) for item in items)


def _behind(futures: Iterable[Future[Any]]) -> Iterator[Any]:
    """Results of futures, in order, a few of them left in flight; an error comes after what was begun before it."""
    waiting: deque[Future[Any]] = deque()
    iterator, failure = iter(futures), None
    while True:
        try:
            waiting.append(next(iterator))
        except StopIteration:
            break
        except DetbenchError as error:
            failure = error
            break
        if len(waiting) > IN_FLIGHT:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
    if failure:
        raise failure
