"""The one loop that restores, detects and scores, frame by frame.

The networks run in the calling thread. Decoding ahead and scoring behind them happen in worker threads, and at most
a few frames are in flight, so memory does not grow with the dataset.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
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
from detbench.journal import Journal
from detbench.types import DetbenchError, Detections, FramePair, FrameScore, RunSpec

Frame = NDArray[np.uint8]

Deblur: TypeAlias = Callable[[Sequence[FramePair], Sequence[Frame]], list[Frame]]
"""From pairs whose frames have one size, and what of each is to be deblurred, to as many frames."""

BATCH = {"cpu": 1, "cuda": 8, "mps": 8}
"""Frames a batch: a CPU gains nothing from more."""

FAILED = "failed/"
"""What the key of a journal's row begins with that says why a frame cannot be scored."""

IN_FLIGHT = 4
"""Batches that are decoded ahead of the networks, and as many frames, or one a helper, that are scored behind them."""

HELPERS = 8
"""Threads that decode and score beside the networks, at most: as many keep up with a GPU."""


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
        failed: why others that belong to the batch could not be read, by their ids.
    """

    pairs: tuple[FramePair, ...]
    sharp: list[Frame]
    blurred: list[Frame]
    given: list[Frame]
    draws: str
    keys: list[str]
    found: list[tuple[Frame, float]] | None
    failed: dict[str, str]


class FrameError(DetbenchError):
    """A frame that cannot be read, restored or looked at."""


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
    references: Journal
    kept: kept.Frames
    path: Path
    truth: Truth | None = None
    labels: frozenset[int] | None = None
    timed: bool = True
    found: int = 0

    def rows(self, pairs: tuple[FramePair, ...], done: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Ids and journal rows of the frames that are not done, in order.

        Where frames may be left out, the row of one that fails says why, and its id begins with :data:`FAILED`.

        Frames are cut into batches before those that are done are left out: a batch that a kill cut short is worked
        on whole again, so the numbers do not depend on where that was.
        """
        size = batch_size(self.spec)
        batches = [pairs[i : i + size] for i in range(0, len(pairs), size)]
        todo = [batch for batch in batches if any(pair.id not in done for pair in batch)]
        threads = helpers(self.spec.device)
        with ThreadPoolExecutor(threads) as pool:
            scored = (
                pool.submit(self._row, restored)
                for batch in _ahead(pool, self._read, todo)
                for restored in self._look(batch)
            )
            for id, row in _behind(scored, max(IN_FLIGHT, threads)):
                if id.removeprefix(FAILED) not in done:
                    yield id, row

    def silent_below(self, pairs: Sequence[FramePair]) -> float:
        """The confidence below which the detector keeps what it finds to itself, by what it finds in sharp frames."""
        seen = []
        for pair in pairs:
            with suppress(FrameError), self._of_a_frame():  # a frame that fails here fails again when it is scored
                seen.append(self._reference("sharp", pair.id, images.read_image(pair.sharp))[0])
        return detectors.silent_below(seen, store.kept_from(self.spec))

    def _read(self, pairs: tuple[FramePair, ...]) -> Batch:
        """Read the sharp and blurred frames of a batch, and the restored ones if they are kept."""
        read, failed = {}, {}
        for pair in pairs:
            try:
                with self._of_a_frame():
                    sharp, blurred = images.read_image(pair.sharp), datasets.read_blurred(pair, self.spec.noise)
                    datasets.refuse_unequal(pair, sharp.shape[:2], blurred.shape[:2])
                read[pair] = (sharp, blurred)
            except FrameError as error:
                failed[pair.id] = self._may_fail(error)
        all_sharp, all_blurred = ([each[side] for each in read.values()] for side in (0, 1))
        given = all_sharp if self.spec.input == "sharp" else all_blurred
        draws = draws_of(self.spec, pairs[0])
        keys = self.kept.keys(draws, given)
        return Batch(tuple(read), all_sharp, all_blurred, given, draws, keys, self.kept.find(keys), failed)

    def _look(self, batch: Batch) -> Iterator[Restored | tuple[str, str]]:
        """Run the networks on one batch; of a frame that fails, its id and why."""
        yield from batch.failed.items()
        restored = batch.found or self._restore(batch)
        self.found += len(batch.found or ())
        for i, (pair, made) in enumerate(zip(batch.pairs, restored, strict=True)):
            try:
                seen: Restored | tuple[str, str] = (
                    (pair.id, made) if isinstance(made, str) else self._seen(batch, i, *made)
                )
            except FrameError as error:
                seen = (pair.id, self._may_fail(error))
            yield seen

    def _seen(self, batch: Batch, i: int, frame: Frame, restore_ms: float) -> Restored:
        """What the detector sees in a restored frame, and in what it was made of."""
        pair, sharp, blurred = batch.pairs[i], batch.sharp[i], batch.blurred[i]
        reference = self.truth.objects[pair.id] if self.truth else self._reference("sharp", pair.id, sharp)[0]
        seen_blurred, blurred_ms = self._reference("blurred", pair.id, blurred)
        # The floor changes no pixel, so the detector need not look twice.
        same = np.array_equal(frame, blurred)
        seen, detect_ms = (seen_blurred, blurred_ms) if same else self._detect(frame)
        reference = self._of_classes(reference)
        seen_blurred, seen = (self._counted(each, reference, pair.id) for each in (seen_blurred, seen))
        key = "" if batch.found else batch.keys[i]
        return Restored(pair, sharp, frame, reference, seen_blurred, seen, restore_ms, detect_ms, key)

    def _of_classes(self, seen: Detections) -> Detections:
        """Those of the classes that count."""
        return seen if self.labels is None else seen.where(np.isin(seen.label, list(self.labels)))

    def _counted(self, seen: Detections, reference: Detections, id: str) -> Detections:
        """The detections that may be right or wrong."""
        seen = self._of_classes(seen)
        if self.truth is None or not len(self.truth.crowds[id]):
            return seen
        return seen.where(match.outside_crowds(seen, reference, self.truth.crowds[id], self.spec.match_iou))

    def _restore(self, batch: Batch) -> list[tuple[Frame, float] | str]:
        """What the deblurer makes of a batch, and the milliseconds a frame; or why it fails on one."""
        seed(batch.draws)
        restored: list[tuple[Frame, float] | str] = []
        for _, group in itertools.groupby(range(len(batch.given)), key=lambda i: batch.given[i].shape):
            members = list(group)
            try:
                restored += self._restore_some(batch, members)
            except FrameError as error:
                why = self._may_fail(error)
                # Which of several it is shows when they are restored alone.
                restored += [why] if len(members) == 1 else [self._restore_alone(batch, i) for i in members]
        return restored

    def _restore_some(self, batch: Batch, members: Sequence[int]) -> list[tuple[Frame, float]]:
        """The same of those frames of a batch that have these places and one size."""
        started = time.perf_counter()
        with self._of_a_frame(
            f"{self.spec.deblurer} failed on frame {', '.join(batch.pairs[i].id for i in members)}: "
        ):
            made = self.restorer([batch.pairs[i] for i in members], [batch.given[i] for i in members])
        restore_ms = (time.perf_counter() - started) * 1e3 / len(members) if self.timed else math.nan
        return [(frame, restore_ms) for frame in made]

    def _restore_alone(self, batch: Batch, i: int) -> tuple[Frame, float] | str:
        """The same of one, after it failed together with others."""
        seed(draws_of(self.spec, batch.pairs[i]))
        try:
            return self._restore_some(batch, [i])[0]
        except FrameError as error:
            return self._may_fail(error)

    def _detect(self, frame: Frame) -> tuple[Detections, float]:
        """What the detector sees, and after how many milliseconds."""
        started = time.perf_counter()
        with self._of_a_frame(f"{self.spec.detector} failed: "):
            seen = detectors.look(self.detector, frame)
        return seen, (time.perf_counter() - started) * 1e3

    @contextmanager
    def _of_a_frame(self, words: str = "") -> Iterator[None]:
        """Make what goes wrong a :class:`FrameError` that begins with some words."""
        try:
            yield
        except DetbenchError as error:
            raise FrameError(f"{words}{error}") from error
        except Exception as error:
            if self.spec.on_error == "stop":  # a fault of some code, which its traceback shows best
                raise
            raise FrameError(f"{words}{type(error).__name__}: {error}") from error

    def _may_fail(self, error: FrameError) -> str:
        """The reason to leave a frame out, where that is allowed."""
        if self.spec.on_error == "stop":
            raise error
        return str(error)

    def _reference(self, side: str, id: str, frame: Frame) -> tuple[Detections, float]:
        """The same for an unrestored frame, computed once for all deblurers."""
        key = f"{side}/{id}"
        if key not in self.references:
            seen, ms = self._detect(frame)
            self.references.add(key, store.detections_to_json(seen) | {"ms": ms})
        row = self.references[key]
        return store.detections_from_json(row), row["ms"]

    def _row(self, of: Restored | tuple[str, str]) -> tuple[str, dict[str, Any]]:
        """The journal's key and row of one frame."""
        if isinstance(of, Restored):
            try:
                return of.pair.id, self._score(of)
            except FrameError as error:
                of = (of.pair.id, self._may_fail(error))
        id, why = of
        return FAILED + id, {"why": why}

    def _score(self, of: Restored) -> dict[str, Any]:
        """The journal's row of one frame that was restored, which is kept for other runs if it has a key."""
        conf = self.spec.conf
        counts = match.score_frame(
            of.seen.above(conf), of.seen_blurred.above(conf), of.reference.above(conf), self.spec.match_iou
        )
        images.write_image(store.preview(self.path, of.pair.id, of.frame.shape[:2]), of.frame)
        with self._of_a_frame():
            others = [images.read_image(path) for path in of.pair.others]
        nearest = max((of.sharp, *others), key=partial(quality.psnr_db, of.frame))
        if of.key:
            self.kept.add(of.key, of.frame, of.restore_ms)
        score = FrameScore(
            id=of.pair.id,
            clip=of.pair.clip,
            **vars(counts),
            psnr_db=quality.psnr_db(of.frame, nearest),
            ssim=quality.ssim(of.frame, nearest),
            restore_ms=of.restore_ms,
            detect_ms=of.detect_ms,
            severity=of.pair.severity,
        )
        height, width = of.sharp.shape[:2]
        return store.row(score, (height, width), of.reference.above(conf), of.seen_blurred, of.seen)


def batch_size(spec: RunSpec) -> int:
    """How many frames are restored at once on a resolved spec's device."""
    return BATCH[spec.device.partition(":")[0]]


def helpers(device: str) -> int:
    """How many threads decode and score beside the networks, of those that torch may use: few where these need them."""
    import torch

    mine = torch.get_num_threads()
    return min(max(2, mine // 4 if device == "cpu" else mine), HELPERS)


def draws_of(spec: RunSpec, first: FramePair) -> str:
    """What the random draws of a batch depend on, which begins with a pair: not on where a run was interrupted."""
    return f"{spec.seed} {first.id}"


def seed(draws: str) -> None:
    """Let torch draw what belongs to a batch."""
    import torch

    # Not torch.manual_seed: of accelerators that nothing was computed on it notes each call, with its stack, for later.
    torch.default_generator.manual_seed(code(draws))
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(code(draws))
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(code(draws))


def _ahead(pool: ThreadPoolExecutor, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Results of a function on items, in order, a few of them computed ahead."""
    return _behind(pool.submit(function, item) for item in items)


def _behind(futures: Iterable[Future[Any]], in_flight: int = IN_FLIGHT) -> Iterator[Any]:
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
        if len(waiting) > in_flight:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
    if failure:
        raise failure
