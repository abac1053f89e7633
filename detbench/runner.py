"""RunSpec → RunResult: every frame restored, looked at and scored, unless that was done before."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from detbench import (
    assets,
    detectors,
    environment,
    kept,
    lineup,
    quality,
    resolve,
    restored,
    restorers,
    shards,
    store,
)
from detbench.data import alignment, coco, datasets, images
from detbench.files import source_hash, sweep
from detbench.journal import Journal
from detbench.lineup import FLOOR, role
from detbench.loop import FAILED, Deblur, Loop, batch_size, draws_of, seed
from detbench.progress import say, track
from detbench.shards import Shard
from detbench.signature import CONVENTIONS
from detbench.types import DetbenchError, FramePair, RunResult, RunSpec, canonical_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from detbench.custom import Custom, Given

SHOWN = 3
"""Frames that are named when several are left out."""

PROBED = 4
"""Sharp frames that show whether an exported detector has a threshold of its own inside."""


def run(spec: RunSpec, out: Path = resolve.RUNS, rerun: bool = False, deblurer: Given | None = None) -> RunResult:
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
    spec, dataset = resolve.with_dataset(spec, own)
    if spec.on_error == "skip":
        spec = replace(spec, on_error="stop", skipped=spec.skipped or tried([spec], dataset, out, own, rerun))
    path = resolve.place(spec, out)
    if store.is_complete(path):
        say(f"{lineup.title(spec)}: {resolve.dataset_name(spec)} finished before, read from {path}")
    else:
        from filelock import FileLock

        path.mkdir(parents=True, exist_ok=True)
        with FileLock(path / ".lock"):
            if not store.is_complete(path):  # by another process, meanwhile
                sweep(path)
                _score(spec, dataset, path, own, rerun)
    for leftover in ("journal*.jsonl", "references-*.jsonl", shards.SPEC, store.FAILED, ".lock*"):
        for file in path.glob(leftover):
            file.unlink(missing_ok=True)
    return store.read(path)


def run_shard(spec: RunSpec, shard: Shard, out: Path = resolve.RUNS) -> Path:
    """Score a share of a dataset's frames, for :func:`detbench.shards.merge`; what was scored before is not again.

    Args:
        spec: as for :func:`run`.
        shard: which share.
        out: as for :func:`run`; several machines may have one of their own each, or share one.

    Returns:
        The run's directory, which is not finished.

    Raises:
        DetbenchError: as for :func:`run`.
    """
    spec, dataset = resolve.with_dataset(spec)
    path = resolve.place(spec, out)
    if store.is_complete(path):
        say(f"{lineup.title(spec)}: {dataset.name} finished before, in {path}")
        return path
    from filelock import FileLock

    path.mkdir(parents=True, exist_ok=True)
    with FileLock(path / f".lock-{shard.name}"):
        shards.note(path, spec)
        mine = shard.of(datasets.frames(spec, dataset), batch_size(spec))
        _score(spec, dataset, path, share=(shard.journal, mine))
    return path


def run_share(spec: RunSpec, pairs: tuple[FramePair, ...], journal: str, out: Path) -> Path:
    """The same of a resolved spec and of the frames of a shard, where somebody else has looked through the dataset.

    Args:
        spec: as from :func:`detbench.resolve.resolve`.
        pairs: the shard's frames; of ``frames:`` with videos, which are known by all their frames, this does not do.
        journal: the name of the shard's journal.
        out: as for :func:`run`.
    """
    path = resolve.place(spec, out)
    path.mkdir(parents=True, exist_ok=True)
    dataset = datasets.Dataset(resolve.dataset_name(spec), spec.dataset_hash, pairs, "")
    _score(spec, dataset, path, share=(journal, pairs))
    return path


def tried(
    specs: Sequence[RunSpec],
    dataset: datasets.Dataset,
    out: Path,
    own: Custom | None = None,
    rerun: bool = False,
) -> tuple[str, ...]:
    """Ids of the frames that any of several runs fails on, after all that can be were scored.

    Which they are is kept in the runs' directories, for :func:`run` with these ``skipped``.

    Args:
        specs: resolved, of runs whose ``on_error`` is ``skip``.
        dataset: whose frames they share.
        out: as for :func:`run`.
        own: the deblurer, where it was handed over.
        rerun: as for :func:`run`.

    Raises:
        DetbenchError: as for :func:`run`; or there is no frame that all can be scored on.
    """
    from filelock import FileLock

    failed: dict[str, str] = {}
    for spec in specs:
        path = resolve.place(spec, out)
        if not store.is_complete(path):
            path.mkdir(parents=True, exist_ok=True)
            with FileLock(path / ".lock"):
                if not (path / store.FAILED).exists():
                    sweep(path)
                    _score(spec, dataset, path, own, rerun, tried=True)
                failed = store.read_failed(path) | failed
    frames = datasets.frames(specs[0], dataset)
    if failed:
        some = "; ".join(f"{id}: {failed[id]}" for id in sorted(failed)[:SHOWN])
        more = " ..." if len(failed) > SHOWN else ""
        say(f"{len(failed):,} of {len(frames):,} frames are left out of all runs here: {some}{more}")
    if len(failed) == len(frames):
        raise DetbenchError(
            f"There is no frame left: all {len(frames):,} failed, {frames[0].id} as {failed[frames[0].id]}"
        )
    return tuple(sorted(failed))


def _score(
    spec: RunSpec,
    dataset: datasets.Dataset,
    path: Path,
    own: Custom | None = None,
    rerun: bool = False,
    share: tuple[str, tuple[FramePair, ...]] | None = None,
    tried: bool = False,
) -> None:
    """Score the frames that are not in the journal of a run's directory, and write the whole run there.

    Of a share, a journal's name and frames, these alone are scored, into that journal. Where frames may fail, all are
    ``tried``, and those that did are written there alone.
    """
    _, found = detectors.settled(spec)
    detector = found.for_run(spec, store.kept_from(spec))
    pairs = datasets.frames(spec, dataset)
    counted = resolve.labels(spec, detector.class_names)
    truth = coco.read_truth(Path(spec.truth), [pair.id for pair in pairs], detector.class_names) if spec.truth else None
    if truth and truth.ignored:
        say(f"{spec.truth}: left out, for the detector does not know them: {', '.join(truth.ignored)}")
    elsewhere = spec.deblurer.startswith(restored.PREFIX)
    frames = _frames(spec, 0 if rerun or elsewhere or (own and not own.known) else kept.limit())
    started = time.monotonic()
    journal_name, mine = share or ("journal.jsonl", pairs)
    with (
        _journal(_references(spec, found.source, journal_name), path / f"references-{journal_name}") as references,
        Journal(path / journal_name) as journal,
    ):
        if share is None:
            shards.absorb(path, journal)
        if spec.skipped:
            _absorb_tried(spec, path, journal, pairs)
        # What failed is tried again, unless frames may fail: then a run that goes on is the run that was not cut short.
        done = {key.removeprefix(FAILED) for key in journal if spec.on_error == "skip" or not key.startswith(FAILED)}
        # Where others have scored all, no network is needed.
        deblurer = _by_pairs(spec, own, pairs) if any(pair.id not in done for pair in mine) else _idle
        loop = Loop(spec, deblurer, detector, references, frames, path, truth, counted, timed=not elsewhere)
        exported = found.weights is not None and found.weights.suffix == ".onnx"
        silent = loop.silent_below(pairs[:PROBED]) if exported else 0.0
        if silent > spec.conf:
            raise DetbenchError(
                f"{spec.detector} keeps what it scores below {silent:g} to itself, for a threshold is in its file:"
                f" with --conf {spec.conf:g} it would seem to miss that. Give at least --conf {silent:g}."
            )
        label = f"{lineup.title(spec)}: {dataset.name} with {lineup.detector_title(spec)}"
        for id, row in track(loop.rows(mine, done), len(mine), label, done=len(done)):
            journal.add(id, row)
        if loop.found:
            say(f"{loop.found:,} restored frames were kept from before, with the times that they took then.")
        if share:
            return
        if tried:
            failed = [key for key in journal if key.startswith(FAILED)]
            store.write_failed(path, {key.removeprefix(FAILED): journal[key]["why"] for key in failed})
            return
        here = (
            environment.describe()
            | {
                "dataset": dataset.name,
                "conventions": CONVENTIONS,
                "pixels": dataset.pixels,
                "training": {} if own or elsewhere else restorers.training(spec),
                "wall_seconds": time.monotonic() - started,
                "resumed_after": len(done),
            }
            | ({"silent_below": silent} if silent else {})
            | ({"backend": restorers.identity(spec)} if spec.backend != "torch" else {})
            | ({"shift_px": alignment.mean_shift(pairs)} if role(spec) == "floor" else {})
        )
        store.finish(path, spec, here, (journal[pair.id] for pair in pairs), detector.class_names)


def _idle(pairs: Sequence[FramePair], given: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """The deblurer of a run in which nothing is left to be restored."""
    raise AssertionError(f"{len(pairs)} frames are left to be restored")


def _absorb_tried(spec: RunSpec, path: Path, journal: Journal, pairs: Sequence[FramePair]) -> None:
    """Take over what was scored before it was known which frames are left out."""
    before = resolve.place(replace(spec, skipped=()), path.parent)
    if not (before / store.FAILED).exists():
        return
    with Journal(before / "journal.jsonl") as tried:
        for pair in pairs:
            if pair.id in tried and pair.id not in journal:
                shown = store.preview(before, pair.id)
                store.link(shown, path / shown.relative_to(before))
        journal.take(tried)


def restored_frames(spec: RunSpec) -> Iterator[tuple[FramePair, NDArray[np.uint8]]]:
    """The frames of a run with what its deblurer makes of them: kept ones, or restored again; a run's are lossy.

    Raises:
        DetbenchError: as for :func:`run`.
    """
    spec = resolve.resolve(spec)
    frames, restore = _frames(spec, kept.limit()), None
    for pair in datasets.frames(spec):
        given = images.read_image(pair.sharp) if spec.input == "sharp" else datasets.read_blurred(pair, spec.noise)
        draws = draws_of(spec, pair)
        if found := frames.find(frames.keys(draws, [given])):
            yield pair, found[0][0]
            continue
        restore = restore or restorers.restorer(spec)
        seed(draws)
        yield pair, restore([given])[0]


def _by_pairs(spec: RunSpec, own: Custom | None, pairs: Sequence[FramePair]) -> Deblur:
    """The deblurer as the loop calls it: with the pairs, and what of each it is given."""
    if spec.deblurer.startswith(restored.PREFIX):
        return restored.RestoredFrames(spec.deblurer, pairs)
    restore = restorers.restorer(spec, own)
    return lambda _, given: restore(given)


def _journal(shared: Path, own: Path) -> Journal:
    """The journal in the cache; where that may only be read, one of the run's own with the same rows."""
    try:
        return Journal(shared)
    except OSError:
        if shared.is_file() and not own.exists():
            own.write_bytes(shared.read_bytes())
        return Journal(own)


