"""A run on several devices of one machine: a process for each scores a shard, and the shards become the whole run."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from detbench import resolve, runner, shards, store
from detbench.data import datasets
from detbench.progress import track
from detbench.shards import Shard
from detbench.types import DetbenchError, RunSpec

LOOK = 0.5
"""Seconds between looks at how far the processes are."""


def several(device: str) -> list[str]:
    """The devices that ``--device`` names, if it names more than one.

    Args:
        device: such as ``cuda:0,cuda:1``; or ``cpu,cpu`` for two processes that share the processors.

    Returns:
        Their names; none for a single device.

    Raises:
        DetbenchError: they are of several kinds, one is there twice, or has no number.
    """
    names = [name.strip() for name in device.split(",")]
    if len(names) == 1:
        return []
    kinds = {name.partition(":")[0] for name in names}
    if kinds == {"cpu"} and {*names} == {"cpu"}:
        return names
    if kinds != {"cuda"} or len({*names}) < len(names) or not all(name[5:].isdigit() for name in names):
        raise DetbenchError(
            f"--device {device} is no list of devices: give cuda:0,cuda:1 or, for two processes, cpu,cpu."
        )
    return names


def score(spec: RunSpec, devices: Sequence[str], out: Path) -> None:
    """Score a run's frames by a process for each device, for :func:`detbench.runner.run` to finish.

    What was scored before is not again, if there were as many devices. Processes that share the processors have a part
    of torch's threads each: as sums are rounded by their number, the digits are those of a run with as many threads.

    Args:
        spec: what is run; its device names the kind.
        devices: as from :func:`several`.
        out: folder of run directories.

    Raises:
        DetbenchError: as for ``run``; or a process died.
    """
    import torch

    spec, dataset = resolve.with_dataset(spec)
    path = resolve.place(spec, out)
    if store.is_scored(path):
        return
    shards.note(path, spec)
    threads = max(1, torch.get_num_threads() // (len(devices) if spec.device == "cpu" else 1))
    frames = len(datasets.frames(spec, dataset))
    label = f"{spec.deblurer} on {Path(spec.dataset).name}, by {len(devices)} processes"
    with ExitStack() as stack:
        running = {}
        for number, device in enumerate(devices, 1):
            said = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace"))
            part = Shard(number, len(devices))
            running[stack.enter_context(_started(spec, part, out, threads, _seen_by(device), said))] = (part, said)
        stack.callback(_stop, running)
        journals = [path / part.journal for part, _ in running.values()]
        done = _lines(journals)
        for _ in track(_each(running, journals, done), frames, label, done=done):
            pass


def _started(
    spec: RunSpec, part: Shard, out: Path, threads: int, environment: Mapping[str, str], said: IO[str]
) -> subprocess.Popen[str]:
    """A process that scores a shard."""
    order = json.dumps([dataclasses.asdict(spec), part.number, part.count, str(out.absolute()), threads])
    return subprocess.Popen(
        [sys.executable, "-m", "detbench.processes", order], env=environment, stdout=said, stderr=said, text=True
    )


def _stop(running: Iterable[subprocess.Popen[str]]) -> None:
    for process in running:
        process.terminate()


def _seen_by(device: str) -> dict[str, str]:
    """The environment of a process that is to see one device alone: there it is the first, and so are its digits."""
    _, colon, number = device.partition(":")
    if not colon:
        return {**os.environ}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",") if visible else []
    if names and int(number) >= len(names):
        raise DetbenchError(f"There is no device {device}: CUDA_VISIBLE_DEVICES names {len(names)}.")
    return {**os.environ, "CUDA_VISIBLE_DEVICES": names[int(number)] if names else number}


def _each(
    running: Mapping[subprocess.Popen[str], tuple[Shard, IO[str]]], journals: Sequence[Path], done: int
) -> Iterator[None]:
    """One item a frame that is scored, until all processes have ended.

    Raises:
        DetbenchError: one ended with an error, or died.
    """
    while True:
        ended = all([process.poll() is not None for process in running])
        for _ in range(max(0, (now := _lines(journals)) - done)):
            yield
        done = max(done, now)
        for process, (part, said) in running.items():
            if process.poll():
                said.seek(0)
                last = (said.read().strip().splitlines() or [f"it ended with {process.returncode}"])[-1]
                raise DetbenchError(f"Shard {part.number}/{part.count}: {last.removeprefix('error: ')}")
        if ended:
            return
        time.sleep(LOOK)


def _lines(files: Sequence[Path]) -> int:
    """How many frames journals have so far."""
    return sum(file.read_bytes().count(b"\n") for file in files if file.exists())


def _main(order: str) -> int:
    """Score a shard, as the process that :func:`score` starts."""
    import torch

    spec, number, count, out, threads = json.loads(order)
    torch.set_num_threads(threads)
    try:
        runner.run_shard(RunSpec(**spec), Shard(number, count), Path(out))
    except DetbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
