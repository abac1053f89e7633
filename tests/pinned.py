"""Pinned files of made content, for the tests of what fetches them."""

import hashlib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from detbench import assets
from detbench.assets import Asset, UrlSource

DATA = bytes(range(256)) * 2000  # 512,000 bytes


def pinned(*sources: assets.Source, data: bytes = DATA, filename: str = "thing.bin") -> Asset:
    return Asset("thing", filename, hashlib.sha256(data).hexdigest(), len(data), "none", sources)


def wheel(folder: Path, members: dict[str, bytes]) -> str:
    """Build a wheel ``parcel==1.0`` with these files; return its sha256."""
    folder.mkdir(exist_ok=True)
    path = folder / "parcel-1.0-py3-none-any.whl"
    info = {
        # A Python that does not exist yet: nothing of the package runs, so this must not matter.
        "parcel-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: parcel\nVersion: 1.0\nRequires-Python: >=9\n",
        "parcel-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "parcel-1.0.dist-info/RECORD": b"",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (members | info).items():
            archive.writestr(name, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Web:
    """What a test's web server does, and what it saw."""

    body: bytes = DATA
    ranges: bool = True
    stop_after: int | None = None  # of the file's bytes: the connection breaks there
    stall: bool = False  # instead of breaking it, keep it open
    status: int = 200
    location: str = ""
    range_reply: str = ""
    say_length: bool = True
    delay_s: float = 0.0
    asked: list[str] = field(default_factory=list)  # the Range header of every request
    sent: int = 0
    done: Event = field(default_factory=Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/thing.bin"

    @property
    def source(self) -> UrlSource:
        return UrlSource(self.url)