def _references(spec: RunSpec, source: str, journal_name: str) -> Path:
    """Where detections on sharp and blurred frames are kept: one file for all that they depend on.

    A share has its own: to look through all frames' for a few would soon be most of the work.
    """
    versions = environment.describe()["packages"]
    kind = spec.device.partition(":")[0]
    parts = [
        source,  # of the detector: a change of its code must show in the reference, for the gate's sake
        spec.dataset_hash,
        spec.detector_hash,
        store.kept_from(spec),
        spec.nms_iou,
        spec.imgsz,
        kind,
        versions,
    ]
    parts += [spec.noise] if spec.noise else []
    return assets.home() / "detections" / f"{canonical_hash(parts)[:16]}{journal_name.removeprefix('journal')}"


def _frames(spec: RunSpec, limit: float) -> kept.Frames:
    """The kept frames of a run's deblurer; ``identity`` is quicker than any cache."""
    from detbench import restore

    here = environment.describe()
    # The machine rounds in its own way, and the time that is kept is its time.
    machine = [here["cpu"], here["threads"]] if spec.device == "cpu" else [here["gpu"]]
    code = source_hash(Path(restore.__file__))
    basis = [code, spec.deblurer_hash, spec.precision, here["packages"], *machine]
    if spec.backend != "torch":
        basis.append(restorers.identity(spec))
    if spec.only_blurred:
        basis.append(quality.BLURRED)
    return kept.Frames(basis, 0 if spec.deblurer == FLOOR else limit)


def _taken(spec: RunSpec, deblurer: Given | None) -> Custom | None:
    """The deblurer that was handed over, if one was."""
    if deblurer is None:
        return None
    from detbench import custom

    own = custom.take(spec, deblurer)
    if not own.known:
        say(f"{spec.deblurer}: nothing stands for all that it computes with; this run is not found again, nor cached.")
    return own
