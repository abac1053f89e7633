"""Deblurers that a caller of :func:`detbench.run` hands over: networks, specifications and functions.

A run is known by what its frames depend on. Of an object that can be: a network's tensors, its class's code and its
options; a function's code and what it refers to. Where something else takes part, nothing stands for it.
"""

from __future__ import annotations

import copy
import hashlib
import sys
import sysconfig
import types
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detbench import external, registry
from detbench.backends import Restore
from detbench.registry import Deblurer
from detbench.restore import Restorer
from detbench.types import DeblurerSpec, DetbenchError, Preset, RunSpec, canonical_hash

Frame = NDArray[np.uint8]
Given: TypeAlias = nn.Module | DeblurerSpec | Callable[[Frame], Frame]
"""A network of (B, 3, H, W) floats in [0, 1], a specification, or a function of one (H, W, 3) uint8 RGB frame."""


_ATTRIBUTES = frozenset(vars(nn.Module()))
_INSTALLED = tuple(sysconfig.get_paths()[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib"))


@dataclass(frozen=True)
class Custom:
    """A deblurer that was handed over.

    Attributes:
        restorer: called with a run's spec, gives a function from (H, W, 3) uint8 RGB frames of one size to the same.
        hash: SHA-256 (hexadecimal) of what its frames depend on; a random number where that cannot be known.
        known: whether it can.
    """

    restorer: Callable[[RunSpec], Restore]
    hash: str
    known: bool


def take(spec: RunSpec, deblurer: Given) -> Custom:
    """Take what a caller hands over; a network is copied, and stays as it is.

    Args:
        spec: whose field ``deblurer`` is the name that the caller chose, whose ``seed`` a specification's network is
            built with, and whose ``weights`` it gets.
        deblurer: see :data:`Given`.

    Raises:
        DetbenchError: a name that is empty or belongs to another deblurer, or weights that are missing or in the way.
    """
    _check_name(spec.deblurer)
    if isinstance(deblurer, DeblurerSpec):
        preset, value_range = deblurer.presets[deblurer.preset], deblurer.value_range
        if preset.recipe and not (spec.weights or deblurer.assets):
            raise DetbenchError(f"{spec.deblurer} has a recipe and no trained weights: name a file in RunSpec.weights.")
        torch.manual_seed(spec.seed)
        net = Deblurer(deblurer, preset, Path(spec.weights) if spec.weights else None).build()
        return _of_network(net, preset, value_range)
    if spec.weights:
        raise DetbenchError(f"{spec.deblurer} is handed over as it is: leave RunSpec.weights out.")
    if isinstance(deblurer, nn.Module):
        return _of_network(deblurer, Preset(), (0.0, 1.0))
    if not callable(deblurer):
        kind = type(deblurer).__name__
        raise DetbenchError(f"{spec.deblurer} is a {kind}: hand over a torch.nn.Module, a DeblurerSpec or a function.")
    return _of_function(deblurer)


def _check_name(name: str) -> None:
    if not name or name in registry.entries() or name.startswith((*external.PREFIXES, "frames:")):
        taken = f"{name!r} is another deblurer's name" if name else "RunSpec.deblurer is empty"
        raise DetbenchError(f"{taken}: give the one that you hand over a name of its own.")


def _of_network(net: nn.Module, preset: Preset, value_range: tuple[float, float]) -> Custom:
    def restorer(spec: RunSpec) -> Restorer:
        return Restorer(
            copy.deepcopy(net),
            multiple_of=preset.multiple_of,
            value_range=value_range,
            device=spec.device,
            precision=spec.precision,
            backend=spec.backend,
        )

    return _identified(restorer, [net, preset.multiple_of, value_range])


def _of_function(function: Callable[[Frame], Frame]) -> Custom:
    def restore(frames: Sequence[Frame]) -> list[Frame]:
        made = [function(frame.copy()) for frame in frames]
        for frame, new in zip(frames, made, strict=True):
            if not isinstance(new, np.ndarray) or (new.shape, new.dtype) != (frame.shape, frame.dtype):
                kind = f"{new.shape} {new.dtype}" if isinstance(new, np.ndarray) else type(new).__name__
                raise DetbenchError(f"it made {kind} of {frame.shape} uint8: a function must keep shape and type.")
        return made

    def restorer(spec: RunSpec) -> Restore:
        if (spec.precision, spec.backend) != ("fp32", "torch"):
            raise DetbenchError(f"{spec.deblurer} is a function: leave out backend and precision.")
        return restore

    return _identified(restorer, function)


def _identified(restorer: Callable[[RunSpec], Restore], basis: Any) -> Custom:
    try:
        return Custom(restorer, canonical_hash(_plain(basis, set())), known=True)
    except (_UnknownError, TypeError, ValueError, RuntimeError):  # also arrays of objects, and what contains itself
        return Custom(restorer, uuid.uuid4().hex + uuid.uuid4().hex, known=False)


class _UnknownError(Exception):
    """Something takes part that nothing plain stands for."""


def _plain(value: Any, seen: set[int]) -> Any:
    """What stands for a value, as plain data; functions that are ``seen`` already are not gone into again.

    Raises:
        _UnknownError: nothing does.
    """
    if value is None or isinstance(
        value, bool | int | float | str | bytes | complex | types.EllipsisType | range | slice
    ):
        return repr(value)
    if isinstance(value, list | tuple):
        return [type(value).__name__, *(_plain(item, seen) for item in value)]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, Mapping):
        return {repr(key): _plain(item, seen) for key, item in value.items()}
    if isinstance(value, Tensor | np.ndarray):
        return _array(value)
    if isinstance(value, nn.Module):
        return _network(value, seen)
    if isinstance(value, types.FunctionType) and not _is_installed(value.__code__.co_filename):
        return _function(value, seen)
    if isinstance(value, types.CodeType):
        return [value.co_code.hex(), value.co_names, *(_plain(constant, seen) for constant in value.co_consts)]
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType | np.ufunc):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}"
    if isinstance(value, types.ModuleType | torch.dtype | torch.device):
        return str(getattr(value, "__name__", value))
    raise _UnknownError


