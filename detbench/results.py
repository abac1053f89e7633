"""What the published pages are made from: runs by what was asked for, and what else was measured on their frames.

Made when first asked for, or read from a small file without pixels, from which the pages can be made again anywhere.
"""

from __future__ import annotations

import dataclasses
import io
import json
import lzma
import tarfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detbench import benchmarks, resolve, runner, store, times
from detbench.files import plain, replacing
from detbench.lineup import BY
from detbench.types import DetbenchError, RunResult, RunSpec

INDEX = "index.json"
"""Of a file of results: which run answers what, the other measurements, and which runs were made elsewhere."""

LARGEST = 4_000_000_000
"""Bytes that results may take when unpacked."""

ROUNDED = 1e-5
"""What a written confidence may be off, so that none is lost that counts."""


class Results:
    """Runs and measurements, each made once.

    Args:
        out: folder of run directories.
        kept: another, whose runs are taken where there is none in the first, and nothing is written.
    """

    def __init__(self, out: Path = resolve.RUNS, kept: Path | None = None) -> None:
        self.out, self.kept, self.added = out, kept, list[RunResult]()
        self._runs: dict[str, RunResult] = {}
        self._measured: dict[str, Any] = {}
        self._frozen = False

    def run(self, spec: RunSpec) -> RunResult:
        """The run of a spec.

        Raises:
            DetbenchError: as for :func:`detbench.runner.run`; or this was read from a file, which does not have it.
        """
        key = _key(spec)
        if key not in self._runs:
            if self._frozen:
                raise DetbenchError(f"The results have no run of {key}: run `detbench publish`, which makes it.")
            self._runs[key] = self._kept_run(spec) or runner.run(spec, self.out)
        return self._runs[key]

    def _kept_run(self, spec: RunSpec) -> RunResult | None:
        """The run of a spec as it was kept, of the same weights, detector and frames; None if there is none."""
        if self.kept is None:
            return None
        name = resolve.directory(spec)
        there = store.is_complete(self.kept / name) and not store.is_complete(self.out / name)
        return store.read(self.kept / name) if there else None

    def benchmark(self, specs: Sequence[RunSpec]) -> list[RunResult]:
        """Runs of several deblurers between their floor and their ceiling.

        Args:
            specs: on the same frames with the same settings.
        """
        return [self.run(spec) for spec in benchmarks.framed(specs, [{}])]

    def measured(self, key: str, measure: Callable[[], NDArray[np.float64]]) -> NDArray[np.float64]:
        """What was measured under a key; measured now, where it was not.

        Raises:
            DetbenchError: this was read from a file, which does not have it.
        """
        if not self.has(key):
            if self._frozen:
                raise DetbenchError(f"The results lack {key}: run `detbench publish`, which measures it.")
            self._measured[key] = measure().tolist()
        return np.array(self._measured[key], np.float64)

    def has(self, key: str) -> bool:
        """Whether something was measured under a key."""
        return key in self._measured

    def add(self, run: RunResult, name: str, by: str) -> None:
        """Take a run that was made elsewhere to the others; it takes the place of one of its name.

        Args:
            run: a finished one.
            name: what its deblurer is called in tables.
            by: who made it, and how it is made again.
        """
        renamed = replace(run.spec, deblurer=name, weights=None)
        place = self.out / f"added-{plain(name)}-{run.spec.hash8}"
        place.mkdir(parents=True, exist_ok=True)
        for file, text in _texts(replace(run, spec=renamed, environment={**run.environment, BY: by}), whole=True):
            (place / file).write_text(text, "utf-8", "surrogateescape")
        self.added = [*(each for each in self.added if each.spec.deblurer != name), store.read(place)]

    def retime(self, device: str = "auto") -> list[Path]:
        """Take the times of all that was run here anew, in turn (:mod:`detbench.times`); added runs keep theirs.

        Returns:
            The directories of the runs.

        Raises:
            DetbenchError: as for :func:`detbench.times.measure`.
        """
        found = times.measure(list(self._runs.values()), device)
        for key, run in self._runs.items():
            self._runs[key] = timed = found.put_into(run)
            store.write_scores(timed.path, timed.scores)
        return [run.path for run in self._runs.values()]

    def save(self, target: Path, whole: Collection[Path]) -> None:
        """Write all of it to one file; the same bytes for the same results.

        Args:
            target: a tar archive, compressed by xz, of run directories without pictures.
            whole: directories of the runs that keep all detections, as added ones do; of others those are kept that
                count.
        """
        whole = {*whole, *(run.path for run in self.added)}
        runs = {run.path: run for run in [*self._runs.values(), *self.added]}
        index = {
            "asked": {key: run.path.name for key, run in sorted(self._runs.items())},
            "measured": dict(sorted(self._measured.items())),
            "added": [run.path.name for run in self.added],
        }
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            replacing(target) as partial,
            lzma.open(partial, "wb") as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            _add(archive, INDEX, json.dumps(index, indent=1))
            for path in sorted(runs, key=lambda path: path.name):
                for file, text in _texts(runs[path], path in whole):
                    _add(archive, f"{path.name}/{file}", text)

    @classmethod
    def load(cls, source: Path, out: Path, runs: Path | None = None) -> Self:
        """Results from a file.

        Args:
            source: as :meth:`save` wrote it.
            out: an empty folder for its run directories.
            runs: where what it lacks is run; None if nothing is to be run or measured beside what it has.

        Raises:
            DetbenchError: there is no such file, or it is damaged.
        """
        found = cls(runs, out) if runs else cls(out)
        try:
            with tarfile.open(source, "r:xz") as archive:
                size = 0
                for member in archive:  # one after another, so that a bomb stops early
                    if (size := size + member.size) > LARGEST:
                        raise ValueError(f"it would unpack to more than {LARGEST / 1e9:g} GB")
                    archive.extract(member, out, filter="data")
            index = json.loads((out / INDEX).read_text("utf-8"))
            if runs is None:  # else a run may be of other weights by now: it is found by its directory's name
                found._runs, found._frozen = {k: store.read(out / run) for k, run in index["asked"].items()}, True
            found._measured = index["measured"]
            found.added = [store.read(out / run) for run in index["added"]]
        except (OSError, EOFError, ValueError, KeyError, lzma.LZMAError, tarfile.TarError) as error:
            raise DetbenchError(f"{source} holds no results ({error}): run `detbench publish`.") from error
        return found


def _key(spec: RunSpec) -> str:
    """What a spec asks for, and by that the machine has no part in it."""
    asked = {
        field.name: value
        for field in dataclasses.fields(spec)
        if (value := getattr(spec, field.name)) != field.default and field.name != "device"
    }
    return json.dumps(asked, sort_keys=True)


def _texts(run: RunResult, whole: bool) -> Iterator[tuple[str, str]]:
    """The files of a run's directory that have no pixels, by name."""
    yield "manifest.json", json.dumps(store.manifest(run.spec, run.environment, len(run.scores)), indent=1)
    yield "frames.csv", (run.path / "frames.csv").read_text("utf-8", "surrogateescape")
    for side in ("sharp", "blurred", "restored"):
        name = f"detections-{side}.json"
        text = (run.path / name).read_text("utf-8")
        if side != "sharp" and not whole:
            least = run.spec.conf - ROUNDED
            text = json.dumps([box for box in json.loads(text) if box["score"] >= least])
        yield name, text


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    entry, data = tarfile.TarInfo(name), text.encode("utf-8", "surrogateescape")
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
