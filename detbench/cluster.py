"""A run on a Ray cluster: every task scores a shard, and the shards become the run that one machine makes.

Ray is an optional extra, and is imported here alone.
"""

from __future__ import annotations

import dataclasses
import logging
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from detbench import runner, shards, store
from detbench.data import datasets
from detbench.files import write_file
from detbench.progress import track
from detbench.shards import Shard
from detbench.types import DetbenchError, RunSpec

A_WORKER = 4
"""Shards for each task that the cluster can do at once: some are slower, and one may have to be done again."""

ANSWER = 10.0
"""Seconds that a cluster has to answer."""

RETRIES = 3
"""How often a shard is begun again whose worker died."""

Made = dict[str, bytes] | str
"""Of a shard: files by name, or what the user can mend."""


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

    Every node needs detbench, and the frames at the same place. As sums are rounded by the number of threads, the
    digits are those of a run on one machine with as many threads as a task has processors.

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

    spec = runner.resolve(spec)
    path = out / runner.directory(spec)
    if store.is_complete(path) or (path / store.FAILED).exists():
        return
    cpus = cpus or torch.get_num_threads()
    gpus = float(spec.device != "cpu")
    there = ray.cluster_resources()  # type: ignore[no-untyped-call]
    at_once = max(1, int(there.get("GPU", 0) if gpus else there.get("CPU", 1) // cpus))
    frames = len(datasets.frames(spec))
    count = min(A_WORKER * at_once, frames)
    task = ray.remote(num_cpus=min(cpus, there.get("CPU", 1)), num_gpus=gpus, max_retries=RETRIES)(one or shard)
    shards.note(path, spec)
    todo = [part for part in (Shard(i + 1, count) for i in range(count)) if not (path / part.journal).exists()]
    made_by = _finished(task, dataclasses.asdict(spec), cpus, iter(todo), 2 * at_once)
    label = f"{spec.deblurer} on {Path(spec.dataset).name}, by Ray"
    for part, made in track(made_by, count, label, "shards", count - len(todo)):
        if isinstance(made, str):
            raise DetbenchError(made)
        for name in sorted(made, key=lambda name: name == part.journal):  # the journal last: with it the shard is done
            write_file(path / name, made[name])


def shard(spec: dict[str, Any], number: int, count: int, threads: int) -> Made:
    """Score a shard, wherever this runs; gives its journal and its pictures."""
    import torch

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = runner.run_shard(RunSpec(**spec), Shard(number, count), Path(folder))
        except DetbenchError as error:
            return str(error)
        files = [path / Shard(number, count).journal, *path.glob("frames/**/*")]
        return {file.relative_to(path).as_posix(): file.read_bytes() for file in files if file.is_file()}


def _finished(
    task: Any, spec: dict[str, Any], cpus: int, todo: Iterator[Shard], most: int
) -> Iterator[tuple[Shard, Made]]:
    """Shards as they are finished; so many are under way at most, so that results do not pile up."""
    import ray

    under_way: dict[Any, Shard] = {}
    while True:
        while len(under_way) < most and (part := next(todo, None)):
            under_way[task.remote(spec, part.number, part.count, cpus)] = part
        if not under_way:
            return
        (done, *_), _ = ray.wait(list(under_way))
        part = under_way.pop(done)
        try:
            yield part, ray.get(done)
        except ray.exceptions.WorkerCrashedError as error:
            raise DetbenchError(f"The workers of shard {part.name} died {RETRIES + 1} times.") from error
