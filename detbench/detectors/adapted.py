"""adapted: A YOLO that was trained on to see in blurred frames what it saw in sharp ones, by `detbench adapt`.

``adapted:NAME`` has the weights that ship here for a YOLO, or those that the user gives besides.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

from detbench.detectors import yolo
from detbench.files import file_hash
from detbench.types import DetbenchError, DetectorSpec, canonical_hash
from detbench.weights import read_record, read_tensors

WEIGHTS = Path(__file__).parent / "weights"


def of(name: str) -> DetectorSpec:
    """The specification of an adapted YOLO.

    Raises:
        DetbenchError: there is no such YOLO.
    """
    base = yolo.SPEC
    origin = yolo.find(name)
    return dataclasses.replace(
        SPEC,
        build=functools.partial(_build, name, origin),
        licence=base.licence,
        paper=base.paper,
        imgsz=base.imgsz,
        conf=base.conf,
        stride=base.stride,
        find=functools.partial(_shipped, name),
        identity=lambda weights: canonical_hash([file_hash(origin), file_hash(weights)]),
    )


def _shipped(name: str, _: str) -> Path:
    """The weights that ship here."""
    path = WEIGHTS / f"{Path(name).stem}.safetensors"
    if not path.is_file():
        here = ", ".join(sorted(each.stem for each in WEIGHTS.glob("*.safetensors"))) or "none"
        raise DetbenchError(
            f"No adapted {name} ships here (there are: {here}): run `detbench adapt --detector {name}`, and give what"
            " it writes with --detector-weights."
        )
    return path


def _build(name: str, origin: Path, weights: Path, **settings: Any) -> yolo.Yolo:
    record = read_record(weights)
    if record.get("detector_sha256") != file_hash(origin):
        raise DetbenchError(f"{weights} holds no weights that {name} was adapted to.")
    found = yolo.Yolo(origin, **settings)
    found.load({key.removeprefix("net."): tensor for key, tensor in read_tensors(weights).items()})
    return found


SPEC = DetectorSpec(
    build=_build,
    licence="AGPL-3.0 (Ultralytics)",
    form="adapted:NAME",
    of=of,
    takes_weights=True,
    hash_source=False,
)
