"""The command line itself: what all commands share. Parse, call, print; no torch before a command needs it."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import typer

from detbench import __version__
from detbench.types import DetbenchError

app = typer.Typer(
    help="Does a deblurer help a detector see?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@contextmanager
def errors(interrupted: str = "what was computed is kept, and the same command goes on from there") -> Iterator[None]:
    """Show what the user can mend as one message, without a traceback.

    Args:
        interrupted: what to say after Ctrl-C.
    """
    try:
        yield
    except DetbenchError as error:
        print(f"detbench: {error}", file=sys.stderr)
        raise typer.Exit(getattr(error, "exit_status", 1)) from error
    except BrokenPipeError:  # whoever reads has seen enough, as `head` has: click ends quietly
        raise
    except OSError as error:
        print(f"detbench: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        print(f"\ndetbench: interrupted; {interrupted}.", file=sys.stderr)
        raise typer.Exit(130) from error


def _version(wanted: bool) -> None:
    if wanted:
        print(f"detbench {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Does a deblurer help a detector see?"""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may know fewer letters than names have
            stream.reconfigure(errors="replace")
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, _as_interrupt)


def _as_interrupt(*_: object) -> None:
    """What a scheduler ends cleans up as after Ctrl-C."""
    raise KeyboardInterrupt
