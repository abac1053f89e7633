"""Hashes of many files: those of unchanged ones are remembered, and every change is seen."""

import os
import shutil

import pytest

from detbench.data import hashes
from detbench.files import file_hash
from detbench.types import canonical_hash


@pytest.fixture
def folder(tmp_path, home):
    """Three files that changed long ago."""
    for i, name in enumerate(("a.png", "b.png", "sub/c.png")):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([i]) * 100)
    return tmp_path / "data"


@pytest.fixture
def read(monkeypatch):
    """The files that were read."""
    seen = []
    monkeypatch.setattr(hashes, "file_hash", lambda path: (seen.append(path.name), file_hash(path))[1])
    return seen


@pytest.fixture
def later(monkeypatch):
    """Some time has passed since the files were written."""
    now = hashes.time.time_ns
    monkeypatch.setattr(hashes.time, "time_ns", lambda: now() + 10 * hashes.SETTLED_NS)


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def wanted(folder):
    return canonical_hash([[path.relative_to(folder).as_posix(), file_hash(path)] for path in files(folder)])


def test_unchanged_files_are_read_once(folder, read, later):
    for _ in range(2):
        assert hashes.hash_files(files(folder), folder) == wanted(folder)
    assert sorted(read) == ["a.png", "b.png", "c.png"]


def test_what_changed_is_read_again(folder, read, later):
    hashes.hash_files(files(folder), folder)
    before, path = (folder / "b.png").stat(), folder / "b.png"
    read.clear()
    path.write_bytes(b"x" * 100)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as large, and as old by its own word
    assert hashes.hash_files(files(folder), folder) == wanted(folder)
    assert read == ["b.png"]


def test_another_file_in_its_place_is_read(folder, read, later):
    hashes.hash_files(files(folder), folder)
    read.clear()
    shutil.copy2(folder / "a.png", folder / "copy")
    os.replace(folder / "copy", folder / "b.png")
    assert hashes.hash_files(files(folder), folder) == wanted(folder)
    assert read == ["b.png"]


def test_what_changed_just_now_is_not_remembered(folder, read):
    for _ in range(2):
        hashes.hash_files(files(folder), folder)
    assert len(read) == 6


@pytest.mark.parametrize("content", ["", "[1, 2]", "{", '{"a.png": [1]}', '{"a.png": ""}'])
def test_a_damaged_memory_is_none(folder, home, later, content):
    hashes.hash_files(files(folder), folder)
    (place,) = (home / "hashes").iterdir()
    place.write_text(content)
    assert hashes.hash_files(files(folder), folder) == wanted(folder)


def test_a_cache_that_cannot_be_written(folder, home, later):
    home.mkdir(exist_ok=True)
    (home / "hashes").write_text("no folder")
    assert hashes.hash_files(files(folder), folder) == wanted(folder)


def test_names_that_are_no_utf8(folder, later):
    path = folder / os.fsdecode(b"\xff.png")
    path.write_bytes(b"1")
    for _ in range(2):
        assert hashes.hash_files([path], folder)


def test_what_passed_a_check_is_not_checked_again(home):
    asked = []

    def wrong():
        asked.append("wrong")
        raise ValueError

    for _ in range(2):
        with pytest.raises(ValueError):
            hashes.once("a" * 64, wrong)
    for identity in ("a", "a", "b"):
        hashes.once(identity * 64, lambda of=identity: asked.append(of))
    assert asked == ["wrong", "wrong", "a", "b"]
