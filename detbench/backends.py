"""What a network computes with: torch as it is, or what it is compiled to by torch, ONNX Runtime or OpenVINO.

Whatever it is, it is a function of (B, 3, h, w) floats to the same; :mod:`detbench.restore` does all else.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import math
import re
import textwrap
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detbench import assets, convert, environment, quality, sessions
from detbench.files import plain, replacing, write_file
from detbench.progress import say
from detbench.types import DetbenchError, canonical_hash

if TYPE_CHECKING:
    from torch import Tensor, nn

Frame = NDArray[np.uint8]
Compute = Callable[["Tensor"], "Tensor"]
Restore = Callable[[Sequence[Frame]], list[Frame]]
Make = Callable[[str, str], Restore]

PACKAGES = {"torch": "torch", "compile": "torch", "onnx": "onnxruntime", "openvino": "openvino"}
"""Of each backend: the package that computes."""

SIZES = 4
"""Sizes of frames that OpenVINO stays compiled for: it is a quarter faster where it knows them."""

MEAN, PSNR_DB = 0.5, 40.0
"""How far a backend's frames may be from torch's in fp32: grey levels on average, and dB at least."""

TIMED = 3
"""How often a backend is timed; the shortest time counts."""


def identity(backend: str) -> str:
    """A backend with the version of its package, such as ``openvino 2025.3.0``."""
    return f"{backend} {importlib.metadata.version(PACKAGES[backend])}"


def compute(net: nn.Module, backend: str, precision: str, device: str, multiple_of: int, key: str = "") -> Compute:
    """A network, ready to be computed with.

    Args:
        net: in eval mode, on the device.
        backend: ``torch``, ``compile``, ``onnx`` or ``openvino``.
        precision: ``fp32``, ``bf16`` or ``fp16`` of the network's arithmetic; inputs and outputs stay float32.
        device: one of torch's.
        multiple_of: both sides of the network's input must be divisible by this.
        key: what stands for weights and code, by which what the network was converted to is kept; empty to keep none.

    Raises:
        DetbenchError: the backend is not installed, cannot take the network, or has no such precision or device.
    """
    if backend not in PACKAGES:
        raise DetbenchError(f"Backend {backend!r} is not known: choose auto, {', '.join(PACKAGES)}.")
    _need(backend)
    kind = device.partition(":")[0]
    if precision == "fp16" and (kind == "cpu" or backend not in ("torch", "compile")):
        raise DetbenchError(f"{backend} does not compute in fp16 on {kind}: choose fp32 or bf16.")
    if backend == "onnx" and precision != "fp32":
        raise DetbenchError("The backend onnx computes in fp32: leave out the precision.")
    if backend == "openvino" and kind != "cpu":
        raise DetbenchError(f"The backend openvino computes on CPUs, not on {device}: choose torch or compile.")
    if backend == "openvino" and precision == "bf16" and not openvino_has_bf16():
        raise DetbenchError("The backend openvino computes in fp32 on this processor: leave out --precision bf16.")
    if backend == "onnx":
        return _onnx(net, device, multiple_of, key)
    if backend == "openvino":
        return _openvino(net, precision, multiple_of, key)
    return _torch(net, backend == "compile", precision, kind)


def openvino_has_bf16() -> bool:
    """Whether this processor multiplies in bfloat16; where it does not, OpenVINO would compute in fp32 unasked."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _need(backend: str) -> None:
    if not _is_installed(backend):
        raise DetbenchError(f"The backend {backend} needs {PACKAGES[backend]}: pip install 'detbench[{backend}]'")


def _is_installed(backend: str) -> bool:
    return importlib.util.find_spec(PACKAGES[backend]) is not None


def _torch(net: nn.Module, compiled: bool, precision: str, kind: str) -> Compute:
    import torch

    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    network: Any = torch.compile(net) if compiled else net

    def run(x: Tensor) -> Tensor:
        with torch.autocast(kind, dtype=dtype, enabled=dtype is not None):
            if not compiled:
                return net(x)
            with _told("compile"):  # which the first call does
                return network(x)

    return run


