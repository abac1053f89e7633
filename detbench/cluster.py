"""A run on a Ray cluster: every task scores a shard, and the shards become the run that one machine makes.

Ray is an optional extra, and is imported here alone.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from detbench import assets, detectors, external, registry, resolve, restored, runner, shards, store
from detbench.data import datasets
from detbench.files import file_hash, write_file
from detbench.loop import batch_size
from detbench.progress import track
from detbench.shards import Shard
from detbench.types import DetbenchError, FramePair, RunSpec

A_WORKER = 4
"""Shards for each task that the cluster can do at once: some are slower, and one may have to be done again."""

MOST = 250
"""Frames of a shard at most: its pictures are in the driver's memory for a moment."""

ANSWER = 10.0
"""Seconds that a cluster has to answer."""

RETRIES = 3
"""How often a shard is begun again whose worker died."""

Made = dict[str, bytes] | str
"""Of a shard: files by name, or what the user can mend."""

Files = dict[str, tuple[str, str, Any]]
"""Weights that go along with a run: by the field of the spec that names them, or ``assets/``, their place in a node's
cache, the SHA-256, and Ray's reference to the bytes."""


@contextmanager
def connected(address: str | None = None) -> Iterator[None]:
    """A cluster, until the end.

    Args:
        address: ``auto`` for the one that this machine belongs to; ``HOST:PORT``; None for one of this machine alone.

    Raises:
        DetbenchError: Ray is not installed, or nothing answers.
    """
    try:
        import ray
    except ImportError as error:
        raise DetbenchError("--engine ray needs Ray: pip install 'detbench[ray]'") from error
    if address and address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        try:
            socket.create_connection((host, int(port)), ANSWER).close()
        except (OSError, ValueError, OverflowError) as error:
            raise DetbenchError(
                f"No Ray cluster answers at {address} ({error}): give HOST:PORT of its head."
            ) from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise DetbenchError(
            f"Ray cannot be used ({str(error).splitlines()[0]}): `ray start --head` starts it."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def score(spec: RunSpec, out: Path, cpus: int | None = None, one: Callable[..., Made] | None = None) -> None:
    """Score a run's frames on the cluster that is connected, for :func:`detbench.runner.run` to finish here.

    What was scored before is not again.

    Every node needs detbench, and the frames at the same place; weights are sent to it, once. As sums are rounded by
    the number of threads, the digits are those of a run on one machine with as many threads as a task has processors.
    Frames that were restored elsewhere are left to that run: they need no cluster.

    Args:
        spec: as for ``run``.
        out: likewise, on this machine.
        cpus: processors of a task; as many as torch has threads here by default.
        one: what does a shard, instead of :func:`shard`.

    Raises:
        DetbenchError: as for ``run``; or the workers of a shard died again and again.
    """
    import ray
    import torch

    spec, dataset = resolve.with_dataset(spec)
    path = resolve.place(spec, out)
    if spec.deblurer.startswith(restored.PREFIX) or store.is_scored(path):
        return
    cpus = cpus or torch.get_num_threads()
    gpus = float(spec.device != "cpu")
    there = ray.cluster_resources()  # type: ignore[no-untyped-call]
    at_once = max(1, int(there.get("GPU", 0) if gpus else there.get("CPU", 1) // cpus))
    frames, size = datasets.frames(spec, dataset), batch_size(spec)
    count = min(max(A_WORKER * at_once, math.ceil(len(frames) / MOST)), len(frames))
    task = ray.remote(num_cpus=min(cpus, there.get("CPU", 1)), num_gpus=gpus, max_retries=RETRIES)(one or shard)
    shards.note(path, spec)
    todo = [part for part in (Shard(i + 1, count) for i in range(count)) if not (path / part.journal).exists()]
    files = {field: (name, file_hash(file), ray.put(file.read_bytes())) for field, (name, file) in _needed(spec)}
    # Workers get their frames: were each to look through the dataset, that would soon be most of what they do.
    parts = ((part.of(frames, size), part.journal) for part in todo)
    made_by = _finished(task, (dataclasses.asdict(spec), files, cpus), parts, 2 * at_once)
    label = f"{spec.deblurer} on {Path(spec.dataset).name}, by Ray"
    for journal, made in track(made_by, count, label, "shards", count - len(todo)):
        if isinstance(made, str):
            raise DetbenchError(made)
        rows = made.pop(journal)
        for folder in {(path / name).parent for name in made}:
            folder.mkdir(parents=True, exist_ok=True)
        for name, content in made.items():
            (path / name).write_bytes(content)
        write_file(path / journal, rows)  # last: with it the shard is done


def _needed(spec: RunSpec) -> Iterator[tuple[str, tuple[str, Path]]]:
    """The files with weights that a run needs beside the package: what names them, their names, and where they are."""
    for field in ("weights", "detector_weights"):
        if place := getattr(spec, field):
            yield field, (Path(place).name, Path(place))
    kind, _, place = spec.deblurer.partition(":")
    if spec.deblurer.startswith(external.PREFIXES):
        yield "deblurer", (Path(place).name, Path(place))
    pinned = [] if kind in ("frames", *(prefix[:-1] for prefix in external.PREFIXES)) else registry.get(kind).assets
    fetched = [assets.fetch(name) for name in pinned]
    if (its := detectors.settled(spec)[1].weights) and its.parent == assets.home() / "assets":
        fetched.append(its)
    for file in fetched:
        yield f"assets/{file.name}", (file.name, file)


def _received(spec: dict[str, Any], files: Files) -> dict[str, Any]:
    """A spec that names the files that came along: whoever needs them first on a node writes them into its cache."""
    import ray

    for field, (name, sha256, sent) in files.items():
        place = assets.home() / ("assets" if field.startswith("assets/") else f"sent/{sha256[:16]}") / name
        if not place.exists():
            content: Any = ray.get(sent)
            write_file(place, content)
        if field == "deblurer":
            spec = spec | {field: f"{spec[field].partition(':')[0]}:{place}"}
        elif field in spec:
            spec = spec | {field: str(place)}
    return spec


def shard(spec: dict[str, Any], files: Files, threads: int, pairs: tuple[FramePair, ...], journal: str) -> Made:
    """Score the frames of a shard, wherever this runs; gives its journal and its pictures."""
    import torch

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = runner.run_share(RunSpec(**_received(spec, files)), pairs, journal, Path(folder))
        except DetbenchError as error:
            return str(error)
        made = [path / journal, *path.glob("frames/**/*")]
        return {file.relative_to(path).as_posix(): file.read_bytes() for file in made if file.is_file()}


def _finished(
    task: Any, order: tuple[Any, ...], parts: Iterator[tuple[tuple[FramePair, ...], str]], most: int
) -> Iterator[tuple[str, Made]]:
    """Shards, by their journals, as they are finished; so many are under way at most: results do not pile up."""
    import ray

    under_way: dict[Any, str] = {}
    while True:
        while len(under_way) < most and (part := next(parts, None)):
            under_way[task.remote(*order, *part)] = part[1]
        if not under_way:
            return
        (done, *_), _ = ray.wait(list(under_way))
        journal = under_way.pop(done)
        try:
            yield journal, ray.get(done)
        except ray.exceptions.WorkerCrashedError as error:
            raise DetbenchError(f"The workers of {journal} died {RETRIES + 1} times.") from error
