"""Trained weights as half-precision safetensors files, with the record of their training in the file's header."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detbench.files import write_file
from detbench.types import DetbenchError

if TYPE_CHECKING:
    from torch import Tensor, nn


def save_weights(path: Path, net: nn.Module, record: dict[str, Any]) -> None:
    """Write a network's weights as float16, atomically.

    Args:
        path: ends in ``.safetensors``; its folder is made.
        net: whose parameters and buffers are written.
        record: plain data about the training: recipe, preset, images seen, data, wall time, device, commit.
    """
    from safetensors.torch import save

    tensors = {
        name: (t.half() if t.is_floating_point() else t).detach().cpu().contiguous()
        for name, t in net.state_dict().items()
    }
    write_file(path, save(tensors, metadata={"detbench": json.dumps(record, sort_keys=True)}))


def load_weights(net: nn.Module, path: Path) -> None:
    """Read weights into a network of the same shape.

    Raises:
        DetbenchError: the file is missing or damaged, or does not fit the network.
    """
    tensors = read_tensors(path)
    wanted = {name: tuple(t.shape) for name, t in net.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    if wanted != found:
        name = next(n for n in sorted({**wanted, **found}) if wanted.get(n) != found.get(n))
        raise DetbenchError(
            f"{path} does not fit this network: {name} is {found.get(name, 'missing')} in the file and"
            f" {wanted.get(name, 'unknown')} in the network. Was it trained for another deblurer or preset?"
        )
    net.load_state_dict(tensors)  # casts to the network's own precision


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A weights file's tensors by name.

    Raises:
        DetbenchError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DetbenchError(
            f"{path} cannot be read as safetensors weights ({error}): restore or retrain it."
        ) from error
    return tensors


def read_record(path: Path) -> dict[str, Any]:
    """The training record in a weights file's header; reads no tensors and needs no torch.

    Raises:
        DetbenchError: the file is missing or is not safetensors.
    """
    try:
        record: dict[str, Any] = json.loads(_header(path).get("__metadata__", {}).get("detbench", "{}"))
        record.keys()
    except (ValueError, TypeError, AttributeError) as error:
        raise DetbenchError(f"{path} has a damaged record of its training: restore or retrain it.") from error
    return record


def count_parameters(path: Path) -> int:
    """How many values a weights file holds, buffers included; reads the header alone.

    Raises:
        DetbenchError: the file is missing or is not safetensors.
    """
    try:
        return sum(math.prod(entry["shape"]) for name, entry in _header(path).items() if name != "__metadata__")
    except (KeyError, TypeError) as error:
        raise DetbenchError(f"{path} has no readable safetensors header: restore or retrain it.") from error


def _header(path: Path) -> dict[str, Any]:
    """A safetensors file's header."""
    try:
        with path.open("rb") as file:
            header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        if not isinstance(header, dict):
            raise ValueError("no object")
    except (OSError, ValueError, OverflowError, MemoryError) as error:
        raise DetbenchError(f"{path} has no readable safetensors header: restore or retrain it.") from error
    return header