def _onnx(net: nn.Module, device: str, multiple_of: int, key: str) -> Compute:
    import torch

    kept = _place(key, "onnx")
    if kept and kept.exists():
        data = kept.read_bytes()
    else:
        data = _converted("onnx", lambda: convert.onnx(convert.bare(net), convert.example(multiple_of).to(device)))
        if kept:
            with suppress(OSError):  # a shared cache may be read-only
                write_file(kept, data)
    session = sessions.session(Path("network.onnx"), data, device)

    def run(x: Tensor) -> Tensor:
        with _told("onnx"):
            (made,) = session.run(None, {"frame": x.contiguous().cpu().numpy()})
        return torch.from_numpy(made).to(x.device)

    return run


def _openvino(net: nn.Module, precision: str, multiple_of: int, key: str) -> Compute:
    import openvino
    import torch

    core = openvino.Core()
    kept = _place(key, "openvino")
    if kept and kept.with_suffix(".xml").exists():
        model = core.read_model(kept.with_suffix(".xml"), kept.with_suffix(".bin"))
    else:
        model = _converted(
            "openvino",
            lambda: openvino.convert_model(
                convert.bare(net), example_input=convert.example(multiple_of), input=[-1, 3, -1, -1]
            ),
        )
        if kept:  # the file of weights first: where the other is, both are
            with suppress(OSError, RuntimeError):
                _keep(model, kept)
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    requests: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def run(x: Tensor) -> Tensor:
        with _told("openvino"):
            if x.shape not in requests:
                fixed = model.clone()
                fixed.reshape(list(x.shape))
                requests[x.shape] = core.compile_model(fixed, "CPU", settings).create_infer_request()
            requests.move_to_end(x.shape)
            while len(requests) > SIZES:
                requests.popitem(last=False)
            made = requests[x.shape].infer({0: x.contiguous().numpy()})[0]
        return torch.from_numpy(np.array(made))

    return run


def _keep(model: Any, kept: Path) -> None:
    """Write OpenVINO's two files."""
    import openvino

    with replacing(kept.with_suffix(".bin")) as weights, replacing(kept.with_suffix(".xml")) as graph:
        openvino.serialize(model, graph, weights)


def _place(key: str, backend: str) -> Path | None:
    """Where a network is kept that was converted for a backend; None where nothing stands for it."""
    if not key:
        return None
    return assets.home() / "converted" / f"{key[:32]}-{plain(identity(backend))}.{backend}"


def _converted(backend: str, work: Callable[[], Any]) -> Any:
    """What a network is converted to; what cannot be is said in a line."""
    with _told(backend), sessions.muted():
        return work()


