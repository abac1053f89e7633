"""What stands for many files: a hash of their names and contents, of which those of unchanged files are remembered."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from detbench import assets
from detbench.files import file_hash, write_file
from detbench.types import canonical_hash

SETTLED_NS = 2 * 10**9
"""A file that changed as recently is not remembered: a second change could come within one tick of the disk's clock."""


def hash_files(files: Sequence[Path], below: Path) -> str:
    """One SHA-256 (hexadecimal) for many files: their names below a folder, and their contents.

    A file's own hash is remembered in the cache, and holds while its size, its times of change (of content and of
    status) and its number on the disk stay what they were.
    """
    place = assets.home() / "hashes" / f"{canonical_hash(os.fspath(below.resolve()))[:16]}.json"
    known: dict[str, list[object]] = {}
    with suppress(OSError, ValueError, AttributeError):
        found = json.loads(place.read_text("utf-8"))
        known = {name: its for name, its in found.items() if isinstance(its, list)}
    names = [path.relative_to(below).as_posix() for path in files]
    stats = [path.stat() for path in files]
    states = [[stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino] for stat in stats]
    todo = [i for i, name in enumerate(names) if known.get(name, [])[:-1] != states[i]]
    with ThreadPoolExecutor() as pool:  # hashing releases the GIL
        new = dict(zip(todo, pool.map(file_hash, [files[i] for i in todo]), strict=True))
    hashes = [new.get(i) or known[name][-1] for i, name in enumerate(names)]
    settled = time.time_ns() - SETTLED_NS
    if learnt := {i for i in new if max(stats[i].st_mtime_ns, stats[i].st_ctime_ns) < settled}:
        known |= {names[i]: [*states[i], new[i]] for i in learnt}
        with suppress(OSError):  # a shared cache may be read-only
            write_file(place, json.dumps(known))
    return canonical_hash([[name, each] for name, each in zip(names, hashes, strict=True)])
