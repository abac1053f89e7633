"""Published checkpoints as deblurers: ``spandrel:PATH`` through spandrel, ``onnx:PATH`` through ONNX Runtime.

Both packages are optional extras. They and torch are imported when a checkpoint is opened, not before.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detbench import sessions
from detbench.types import DeblurerSpec, DetbenchError, Preset

if TYPE_CHECKING:
    from torch import Tensor, nn

PREFIXES = ("spandrel:", "onnx:")
"""What the names of these deblurers begin with; a checkpoint's path follows."""

ONNX_MULTIPLE_OF = 64
"""Sides of an ONNX network's input: the file does not say, and published deblurers need divisors of 64 (4 to 32)."""


def find(name: str) -> Path:
    """The checkpoint that a name such as ``onnx:PATH`` stands for; reads nothing.

    Raises:
        DetbenchError: there is no such file.
    """
    kind, _, place = name.partition(":")
    path = Path(place).expanduser()
    if not path.is_file():
        raise DetbenchError(f"{name}: there is no file {path}. Give {kind}:PATH the path of a checkpoint.")
    return path


def load(name: str) -> tuple[DeblurerSpec, Path]:
    """The deblurer that a checkpoint holds: all of it, so that the file's hash stands for it.

    ``spandrel:PATH`` is a ``.safetensors`` file or what ``torch.save`` wrote (``.pth``, ``.pt``, ``.ckpt``), of any
    RGB restoration architecture that spandrel knows, and those of spandrel-extra-arches if that is installed. It
    cannot run code: pickles are read by torch's ``weights_only`` unpickler, TorchScript archives are refused.

    ``onnx:PATH`` has one input and one output, float32 or float16, (B, 3, H, W) in RGB, with any height and width.
    Its range is taken to be [0, 1]: ONNX files do not say. Frames are padded to multiples of ``ONNX_MULTIPLE_OF``.

    Args:
        name: a prefix and the path of a checkpoint, which may be relative or begin with ``~``.

    Returns:
        The definition and the checkpoint's path. The checkpoint is read here, for a check, and at each ``build``.

    Raises:
        DetbenchError: the file or the package that reads it is missing, or the file holds no such network.
    """
    kind, path = name.partition(":")[0], find(name)
    read = {"spandrel": _spandrel, "onnx": _onnx}[kind]
    stat = path.stat()
    preset = Preset(multiple_of=_multiple_of(read, path, (stat.st_ino, stat.st_mtime_ns)))
    return DeblurerSpec(build=lambda: read(path)[0], presets={"default": preset}, licence="the checkpoint's own"), path


@functools.lru_cache
def _multiple_of(read: Callable[[Path], tuple[nn.Module, int]], path: Path, version: tuple[int, int]) -> int:
    """Read a checkpoint only to see that it can be read: once, as a run asks for its deblurer several times."""
    return read(path)[1]


def _spandrel(path: Path) -> tuple[nn.Module, int]:
    """The network of a checkpoint that spandrel knows, and what its input's sides must be multiples of."""
    try:
        import spandrel
    except ImportError as error:
        raise DetbenchError(f"spandrel:{path} needs spandrel: pip install 'detbench[spandrel]'") from error
    with warnings.catch_warnings(action="ignore"):  # torch's, about what spandrel's architectures do
        with contextlib.suppress(ImportError):
            import spandrel_extra_arches

            spandrel_extra_arches.install(ignore_duplicates=True)
        weights = plain_state(_weights(path))
        try:
            network = spandrel.ModelLoader("cpu").load_from_state_dict(weights)
        except Exception as error:
            raise DetbenchError(
                f"{path} holds no network that spandrel {spandrel.__version__} knows ({sessions.reason(error)}). A"
                " newer version may; Restormer, MPRNet, MIRNetv2 and M3SNet, which have licences of their own, come"
                " with pip install spandrel-extra-arches"
            ) from error
    channels = (network.input_channels, network.output_channels)
    if network.purpose != "Restoration" or channels != (3, 3):
        raise DetbenchError(
            f"{path} is {network.architecture.name}, a {network.scale}x {network.purpose} network of {channels[0]} to"
            f" {channels[1]} channels: give one that restores RGB images and keeps their size."
        )
    # Called through spandrel, which pads further where a network wants a least size or squares; but not in the
    # inference mode that it puts itself into, since tuning differentiates through it.
    call = inspect.unwrap(type(network).__call__)
    return _module(functools.partial(call, network), network.model), network.size_requirements.multiple_of