@contextmanager
def _told(backend: str) -> Iterator[None]:
    """Say in a line what a backend cannot do."""
    import torch

    try:
        yield
    except (DetbenchError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # converters and runtimes fail with whatever comes first
        missing = re.search(r"No conversion rule found for operations: (.*)", str(error))  # OpenVINO says it last
        why = f"it has no {missing[1]}" if missing else sessions.reason(error)
        raise DetbenchError(f"The backend {backend} cannot take this network: {why}") from error


class Tried(NamedTuple):
    """A backend on a few frames, against torch in fp32.

    Attributes:
        backend: its name.
        precision: of its arithmetic.
        ms: the least time that a frame took, in milliseconds.
        mean: how far its frames are from torch's, in grey levels.
        psnr_db: likewise, in dB; the worst frame's.
    """

    backend: str
    precision: str
    ms: float
    mean: float
    psnr_db: float

    @property
    def called(self) -> str:
        """What it is, in words."""
        return f"{self.backend} in {self.precision}"

    @property
    def distance(self) -> str:
        """How far it is from torch in fp32, in words."""
        return f"{self.mean:.2f} grey levels ({self.psnr_db:.0f} dB) from it"

    @property
    def passes(self) -> bool:
        """Whether its frames are as good as torch's."""
        return self.mean <= MEAN and self.psnr_db >= PSNR_DB


def choose(
    name: str,
    make: Make,
    frames: Sequence[Frame],
    *,
    backend: str,
    precision: str,
    device: str,
    key: str,
) -> tuple[str, str]:
    """The fastest backend and precision whose frames are as good as torch's in fp32.

    What was chosen is remembered, for frames of this size: on larger ones another may be the fastest.

    Args:
        name: of the deblurer, for messages.
        make: it, of a backend and a precision.
        frames: a few to try it on, (H, W, 3) uint8 each.
        backend: as for :func:`compute`, or ``auto``.
        precision: likewise; at least one of them is ``auto``.
        device: as for :func:`compute`.
        key: what stands for weights and code; empty where nothing does, and nothing is remembered.

    Raises:
        DetbenchError: nothing of what was asked for passes.
    """
    if backend != "auto":
        _need(backend)
    which = list(candidates(backend, precision, device.partition(":")[0]))
    here = environment.describe()
    machine = [here["cpu"], here["gpu"], here["threads"]]
    basis = [key, which, [identity(each) for each, _ in which], *machine, frames[0].shape]
    place = assets.home() / "converted" / f"{canonical_hash(basis)[:32]}.json"
    if key:
        with suppress(OSError, ValueError, KeyError):
            found = json.loads(place.read_text("utf-8"))
            return found["backend"], found["precision"]
    found, problems = attempts(make, dict.fromkeys([("torch", "fp32"), *which]), frames)
    right = [each for each in found if each.passes and (each.backend, each.precision) in which]
    far = [f"{each.called} is {each.distance}" for each in found if not each.passes]
    if not right and backend != "auto":
        raise DetbenchError("; ".join([*problems, *far]))
    best = min(right, key=lambda each: each.ms, default=found[0])
    share = f"{best.ms / found[0].ms:.0%} of the time of {found[0].called}"
    say(f"{name}: {best.called} takes {share}, and is {best.distance}.")
    for each in (*problems, *far):
        say(f"{name}: not taken: {textwrap.shorten(each, 150, placeholder=' ...')}")
    if key:
        with suppress(OSError):  # a shared cache may be read-only
            write_file(place, json.dumps(best._asdict()))
    return best.backend, best.precision


def attempts(make: Make, which: Iterable[tuple[str, str]], frames: Sequence[Frame]) -> tuple[list[Tried], list[str]]:
    """Backends on a few frames; the first is what the others are compared with.

    Args:
        make: a deblurer of a backend and a precision.
        which: those to try.
        frames: as for :func:`choose`.

    Returns:
        What came out; and why the others cannot take the network.
    """
    wanted: list[Frame] = []
    ready: list[tuple[Restore, Tried]] = []
    problems = []
    for backend, precision in which:
        try:
            restore = make(backend, precision)
            made = [_alone(restore, frame) for frame in frames]
        except DetbenchError as error:
            problems.append(str(error))
            continue
        wanted = wanted or made
        pairs = list(zip(made, wanted, strict=True))
        mean = float(np.mean([np.abs(mine.astype(int) - its).mean() for mine, its in pairs]))
        psnr_db = min(quality.psnr_db(mine, its) for mine, its in pairs)
        ready.append((restore, Tried(backend, precision, math.inf, mean, psnr_db)))
    for _ in range(TIMED):  # in turn: what else the machine does slows all of them
        ready = [(restore, tried._replace(ms=min(tried.ms, _ms(restore, frames[0])))) for restore, tried in ready]
    return [tried for _, tried in ready], problems


def candidates(backend: str, precision: str, kind: str) -> Iterator[tuple[str, str]]:
    """What ``auto`` chooses among on a kind of device: backends that are installed, with the precisions that they have.

    ``compile`` is not among them: compiling takes longer than most runs.
    """
    backends = (("torch", "onnx", "openvino") if kind == "cpu" else ("torch",)) if backend == "auto" else (backend,)
    precisions = ("fp32", "bf16") if kind == "cpu" else ("fp32", "bf16", "fp16")
    for each in backends:
        for its in precisions if precision == "auto" else (precision,):
            if _is_installed(each) and (each, its) != ("onnx", "bf16"):
                yield each, its


def _alone(restore: Restore, frame: Frame) -> Frame:
    """A frame by itself, with the same random draws for all backends."""
    import torch

    torch.manual_seed(0)
    return restore([frame])[0]


def _ms(restore: Restore, frame: Frame) -> float:
    started = time.perf_counter()
    restore([frame])
    return (time.perf_counter() - started) * 1e3
