"""Where a frame's time goes: each stage's milliseconds, and what the networks reach of what this machine can do."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from detbench import detectors, environment, match, quality, resolve, restorers
from detbench.data import datasets, images
from detbench.types import Detections, FramePair, RunSpec

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
Frame = NDArray[np.uint8]

FRAMES = 5
"""How many are timed, after one that warms up."""

SIDE, REPEATS = 1536, 4
"""Of the matrices that the machine's rate is measured with, and how often: the best counts."""

COPIED = 2**27
"""Bytes that are copied, for the memory's rate: more than caches hold."""


@dataclass(frozen=True)
class Stage:
    """A part of the work on a frame.

    Attributes:
        name: what is done.
        ms: the median over the frames, in milliseconds.
        share: of the sum of all stages.
        gflop: what is computed a frame, in 10^9 floating-point operations, a multiplication with an addition being two;
            None where it is no network, or its file does not tell.
        rate: share of the machine's matrix rate in the same precision.
    """

    name: str
    ms: float
    share: float
    gflop: float | None = None
    rate: float | None = None

    @property
    def gflop_per_s(self) -> float | None:
        """How fast it is computed."""
        return None if self.gflop is None else self.gflop / self.ms * 1e3


@dataclass(frozen=True)
class Layer:
    """A layer of a network, as torch computes it.

    Attributes:
        name: in the network.
        kind: its class.
        gflop: of one frame.
        intensity: floating-point operations a byte that has to be read or written.
        gflop_per_s: how fast it is computed.
    """

    name: str
    kind: str
    gflop: float
    intensity: float
    gflop_per_s: float


@dataclass(frozen=True)
class Bench:
    """What came out.

    Attributes:
        spec: what was timed, with backend and precision as they are.
        size: width and height of the frames.
        stages: in the order in which they are done.
        matrix_gflop_per_s: of large matrices, in the deblurer's precision.
        fp32_gflop_per_s: likewise, in fp32.
        memory_gb_per_s: of a large copy, read and written.
        peak_mb: of this process, or of the GPU's memory.
        layers: of the deblurer.
    """

    spec: RunSpec
    size: tuple[int, int]
    stages: tuple[Stage, ...]
    matrix_gflop_per_s: float
    fp32_gflop_per_s: float
    memory_gb_per_s: float
    peak_mb: float
    layers: tuple[Layer, ...]


def bench(spec: RunSpec, size: tuple[int, int] | None = None) -> Bench:
    """Time a deblurer and a detector on a dataset's first frames, one stage after the other.

    A run does reading and scoring while the networks are at work, so their shares of its wall time are less.

    Args:
        spec: deblurer, dataset, detector, device, backend and precision.
        size: width and height that the frames are scaled to, in pixels; as they are by default.

    Raises:
        DetbenchError: as for :func:`detbench.resolve.resolve`.
    """
    spec = resolve.resolve(spec)
    pairs = datasets.of(spec).pairs
    _, found = detectors.settled(spec)
    restore, detector = restorers.restorer(spec), found.for_run(spec)
    times: dict[str, list[float]] = {}
    for number in range(FRAMES + 1):
        sharp, blurred = _timed(times, "reading", _read, pairs[number % len(pairs)])
        if size:
            sharp, blurred = (cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in (sharp, blurred))
        made = _split(times, "deblurring", restore, blurred)
        seen = _split(times, "detecting", detector, made)
        _timed(times, "scoring", _score, made, sharp, seen, spec.match_iou)
        _timed(times, "keeping", images.pack, made)
        if number == 0:
            times.clear()  # it warmed up
    ms = {name: statistics.median(taken) for name, taken in times.items()}
    fp32 = matrix_gflop_per_s(spec.device, "fp32")
    rate = fp32 if spec.precision == "fp32" else matrix_gflop_per_s(spec.device, spec.precision)
    whole = sum(ms.values())
    flops = {
        "deblurring: network": gflop(restorers.restorer(replace(spec, backend="torch", precision="fp32")), blurred),
        "detecting: network": gflop(detector, made),
    }
    rates = {"deblurring: network": rate, "detecting: network": fp32}
    stages = []
    for name, taken in ms.items():
        counted = flops.get(name) or None
        reached = counted / taken * 1e3 / rates[name] if counted else None
        stages.append(Stage(name, taken, taken / whole, counted, reached))
    height, width = blurred.shape[:2]
    return Bench(
        spec,
        (width, height),
        tuple(stages),
        rate,
        fp32,
        memory_gb_per_s(spec.device),
        _peak_mb(spec.device),
        tuple(_layers(spec, blurred)),
    )


