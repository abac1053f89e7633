"""What a number must be quoted with to be comparable: data, detector, settings and conventions."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from detbench import quality
from detbench.types import RunResult, canonical_hash

CONVENTIONS = f"p,r,f1:micro|{quality.CONVENTIONS}"
"""How scores are computed. Every run says by which: others are not compared with it."""


@dataclass(frozen=True)
class Signature:
    """What stands below every published table. ``str`` gives it in one line, without blanks.

    Attributes:
        dataset: its name.
        dataset_hash: of its frames.
        limit: the first so many frames only; None for all.
        noise: variance of the noise on the blurred frames, for values in [0, 1].
        detector: its name.
        detector_hash: of its weights.
        imgsz: the longer side in pixels that the detector scales a frame to.
        conf: the least confidence that counts.
        nms_iou: IoU above which the better of two detections stays.
        match_iou: IoU from which a detection is the object.
        conventions: how scores are computed, as in :data:`CONVENTIONS`.
        detbench: the version that made the run.
        classes: that count, as asked for; empty for all.
        truth_hash: of the boxes that people drew, where they are what is to be found.
        without: clips that are left out.
        silent_below: the confidence below which the detector keeps what it finds to itself; 0 if it does not.
        skipped: ids of frames that could not be scored, and are left out.
        computed: by which backend and in which precision the deblurers were; empty for torch in fp32.
    """

    dataset: str
    dataset_hash: str
    limit: int | None
    noise: float
    detector: str
    detector_hash: str
    imgsz: int
    conf: float
    nms_iou: float
    match_iou: float
    conventions: str
    detbench: str
    classes: tuple[str, ...] = ()
    truth_hash: str = ""
    without: tuple[str, ...] = ()
    silent_below: float = 0.0
    skipped: tuple[str, ...] = ()
    computed: str = ""

    @classmethod
    def of(cls, result: RunResult) -> Signature:
        """A run's."""
        spec, environment = result.spec, result.environment
        return cls(
            dataset=environment["dataset"],
            dataset_hash=spec.dataset_hash,
            limit=spec.limit,
            noise=spec.noise,
            detector=Path(spec.detector).stem,
            detector_hash=spec.detector_hash,
            imgsz=spec.imgsz,
            conf=spec.conf,
            nms_iou=spec.nms_iou,
            match_iou=spec.match_iou,
            conventions=environment["conventions"],
            detbench=environment["detbench"],
            classes=spec.classes,
            truth_hash=spec.truth_hash,
            skipped=spec.skipped,
            silent_below=environment.get("silent_below", 0.0),
            computed="" if (spec.backend, spec.precision) == ("torch", "fp32") else f"{spec.backend}-{spec.precision}",
        )

    @property
    def short(self) -> str:
        """As :func:`short` has it."""
        return short(str(self))

    def __str__(self) -> str:
        """Parts divided by bars; what is as it is without being asked for is left out."""
        parts = [
            f"{self.dataset}:{self.dataset_hash[:8]}".replace(" ", "_"),
            f"limit:{self.limit}" if self.limit else "",
            f"skipped:{len(self.skipped)}:{canonical_hash(self.skipped)[:8]}" if self.skipped else "",
            f"noise:{self.noise:g}" if self.noise else "",
            f"classes:{','.join(self.classes)}".replace(" ", "_") if self.classes else "",
            f"truth:{self.truth_hash[:8]}" if self.truth_hash else "",
            f"{self.detector}:{self.detector_hash[:8]}",
            f"imgsz:{self.imgsz}",
            f"conf:{self.conf:g}",
            f"silent-below:{self.silent_below:g}" if self.silent_below else "",
            f"computed:{self.computed}" if self.computed else "",
            f"nms:{self.nms_iou:g}",
            f"iou:{self.match_iou:g}",
            self.conventions,
            f"detbench:{self.detbench}",
            *(f"without:{clip}" for clip in self.without),
        ]
        return "|".join(filter(None, parts))


SETTLED = ("conf:", "nms:", "iou:", "p,r,f1:", "psnr,ssim:", "ssim:", "detbench:")
"""Beginnings of a signature's parts that its short form leaves to the eight digits."""

_LONG = re.compile(r"\S+:[0-9a-f]{8}\|\S*\|detbench:\S+")


def short(text: str) -> str:
    """A signature for the eye: data, detector and what was asked for, and eight digits that stand for all of it.

    Two signatures whose short forms are equal are equal; the digits are the first of the long form's SHA-256. Text that
    is no signature stays as it is.
    """
    if not _LONG.fullmatch(text):
        return text
    parts = [part for part in text.split("|") if not part.startswith(SETTLED)]
    shown = [part if part.startswith("truth:") else re.sub(r":[0-9a-f]{8}$", "", part) for part in parts]
    return "|".join([*shown, f"#{hashlib.sha256(text.encode()).hexdigest()[:8]}"])
