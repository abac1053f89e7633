"""The nouns of the harness: frozen plain data, with their JSON.

Nothing here computes on pixels or touches the disk, and nothing here imports torch, nor numpy before it is
needed, so every other module may import this one and ``detbench --help`` stays fast.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from detbench.counts import Counts

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from torch import nn

    from detbench.detectors import Detector
    from detbench.gan.recipe import Recipe


SCHEMA = 2
"""Version of a run directory's layout; raise it when a reader of the old one would be misled."""


class DetbenchError(Exception):
    """A mistake the user can mend: the message names the file or option and the remedy. Shown without a traceback."""


@dataclass(frozen=True)
class FramePair:
    """A sharp frame and its blurred version, as two image files of the same size.

    Attributes:
        id: unique within the dataset; safe as a file name.
        sharp: path of the sharp frame.
        blurred: path of the blurred frame.
        clip: name of the video (or photograph) the frame came from. Frames of one clip are not independent,
            so the clip is what a clustered bootstrap resamples.
        severity: what the dataset calls the strength of its blur; empty if it does not say.
        others: further sharp frames of the exposure: PSNR and SSIM are those of the one nearest to the restored frame.
    """

    id: str
    sharp: Path
    blurred: Path
    clip: str
    severity: str = ""
    others: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector saw in one frame, sorted by falling score.

    Attributes:
        xyxy: (N, 4) float32, corners ``x0, y0, x1, y1`` in pixels of the frame, origin at its upper left corner.
        score: (N,) float32 in [0, 1].
        label: (N,) int64, class indices of the detector.
    """

    xyxy: NDArray[np.float32]
    score: NDArray[np.float32]
    label: NDArray[np.int64]

    def __len__(self) -> int:
        """The number of detected objects."""
        return len(self.score)

    def above(self, conf: float) -> Self:
        """Those that score at least ``conf``, which is taken as float32, as scores are."""
        import numpy as np

        return self.where(self.score >= np.float32(conf))

    def where(self, keep: NDArray[np.bool_]) -> Self:
        """Some of them: those whose flag in (N,) is set."""
        return type(self)(self.xyxy[keep], self.score[keep], self.label[keep])

    @classmethod
    def empty(cls) -> Self:
        """No objects."""
        import numpy as np

        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Preset:
    """One size of a network.

    Attributes:
        options: keyword arguments of ``DeblurerSpec.build``.
        multiple_of: both sides of the network's input must be divisible by this.
        recipe: how ``detbench train`` trains this size; None for what needs no training.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    multiple_of: int = 1
    recipe: Recipe | None = None