WRAPPERS = (
    "params_ema",
    "ema_model",
    "generator",
    "netG",
    "net_g",
    "model_state_dict",
    "state_dict",
    "params",
    "model",
)
"""Under which trainers put a network's tensors in a checkpoint; the first that is there is taken."""

OURS = ("module.", "_orig_mod.", "net_g.", "netG.", "generator.", "ema_model.", "model.", "network.")
"""What trainers and compilers put before the names of all tensors."""

COUNTED = ("total_ops", "total_params")
"""Ends of the names of what profilers leave among the tensors."""


def plain_state(loaded: Any) -> Any:
    """A network's own tensors by its own names, out of what trainers wrap them in; what is no dict stays as it is."""
    while isinstance(loaded, dict) and (found := [key for key in WRAPPERS if isinstance(loaded.get(key), dict)]):
        loaded = loaded[found[0]]
    if not isinstance(loaded, dict):
        return loaded
    state = {str(name): value for name, value in loaded.items() if not str(name).endswith(COUNTED)}
    while prefix := next((its for its in OURS if state and all(name.startswith(its) for name in state)), ""):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _weights(path: Path) -> Any:
    """The tensors of a checkpoint. Runs no code from it, unlike spandrel's own reader, which opens TorchScript."""
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(loaded, torch.nn.Module):  # other packages may have let torch know that some are safe
            raise TypeError("a module")
        return loaded
    except Exception as error:
        raise DetbenchError(
            f"{path} cannot be read as weights ({type(error).__name__}): it is damaged, or holds more than tensors,"
            " which could run code. Give a .safetensors file, or what torch.save(net.state_dict(), ...) wrote."
        ) from error


def _onnx(path: Path) -> tuple[nn.Module, int]:
    """The network of an ONNX file, and what its input's sides are made multiples of."""
    import torch

    session = functools.cache(functools.partial(sessions.session, path, path.read_bytes()))

    def restore(frame: Tensor) -> Tensor:
        network = session(str(frame.device))
        if torch.is_autocast_enabled(frame.device.type):
            raise DetbenchError(f"{path} has a precision of its own: leave out --precision bf16.")
        try:
            given = network.get_inputs()[0]
            dtype = torch.float16 if given.type == "tensor(float16)" else torch.float32
            (made,) = network.run(None, {given.name: frame.to(dtype).contiguous().cpu().numpy()})
            return torch.from_numpy(made).to(frame)
        except Exception as error:
            height, width = frame.shape[2:]
            raise DetbenchError(
                f"{path} fails on an image of {width}x{height} ({sessions.reason(error)}). It must make one image of"
                " one, as float32 or float16 (batch, 3, height, width), of any height and width. Export it again that"
                " way (dynamic_axes of torch.onnx.export)."
            ) from error

    # Tried out, not read off: what files declare of their sizes is often wrong.
    probe = torch.zeros(1, 3, ONNX_MULTIPLE_OF, 3 * ONNX_MULTIPLE_OF)
    made, kind = restore(probe).shape, session("cpu").get_outputs()[0].type
    if made != probe.shape or kind not in ("tensor(float)", "tensor(float16)"):
        raise DetbenchError(
            f"{path} makes a {kind} of shape {tuple(made)} of an image of shape {tuple(probe.shape)}: give a network"
            " that keeps the shape, and makes floats."
        )
    return _module(restore), ONNX_MULTIPLE_OF


def _module(restore: Callable[[Tensor], Tensor], parameters: nn.Module | None = None) -> nn.Module:
    """A function of one frame, (1, 3, H, W), as a module in eval mode on (B, 3, H, W), which owns its parameters.

    Frames go one by one: that is all spandrel promises to take, and what many an ONNX file was exported for.
    """
    import torch

    class OneByOne(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = parameters

        def forward(self, batch: Tensor) -> Tensor:
            return torch.cat([restore(frame) for frame in torch.split(batch, 1)])

    return OneByOne().eval()