def _array(value: Tensor | NDArray[Any]) -> Any:
    tensor = value.detach().cpu() if isinstance(value, Tensor) else torch.from_numpy(np.ascontiguousarray(value))
    data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return [str(tensor.dtype), list(tensor.shape), hashlib.sha256(data).hexdigest()]


def _network(net: nn.Module, seen: set[int]) -> Any:
    """A network's tensors, and what the classes of all its layers do, with their options."""
    layers = [[name, *_layer(layer, seen)] for name, layer in net.named_modules()]
    return [_plain(net.state_dict(), seen), layers]


def _layer(layer: nn.Module, seen: set[int]) -> list[Any]:
    """The class and the attributes of a layer: with its code, or, of an installed package's, with the version."""
    kind = type(layer)
    code = {name: _plain(function, seen) for name, function in _methods(kind)}
    package = kind.__module__.partition(".")[0]
    version = "" if code or package == "torch" else str(getattr(sys.modules.get(package), "__version__", ""))
    options = {}
    for name, value in vars(layer).items():
        if name not in _ATTRIBUTES:
            try:
                options[name] = _plain(value, seen)
            except _UnknownError:
                if code:  # installed packages' layers hold much that computes nothing
                    raise
    return [f"{kind.__module__}.{kind.__qualname__}", version, layer.extra_repr(), code, options]


def _methods(kind: type) -> Iterator[tuple[str, types.FunctionType]]:
    """The functions of a class and its bases that are no installed package's."""
    for base in kind.__mro__:
        for name, value in vars(base).items():
            function = getattr(value, "fget", None) or getattr(value, "__func__", value)
            if isinstance(function, types.FunctionType) and not _is_installed(function.__code__.co_filename):
                yield f"{base.__qualname__}.{name}", function


def _function(function: types.FunctionType, seen: set[int]) -> Any:
    """A function's code, its defaults, and the variables that it refers to."""
    if id(function) in seen:
        return function.__qualname__
    seen.add(id(function))
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    used = {name: function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__}
    constants = tuple(None if c == function.__doc__ else c for c in function.__code__.co_consts)
    code = function.__code__.replace(co_consts=constants)  # a better docstring computes the same
    parts = (code, function.__defaults__, function.__kwdefaults__, cells, used)
    return [_plain(part, seen) for part in parts]


def _names(code: types.CodeType) -> set[str]:
    """Names that code refers to, with those of the functions in it."""
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _is_installed(file: str) -> bool:
    return file.startswith(_INSTALLED)
