"""TensorFlow checkpoints without TensorFlow: the tensors of a bundle, an index and one data file beside it.

The index is a table of LevelDB (doc/table_format.md and table/format.h of github.com/google/leveldb): keys and values
in blocks, an index of these blocks, and a footer. Its keys are the tensors' names, and its values are messages of
tensorflow/core/protobuf/tensor_bundle.proto, which say where in the data file a tensor lies. Checksums are not
compared: the files that deblurers read are pinned by their SHA-256.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
"""The end of every table."""

FOOTER_BYTES = 48
"""The places of the index of meta blocks and of the index of blocks, zeros up to 40 bytes, and the magic number."""

FLOAT32 = 1
"""``DT_FLOAT`` of tensorflow/core/framework/types.proto."""


def read(index: Path, data: Path) -> dict[str, NDArray[np.float32]]:
    """All tensors of a checkpoint.

    Args:
        index: the file ``*.index``.
        data: the file ``*.data-00000-of-00001``; bundles of several data files are not read.

    Returns:
        The tensors by name, each an array of its own, C-contiguous and writeable.

    Raises:
        ValueError: a file is damaged, or holds what this reader does not know: compressed blocks, types other than
            float32, tensors in slices, big-endian numbers. The message names the file.
    """
    content, tensors = data.read_bytes(), {}
    try:
        table = dict(_table(index.read_bytes()))
        _check_header(table.pop(b"", b""))
        for key, entry in table.items():
            offset, shape = _place(entry)
            end = offset + 4 * prod(shape)
            if end > len(content):
                raise ValueError(f"{key.decode()} ends at byte {end} of {data}, which has {len(content)}")
            tensors[key.decode()] = np.frombuffer(content[offset:end], "<f4").astype(np.float32).reshape(shape)
    except ValueError as error:
        raise ValueError(f"{index} cannot be read as the index of a checkpoint: {error}") from error
    return tensors


def _check_header(header: bytes) -> None:
    """Refuse what a BundleHeaderProto (num_shards = 1, endianness = 2) says to be laid out in another way."""
    numbers, _ = _fields(header)
    if numbers.get(1) != 1 or numbers.get(2, 0) != 0:
        raise ValueError("its header does not promise a single, little-endian data file")


def _place(entry: bytes) -> tuple[int, tuple[int, ...]]:
    """A tensor's first byte in the data file and its shape, from a BundleEntryProto.

    That is dtype = 1, shape = 2, shard_id = 3, offset = 4, size = 5 and slices = 7, where a shape has dim = 2 and a
    dim has size = 1. Numbers that are zero are left out.
    """
    numbers, messages = _fields(entry)
    if numbers.get(1) != FLOAT32:
        raise ValueError(f"a tensor is of type {numbers.get(1)}, not float32 ({FLOAT32})")
    if numbers.get(3, 0) != 0 or 7 in messages:
        raise ValueError("a tensor is cut into slices or lies in another data file")
    dims = [dim for shape in messages.get(2, []) for dim in _fields(shape)[1].get(2, [])]
    shape = tuple(_fields(dim)[0].get(1, 0) for dim in dims)
    if numbers.get(5, 0) != 4 * prod(shape):
        raise ValueError(f"a tensor of shape {shape} has {numbers.get(5, 0)} bytes")
    return numbers.get(4, 0), shape


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a table, in order."""
    if len(content) < FOOTER_BYTES or not content.endswith(MAGIC):
        raise ValueError("it does not end with the magic number of a LevelDB table")
    footer = BytesIO(content[-FOOTER_BYTES:])
    _varint(footer), _varint(footer)  # the meta blocks, of which bundles have none
    for _, handle in _block(content, footer):
        yield from _block(content, BytesIO(handle))


def _block(content: bytes, handle: BytesIO) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of the block whose offset and size a handle gives.

    A key is stored as the bytes in which it differs from the key before. A block ends with the offsets of the keys that
    are stored whole (for binary search) and their number, and is followed by its compression and a checksum.
    """
    start, size = _varint(handle), _varint(handle)
    block, compression = content[start : start + size], content[start + size : start + size + 1]
    if len(block) < 4 or not compression:
        raise ValueError(f"a block of {size} bytes at byte {start} is outside of it")
    if compression != b"\0":
        raise ValueError(f"the block at byte {start} is compressed")
    whole = int.from_bytes(block[-4:], "little")
    stream, key = BytesIO(block[: max(0, size - 4 * (whole + 1))]), b""
    while stream.tell() < len(stream.getbuffer()):
        shared, own, length = _varint(stream), _varint(stream), _varint(stream)
        key = key[:shared] + _take(stream, own)
        yield key, _take(stream, length)


def _fields(message: bytes) -> tuple[dict[int, int], dict[int, list[bytes]]]:
    """The fields of a protocol buffer by their numbers: those that are numbers, and those that are made of bytes.

    See protobuf.dev/programming-guides/encoding; of a number that occurs twice, the last one counts.
    """
    numbers: dict[int, int] = {}
    messages: dict[int, list[bytes]] = {}
    stream = BytesIO(message)
    while stream.tell() < len(message):
        field, kind = divmod(_varint(stream), 8)
        if kind == 0:
            numbers[field] = _varint(stream)
        elif kind == 2:
            messages.setdefault(field, []).append(_take(stream, _varint(stream)))
        elif kind in (1, 5):  # checksums are such: eight or four bytes
            _take(stream, 8 if kind == 1 else 4)
        else:
            raise ValueError(f"it holds a field of the unknown kind {kind}")
    return numbers, messages


def _varint(stream: BytesIO) -> int:
    """The next number: seven bits a byte, the lowest first; a set eighth bit says that more follow."""
    number = shift = 0
    while (byte := _take(stream, 1)[0]) & 0x80:
        number |= (byte & 0x7F) << shift
        shift += 7
    return number | byte << shift


def _take(stream: BytesIO, count: int) -> bytes:
    """The next bytes, as many as asked for."""
    if count > len(stream.getbuffer()) - stream.tell():
        raise ValueError("it ends in the middle of an entry")
    return stream.read(count)
