"""What lies in the cache and among the runs: how large it is, when it was last used, and what it is there for."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from detbench import assets, resolve, store
from detbench.data.cards import cards

HIDDEN = (".lock", ".part")
"""Ends of the names of files that go with another."""


@dataclass(frozen=True)
class Kept:
    """Something that takes room.

    Attributes:
        path: a file or a folder.
        kind: ``asset``, ``dataset``, ``detections``, ``restored`` or ``run``.
        what: it is there for, in words.
        size: in bytes, of all that is below.
        used: when it was last read or written, in seconds since 1970.
    """

    path: Path
    kind: str
    what: str
    size: int
    used: float

    @property
    def name(self) -> str:
        """What it is called in a list."""
        return self.path.name


def contents(runs: Path = resolve.RUNS) -> list[Kept]:
    """All of it, by kind, the largest first.

    Args:
        runs: folder of run directories.
    """
    home = assets.home()
    kinds = (
        _each(home / "assets", "asset", _of_asset()),
        _each(home / "datasets", "dataset", _of_dataset()),
        _each(home / "detections", "detections", {}, "what a detector saw in sharp and blurred frames"),
        _each(home / "hashes", "hashes", {}, "what stands for the frames of a folder"),
        _each(home / "converted", "converted", {}, "a network for another backend, or which one was the fastest"),
        _each(home / "restored", "restored", {}, "a restored frame, for another detector to look at"),
        _each(runs, "run", {}, "a run"),
    )
    return [kept for kind in kinds for kept in sorted(kind, key=lambda kept: (-kept.size, kept.name))]


def chosen(kept: Sequence[Kept], now: float, older: float, keep: Collection[str] = ()) -> list[Kept]:
    """What was not used for a time.

    Args:
        kept: as from :func:`contents`.
        now: seconds since 1970.
        older: seconds.
        keep: names, or their beginnings, and kinds that stay.
    """
    return [
        each
        for each in kept
        if now - each.used >= older and each.kind not in keep and not any(each.name.startswith(name) for name in keep)
    ]


def remove(kept: Sequence[Kept]) -> int:
    """Remove them; gives the bytes that this frees."""
    freed = 0
    for each in kept:
        if each.path.is_dir():
            shutil.rmtree(each.path, ignore_errors=True)
        else:
            each.path.unlink(missing_ok=True)
        for ending in HIDDEN:
            each.path.with_name(each.path.name + ending).unlink(missing_ok=True)
        freed += each.size * (not each.path.exists())
    return freed


def _each(folder: Path, kind: str, words: dict[str, str], otherwise: str = "nothing here any more") -> Iterator[Kept]:
    """What lies in a folder."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.endswith(HIDDEN) and path.with_name(path.name.rpartition(".")[0]).exists():
            continue
        size, used = 0, 0.0
        for file in [path] if path.is_file() else path.rglob("*"):
            with suppress(OSError):  # somebody else removes it
                found = file.stat()
                size += found.st_size * stat.S_ISREG(found.st_mode)
                used = max(used, found.st_mtime, found.st_atime)
        what = words.get(path.name, otherwise)
        if kind == "run" and not store.is_complete(path):
            if not (path / "journal.jsonl").exists():
                continue  # something of the user's
            what = "an unfinished run, which the same command goes on with"
        yield Kept(path, kind, what, size, used)


def _of_asset() -> dict[str, str]:
    """What pinned files are, by file name."""
    return {asset.filename: asset.what or asset.name for asset in assets.catalogue().values()}


def _of_dataset() -> dict[str, str]:
    """What built datasets are, by folder name."""
    return {f"{name}-{card.identity[:8]}": f"the frames of {name}" for name, card in cards().items()}
