"""RunSpec → RunResult: the one loop that restores, detects and scores.

The networks run in the calling thread. Decoding ahead and scoring behind them happen in worker threads, and at most
a few frames are in flight, so memory does not grow with the dataset.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detbench import assets, datasets, detectors, environment, images, kept, match, quality, registry, store
from detbench.files import source_hash
from detbench.progress import say, track
from detbench.types import DetbenchError, Detections, FramePair, FrameScore, RunResult, RunSpec, canonical_hash
from detbench.weights import count_parameters, read_record

if TYPE_CHECKING:
    from detbench.custom import Custom, Given, Restore
    from detbench.restore import Restorer

Frame = NDArray[np.uint8]

RUNS = Path("reports/runs")
"""Where run directories go by default."""

BATCH = {"cpu": 1, "cuda": 8}
"""Frames a batch: a CPU gains nothing from more."""

IN_FLIGHT = 4
"""Batches that are decoded ahead of the networks, and as many that are scored behind them."""


def run(spec: RunSpec, out: Path = RUNS, rerun: bool = False, deblurer: Given | None = None) -> RunResult:
    """Restore, detect and score every frame of a dataset; a finished run is read from disk, a killed one goes on.

    Args:
        spec: what to run.
        out: folder of run directories; the run's own is ``out/<dataset>-<deblurer>-<hash8>``.
        rerun: take no restored frame from the cache, and keep none there.
        deblurer: of your own, which ``spec.deblurer`` gives a name that no other has: a ``torch.nn.Module`` of
            (B, 3, H, W) floats in [0, 1]; a :class:`DeblurerSpec`, for another range or sides that must be multiples;
            or a function of one (H, W, 3) uint8 RGB frame. The run is known by its weights and code; where these cannot
            be read (a callable object, say), it is neither found again nor cached, and says so.

    Returns:
        The scores of all frames.

    Raises:
        DetbenchError: something the user can mend: an unknown name, an unreadable frame, a full disk, and so on.
            What was scored before is kept.
    """
    own = _taken(spec, deblurer)
    spec = resolve(spec, own)
    dataset, path = datasets.load(spec.dataset), _path(spec, out)
    if store.is_complete(path):
        say(f"{spec.deblurer} on {dataset.name}: finished before, read from {path}")
        return store.read(path)

    from filelock import FileLock

    path.mkdir(parents=True, exist_ok=True)
    with FileLock(path / ".lock"):
        if store.is_complete(path):  # by another process, meanwhile
            return store.read(path)
        found = detectors.resolve(spec.detector)
        floor = min(spec.conf, store.FLOOR)
        detector = found.build(conf=floor, nms_iou=spec.nms_iou, imgsz=spec.imgsz, device=spec.device)
        pairs = dataset.pairs[: spec.limit]
        frames = _frames(spec, 0 if rerun or (own and not own.known) else kept.limit())
        started = time.monotonic()
        with (
            store.Journal(_references(spec, found.source)) as references,
            store.Journal(path / "journal.jsonl") as journal,
        ):
            loop = Loop(spec, own.restorer(spec) if own else restorer(spec), detector, references, frames, path)
            done = set(journal.rows)
            label = f"{spec.deblurer} on {dataset.name}" + (" (sharp)" if spec.input == "sharp" else "")
            for id, row in track(loop.rows(pairs, done), len(pairs), label, done=len(done)):
                journal.add(id, row)
            rows = [journal.rows[pair.id] for pair in pairs]
            seen = {side: [references.rows[f"{side}/{pair.id}"] for pair in pairs] for side in ("sharp", "blurred")}
        seen["restored"] = [row["detections"] for row in rows]
        store.finish(
            path,
            spec,
            environment.describe()
            | {
                "signature": signature(spec, dataset.name),
                "pixels": dataset.pixels,
                "training": {} if own else _training(spec),
                "wall_seconds": time.monotonic() - started,
                "resumed_after": len(done),
            },
            [FrameScore(**row["score"]) for row in rows],
            {side: [store.detections_from_json(d) for d in frames] for side, frames in seen.items()},
            detector.class_names,
            [tuple(row["size"]) for row in rows],
        )
    (path / "journal.jsonl").unlink()
    (path / ".lock").unlink(missing_ok=True)
    return store.read(path)


def resolve(spec: RunSpec, own: Custom | None = None) -> RunSpec:
    """A spec with the hashes of its parts and the device that ``auto`` stands for.

    Args:
        spec: what is asked for.
        own: the deblurer, where it was handed over and is in no registry.

    Raises:
        DetbenchError: an unknown deblurer, dataset, detector or device.
    """
    # What is quickly found to be wrong comes before what takes a download or a build.
    weights = Path(spec.weights) if spec.weights else None
    deblurer_hash = own.hash if own else registry.fingerprint(spec.deblurer, weights)
    device = environment.device(spec.device)
    dataset = datasets.load(spec.dataset)
    place = Path(spec.dataset)
    return replace(
        spec,
        dataset=spec.dataset if dataset.name == spec.dataset else str(place.resolve()),
        device=device,
        deblurer_hash=deblurer_hash,
        dataset_hash=dataset.identity,
        detector_hash=detectors.resolve(spec.detector).sha256,
    )


def restorer(spec: RunSpec) -> Restorer:
    """The spec's deblurer, ready for frames.

    Raises:
        DetbenchError: an unknown name, weights that are missing or do not fit, or an unknown device.
    """
    from detbench.restore import Restorer

    deblurer = _deblurer(spec)
    return Restorer(
        deblurer.build(),
        multiple_of=deblurer.preset.multiple_of,
        value_range=deblurer.spec.value_range,
        device=environment.device(spec.device),
        precision=spec.precision,
    )


def benchmark(specs: RunSpec | Sequence[RunSpec], out: Path = RUNS) -> list[RunResult]:
    """Runs of one or several deblurers between their floor and their ceiling.

    Args:
        specs: what to run, on the same frames with the same settings.
        out: as for :func:`run`.

    Returns:
        The blurred frames as they are (``identity``), the deblurers, and the sharp frames re-encoded as JPEG 95, which
        shows how much of the reference survives a change that nobody can see.
    """
    return benchmarks([specs] if isinstance(specs, RunSpec) else specs, [{}], out)[0]


def benchmarks(specs: Sequence[RunSpec], views: Sequence[Mapping[str, Any]], out: Path = RUNS) -> list[list[RunResult]]:
    """A benchmark for each of several detectors or settings of theirs.

    All look at one deblurer's frames before the next deblurer's turn: the cache then has them, if it has room for
    one deblurer's, and each frame is restored once.

    Args:
        specs: as for :func:`benchmark`.
        views: for each benchmark, the fields of the specs that change, such as ``{"detector": "yolo11n"}``.
        out: as for :func:`run`.

    Returns:
        For each view what :func:`benchmark` gives.
    """
    # A mistake should show before the floor is run.
    for view in views:
        resolve(replace(specs[0], **view))
    for spec in specs:
        if not all(store.is_complete(_path(resolve(replace(spec, **view)), out)) for view in views):
            _deblurer(spec)
    plain = replace(specs[0], weights=None, seed=0, precision="fp32")
    floor = replace(plain, deblurer="identity", input="blurred")
    ceiling = replace(plain, deblurer="jpeg95", input="sharp")
    results = [[run(replace(each, **view), out) for view in views] for each in (floor, *specs, ceiling)]
    return [list(of_view) for of_view in zip(*results, strict=True)]


def signature(spec: RunSpec, dataset: str) -> str:
    """What a number must be quoted with to be comparable: data, detector, thresholds and conventions."""
    from detbench import __version__

    limit = f"|limit:{spec.limit}" if spec.limit else ""
    noise = f"|noise:{spec.noise:g}" if spec.noise else ""
    return (
        f"{dataset}:{spec.dataset_hash[:8]}{limit}{noise}|{Path(spec.detector).stem}:{spec.detector_hash[:8]}"
        f"|imgsz:{spec.imgsz}|conf:{spec.conf:g}|nms:{spec.nms_iou:g}|iou:{spec.match_iou:g}|p,r,f1:micro"
        f"|{quality.SIGNATURE}|detbench:{__version__}"
    )


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
    """

    spec: RunSpec
    restorer: Restore
    detector: detectors.Detector
    references: store.Journal
    kept: kept.Frames
    path: Path

    def rows(self, pairs: tuple[FramePair, ...], done: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Journal rows of the frames that are not done, in order.

        Frames are cut into batches before those that are done are left out: a batch that a kill cut short is worked
        on whole again, so the numbers do not depend on where that was.
        """
        size = BATCH[self.spec.device.partition(":")[0]]
        batches = [pairs[i : i + size] for i in range(0, len(pairs), size)]
        todo = [batch for batch in batches if any(pair.id not in done for pair in batch)]
        with ThreadPoolExecutor(2) as pool:
            scored = (
                pool.submit(self._score, *work)
                for batch in _ahead(pool, self._read, todo)
                for work in self._look(batch)
            )
            for row in _behind(scored):
                if row["score"]["id"] not in done:
                    yield row["score"]["id"], row

    def _read(self, pairs: tuple[FramePair, ...]) -> Batch:
        """Read the sharp and blurred frames of a batch, and the restored ones if they are kept."""
        sharp = [images.read_image(pair.sharp) for pair in pairs]
        blurred = [datasets.read_blurred(pair, self.spec.noise) for pair in pairs]
        given = sharp if self.spec.input == "sharp" else blurred
        draws = f"{self.spec.seed} {pairs[0].id}"
        keys = self.kept.keys(draws, given)
        return Batch(pairs, sharp, blurred, given, draws, keys, self.kept.find(keys))

    def _look(self, batch: Batch) -> Iterator[tuple[Any, ...]]:
        """Run the networks on one batch; gives the arguments of :meth:`_score` for each frame."""
        restored = batch.found or self._restore(batch)
        for pair, sharp, blurred, key, (frame, restore_ms) in zip(
            batch.pairs, batch.sharp, batch.blurred, batch.keys, restored, strict=True
        ):
            seen_sharp, _ = self._reference("sharp", pair.id, sharp)
            seen_blurred, blurred_ms = self._reference("blurred", pair.id, blurred)
            # The floor changes no pixel, so the detector need not look twice.
            same = np.array_equal(frame, blurred)
            seen, detect_ms = (seen_blurred, blurred_ms) if same else self._detect(frame)
            new = "" if batch.found else key
            yield pair, sharp, frame, seen_sharp, seen_blurred, seen, restore_ms, detect_ms, new

    def _restore(self, batch: Batch) -> list[tuple[Frame, float]]:
        """What the deblurer makes of a batch, and the milliseconds a frame."""
        import torch

        torch.manual_seed(zlib.crc32(batch.draws.encode()))
        restored: list[tuple[Frame, float]] = []
        for _, group in itertools.groupby(range(len(batch.given)), key=lambda i: batch.given[i].shape):
            members = list(group)
            started = time.perf_counter()
            try:
                made = self.restorer([batch.given[i] for i in members])
            except DetbenchError as error:
                names = ", ".join(batch.pairs[i].id for i in members)
                raise DetbenchError(f"{self.spec.deblurer} failed on frame {names}: {error}") from error
            restore_ms = (time.perf_counter() - started) * 1e3 / len(members)
            restored += [(frame, restore_ms) for frame in made]
        return restored

    def _detect(self, frame: Frame) -> tuple[Detections, float]:
        """What the detector sees, and after how many milliseconds."""
        started = time.perf_counter()
        seen = self.detector([frame])[0]
        return seen, (time.perf_counter() - started) * 1e3

    def _reference(self, side: str, id: str, frame: Frame) -> tuple[Detections, float]:
        """The same for an unrestored frame, computed once for all deblurers."""
        key = f"{side}/{id}"
        if key not in self.references.rows:
            seen, ms = self._detect(frame)
            self.references.add(key, store.detections_to_json(seen) | {"ms": ms})
        row = self.references.rows[key]
        return store.detections_from_json(row), row["ms"]

    def _score(
        self,
        pair: FramePair,
        sharp: Frame,
        restored: Frame,
        seen_sharp: Detections,
        seen_blurred: Detections,
        seen: Detections,
        restore_ms: float,
        detect_ms: float,
        key: str,
    ) -> dict[str, Any]:
        """The journal's row of one frame, which is kept under a key, if there is one."""
        conf = self.spec.conf
        counts = match.score_frame(
            seen.above(conf), seen_blurred.above(conf), seen_sharp.above(conf), self.spec.match_iou
        )
        images.write_image(store.preview(self.path, pair.id), restored)
        if key:
            self.kept.add(key, restored, restore_ms)
        score = FrameScore(
            id=pair.id,
            clip=pair.clip,
            **dataclasses.asdict(counts),
            psnr_db=quality.psnr_db(restored, sharp),
            ssim=quality.ssim(restored, sharp),
            restore_ms=restore_ms,
            detect_ms=detect_ms,
        )
        row = {"score": dataclasses.asdict(score), "size": sharp.shape[:2]}
        return row | {"detections": store.detections_to_json(seen)}


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


def _references(spec: RunSpec, source: str) -> Path:
    """Where detections on sharp and blurred frames are kept: one file for all that they depend on."""
    versions = environment.describe()["packages"]
    kind = "cpu" if spec.device == "cpu" else "cuda"
    parts = [
        source,  # of the detector: a change of its code must show in the reference, for the gate's sake
        spec.dataset_hash,
        spec.detector_hash,
        min(spec.conf, store.FLOOR),
        spec.nms_iou,
        spec.imgsz,
        kind,
        versions,
    ]
    parts += [spec.noise] if spec.noise else []
    return assets.home() / "detections" / f"{canonical_hash(parts)[:16]}.jsonl"


def _frames(spec: RunSpec, limit: float) -> kept.Frames:
    """The kept frames of a run's deblurer; ``identity`` is quicker than any cache."""
    from detbench import restore

    here = environment.describe()
    # The machine rounds in its own way, and the time that is kept is its time.
    machine = [here["cpu"], here["threads"]] if spec.device == "cpu" else [here["gpu"]]
    code = source_hash(Path(restore.__file__))
    basis = [code, spec.deblurer_hash, spec.precision, here["packages"], *machine]
    return kept.Frames(basis, 0 if spec.deblurer == "identity" else limit)


def _path(spec: RunSpec, out: Path) -> Path:
    """The directory of a resolved run; a checkpoint gives it its file's name."""
    deblurer = re.sub(r"[^\w.-]+", "_", Path(spec.deblurer.rpartition(":")[2]).name)
    return Path(out) / f"{Path(spec.dataset).name}-{deblurer}-{spec.hash8}"


def _taken(spec: RunSpec, deblurer: Given | None) -> Custom | None:
    """The deblurer that was handed over, if one was."""
    if deblurer is None:
        return None
    from detbench import custom

    own = custom.take(spec, deblurer)
    if not own.known:
        say(f"{spec.deblurer}: nothing stands for all that it computes with; this run is not found again, nor cached.")
    return own


def _deblurer(spec: RunSpec) -> registry.Deblurer:
    """The deblurer that a spec names."""
    return registry.load(spec.deblurer, Path(spec.weights) if spec.weights else None)


def _training(spec: RunSpec) -> dict[str, Any]:
    """The training record of the deblurer's weights, with the setting of its recipe; empty if it has none of ours."""
    weights = _deblurer(spec).weights
    return read_record(weights) | {"parameters": count_parameters(weights)} if weights else {}
