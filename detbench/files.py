"""Files: what stands for their content, and how they are replaced. Once, for everybody."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from detbench.types import canonical_hash


def file_hash(path: Path) -> str:
    """The SHA-256 (hexadecimal) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def source_hash(path: Path) -> str:
    """The SHA-256 (hexadecimal) of what a Python file does: of its syntax tree without comments and docstrings.

    The same for all versions of Python that read the file alike.
    """
    return _source_hash(path.read_text("utf-8"))


@lru_cache(256)  # by the text: it is asked for again and again, and a file may change
def _source_hash(text: str) -> str:
    return canonical_hash(_plain(syntax(text)))


@lru_cache(64)
def syntax(text: str) -> ast.Module:
    """The syntax tree of a Python file's text, which nobody is to change."""
    return ast.parse(text)


_PARTIAL = ".part-"
"""How the names of files begin that are not finished."""


def sweep(folder: Path) -> None:
    """Remove what killed processes did not finish in a folder and below it, which nobody else writes to now."""
    for path in folder.rglob(f"{_PARTIAL}*"):
        path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which becomes ``path`` if all goes well; missing parent folders are made.

    It ends as ``path`` does, since some writers go by that, and lies in the same folder: a rename is atomic within one
    file system only. What is no file (``/dev/stdout``) is written to as it is.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    partial = path.with_name(f"{_PARTIAL}{uuid.uuid4().hex}{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        if error.filename is None:  # a disk that is full, or fails
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_file(path: Path, content: str | bytes, errors: str = "strict") -> None:
    """Write a file, whole or not at all; text as UTF-8, with what is to be done about surrogates."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode("utf-8", errors) if isinstance(content, str) else content)


def code(text: str) -> int:
    """A number that stands for a name, to draw random numbers by: the same whatever the locale's encoding."""
    return zlib.crc32(text.encode("utf-8", "surrogateescape"))


def readable(path: str) -> str:
    """A path as UTF-8 text, whatever the locale's encoding; bytes that are no UTF-8 are surrogates."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def plain(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^\w.-]+", "_", name)


def line_of(text: str, key: str, start: int = 1) -> int:
    """The line, from 1 on, on which a TOML file's text sets a key, at or after another; else that one."""
    lines = text.splitlines()
    pattern = re.compile(rf"\s*(\[+\s*)?{re.escape(key)}\b")
    return next((i for i in range(start, len(lines) + 1) if pattern.match(lines[i - 1])), start)


def _plain(node: Any) -> Any:
    """A syntax tree as plain data, without texts that are statements: docstrings, of attributes too."""
    if isinstance(node, list):
        return [_plain(item) for item in node if not _is_text(item)]
    if isinstance(node, ast.AST):
        # Empty fields are left out: versions of Python differ in which ones a node has.
        fields = {name: _plain(value) for name, value in ast.iter_fields(node) if value is not None}
        return [type(node).__name__, {name: value for name, value in fields.items() if value != []}]
    return repr(node)


def _is_text(node: Any) -> bool:
    """Whether a statement is a text alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
