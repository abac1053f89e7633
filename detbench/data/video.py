"""Videos in and out, by FFmpeg's libraries (PyAV), frame after frame: memory does not grow with their length.

Every frame is an (H, W, 3) uint8 RGB array: upright, deinterlaced, of more than 8 bits the upper 8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from detbench.data.images import VIDEO_SUFFIXES, below, list_images
from detbench.progress import say
from detbench.types import DetbenchError

Frame = NDArray[np.uint8]
T = TypeVar("T")

WRITTEN = (".mp4", ".m4v", ".mov", ".mkv")
"""Suffixes of videos that are written."""

CRF = "6"
"""x264's constant rate factor. Decoded planes are at least 45 dB from those encoded (a test measures it); that chroma
has half the width and height costs strong colours more."""

PIXELS = 2**28
"""Frames with more pixels are refused: a header may ask for any memory."""


def media(place: Path) -> tuple[list[Path], list[Path]]:
    """The videos and the pictures in a folder and below, or the one file.

    Raises:
        DetbenchError: there is nothing, or none of either.
    """
    if place.is_file():
        return ([place], []) if place.suffix.lower() in VIDEO_SUFFIXES else ([], [place])
    if not place.is_dir():
        raise DetbenchError(f"{place} does not exist: give a picture, a video or a folder of these.")
    films = sorted(path for path in below(place) if path.suffix.lower() in VIDEO_SUFFIXES)
    try:
        return films, list_images(place, recursive=True)
    except DetbenchError:
        if not films:
            raise
        return films, []


class Reader:
    """A video's frames, read forwards.

    Args:
        path: of the video.

    Attributes:
        count: how many frames there are, as the file says; 0 if it does not.
        rate: frames a second, in the mean.
        damage: what is wrong with the file, in words, as far as it was read; empty if nothing is.

    Raises:
        DetbenchError: it has no picture, or FFmpeg cannot decode it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage, self._said = "", False
        self._next, self._frames = 0, self._decode()
        with self._open() as container:
            stream = _picture(container, path)
            self.rate: Fraction = stream.average_rate or stream.guessed_rate or Fraction(25)
            alone = len(container.streams) == 1  # else it may be the sound that lasts so long
            self.count: int = stream.frames or round(_seconds(stream, container) * self.rate)
            self._promised = self.count if stream.frames or alone else 0

    def frame(self, number: int) -> Frame:
        """One frame, (H, W, 3) uint8 RGB; those before it are passed over, and to go back begins again.

        Raises:
            DetbenchError: the video ends before it.
        """
        if number < self._next:
            self._next, self._frames = 0, self._decode()
        for found in self._frames:
            self._next += 1
            if self._next > number:
                return _rgb(found)
        raise DetbenchError(f"{self.path} ends before frame {number}{f': {self.damage}' if self.damage else ''}.")

    def __iter__(self) -> Iterator[Frame]:
        """All frames that can be decoded, in order: the file may say more than there are."""
        return (frame for frame, _ in self.timed())

    def timed(self) -> Iterator[tuple[Frame, Fraction]]:
        """The same, each with its time in seconds from the first on."""
        first, last = None, Fraction(-1) / self.rate
        for found in self._decode():
            time = None if found.pts is None else found.pts * Fraction(found.time_base)
            first = time if first is None else first
            shown = last + 1 / self.rate if time is None or first is None else time - first
            last = shown if shown > last else last + Fraction(1, 90_000)  # a clock that jumps back goes on
            yield _rgb(found), last

    def _open(self) -> Any:
        import av

        try:
            return av.open(str(self.path), metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            if not self.path.exists():
                raise DetbenchError(f"There is no file {self.path}.") from error
            raise DetbenchError(f"{self.path} cannot be read as a video ({_reason(error)}): is it whole?") from error

    def _decode(self) -> Iterator[Any]:
        """Frames as FFmpeg has them, deinterlaced; what is wrong is noted, and what follows it still decoded."""
        import av

        self.damage, number, graph = "", 0, None
        with self._open() as container:
            stream = _picture(container, self.path)
            stream.thread_type = "AUTO"
            packets = container.demux(stream)
            while True:
                decoded: list[Any] = []
                try:
                    packet = next(packets)
                    decoded = packet.decode()
                except StopIteration:
                    break
                except (av.FFmpegError, OSError) as error:
                    at = f" at {_clock(number / self.rate)}"
                    self.damage = self.damage or f"it is damaged or ends early{at} ({_reason(error)})"
                    if not isinstance(error, av.InvalidDataError):
                        break
                    continue
                for frame in decoded:
                    if frame.interlaced_frame and graph is None:
                        graph = _deinterlacer(stream)
                    if not self._said:
                        self._say(frame)
                    number += 1
                    if graph is None:
                        yield frame
                    else:
                        graph.push(frame)
                        yield from _pulled(graph)
            if graph is not None:
                graph.push(None)
                yield from _pulled(graph)
        if not self.damage and number < 0.9 * self._promised:
            self.damage = f"it ends early, at {_clock(number / self.rate)}"

    def _say(self, frame: Any) -> None:
        """What is not kept of a video, by its first frame."""
        self._said = True
        if frame.interlaced_frame:
            say(f"{self.path.name} is interlaced: its frames are deinterlaced (bwdif).")
        if (bits := max(part.bits for part in frame.format.components)) > 8:
            say(f"{self.path.name} has {bits} bits a channel: the upper 8 are kept.")


class Writer:
    """A video, encoded frame after frame; it becomes the file when it is closed without an error.

    H.264 in the source's range and colours, with its sound and its shape of pixels. Frames with an odd side are kept
    whole by yuv444p, others are yuv420p.

    Args:
        target: ends in one of :data:`WRITTEN`.
        size: height and width in pixels.
        rate: frames a second, in the mean.
        source: whose sound is copied, and whose colours and shape of pixels are kept; None for none.
        codec: FFmpeg's name of an encoder.
        crf: x264's or x265's constant rate factor.

    Raises:
        DetbenchError: the file cannot be written, or there is no such encoder.
    """

    _source: Any  # PyAV's types do not tell pictures from sound
    _out: Any
    _stream: Any

    def __init__(
        self,
        target: Path,
        size: tuple[int, int],
        rate: Fraction,
        source: Path | None = None,
        codec: str = "libx264",
        crf: str = CRF,
    ) -> None:
        import av

        if target.suffix.lower() not in WRITTEN:
            raise DetbenchError(f"{target}: videos are written as {', '.join(WRITTEN)}.")
        target.parent.mkdir(parents=True, exist_ok=True)
        # One name for all tries, so that what a killed one left is written over by the next.
        self.target, self._partial = target, target.with_name(f".{target.stem}.part{target.suffix}")
        self._source = av.open(str(source), metadata_errors="replace") if source else None
        height, width = size
        try:
            self._out = av.open(str(self._partial), "w")
            self._stream = self._out.add_stream(codec, rate=rate)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise DetbenchError(f"{target} cannot be written by {codec}: {_reason(error)}.") from error
        stream, context = self._stream, self._stream.codec_context
        stream.width, stream.height = width, height
        odd = width % 2 or height % 2
        stream.pix_fmt = "yuv444p" if odd else "yuv420p"
        if odd:
            say(f"{target.name}: {width}x{height} is odd, which yuv444p keeps; some players know yuv420p alone.")
        if codec in ("libx264", "libx265"):
            stream.options = {"crf": crf, "preset": "fast"}
        if codec == "libx264":  # its macroblock tree reads memory that nobody wrote: bytes would differ from run to run
            stream.options |= {"x264-params": "mbtree=0"}
        # FFmpeg's numbers: 1 and 2 for a narrow and a full range, 1 and 6 for BT.709 and BT.601.
        self._range, self._matrix = 1, 1 if height > 576 else 6
        context.time_base = Fraction(1, 90_000)
        if self._source:
            given = self._source.streams.video[0].codec_context
            self._range = given.color_range or self._range
            self._matrix = given.colorspace if given.colorspace != 2 else 6  # FFmpeg reads what does not say as BT.601
            context.color_primaries, context.color_trc = given.color_primaries, given.color_trc
            if given.sample_aspect_ratio:
                context.sample_aspect_ratio = given.sample_aspect_ratio
        context.color_range, context.colorspace = self._range, self._matrix
        self._sounds = _Sounds(self._source, self._out, target.name) if self._source else None

    def write(self, frame: Frame, time: Fraction) -> None:
        """Encode one frame, (H, W, 3) uint8 RGB, to be shown from a time on, in seconds; times rise."""
        import av

        given = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        made = given.reformat(format=self._stream.pix_fmt, dst_colorspace=self._matrix, dst_color_range=self._range)
        made.pts, made.time_base = round(time * 90_000), Fraction(1, 90_000)
        self._out.mux(self._stream.encode(made))
        if self._sounds:
            self._sounds.up_to(time)

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Finish the file, or leave none."""
        try:
            if kind is None:
                self._out.mux(self._stream.encode())
                if self._sounds:
                    self._sounds.up_to(None)
            self._out.close()
            if self._source:
                self._source.close()
            if kind is None:
                self._partial.replace(self.target)
        finally:
            self._partial.unlink(missing_ok=True)


class _Sounds:
    """Sound of a source that goes into another file as it is, or as AAC where that file cannot hold it."""

    def __init__(self, source: Any, out: Any, name: str) -> None:
        self._out = out
        self._streams: dict[int, tuple[Any, bool]] = {}
        for stream in source.streams.audio:
            if stream.codec_context is None:
                continue
            codec = stream.codec_context.name
            if copied := codec in out.supported_codecs:
                self._streams[stream.index] = (out.add_stream_from_template(stream), True)
            else:
                say(f"{name}: {codec} is not for this kind of file, so its sound becomes AAC.")
                self._streams[stream.index] = (out.add_stream("aac", rate=stream.codec_context.sample_rate), copied)
        self._packets: Iterator[Any] = iter(source.demux(*source.streams.audio) if self._streams else ())
        self._waiting: Any = None

    def up_to(self, time: Fraction | None) -> None:
        """Take over what sounds until a time in seconds; None for all that is left."""
        import av

        while True:
            with suppress(av.FFmpegError):  # sound that is damaged ends there
                self._waiting = self._waiting or next(self._packets, None)
            packet = self._waiting
            if packet is None:
                break
            begins = packet.pts and packet.pts * Fraction(packet.time_base)
            if time is not None and begins and begins > time:
                return
            self._waiting = None
            stream, copied = self._streams[packet.stream.index]
            if copied:
                if packet.dts is not None:
                    packet.stream = stream
                    self._out.mux(packet)
                continue
            with suppress(av.FFmpegError):
                for frame in packet.decode():
                    self._out.mux(stream.encode(frame))
        if time is None:
            for stream, copied in self._streams.values():
                if not copied:
                    self._out.mux(stream.encode())


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, the next made in a thread of its own while one is worked on; what making it raises, this does."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, iterator, end)
        while (item := waiting.result()) is not end:
            waiting = pool.submit(next, iterator, end)
            yield item  # type: ignore[misc]  # it is not the end


def _picture(container: Any, path: Path) -> Any:
    """A file's first stream of pictures that can be decoded.

    Raises:
        DetbenchError: it has none, or one whose frames are too large.
    """
    found = next((stream for stream in container.streams.video if stream.codec_context is not None), None)
    if found is None:
        raise DetbenchError(f"{path} has no pictures that this FFmpeg can decode.")
    width, height = found.codec_context.width, found.codec_context.height
    if width * height > PIXELS:
        raise DetbenchError(f"{path} says its frames have {width}x{height} pixels: too large to be read.")
    return found


def _seconds(stream: Any, container: Any) -> Fraction:
    """How long a video is, as the file says; 0 if it does not."""
    if stream.duration and stream.time_base:
        return Fraction(stream.duration * stream.time_base)
    return Fraction(max(container.duration or 0, 0), 1_000_000)


def _deinterlacer(stream: Any) -> Any:
    """A filter that makes one frame of each interlaced one, and passes on the others."""
    import av.filter

    graph = av.filter.Graph()
    chain = graph.add_buffer(template=stream)
    filtered = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    chain.link_to(filtered)
    filtered.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _pulled(graph: Any) -> Iterator[Any]:
    """What a filter has ready."""
    import av

    while True:
        try:
            yield graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return


def _rgb(frame: Any) -> Frame:
    """(H, W, 3) uint8, upright."""
    turned = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    return np.ascontiguousarray(turned)


def _clock(seconds: Fraction) -> str:
    """Hours, minutes, seconds."""
    minutes, rest = divmod(float(seconds), 60)
    return f"{int(minutes) // 60:02}:{int(minutes) % 60:02}:{rest:04.1f}"


def _reason(error: Exception) -> str:
    """What FFmpeg or the system says, without the function that said it."""
    return str(getattr(error, "strerror", None) or error)