def matrix_gflop_per_s(device: str, precision: str) -> float:
    """How fast this machine multiplies large square matrices, in 10^9 operations a second: the best of a few times.

    Each product is computed as a convolution of 1x1 too, which is what networks are made of: on some processors another
    library does that, and faster.
    """
    import torch
    import torch.nn.functional as F

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    one = torch.rand(SIDE, SIDE, device=device).to(dtype)
    pixels, weight = (
        each.contiguous(memory_format=torch.channels_last)
        for each in (one.view(1, SIDE, -1, 32), one.view(SIDE, SIDE, 1, 1))
    )
    with torch.inference_mode():
        taken = min(_least(lambda: one @ one, device), _least(lambda: F.conv2d(pixels, weight), device))
    return 2 * SIDE**3 / taken / 1e9


def memory_gb_per_s(device: str) -> float:
    """How fast this machine reads and writes what no cache holds, in 10^9 bytes a second: the best of a few times."""
    import torch

    source = torch.zeros(COPIED // 4, device=device)
    target = torch.empty_like(source)
    return 2 * COPIED / _least(lambda: target.copy_(source), device) / 1e9


def _least(work: Callable[[], Any], device: str) -> float:
    """The least seconds of a few times."""
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        environment.synchronize(device)
        taken.append(time.perf_counter() - started)
    return min(taken)


def _timed(times: dict[str, list[float]], name: str, work: Callable[..., T], *given: Any) -> T:
    """Do some work, and note the milliseconds."""
    started = time.perf_counter()
    made = work(*given)
    times.setdefault(name, []).append((time.perf_counter() - started) * 1e3)
    return made


def _split(times: dict[str, list[float]], name: str, work: Any, frame: Frame) -> Any:
    """The same of what holds a network and counts its seconds: network and what is around it, apart."""
    before = getattr(work, "forward_seconds", None)
    started = time.perf_counter()
    (made,) = work([frame])
    ms = (time.perf_counter() - started) * 1e3
    inside = ms if before is None else (work.forward_seconds - before) * 1e3
    times.setdefault(f"{name}: network", []).append(inside)
    times.setdefault(f"{name}: around it", []).append(ms - inside)
    return made


def _read(pair: FramePair) -> tuple[Frame, Frame]:
    return images.read_image(pair.sharp), images.read_image(pair.blurred)


def _score(made: Frame, sharp: Frame, seen: Detections, match_iou: float) -> None:
    match.score_frame(seen, seen, seen, match_iou)
    quality.psnr_db(made, sharp)
    quality.ssim(made, sharp)


def gflop(work: Callable[[list[Frame]], Any], frame: Frame) -> float:
    """What torch computes, in 10^9 operations; 0 for what does not compute with torch."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work([frame])
    return counter.get_total_flops() / 1e9


def _peak_mb(device: str) -> float:
    """The most memory that was in use, in 10^6 bytes."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def _layers(spec: RunSpec, frame: Frame) -> Iterator[Layer]:
    """A deblurer's layers with weights, as torch computes them in fp32, one after the other."""
    from torch.utils.flop_counter import FlopCounterMode

    restore: Any = restorers.restorer(replace(spec, backend="torch", precision="fp32"))
    net = restore.net
    begun: dict[str, float] = {}
    seconds: dict[str, float] = {}
    moved: dict[str, int] = {}

    def begin(name: str) -> None:
        environment.synchronize(spec.device)
        begun[name] = time.perf_counter()

    def end(name: str, module: nn.Module, given: Any, made: Any) -> None:
        environment.synchronize(spec.device)
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - begun[name]
        tensors = (*given, made, *module.parameters(recurse=False))
        moved[name] = moved.get(name, 0) + sum(each.numel() * each.element_size() for each in tensors)

    with FlopCounterMode(display=False) as counter:
        restore([frame])
    root = type(net).__name__
    flops = {name.removeprefix(f"{root}."): sum(of.values()) for name, of in counter.get_flop_counts().items()}
    layers = {name: each for name, each in net.named_modules() if flops.get(name) and not list(each.children())}
    handles = []
    for name, module in layers.items():
        handles.append(module.register_forward_pre_hook(lambda *_, name=name: begin(name)))
        handles.append(module.register_forward_hook(partial(end, name)))
    restore([frame])
    for handle in handles:
        handle.remove()
    for name, module in layers.items():
        if name in seconds:
            kind, gflop = type(module).__name__, flops[name] / 1e9
            yield Layer(name, kind, gflop, flops[name] / moved[name], gflop / seconds[name])
