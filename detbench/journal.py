"""An append-only file of rows by key: what is done so far, safe against kills."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from detbench.types import DetbenchError


class Journal(Mapping[str, dict[str, Any]]):
    """An append-only file of JSON lines by key. Lines cut short by a kill are dropped when it is opened again.

    Rows stay in the file, and are read when they are asked for: memory does not grow with them.

    Args:
        path: of the file; it and its folder are made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        self._reader = path.open("rb", buffering=0)

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        """Where each row begins, and its length; looked for when it is first needed, for there may be many."""
        places, whole = dict[str, tuple[int, int]](), 0
        with self.path.open("rb") as lines:
            for line in lines:
                try:
                    key, _ = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n"):
                    break
                places[key] = (whole, len(line))
                whole += len(line)
        if whole < self.path.stat().st_size:  # else nothing is cut off, and others may be adding to it
            os.truncate(self.path, whole)
            self._file.seek(0, os.SEEK_END)
        return places

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Append one row and hand it to the operating system.

        Raises:
            DetbenchError: the disk is full.
        """
        self._append(key, json.dumps([key, row]).encode() + b"\n")

    def _append(self, key: str, line: bytes) -> None:
        places = self._places  # before it is added to
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DetbenchError(
                    f"The disk is full: free some space for {self.path} and run again to go on."
                ) from error
            raise
        places[key] = (self._file.tell() - len(line), len(line))

    def take(self, other: Journal) -> None:
        """Append those rows of another journal that are not here, as they are."""
        for key in other:
            if key not in self._places:
                self._append(key, other._line(key))

    def __getitem__(self, key: str) -> dict[str, Any]:
        """A row."""
        row: dict[str, Any] = json.loads(self._line(key))[1]
        return row

    def _line(self, key: str) -> bytes:
        start, length = self._places[key]
        self._reader.seek(start)
        return self._reader.read(length)

    def __contains__(self, key: object) -> bool:
        """Whether there is a row, without reading it."""
        return key in self._places

    def __iter__(self) -> Iterator[str]:
        """The keys."""
        return iter(self._places)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._places)

    def __enter__(self) -> Self:
        """The journal itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()
        self._reader.close()
