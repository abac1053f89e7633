"""What this machine and this checkout are: recorded beside every number and in every weights file."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detbench.types import DetbenchError

PACKAGES = ("torch", "torchvision", "ultralytics", "numpy", "opencv-python", "pillow", "pycocotools")


TIMED = "timed"
"""Where the description of a run tells of the machine on which its times were taken, if that was done later."""


def describe() -> dict[str, Any]:
    """Versions, hardware and commit as plain data. Packages that are not installed are left out."""
    import torch

    from detbench import __version__

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "detbench": __version__,
        **commit(),
        "python": platform.python_version(),
        "packages": versions,
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else _cpu() if _has_mps() else None,
    }


def machine(described: Mapping[str, Any]) -> str:
    """In words, the hardware that a run's times are of, as :func:`describe` has it: processor, threads, GPU."""
    described = timed(described)
    processor, threads = described.get("cpu", "an unknown processor"), described.get("threads", "?")
    return f"{processor}, {threads} thread{'s' * (threads != 1)}, {described.get('gpu') or 'no GPU'}"


def timed(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a run's description says of the machine that its times are of."""
    found: Mapping[str, Any] = described.get(TIMED, described)
    return found


def commit() -> dict[str, Any]:
    """The git commit of this checkout and whether it has uncommitted changes; both None outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str | None:
        try:
            return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    # A copy installed below somebody else's repository must not report that one's commit.
    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return {"commit": None, "dirty": None}
    return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}


def _cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def device(name: str) -> str:
    """The device that ``auto`` stands for here; other names are checked.

    Raises:
        DetbenchError: no such device.
    """
    if name == "cpu" or (name == "auto" and not _has_driver()):
        return "cpu"
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu"
    if name.partition(":")[0] not in ("cpu", "cuda", "mps"):
        raise DetbenchError(f"Device {name!r} is not known: choose auto, cpu, cuda, cuda:N or mps.")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise DetbenchError(f"Device {name!r} cannot be used here ({reason}): try --device cpu.") from error
    return name


def synchronize(device: object) -> None:
    """Wait until a GPU has done what it was given.

    Args:
        device: one of torch's, or its name.
    """
    import torch

    kind = torch.device(str(device)).type
    if kind == "cuda":
        torch.cuda.synchronize(str(device))
    elif kind == "mps":
        torch.mps.synchronize()


def _has_mps() -> bool:
    """Whether torch computes on Apple's GPU here."""
    import torch

    return torch.backends.mps.is_available()


def _has_driver() -> bool:
    """Whether there is a GPU's driver at all: known at once, where torch takes seconds to be imported."""
    import ctypes

    if sys.platform == "darwin":
        return True
    if Path("/dev/kfd").exists():  # AMD's, which torch calls cuda too
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
