"""What a name or a file becomes: a YOLO's weights, downloaded by whom, and which files are refused."""

from __future__ import annotations

import hashlib
import shutil
import socket
from pathlib import Path

import pytest
from test_yolo import load, photo

from detbench import assets, detectors
from detbench.detectors import yolo
from detbench.types import DetbenchError


@pytest.fixture(scope="module")
def yolo26n() -> Path:
    return assets.fetch("yolo26n")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that were asked for."""
    asked: list[str] = []

    def refuse(host: str, *rest: object, **options: object) -> None:
        asked.append(host)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return asked


@pytest.mark.parametrize("name", ["o'brien.pt", "yolov5n.pt", "yolo26x.pt"])
def test_a_file_is_what_it_is_called(yolo26n: Path, tmp_path: Path, name: str, no_network: list[str]) -> None:
    """Ultralytics takes such names for others, which it would download."""
    shutil.copy(yolo26n, tmp_path / name)
    assert len(load(tmp_path / name)([photo(320, 320)])[0]) == 1
    assert no_network == []


def resolve(detector: str) -> tuple[Path | None, str]:
    found = detectors.resolve(detector)
    return found.weights, found.sha256


def test_resolve(yolo26n: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = (yolo26n, assets.find("yolo26n").sha256)
    assert resolve("yolo26n") == resolve("yolo26n.pt") == resolve(str(yolo26n)) == resolve("yolo:yolo26n") == pinned
    own = tmp_path / "yolo26n.pt"
    own.write_bytes(b"mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETBENCH_HOME", str(assets.home()))
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = (own, hashlib.sha256(b"mine").hexdigest())
    assert resolve("yolo26n.pt") == resolve("./yolo26n.pt") == resolve("~/yolo26n.pt") == expected
    assert resolve("yolo26n") == pinned  # a bare name is never a file


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        ("sub/best.pt", "sub/best.pt: there is no such file"),
        ("best.onnx", "best.onnx: there is neither such a file nor a detector"),
        ("yolo27n", "Did you mean .*yolo26n"),
        ("qqq", "Pinned detectors: yolo26n, "),
        ("yolo26n-cls", "nor a detector of that name"),
        ("photo.jpg", "photo.jpg is not a detector: give a .pt or .onnx file"),
        ("folder.pt", "folder.pt is not a detector"),
        ("", "not a detector"),
    ],
)
def test_resolve_refuses(detector: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").touch()
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(DetbenchError, match=message):
        resolve(detector)


def test_unpinned_names_are_downloaded_by_ultralytics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DETBENCH_HOME", str(tmp_path))
    downloads: list[Path] = []

    def download(path: Path) -> None:
        downloads.append(path)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"weights")
        print("progress")

    monkeypatch.setattr(yolo._ultralytics().utils.downloads, "attempt_download_asset", download)
    expected = (tmp_path / "assets" / "yolo11x.pt", hashlib.sha256(b"weights").hexdigest())
    assert resolve("yolo11x") == resolve("yolo11x.pt") == expected
    assert downloads == [expected[0]]
    out, err = capfd.readouterr()
    assert out == ""
    assert "yolo11x.pt is not pinned" in err


def test_unpinned_names_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list[str]) -> None:
    monkeypatch.setenv("DETBENCH_HOME", str(tmp_path))
    with pytest.raises(DetbenchError, match="yolo11x.pt could not be downloaded") as caught:
        resolve("yolo11x")
    assert str(tmp_path / "assets" / "yolo11x.pt") in str(caught.value)
    assert "use a pinned detector: yolo26n" in str(caught.value)
    assert no_network


class Trap:
    """Touches a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_broken_files_are_refused(yolo26n: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    files = {name: tmp_path / f"{name}.pt" for name in ("empty", "text", "cut", "weights", "tensor", "trap")}
    files["empty"].touch()
    files["text"].write_text("not a model")
    files["cut"].write_bytes(yolo26n.read_bytes()[:100_000])
    torch.save({"weight": torch.zeros(3)}, files["weights"])
    torch.save(torch.zeros(3), files["tensor"])
    torch.save({"model": Trap(tmp_path / "sprung")}, files["trap"])
    for file in files.values():
        message = "could not be loaded on cpu .*\nGive a .pt or .onnx file"
        if file.stem == "trap":
            message = "holds pathlib.Path, which is no class of ultralytics or torch"
        with pytest.raises(DetbenchError, match=f"{file.name} {message}"):
            load(file)
    assert not (tmp_path / "sprung").exists()

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DetbenchError, match="net.onnx: .* pip install onnxruntime"):
        load(tmp_path / "net.onnx")
