"""What stands for many files: a hash of their names and contents, of which those of unchanged files are remembered.

What was found to hold of such files is remembered likewise.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from detbench import assets
from detbench.data.images import parts_below
from detbench.files import file_hash, write_file
from detbench.types import canonical_hash

SETTLED_NS = 2 * 10**9
"""A file that changed as recently is not remembered: a second change could come within one tick of the disk's clock."""


AT_ONCE = 1_000
"""Files that are handed out to be hashed: what stands for each of them takes more memory than its name."""


def hash_files(files: Sequence[Path], below: Path) -> str:
    """One SHA-256 (hexadecimal) for many files: their names below a folder, and their contents.

    A file's own hash is remembered in the cache, and holds while its size, its times of change (of content and of
    status) and its number on the disk stay what they were.
    """
    place = assets.home() / "hashes" / f"{canonical_hash(os.fspath(below.resolve()))[:16]}.json"
    names = ["/".join(parts_below(path, below)) or "." for path in files]
    hashes = _hashes(files, names, place)
    return canonical_hash([[name, each] for name, each in zip(names, hashes, strict=True)])


def _hashes(files: Sequence[Path], names: Sequence[str], place: Path) -> list[str]:
    """The SHA-256 (hexadecimal) of each file's content, out of the memory in a file, or computed and kept there."""
    known: dict[str, str] = {}
    with suppress(OSError, ValueError, AttributeError):
        found = json.loads(place.read_text("utf-8"))
        if all(isinstance(its, str) for its in found.values()):
            known = found
    states = [_state(path) for path in files]
    todo = [i for i, name in enumerate(names) if known.get(name, "").rpartition(" ")[0] != states[i]]
    new: dict[int, str] = {}
    with ThreadPoolExecutor() as pool:  # hashing releases the GIL
        for start in range(0, len(todo), AT_ONCE):
            some = todo[start : start + AT_ONCE]
            new.update(zip(some, pool.map(file_hash, [files[i] for i in some]), strict=True))
    hashes = [new.get(i) or known[name].rpartition(" ")[2] for i, name in enumerate(names)]
    settled = time.time_ns() - SETTLED_NS
    if learnt := [i for i in new if _changed(states[i]) < settled]:
        known |= {names[i]: f"{states[i]} {new[i]}" for i in learnt}
        with suppress(OSError):  # a shared cache may be read-only
            write_file(place, json.dumps(known))
    return hashes


def once(identity: str, check: Callable[[], None]) -> None:
    """Check what files are, which a hash stands for, unless they passed before.

    Args:
        identity: all that the outcome depends on.
        check: raises what is wrong.
    """
    place = assets.home() / "hashes" / f"{identity[:16]}.checked"
    with suppress(OSError):
        if place.exists():
            return
    check()
    with suppress(OSError):  # a shared cache may be read-only
        write_file(place, "")


def _state(path: Path) -> str:
    """What changes with a file: its size, when its content and its status changed, in nanoseconds, and its number."""
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def _changed(state: str) -> int:
    """When a file changed last, by its state."""
    return max(map(int, state.split()[1:3]))
