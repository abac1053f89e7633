"""Videos that tests make: a few frames, in whatever way cameras and editors write them."""

from fractions import Fraction

import av
import numpy as np


def frames(count, height=96, width=160, step=4):
    """A bright square that moves to the right over a gradient, (H, W, 3) uint8 RGB each."""
    ground = np.linspace(30, 90, width)[None, :, None].repeat(height, 0).repeat(3, 2)
    made = []
    for i in range(count):
        frame = ground.astype(np.uint8)
        frame[height // 4 : height // 2, 8 + step * i : 8 + step * i + height // 4] = (220, 180, 40)
        made.append(frame)
    return made


def write(
    path, shown, rate=Fraction(30), codec="libx264", pix_fmt="yuv420p", times=None, sound=None, file=None, **options
):
    """Write frames, at times in seconds where they are given; ``sound`` names an encoder of a second of a tone.

    Other options are the encoder's, or with ``file`` the kind of file's.
    """
    context = {key: options.pop(key) for key in ("sample_aspect_ratio", "color_range", "colorspace") if key in options}
    rotation = options.pop("rotation", None)
    with av.open(str(path), "w", options=file or {}) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.height, stream.width = shown[0].shape[:2]
        stream.pix_fmt, stream.options = pix_fmt, {key.replace("_", "-"): value for key, value in options.items()}
        if times:
            stream.codec_context.time_base = Fraction(1, 90_000)
        for key, value in context.items():
            setattr(stream.codec_context, key, value)
        if rotation:
            stream.set_display_rotation(rotation)
        tone = out.add_stream(sound, rate=48_000) if sound else None
        for i, frame in enumerate(shown):
            given = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=pix_fmt)
            given.pts = round(times[i] * 90_000) if times else i
            given.time_base = Fraction(1, 90_000) if times else 1 / Fraction(rate)
            out.mux(stream.encode(given))
        out.mux(stream.encode())
        if tone:
            out.mux([*_tone(tone)])
    return path


def _tone(stream):
    wave = (np.sin(np.arange(48_000) * 2 * np.pi * 440 / 48_000) * 8000).astype(np.int16)
    resampler = av.AudioResampler(stream.format, stream.layout, 48_000, stream.codec_context.frame_size or None)
    given = av.AudioFrame.from_ndarray(np.stack([wave, wave]).T.reshape(1, -1), format="s16", layout="stereo")
    given.sample_rate, given.pts, given.time_base = 48_000, 0, Fraction(1, 48_000)
    for frame in [*resampler.resample(given), *resampler.resample(None)]:
        yield from stream.encode(frame)
    yield from stream.encode()


def psnr(a, b):
    """Of two arrays of values up to 255, in dB."""
    return 10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2)))
