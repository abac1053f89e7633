"""transformers: Object detectors of Hugging Face's transformers, such as DETR, RT-DETRv2, D-FINE and YOLOS.

``transformers:ORG/NAME`` is a model of the hub, ``transformers:DIR`` a folder that ``save_pretrained`` wrote. Weights
are safetensors only, and no code of a model's own is run.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detbench.detectors._fit import detections
from detbench.files import file_hash
from detbench.types import DetbenchError, Detections, DetectorSpec, canonical_hash

if TYPE_CHECKING:
    import torch

FILES = ["config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json"]
"""What of a model is used."""


class Transformers:
    """One of transformers' detectors that is ready to look at frames, one at a time.

    Its own image processor scales frames: with another ``imgsz`` than its own, all sizes that it knows in proportion.
    These networks leave one box an object, so no more are suppressed.

    Args:
        weights: the model's folder.
        conf: detections that score below this are dropped, in [0, 1].
        nms_iou: not used.
        imgsz: the longer side in pixels that frames are scaled to.
        device: of torch.

    Raises:
        DetbenchError: transformers is missing, or the folder holds no detector that it can load.
    """

    def __init__(self, weights: Path, *, conf: float, nms_iou: float, imgsz: int, device: str | torch.device) -> None:
        transformers = _library()
        local = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._processor = transformers.AutoImageProcessor.from_pretrained(weights, **local)
            model = transformers.AutoModelForObjectDetection.from_pretrained(weights, use_safetensors=True, **local)
        except Exception as error:
            what = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            raise DetbenchError(
                f"{weights} holds no detector that transformers {transformers.__version__} can load without running"
                f" code of the model's own ({what})."
            ) from error
        self._net = model.eval().to(device)
        self._device, self._conf = device, conf
        own = _size(dict(self._processor.size))
        self._scaled = {key: round(value * imgsz / own) for key, value in dict(self._processor.size).items() if value}
        self.class_names = {int(label): str(name) for label, name in model.config.id2label.items()}

    def __call__(self, frames: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Detect objects in (H, W, 3) uint8 RGB frames; each one's detections depend on it alone."""
        import torch

        found = []
        for frame in frames:
            given = self._processor(images=[frame], size=self._scaled, return_tensors="pt").to(self._device)
            with torch.inference_mode():
                made = self._net(**given)
            (kept,) = self._processor.post_process_object_detection(
                made, threshold=self._conf, target_sizes=[frame.shape[:2]]
            )
            boxes, scores, labels = (kept[key].float().cpu().numpy() for key in ("boxes", "scores", "labels"))
            found.append(detections(boxes, scores, labels, frame.shape, self._conf))
        return found


def find(name: str) -> Path:
    """The folder of a model, downloaded by huggingface_hub if need be.

    Raises:
        DetbenchError: there is no such model, or it cannot be downloaded, or has no safetensors.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _downloaded(name)
    for needed in ("config.json", "*.safetensors"):
        if not list(folder.glob(needed)):
            raise DetbenchError(
                f"{folder} has no {needed}: give a folder that save_pretrained wrote. Weights must be safetensors,"
                " since pickled ones can run code."
            )
    return folder.absolute()


def _downloaded(name: str) -> Path:
    if len(Path(name).parts) != 2 or Path(name).is_absolute():
        raise DetbenchError(f"transformers:{name}: there is no such folder, and a model of the hub is named ORG/NAME.")
    _library()
    import huggingface_hub

    try:
        try:
            return Path(huggingface_hub.snapshot_download(name, allow_patterns=FILES, local_files_only=True))
        except Exception:  # not here yet
            return Path(huggingface_hub.snapshot_download(name, allow_patterns=FILES))
    except Exception as error:
        what = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        raise DetbenchError(
            f"transformers:{name}: there is no such folder, and it could not be downloaded ({what}). Give"
            " transformers:ORG/NAME of a model of the hub, or the folder that its files are in."
        ) from error


def of(name: str) -> DetectorSpec:
    """The specification of one model."""
    folder = find(name)
    try:
        size = json.loads((folder / "preprocessor_config.json").read_text("utf-8"))["size"]
        own = _size(size if isinstance(size, dict) else {"longest_edge": size})
    except (OSError, ValueError, KeyError) as error:
        raise DetbenchError(
            f"{folder}/preprocessor_config.json says no size ({type(error).__name__}: {error})."
        ) from error
    return dataclasses.replace(SPEC, imgsz=own, find=lambda _: folder)


def _size(size: dict[str, int]) -> int:
    """The longest of the sides that an image processor knows."""
    return max(value for value in size.values() if value)


def _identity(folder: Path) -> str:
    return canonical_hash({path.name: file_hash(path) for kind in FILES for path in sorted(folder.glob(kind))})


def _library() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise DetbenchError("Detectors of transformers need it: pip install 'detbench[transformers]'") from error
    return transformers


SPEC = DetectorSpec(
    build=Transformers,
    licence="the model's own",
    form="transformers:ORG/NAME",
    of=of,
    find=find,
    identity=_identity,
    hash_source=False,
)