@dataclass(frozen=True)
class DeblurerSpec:
    """A deblurer: the constant ``SPEC`` of a file in ``deblurers/``, whose docstring's first line describes it.

    Attributes:
        build: called with a preset's options, returns the network: (B, 3, H, W) floats in ``value_range`` in
            (RGB), the same shape out. Networks stay naive; ``detbench.restore`` pads, scales, tiles and clamps.
        presets: the sizes it comes in, by name.
        preset: the size that ``detbench run`` uses and that the shipped weights have.
        value_range: of the network's input and output.
        paper: where it was published.
        licence: of the weights.
        family: what it is listed under.
        assets: names of pinned files (``detbench/assets.toml``) that hold published weights, for a deblurer that
            ships none of its own; fetched when the network is built.
        convert: called with the paths of these files, in their order, returns the network's state dict.
    """

    build: Callable[..., nn.Module]
    presets: Mapping[str, Preset] = field(default_factory=lambda: {"default": Preset()})
    preset: str = "default"
    value_range: tuple[float, float] = (0.0, 1.0)
    paper: str = ""
    licence: str = "AGPL-3.0-or-later"
    family: str = ""
    assets: tuple[str, ...] = ()
    convert: Callable[[Sequence[Path]], Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class DetectorSpec:
    """A kind of detector: the constant ``SPEC`` of a file in ``detbench/detectors/``, described by its docstring.

    Attributes:
        build: called with the weights' path (None where there are none) and the keyword arguments ``conf``,
            ``nms_iou``, ``imgsz`` and ``device``, which :class:`RunSpec` explains, returns a
            :class:`detbench.detectors.Detector`.
        licence: of the weights.
        paper: where it was published.
        imgsz: its working size: the longer side in pixels that frames are scaled to unless a run asks for another.
        conf: the least confidence that counts unless a run asks for another, in [0, 1].
        stride: ``imgsz`` must be a multiple of this, in pixels.
        fixed: whether it works at this ``imgsz`` only.
        assets: names of pinned files (``detbench/assets.toml``) with weights; each is the name of a detector. Empty
            for a kind that has none: then it is a detector by its own name.
        form: how others of the kind are named, such as ``KIND:FILE``, for listings.
        of: called with what a user calls the detector, without the kind and the colon, returns the specification of
            that one, or raises :class:`DetbenchError`. For kinds whose detectors differ in size or licence.
        find: called likewise, returns the path of its weights, or raises :class:`DetbenchError`. None where pinned
            files, the file ``weights/KIND.safetensors`` beside the module, and files of the user's (``KIND:PATH``) are
            all there is.
        takes_weights: whether a user may give a file with weights besides the name.
        identity: called with the path of the weights, returns the SHA-256 (hexadecimal) of all that belongs to them;
            of the file alone by default.
        hash_source: whether a change of its code makes it another detector, whose runs are scored again, or only a
            change of its weights does.
    """

    build: Callable[..., Detector]
    licence: str = "AGPL-3.0-or-later"
    paper: str = ""
    imgsz: int = 640
    conf: float = 0.25
    stride: int = 1
    fixed: bool = False
    assets: tuple[str, ...] = ()
    form: str = ""
    of: Callable[[str], DetectorSpec] | None = None
    find: Callable[[str], Path] | None = None
    takes_weights: bool = False
    identity: Callable[[Path], str] | None = None
    hash_source: bool = True


Input = Literal["blurred", "sharp"]
Precision = Literal["fp32", "bf16", "fp16", "auto"]
Backend = Literal["torch", "compile", "onnx", "openvino", "auto"]
OnError = Literal["stop", "skip"]
"""What a :class:`RunSpec` may say, and the command line."""


@dataclass(frozen=True)
class RunSpec:
    """Everything a run's numbers depend on. Two runs with equal specs have equal scores.

    The ``*_hash`` fields are filled in when the run starts; leave them empty.

    Attributes:
        deblurer: a name from ``detbench list deblurers``; or ``spandrel:PATH`` or ``onnx:PATH``, for a checkpoint; or
            ``frames:DIR``, for frames that were restored elsewhere.
        dataset: a name from ``detbench list datasets``; or a folder of pairs in a layout of the field's datasets.
        detector: a name from ``detbench list detectors``; a YOLO's ``.pt`` or ``.onnx`` file; or ``KIND:NAME``.
        input: which frames the deblurer gets. ``sharp`` measures what it does to frames that need no help.
        conf: detections scored below this are dropped, in [0, 1]; 0 for the confidence that the detector declares.
        nms_iou: IoU above which of two overlapping detections of one class only the better one stays, in [0, 1].
        imgsz: the longer side in pixels that the detector scales a frame to; 0 for the size that it declares.
        match_iou: IoU from which a detection counts as the reference object, in [0, 1].
        limit: score the first so many frames of the dataset only.
        noise: variance of the Gaussian noise that is added to the blurred frames first, for values in [0, 1]; 0.001 in
            the dark-channel paper's second table.
        seed: of deblurers that draw random numbers.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: of the deblurer's arithmetic: ``fp32``, ``bf16``, ``fp16``, or ``auto``.
        backend: what computes the deblurer: ``torch``, ``compile``, ``onnx``, ``openvino``, or ``auto`` for the fastest
            whose frames are as good as torch's (:mod:`detbench.backends`).
        weights: a safetensors file to use in place of the deblurer's own.
        clips: of a folder: pattern with a group ``clip`` that says what clip a frame of this name is of.
        blur: of sharp pictures or a video that are blurred for the run: how, such as ``shake:medium``.
        classes: names of the detector's classes that count; empty for all.
        truth: COCO's JSON of boxes that people drew, which then are what is to be found; None for what the detector
            sees in the sharp frames.
        detector_weights: a file in place of the detector's own weights.
        value_range: of the values that a checkpoint's network takes and gives, where its file does not say; None for
            [0, 1].
        only_blurred: leave frames that measure sharp, as a whole, as they are.
        on_error: ``skip`` leaves a frame out that cannot be read, restored or looked at; ``stop`` does not.
        skipped: ids of the frames that are left out; filled in where ``on_error`` is ``skip``.
    """

    deblurer: str
    dataset: str = "street"
    detector: str = "yolo26n"
    input: Input = "blurred"
    conf: float = 0.0
    nms_iou: float = 0.7
    imgsz: int = 0
    match_iou: float = 0.5
    limit: int | None = None
    noise: float = 0.0
    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    backend: str = "torch"
    weights: str | None = None
    clips: str = ""
    blur: str = ""
    classes: tuple[str, ...] = ()
    truth: str | None = None
    detector_weights: str | None = None
    value_range: tuple[float, float] | None = None
    only_blurred: bool = False
    deblurer_hash: str = ""
    dataset_hash: str = ""
    detector_hash: str = ""
    truth_hash: str = ""
    on_error: OnError = "stop"
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that cannot mean anything.

        Raises:
            DetbenchError: naming the field, its value and what is allowed.
        """
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "skipped", tuple(self.skipped))
        if self.value_range is not None:
            object.__setattr__(self, "value_range", tuple(self.value_range))
            if not self.value_range[0] < self.value_range[1]:
                raise DetbenchError(f"value_range is {self.value_range}: the first must be less than the second.")
        for name in ("dataset", "detector", "weights", "truth", "detector_weights"):
            if isinstance(getattr(self, name), Path):
                object.__setattr__(self, name, str(getattr(self, name)))
        for name in ("conf", "nms_iou", "match_iou"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise DetbenchError(f"{name} is {value}: it must lie in 0..1.")
        if not 0.0 <= self.noise <= 0.25:
            raise DetbenchError(f"noise is {self.noise}: its variance must lie in 0..0.25, for values in 0..1.")
        if 0 != self.imgsz < 32:
            raise DetbenchError(f"imgsz is {self.imgsz}: it must be at least 32 (pixels).")
        if self.limit is not None and self.limit < 1:
            raise DetbenchError(f"limit is {self.limit}: it must be at least 1 (frames).")
        for name, kind in (("input", Input), ("precision", Precision), ("backend", Backend), ("on_error", OnError)):
            if (value := getattr(self, name)) not in (allowed := get_args(kind)):
                raise DetbenchError(f"{name} is {value!r}: it must be {', '.join(allowed[:-1])} or {allowed[-1]}.")

    @property
    def hash8(self) -> str:
        """Eight hexadecimal digits that stand for all the numbers depend on: the end of a run directory's name."""
        places = dict.fromkeys(("weights", "dataset", "detector"))  # whose hashes count, not where they lie
        kind = self.deblurer.partition(":")[0]  # of a checkpoint's name, the part that is no place
        asked = dataclasses.asdict(self) | places | {"deblurer": kind, "schema": SCHEMA}
        for known in ("clips", "blur", "truth", "detector_weights", "on_error"):  # by other hashes, and by `skipped`
            del asked[known]
        for later in (
            "noise",
            "classes",
            "truth_hash",
            "value_range",
            "only_blurred",
            "skipped",
        ):  # runs without these keep their names
            if not asked[later]:
                del asked[later]
        if self.backend == "torch":
            del asked["backend"]
        return canonical_hash(asked)[:8]


@dataclass(frozen=True)
class FrameScore:
    """The scores of one restored frame.

    Attributes:
        id: the frame's id in its dataset.
        clip: the frame's clip.
        tp: reference objects that were found.
        fp: detections that match no reference object.
        fn: reference objects that were not found.
        recovered: reference objects missed in the blurred frame and found in this one.
        lost: reference objects found in the blurred frame and missed in this one.
        hallucinated: detections that match nothing, neither in the sharp nor in the blurred frame.
        psnr_db: PSNR against the sharp frame in dB; ``inf`` for equal frames.
        ssim: SSIM against the sharp frame, in [-1, 1].
        restore_ms: wall time of the deblurer on this frame, in milliseconds.
        detect_ms: wall time of the detector on this frame, in milliseconds.
        severity: of the frame's blur, as its dataset calls it; empty if it does not say.
    """

    id: str
    clip: str
    tp: int
    fp: int
    fn: int
    recovered: int
    lost: int
    hallucinated: int
    psnr_db: float
    ssim: float
    restore_ms: float
    detect_ms: float
    severity: str = ""


@dataclass(frozen=True)
class RunResult:
    """A finished run: what was asked, where it ran, and one score a frame. Totals are derived, never stored.

    Attributes:
        spec: with its hashes filled in.
        environment: versions, hardware, signature and timings, as in ``manifest.json``.
        scores: one a frame, in the dataset's order.
        path: the run's directory.
    """

    spec: RunSpec
    environment: Mapping[str, Any]
    scores: tuple[FrameScore, ...]
    path: Path

    def to_pandas(self) -> pd.DataFrame:
        """One row a frame, one column a field of :class:`FrameScore`."""
        import pandas as pd

        return pd.DataFrame([dataclasses.asdict(s) for s in self.scores])

    def total(self, count: str) -> int:
        """The sum over all frames of one of the counts (``tp``, ``fp``, ``fn``, ``recovered``, ...)."""
        return sum(getattr(s, count) for s in self.scores)

    def mean(self, measure: str) -> float:
        """The mean over all frames of ``psnr_db``, ``ssim``, ``restore_ms`` or ``detect_ms``."""
        import numpy as np

        return float(np.mean([getattr(s, measure) for s in self.scores]))

    def median(self, measure: str) -> float:
        """Likewise the median: what a time is quoted by, since the first frames warm up."""
        import numpy as np

        return float(np.median([getattr(s, measure) for s in self.scores]))

    @property
    def counts(self) -> Counts:
        """Objects found and missed, and false detections, of all frames."""
        return Counts(self.total("tp"), self.total("fp"), self.total("fn"))

    @property
    def precision(self) -> float:
        """Over all objects of all frames, in [0, 1]; 1 when nothing was detected (nothing was invented)."""
        return float(self.counts.precision)

    @property
    def recall(self) -> float:
        """Over all objects of all frames, in [0, 1]; 1 when there is nothing to find."""
        return float(self.counts.recall)

    @property
    def f1(self) -> float:
        """Over all objects of all frames, in [0, 1]; 1 when there is nothing to find and nothing found."""
        return float(self.counts.f1)


def canonical_hash(data: Any) -> str:
    """The SHA-256 (hexadecimal) of plain data's canonical JSON: independent of key order and white space."""
    import hashlib  # `detbench --help` needs none

    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
