"""Training data as a few files that travel well: photographs and pairs as JPEG bytes in zip archives."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from detbench.gan.sources import Photo, Sources

SHARD = 48_000_000
"""Bytes that an archive may have, before the next one is begun."""

QUALITY = 95
"""Of the JPEG files, colours at full resolution: what it loses is far below the blur and the noise of training."""


def pack(sources: Sources, folder: Path, shard: int = SHARD) -> list[Path]:
    """Write training data as ``pack-000.zip`` and so on, to be given to ``detbench train --data``.

    Each archive holds ``photos/`` and ``pairs/blur/`` and ``pairs/sharp/``; the two pictures of a pair are in one.

    Args:
        sources: the data.
        folder: where the archives go; it is made.
        shard: bytes that an archive may have.

    Returns:
        The archives.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[Path] = []
    archive: zipfile.ZipFile | None = None
    used = shard
    for members in _members(sources):
        size = sum(len(data) + 2 * len(name) + 200 for name, data in members.items())  # with zip's own headers
        if archive is None or used + size > shard:
            if archive:
                archive.close()
            shards.append(folder / f"pack-{len(shards):03d}.zip")
            archive, used = zipfile.ZipFile(shards[-1], "w"), 0
        for name, data in members.items():
            archive.writestr(name, data)
        used += size
    if archive:
        archive.close()
    return shards


def _members(sources: Sources) -> Iterator[dict[str, bytes]]:
    """What belongs together: file names and contents of one photograph, or of the two pictures of one pair."""
    for i, photo in enumerate(sources.photos):
        yield {f"photos/{i:05d}.jpg": _jpeg(photo)}
    for i, (blurred, sharp) in enumerate(sources.pairs):
        yield {f"pairs/blur/{i:05d}.jpg": _jpeg(blurred), f"pairs/sharp/{i:05d}.jpg": _jpeg(sharp)}


def _jpeg(picture: Photo) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "jpeg", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
