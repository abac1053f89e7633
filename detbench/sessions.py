"""ONNX files, opened by ONNX Runtime: deblurers and detectors alike."""

from __future__ import annotations

import io
import os
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from detbench.types import DetbenchError


def session(path: Path, content: bytes, device: str) -> Any:
    """ONNX Runtime's session on one of torch's devices.

    Args:
        path: of the file, for messages.
        content: of the file.
        device: such as ``cpu`` or ``cuda:1``.

    Raises:
        DetbenchError: ONNX Runtime is missing, cannot open the file, or has no such device.
    """
    import torch

    try:
        import onnxruntime
    except ImportError as error:
        raise DetbenchError(f"onnx:{path} needs ONNX Runtime: pip install 'detbench[onnx]'") from error
    kind, _, index = device.partition(":")
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(kind, kind)
    # The default search, EXHAUSTIVE, times all algorithms at each new size, and may choose another one the next time.
    settings = {"device_id": index or "0", "cudnn_conv_algo_search": "HEURISTIC"} if kind == "cuda" else {}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what goes wrong is raised as well
    # Weights in a second file would escape the hash of this one: let them be looked for where there is no folder.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.absolute()))
    try:
        with warnings.catch_warnings(action="ignore"):  # of a missing provider, which is refused below
            opened = onnxruntime.InferenceSession(content, options, [(provider, settings)])
    except Exception as error:
        raise DetbenchError(
            f"{path} cannot be opened by ONNX Runtime {onnxruntime.__version__} ({reason(error)}): give an .onnx file"
            " that is whole. If its weights lie in a second file, onnx.save(onnx.load(OLD), NEW) unites them."
        ) from error
    if opened.get_providers()[0] != provider:  # it falls back to the CPU
        raise DetbenchError(f"{path} cannot run on {device}: pip install onnxruntime-gpu, or choose --device cpu.")
    return opened


@contextmanager
def muted() -> Iterator[None]:
    """Without warnings, and without what converters print from C++: whole graphs, where an operator is missing."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        with warnings.catch_warnings(action="ignore"), redirect_stdout(io.StringIO()):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def reason(error: Exception) -> str:
    """What an error says, in one line."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300).removesuffix(":")
