"""Progress bars and messages for people, always on stderr: stdout belongs to results."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO, TypeVar

T = TypeVar("T")


def say(message: str) -> None:
    """One line on stderr."""
    print(message, file=sys.stderr, flush=True)


def bar(stream: BinaryIO, size: int) -> AbstractContextManager[BinaryIO]:
    """A stream whose reading is shown by a bar on a terminal.

    Args:
        stream: to read from.
        size: of what will be read, in bytes.
    """
    if not sys.stderr.isatty():
        return nullcontext(stream)
    from rich.console import Console
    from rich.progress import wrap_file

    return wrap_file(stream, size, description="", console=Console(stderr=True), transient=True)


def track(items: Iterable[T], total: int, what: str, unit: str = "frames", done: int = 0) -> Iterator[T]:
    """Pass items on while a bar shows how many are done, how many a second, and the time left.

    Args:
        items: what to pass on.
        total: how many there are, those already done included; 0 if that is not known.
        what: shown before the bar.
        unit: what an item is.
        done: how many were done before.
    """
    if total and done >= total:
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total or None, completed=done, rate="")
        for item in items:
            yield item
            speed = progress.tasks[0].speed
            progress.update(task, advance=1, rate=f"{speed:.1f} {unit}/s" if speed else "")
