"""A pinned file inside a wheel, which pip fetches."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from pinned import DATA, pinned, wheel

from detbench import assets
from detbench.assets import WheelSource
from detbench.types import DetbenchError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DETBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "assets"


@pytest.fixture
def fake_pip(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A pip that copies what lies on the shelf; gives the commands it was called with."""
    calls: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        shutil.copytree(shelf, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 0, stdout="")

    monkeypatch.setattr(assets.subprocess, "run", run)
    return calls


def test_a_member_of_a_wheel_through_the_real_pip(shelf: Path, cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sha256 = wheel(shelf, {"parcel/data/thing.bin": DATA, "parcel/__init__.py": b"raise SystemExit('imported')"})
    source = WheelSource("parcel==1.0", sha256, "parcel/data/thing.bin")
    assert assets.fetch(pinned(source)).read_bytes() == DATA
    assert [p.name for p in cache.iterdir() if p.suffix != ".lock"] == ["thing.bin"]
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == "Fetching thing.bin (0.5 MB) from parcel/data/thing.bin of parcel==1.0 (pip)\n"


def test_an_sdist_is_refused_and_does_not_run(shelf: Path, tmp_path: Path) -> None:
    package = tmp_path / "parcel-1.0"
    package.mkdir()
    (package / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    shutil.make_archive(str(shelf / "parcel-1.0"), "gztar", tmp_path, "parcel-1.0")
    with pytest.raises(DetbenchError, match=r"(?s)pip download failed.*No matching distribution found for parcel==1.0"):
        assets.fetch(pinned(WheelSource("parcel==1.0", "0" * 64, "thing.bin")))
    assert not (tmp_path / "ran").exists()


def test_a_python_without_pip_says_so(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=os.name != "nt")
    monkeypatch.setattr(sys, "executable", str(next((tmp_path / "bare").glob("[bS]*/python*"))))
    with pytest.raises(DetbenchError, match="this Python has no pip.*ensurepip.*uv pip install pip"):
        assets.fetch(pinned(WheelSource("parcel==1.0", "0" * 64)))


def test_modules_of_the_working_directory_stay_out_of_pip(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('the wrong pip')")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    sha256 = wheel(shelf, {"a": b"a"})
    whole = (shelf / "parcel-1.0-py3-none-any.whl").read_bytes()
    assert assets.fetch(pinned(WheelSource("parcel==1.0", sha256), data=whole)).read_bytes() == whole


def test_pip_is_asked_for_one_wheel_only(shelf: Path, fake_pip: list[list[str]]) -> None:
    source = WheelSource("parcel==1.0", wheel(shelf, {"x": DATA}), "x")
    assets.fetch(pinned(source))
    [command] = fake_pip
    assert command[0] == sys.executable and command[-1] == "parcel==1.0"
    assert {"download", "--no-deps", "--only-binary=:all:", "--no-input"} <= set(command)


@pytest.mark.usefixtures("fake_pip")
def test_a_wheel_with_another_hash_is_not_opened(shelf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = wheel(shelf, {"x": DATA})
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(DetbenchError, match=f"has sha256 {sha256}, not the pinned {'0' * 64}"):
        assets.fetch(pinned(WheelSource("parcel==1.0", "0" * 64, "x")))
    assert [p.name for p in cache.iterdir() if p.suffix != ".lock"] == []


@pytest.mark.usefixtures("fake_pip")
def test_a_missing_or_wrong_member(shelf: Path, cache: Path) -> None:
    sha256 = wheel(shelf, {"other": b"!" * len(DATA), "bomb": b"0" * 50_000_000})
    with pytest.raises(DetbenchError) as caught:
        assets.fetch(pinned(*(WheelSource("parcel==1.0", sha256, member) for member in ("x", "other", "bomb"))))
    for reason in ("holds no x", "what came has sha256 ", "more than the pinned 512000 bytes"):
        assert reason in str(caught.value)
    assert [p.name for p in cache.iterdir() if p.suffix != ".lock"] == []


@pytest.mark.usefixtures("fake_pip")
def test_a_members_name_decides_nothing_about_where_it_is_written(shelf: Path, cache: Path, tmp_path: Path) -> None:
    evil = "../../evil.bin"
    sha256 = wheel(shelf, {evil: DATA})
    before = {p for p in tmp_path.rglob("*") if cache not in p.parents}
    assert assets.fetch(pinned(WheelSource("parcel==1.0", sha256, evil))) == cache / "thing.bin"
    assert {p for p in tmp_path.rglob("*") if cache not in p.parents} - before == {cache, cache.parent}
    assert [p.name for p in cache.iterdir() if p.suffix != ".lock"] == ["thing.bin"]


@pytest.mark.usefixtures("fake_pip")
def test_what_a_killed_pip_left_is_cleared(shelf: Path, cache: Path) -> None:
    source = WheelSource("parcel==1.0", wheel(shelf, {"x": DATA}), "x")
    (cache / "thing.bin.pip").mkdir(parents=True)
    (cache / "thing.bin.pip" / "half-1.0-py3-none-any.whl").write_bytes(b"half")
    assert assets.fetch(pinned(source)).read_bytes() == DATA
    assert not (cache / "thing.bin.pip").exists()
