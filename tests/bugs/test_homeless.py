"""Without a home folder (a number without a name, no HOME), or with a cache to be read alone, there was a traceback."""

import pwd

import pytest

from detbench import assets, runner
from detbench.data import build
from detbench.journal import Journal
from detbench.types import DetbenchError


def test_the_line_names_the_variable(monkeypatch):
    monkeypatch.delenv("DETBENCH_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def nobody(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(DetbenchError, match="set DETBENCH_HOME"):
        assets.home()


def test_a_cache_that_may_only_be_read_is_enough(tmp_path, monkeypatch):
    """A journal of what a detector saw goes to the run's own directory then."""
    shared, own = tmp_path / "shared.jsonl", tmp_path / "run" / "references.jsonl"
    shared.write_text('["a", {"x": 1}]\n')
    own.parent.mkdir()

    def refused(path):
        if path == shared:
            raise PermissionError(13, "Permission denied", str(path))
        return Journal(path)

    monkeypatch.setattr(runner, "Journal", refused)
    with runner._journal(shared, own) as found:
        assert found == {"a": {"x": 1}}
        found.add("b", {"x": 2})
    with Journal(own) as found:
        assert found == {"a": {"x": 1}, "b": {"x": 2}}
    assert shared.read_text() == '["a", {"x": 1}]\n'


def test_a_dataset_that_is_whole_needs_no_lock(home, monkeypatch):
    """A lock is a file, and a cache may be on a disk that is read only."""
    import filelock

    def make(folder):
        (folder / "a.txt").write_text("a")
        return []

    whole = build.ensure("tiny", "0" * 64, make)
    monkeypatch.setattr(filelock, "FileLock", pytest.fail)
    assert build.ensure("tiny", "0" * 64, pytest.fail) == whole
