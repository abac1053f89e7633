"""Hashes of files and of sources, and files that appear whole or not at all."""

import hashlib
import os

import pytest

from detbench.files import file_hash, replacing, source_hash, sweep, write_file

SOURCE = '''"""A module."""

WIDTH = 3
"""Of something."""


def double(x: float) -> float:
    """Twice x."""
    return 2 * x  # as it says
'''


def test_a_files_hash_is_its_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"pixels")
    assert file_hash(tmp_path / "file") == hashlib.sha256(b"pixels").hexdigest()


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# as it says", "# as everybody knows", True),
        ('"""Twice x."""', '"""Twice the given number."""', True),
        ('"""Of something."""', "", True),
        ("return 2 * x", "return (2 *\n        x)", True),
        ("WIDTH = 3", "WIDTH = 4", False),
        ("WIDTH = 3", "WIDTH = 3.0", False),
        ("return 2 * x", "return 2 + x", False),
        ("x: float", "x: int", False),
    ],
)
def test_a_sources_hash_is_of_what_it_does(tmp_path, old, new, same):
    hashes = []
    for text in (SOURCE, SOURCE.replace(old, new)):
        (tmp_path / "module.py").write_text(text)
        hashes.append(source_hash(tmp_path / "module.py"))
    assert (hashes[0] == hashes[1]) is same


def test_a_sources_hash_is_the_same_everywhere(tmp_path):
    """Published hashes are compared on other versions of Python."""
    (tmp_path / "module.py").write_text(SOURCE)
    assert source_hash(tmp_path / "module.py") == "df5b4c9b456a488de2f68c392c928620cbb5f88f310106c7b7302831f80dd7a7"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "file.txt"
    with replacing(path) as partial:
        partial.write_text("old")
        assert partial.suffix == ".txt"
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), replacing(path) as partial:
        partial.write_text("half of what is ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_whole_or_as_it_was(tmp_path):
    target = tmp_path / "a.txt"
    write_file(target, "old")
    with pytest.raises(UnicodeEncodeError):
        write_file(target, "\ud800")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
    write_file(target, "\ud800é", "replace")
    assert target.read_bytes() == "?é".encode()


def test_what_is_no_file_is_written_to(tmp_path):
    """``--junit-xml /dev/stdout`` must not put a file in the place of a device."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_file(tmp_path / "pipe", "told")
    assert os.read(reader, 10) == b"told"
    os.close(reader)


def test_what_a_killed_process_left_is_swept(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "deep" / "a.pt") as partial:
        partial.write_text("half")
        left = tmp_path / "deep" / f"{partial.name}.pt"
        left.write_text("of another process")
        raise KeyboardInterrupt
    assert list((tmp_path / "deep").iterdir()) == [left]
    sweep(tmp_path)
    assert not list((tmp_path / "deep").iterdir())
