"""Restored frames, kept between runs without loss: another detector looks at them without a deblurer's work.

One file a frame, below ``home() / "restored"``: a SHA-256 of what follows, the milliseconds that restoring took, the
pixels. It may be deleted at any time, and what is damaged is restored again.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detbench import assets
from detbench.data import images
from detbench.files import write_file
from detbench.progress import say
from detbench.types import DetbenchError, canonical_hash

Frame = NDArray[np.uint8]

LIMIT_GB = 10.0
"""How much is kept, unless ``$DETBENCH_CACHE_GB`` says otherwise: 33,000 frames of 640x426 pixels."""

ROOM = 0.1
"""Share of the limit that is made free when it is reached, so that the folder is seldom looked through."""

_MS = struct.Struct("<d")


class Frames:
    """The kept frames of one deblurer under one setting.

    Args:
        basis: plain data: all that restored frames depend on beside the frames given and the random draws.
        limit: how many bytes are kept, of all deblurers together; at 0 nothing is kept, and nothing found.
    """

    def __init__(self, basis: Any, limit: float) -> None:
        self.folder = assets.home() / "restored"
        self._basis = canonical_hash(basis)
        self._limit = limit
        self._adding = limit > 0
        self._size: float | None = None  # of all files, known when the first is added
        self._lock = threading.Lock()

    def keys(self, draws: str, given: Sequence[Frame]) -> list[str]:
        """Names for what a batch becomes, one a frame.

        A frame's name depends on the whole batch and on its place in it: on a GPU, rounding depends on the batch, and
        so do the draws of stochastic deblurers.

        Args:
            draws: what the random draws of this batch depend on.
            given: the batch, each (H, W, 3) uint8.
        """
        digest = hashlib.sha256(f"{self._basis} {draws}".encode("utf-8", "surrogateescape"))
        for frame in given:
            digest.update(f" {frame.shape} ".encode())
            digest.update(frame.tobytes())
        return [f"{digest.hexdigest()[:32]}-{i}" for i in range(len(given))]

    def find(self, keys: Sequence[str]) -> list[tuple[Frame, float]] | None:
        """Restored frames and the milliseconds that each took, of a whole batch; None if one is missing or damaged."""
        found = []
        for key in keys if self._limit else ():
            path = self.folder / key
            try:
                data = path.read_bytes()
            except OSError:
                return None
            digest, body = data[:32], data[32:]
            if hashlib.sha256(body).digest() != digest:
                return None
            with suppress(OSError):  # a shared cache may be read-only
                os.utime(path)  # the last use; file systems seldom note reading
            found.append((images.unpack(body[_MS.size :]), *_MS.unpack(body[: _MS.size])))
        return found or None

    def add(self, key: str, frame: Frame, ms: float) -> None:
        """Keep a frame; the file appears complete or not at all. What was not used for longest goes, if need be.

        On a full disk nothing more is kept, which is said once.
        """
        if not self._adding or max(frame.shape) > images.MOST_PIXELS["WEBP"]:
            return
        body = _MS.pack(ms) + images.pack(frame)
        try:
            write_file(self.folder / key, hashlib.sha256(body).digest() + body)
            with self._lock:
                if self._size is None:
                    self._size = sum(size for _, size, _ in self._files())
                else:
                    self._size += 32 + len(body)
                if self._size > self._limit:
                    self._size = self._evict()
        except OSError as error:
            with self._lock:  # two threads keep frames
                if self._adding:
                    say(f"{self.folder}: {error.strerror or error}; no more restored frames are kept.")
                self._adding = False

    def _evict(self) -> float:
        """Remove files, the last used last, until there is room; gives the size of those left."""
        files = sorted(self._files())
        left = sum(size for _, size, _ in files)
        for _, size, path in files:
            if left <= self._limit * (1 - ROOM):
                break
            path.unlink(missing_ok=True)
            left -= size
        return left

    def _files(self) -> list[tuple[int, int, Path]]:
        """Last use, size and path of all files, those included that a killed process did not finish."""
        files = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # another process makes room, too
                files.append(((stat := path.stat()).st_mtime_ns, stat.st_size, path))
        return files


def limit() -> float:
    """How many bytes of restored frames are kept: ``$DETBENCH_CACHE_GB``, else :data:`LIMIT_GB`.

    Raises:
        DetbenchError: the variable holds no such number.
    """
    chosen = os.environ.get("DETBENCH_CACHE_GB") or LIMIT_GB
    try:
        if (size := float(chosen)) >= 0:
            return size * 1e9
    except ValueError:
        pass
    raise DetbenchError(f"DETBENCH_CACHE_GB is {chosen!r}: it must be a number of gigabytes, 0 to keep no frames.")
