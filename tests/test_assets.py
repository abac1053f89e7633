"""Pinned assets: against a web server on this machine, and against real and faked pips. No network."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pinned import DATA, Web, pinned

from detbench import assets
from detbench.assets import PathSource, UrlSource, WheelSource
from detbench.types import DetbenchError

HEX = re.compile(r"[0-9a-f]{64}")


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    state = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.asked.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            time.sleep(state.delay_s)
            past_end = 0 < start >= len(state.body)
            self.send_response(416 if past_end else 206 if start else state.status)
            if start:
                self.send_header("Content-Range", state.range_reply or f"bytes {start}-{len(state.body) - 1}/*")
            if state.location:
                self.send_header("Location", state.location)
            if state.say_length:
                self.send_header("Content-Length", str(max(0, len(state.body) - start)))
            self.end_headers()
            payload = state.body[start : state.stop_after]
            state.sent += len(payload)  # before the client has it and looks
            with suppress(ConnectionError):  # the client may hang up
                self.wfile.write(payload)
            if state.stall:
                state.done.wait(20)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.port = server.server_address[1]
    thread = Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    monkeypatch.setattr(assets, "URL_HANDLERS", (*assets.URL_HANDLERS, "HTTPHandler"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    yield state
    state.done.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DETBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "assets"


def leave_part(cache: Path, content: bytes) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    part = cache / "thing.bin.part"
    part.write_bytes(content)
    return part


# --- the catalogue


def test_catalogue_is_well_formed() -> None:
    known = assets.catalogue()
    wanted = {"yolo26n", "yolo26m", "yolo11n", "yolov8n", "yolov8s", "zurich-photos", "motorway-video", "bdd-frames"}
    assert wanted <= set(known)
    assert len({asset.filename for asset in known.values()}) == len(known)
    for name, asset in known.items():
        assert asset.name == name
        assert HEX.fullmatch(asset.sha256)
        assert type(asset.size) is int and asset.size > 0
        assert asset.licence and asset.sources
        for source in asset.sources:
            match source:
                case UrlSource(url):
                    assert url.startswith("https://")
                case WheelSource(pypi, wheel_sha256, member):
                    assert re.fullmatch(r"[A-Za-z0-9][\w.-]*==\d[\w.]*", pypi)
                    assert HEX.fullmatch(wheel_sha256)
                    assert member or wheel_sha256 == asset.sha256
                case _:
                    pytest.fail(f"{name}: {source} exists on one machine only")


def test_catalogue_reads_every_field() -> None:
    asset = assets.catalogue()["yolo26n"]
    assert asset.filename == "yolo26n.pt"
    assert asset.sha256 == "9b09cc8bf347f0fc8a5f7657480587f25db09b34bf33b0652110fb03a8ad4fef"
    assert asset.size == 5_544_453
    assert asset.licence.startswith("AGPL-3.0")
    assert asset.sources[0] == UrlSource("https://github.com/ultralytics/assets/releases/download/v8.4.0/yolo26n.pt")
    assert asset.sources[1].member == "ai_labeller/models/yolo26n.pt"  # type: ignore[union-attr]


def test_unknown_name_answers_with_the_nearest() -> None:
    with pytest.raises(DetbenchError, match=r"no asset 'yolo26x'.*yolo26[nm]"):
        assets.fetch("yolo26x")
    with pytest.raises(DetbenchError, match="Known assets: yolo26n, .*bdd-frames"):
        assets.fetch("qqqq")


@pytest.mark.parametrize("filename", ["../evil", "/etc/evil", "a/b", "..", "", "c:evil", r"a\b", "x\n"])
def test_a_filename_cannot_leave_the_cache(filename: str) -> None:
    with pytest.raises(DetbenchError, match="bare file name"):
        pinned(PathSource("x"), filename=filename)


def test_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert assets.home() == tmp_path / "home"
    assert not assets.home().exists()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DETBENCH_HOME", "~/elsewhere")
    assert assets.home() == tmp_path / "elsewhere"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETBENCH_HOME", "relative")
    assert assets.home() == tmp_path / "relative"
    monkeypatch.setenv("DETBENCH_HOME", "")
    assert assets.home().is_absolute() and "detbench" in assets.home().parts[-1]


# --- the cache


def test_fetch_then_warm_cache(web: Web, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asset = pinned(web.source)
    path = assets.fetch(asset)
    assert path == cache / "thing.bin"
    assert path.read_bytes() == DATA
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"Fetching thing.bin (0.5 MB) from {web.url}\n"
    assert sorted(p.name for p in cache.iterdir() if p.suffix != ".lock") == ["thing.bin"]
    assert assets.fetch(asset) == path
    assert len(web.asked) == 1
    assert capsys.readouterr() == ("", "")


def test_warm_cache_needs_neither_network_nor_pip_nor_a_writable_folder(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir(parents=True)
    (cache / "thing.bin").write_bytes(DATA)
    for name in ("_download", "_pip_download", "_write", "say", "_fetch_locked"):
        monkeypatch.setattr(assets, name, None)
    asset = pinned(UrlSource("https://127.0.0.1:9/"), WheelSource("parcel==1.0", "0" * 64))
    assert assets.fetch(asset).read_bytes() == DATA
    assert [p.name for p in cache.iterdir()] == ["thing.bin"]


@pytest.mark.parametrize(
    ("bad", "has"),
    [
        (DATA[:-1], "511999 bytes, not the pinned 512000"),
        (DATA + b"!", "512001 bytes, not the pinned 512000"),
        (b"", "0 bytes, not the pinned 512000"),
        (DATA[:-1] + b"!", f"sha256 {hashlib.sha256(DATA[:-1] + b'!').hexdigest()}, not the pinned"),
    ],
)
def test_a_damaged_cached_file_is_replaced(
    bad: bytes, has: str, web: Web, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asset = pinned(web.source)
    assets.fetch(asset).write_bytes(bad)
    capsys.readouterr()
    assert assets.fetch(asset).read_bytes() == DATA
    err = capsys.readouterr().err
    assert f"{cache / 'thing.bin'} has {has}" in err and "replacing it" in err


def test_two_processes_download_once(web: Web, cache: Path) -> None:
    web.delay_s = 0.5
    asset = pinned(web.source)
    script = "import sys; from detbench import assets; from detbench.assets import Asset, UrlSource\n"
    script += "assets.URL_HANDLERS += ('HTTPHandler',)\n"
    script += f"print(assets.fetch({asset!r}))"
    racers = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [racer.communicate(timeout=30)[0].strip() for racer in racers] == [str(cache / "thing.bin")] * 2
    assert [racer.returncode for racer in racers] == [0, 0]
    assert len(web.asked) == 1
    assert (cache / "thing.bin").read_bytes() == DATA


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
def test_a_full_disk_is_named(web: Web, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "thing.bin.part").symlink_to("/dev/full")
    with pytest.raises(DetbenchError, match=r"(?s)assets/thing.bin \(0.5 MB\).*No space left.*DETBENCH_HOME"):
        assets.fetch(pinned(web.source))
    assert not (cache / "thing.bin").exists()


def test_a_home_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(DetbenchError, match=r"(?s)home/assets/thing.bin.*DETBENCH_HOME"):
        assets.fetch(pinned(PathSource("x")))


# --- url sources


def test_a_killed_download_goes_on_where_it_stopped(web: Web, cache: Path) -> None:
    web.stop_after, web.stall = 300_000, True
    asset = pinned(web.source)
    script = "from detbench import assets; from detbench.assets import Asset, UrlSource\n"
    script += f"assets.URL_HANDLERS += ('HTTPHandler',)\nassets.fetch({asset!r})"
    part = cache / "thing.bin.part"
    victim = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size >= 200_000):
            assert time.monotonic() < deadline and victim.poll() is None
            time.sleep(0.01)
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    assert not (cache / "thing.bin").exists()
    kept = part.stat().st_size
    assert 200_000 <= kept <= 300_000
    web.done.set()
    web.stop_after, web.stall, web.sent = None, False, 0
    assert assets.fetch(asset).read_bytes() == DATA
    assert web.asked == ["", f"bytes={kept}-"]
    assert web.sent == len(DATA) - kept


@pytest.mark.parametrize(
    ("left", "server", "asked"),
    [
        pytest.param(DATA[:1000], {"ranges": False}, ["bytes=1000-"], id="ranges ignored"),
        pytest.param(b"!" * 1000, {}, ["bytes=1000-", ""], id="wrong start"),
        pytest.param(DATA[:1000], {"range_reply": "bytes 0-9/10"}, ["bytes=1000-", ""], id="another range"),
        pytest.param(DATA, {}, [], id="killed before the rename"),
        pytest.param(b"!" * len(DATA), {}, [""], id="wrong and complete"),
        pytest.param(DATA + b"!", {}, [""], id="too long"),
        pytest.param(b"", {}, [""], id="empty"),
    ],
)
def test_what_an_earlier_download_left(
    left: bytes, server: dict[str, object], asked: list[str], web: Web, cache: Path
) -> None:
    leave_part(cache, left)
    vars(web).update(server)
    assert assets.fetch(pinned(web.source)).read_bytes() == DATA
    assert web.asked == asked


def test_a_part_longer_than_the_servers_file_is_dropped(web: Web, cache: Path) -> None:
    part = leave_part(cache, DATA[:1000])
    web.body = DATA[:10]
    with pytest.raises(DetbenchError, match="server's file has 10 bytes, not the pinned 512000"):
        assets.fetch(pinned(web.source))
    assert web.asked == ["bytes=1000-", ""]
    assert not part.exists()


def test_a_truncated_body_is_not_used_and_the_next_source_is(web: Web, cache: Path, tmp_path: Path) -> None:
    web.stop_after = 1000
    with pytest.raises(DetbenchError, match="ended after 1000 of 512000 bytes|IncompleteRead"):
        assets.fetch(pinned(web.source))
    assert [p.name for p in cache.iterdir() if p.suffix != ".lock"] == ["thing.bin.part"]
    (tmp_path / "copy").write_bytes(DATA)
    assert assets.fetch(pinned(web.source, PathSource(str(tmp_path / "copy")))).read_bytes() == DATA
    assert web.asked == ["", "bytes=1000-"]


@pytest.mark.parametrize("say_length", [True, False])
@pytest.mark.parametrize("body", [b"!" * len(DATA), DATA + b"!", b"<html>not found</html>", b""])
def test_a_wrong_file_is_never_used(body: bytes, say_length: bool, web: Web, cache: Path, tmp_path: Path) -> None:
    web.body, web.say_length = body, say_length
    with pytest.raises(DetbenchError, match="could not be fetched"):
        assets.fetch(pinned(web.source))
    assert not (cache / "thing.bin").exists()
    (tmp_path / "copy").write_bytes(DATA)
    assert assets.fetch(pinned(web.source, PathSource(str(tmp_path / "copy")))).read_bytes() == DATA


def test_a_silent_server_is_given_up_for_the_next_source(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.stop_after, web.stall = 1000, True
    monkeypatch.setattr(assets, "SOCKET_TIMEOUT_S", 0.2)
    with pytest.raises(DetbenchError, match="thing.bin: reading stopped: timed out"):
        assets.fetch(pinned(web.source))
    (tmp_path / "copy").write_bytes(DATA)
    assert assets.fetch(pinned(web.source, PathSource(str(tmp_path / "copy")))).read_bytes() == DATA


def test_an_endless_body_is_cut_at_the_pinned_size(web: Web, cache: Path) -> None:
    web.body, web.say_length = DATA * 20, False
    with pytest.raises(DetbenchError, match="more than the pinned 512000 bytes"):
        assets.fetch(pinned(web.source))
    assert not (cache / "thing.bin.part").exists()


@pytest.mark.parametrize("url", ["http://localhost:{}/x", "file:///etc/hostname", "ftp://localhost/x", "nonsense"])
def test_only_https_is_used(url: str, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "URL_HANDLERS", [h for h in assets.URL_HANDLERS if h != "HTTPHandler"])
    with pytest.raises(DetbenchError, match="unknown url type"):
        assets.fetch(pinned(UrlSource(url.format(web.port))))
    assert web.asked == []


def test_redirects_are_followed_but_not_to_files(web: Web, tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(DATA)
    web.status, web.location = 302, f"file://{tmp_path / 'copy'}"
    with pytest.raises(DetbenchError, match="HTTP 302"):
        assets.fetch(pinned(web.source))


# --- path sources, and all of them together


def test_a_path_may_use_home_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    (tmp_path / "copy").write_bytes(DATA)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SOMEWHERE", str(tmp_path))
    for path in ("~/copy", "$SOMEWHERE/copy"):
        fetched = assets.fetch(pinned(PathSource(path)))
        assert fetched.read_bytes() == DATA
        fetched.unlink()
    assert (tmp_path / "copy").exists()


def test_when_all_fails_one_error_says_everything(web: Web, shelf: Path, cache: Path, tmp_path: Path) -> None:
    web.status, web.body = 503, b""
    asset = pinned(web.source, WheelSource("parcel==1.0", "0" * 64, "x"), PathSource(str(tmp_path / "nowhere")))
    asset = replace(asset, sources=(*asset.sources, UrlSource("https://127.0.0.1:9/gone")))
    with pytest.raises(DetbenchError) as caught:
        assets.fetch(asset)
    lines = str(caught.value).splitlines()
    assert lines[0] == "thing.bin could not be fetched. Tried:"
    reasons = {line.split(": ")[0]: line for line in lines if line.startswith("  - ")}
    assert list(reasons) == [
        f"  - {web.url}",
        "  - x of parcel==1.0 (pip)",
        f"  - {tmp_path / 'nowhere'}",
        "  - https://127.0.0.1:9/gone",
    ]
    assert "HTTP 503" in reasons[f"  - {web.url}"]
    assert "no such file" in reasons[f"  - {tmp_path / 'nowhere'}"]
    assert "refused" in reasons["  - https://127.0.0.1:9/gone"]
    assert "      ERROR: No matching distribution found for parcel==1.0" in lines
    assert lines[-3:] == [
        f"  path    {cache / 'thing.bin'}",
        "  size    512000 bytes",
        f"  sha256  {hashlib.sha256(DATA).hexdigest()}",
    ]
    # And what the message asks for works.
    (cache / "thing.bin").write_bytes(DATA)
    assert assets.fetch(asset) == cache / "thing.bin"


def test_import_is_light() -> None:
    heavy = "{'torch', 'rich', 'urllib.request', 'http.client', 'filelock', 'platformdirs', 'zipfile', 'tomllib'}"
    script = "import detbench.types, sys; before = set(sys.modules); import detbench.assets\n"
    script += f"sys.exit(str((set(sys.modules) - before) & {heavy} or ''))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stderr.strip() == ""
