"""What a plug-in must fulfil, as functions for its own tests: ``check_deblurer(SPEC)``, ``check_detector(SPEC)``.

They run on the CPU in a few seconds, raise AssertionError saying what is wrong and what is asked for, and are what this
project's tests ask of every deblurer and detector that ships.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detbench import assets
from detbench.detectors import Detector
from detbench.gan import discriminators, losses
from detbench.gan.initialise import INITIALISE
from detbench.gan.recipe import Recipe
from detbench.restore import Restorer
from detbench.types import DeblurerSpec, Detections, DetectorSpec, Preset

Frame = NDArray[np.uint8]

SIZES = ((16, 16), (33, 47), (20, 100))
"""(height, width) in pixels of the frames that a deblurer is tried on."""

CONF = 0.25
"""Confidence at which a detector is tried, beside a hundredth."""


def check_deblurer(spec: DeblurerSpec, preset: str | None = None) -> None:
    """Check that a deblurer is one: that what it says is complete, and that its network does what is asked of it.

    The network is built with fresh weights, which must load into another that is built alike, strictly. In eval mode
    it must turn (B, 3, H, W) floats in ``value_range``, whose sides are multiples of ``multiple_of``, into finite ones
    of the same shape; the same each time that the seed is the same; and, unless it draws random numbers, each frame
    alike in any batch. A preset's recipe must name losses and a discriminator that exist, and suit its network, which
    in training mode must have a gradient.

    Args:
        spec: the deblurer.
        preset: the size whose network is built; the spec's own by default. Recipes are checked of all.

    Raises:
        AssertionError: saying what is wrong, and what is asked for.
    """
    _require(isinstance(spec, DeblurerSpec), f"SPEC is a {type(spec).__name__}: it must be a DeblurerSpec.")
    chosen = spec.preset if preset is None else preset
    _require(chosen in spec.presets, f"There is no preset {chosen!r}: presets are {', '.join(spec.presets)}.")
    _require(spec.licence, "licence is empty: say under which licence the weights are.")
    black, white = spec.value_range
    _require(black < white, f"value_range is {spec.value_range}: what black is must lie below what white is.")
    for name, each in spec.presets.items():
        _require(each.multiple_of >= 1, f"multiple_of of preset {name!r} is {each.multiple_of}: it must be at least 1.")
        if each.recipe is not None:
            _require(
                spec.paper, "paper is empty: a deblurer with a recipe says where it was published, or that it is new."
            )
            _check_recipe(f"The recipe of preset {name!r}", each.recipe, each.multiple_of)
    _check_network(spec, spec.presets[chosen])


def check_detector(
    spec: DetectorSpec,
    weights: Path | None = None,
    frames: Sequence[Frame] | None = None,
    imgsz: int | None = None,
) -> None:
    """Check that a kind of detector is one: that what it says is complete, and that it detects as is asked of it.

    It must name its classes, and give for each frame detections of the types and order that
    :class:`detbench.types.Detections` documents, whose boxes lie in the frame; the same for a frame in any company and
    each time; and leave the frames as they are. A lower ``conf`` must only add fainter detections: runs keep all down
    to 0.01, and count those above any threshold later.

    Args:
        spec: the kind.
        weights: its weights; by default its first pinned file, or what ``find("")`` gives, or none.
        frames: (H, W, 3) uint8 RGB, in which it detects something; bright shapes on grey by default.
        imgsz: the longer side in pixels that it scales frames to; about 320 by default.

    Raises:
        AssertionError: saying what is wrong, and what is asked for.
    """
    _require(isinstance(spec, DetectorSpec), f"SPEC is a {type(spec).__name__}: it must be a DetectorSpec.")
    _require(spec.licence, "licence is empty: say under which licence the weights are.")
    _require(spec.stride >= 1, f"stride is {spec.stride}: it must be at least 1.")
    size = imgsz or -(-320 // spec.stride) * spec.stride
    scenes = list(frames) if frames is not None else _scenes()

    def build(conf: float) -> Detector:
        where = weights or _weights(spec)
        return _tried(
            "build(weights, conf=, nms_iou=, imgsz=, device=)",
            lambda: spec.build(where, conf=conf, nms_iou=0.7, imgsz=size, device="cpu"),
        )

    faint, strong = build(0.01), build(CONF)
    _check_classes(faint)
    seen = _detect(faint, scenes)
    for found, scene in zip(seen, scenes, strict=True):
        _check_detections(found, scene, faint.class_names)
    _require(any(len(found) for found in seen), "It detects nothing: give check_detector frames with what it knows.")
    _check_company(faint, scenes, seen)
    for found, few in zip(seen, _detect(strong, scenes), strict=True):
        _require(
            _equal(found.above(CONF), few),
            f"With conf=0.01 the detections that score {CONF} and more are others than with conf={CONF}: a lower"
            " threshold may only add fainter ones.",
        )


def _check_recipe(what: str, recipe: Recipe, multiple_of: int) -> None:
    """Of a preset whose network wants sides that are multiples of ``multiple_of``."""
    _require(recipe.crop % multiple_of == 0, f"{what}: crop is {recipe.crop}, no multiple of {multiple_of=}.")
    for field, given, known in (
        ("init", {recipe.init}, INITIALISE),
        ("content", set(recipe.content), losses.CONTENT),
        ("adversarial", {recipe.adversarial} - {None}, losses.ADVERSARIAL),
        ("schedule", {recipe.schedule}, ("linear", "cosine")),
    ):
        _require(given <= set(known), f"{what}: {field} is {', '.join(map(str, given))}; there are {', '.join(known)}.")
    shares = recipe.object_motion + recipe.uniform_blur
    _require(shares <= 1, f"{what}: object_motion and uniform_blur are shares, and sum to {shares}.")
    if recipe.adversarial:
        with torch.device("meta"):
            _tried(f"{what}: the discriminator", lambda: discriminators.build(recipe.crop, **recipe.discriminator))


def _check_network(spec: DeblurerSpec, preset: Preset) -> None:
    """The network on floats, and as runs use it on uint8 frames of any size."""
    net, again = (_built(spec, preset, seed) for seed in (0, 1))
    state = net.state_dict()
    _tried("load_state_dict, given that of a network built alike,", lambda: again.load_state_dict(state))
    black, white = spec.value_range
    height, width = (-(-side // preset.multiple_of) * preset.multiple_of for side in (16, 40))
    batch = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * (white - black) + black
    made, other = _restored(net, batch, seed=0), _restored(net, batch, seed=1)
    _require(torch.equal(made, _restored(net, batch, seed=0)), "Of one batch and seed it makes different frames.")
    _require(
        torch.equal(made, _restored(again, batch, seed=0)),
        "With the same state dict another network makes other frames: what it computes with must be a parameter, a"
        " buffer, or an option of build.",
    )
    if torch.equal(made, other):
        alone = torch.cat([_restored(net, frame[None], seed=0) for frame in batch])
        _require(
            torch.allclose(made, alone, atol=1e-3 * (white - black)),
            "A frame is restored differently beside another than alone: layers must not mix a batch in eval mode.",
        )
    _check_frames(Restorer(net, multiple_of=preset.multiple_of, value_range=spec.value_range))
    if preset.recipe is not None:
        _check_gradient(again.train(), batch)


def _check_gradient(net: nn.Module, batch: Tensor) -> None:
    """In training mode a network may make several tensors, of several scales."""
    free = [parameter for parameter in net.parameters() if parameter.requires_grad]
    _require(free, "The preset has a recipe, and its network no parameter to train.")
    made = _tried(f"The network in training mode, on {tuple(batch.shape)},", lambda: net(batch))
    sum(each.abs().mean() for each in (made if isinstance(made, list | tuple) else [made])).backward()
    gradients = [parameter.grad for parameter in free if parameter.grad is not None]
    _require(gradients, "In training mode what it makes depends on none of its parameters.")
    _require(all(g.isfinite().all() for g in gradients), "In training mode its gradient is not finite.")


def _check_frames(restorer: Restorer) -> None:
    random = np.random.default_rng(0)
    for height, width in SIZES:
        frame = random.integers(0, 256, (height, width, 3), np.uint8)
        what = f"The network, on a frame of {width}x{height} pixels padded to multiples of multiple_of,"
        (made,) = _tried(what, partial(restorer, [frame]))
        _require(made.shape == frame.shape, f"Of a frame {frame.shape} it makes one of {made.shape}.")


def _built(spec: DeblurerSpec, preset: Preset, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = _tried(f"build(**{dict(preset.options)})", lambda: spec.build(**preset.options))
    _require(isinstance(net, nn.Module), f"build makes a {type(net).__name__}: it must make a torch.nn.Module.")
    return net.eval()


def _restored(net: nn.Module, batch: Tensor, seed: int) -> Tensor:
    torch.manual_seed(seed)
    with torch.no_grad():
        made = _tried(f"The network, on {tuple(batch.shape)},", lambda: net(batch))
    shape = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
    _require(shape == tuple(batch.shape), f"The network makes {shape} of {tuple(batch.shape)}: it must keep the shape.")
    _require(made.isfinite().all(), "The network makes NaN or infinity.")
    return made


def _weights(spec: DetectorSpec) -> Path | None:
    """What a kind is tried with where nothing is given."""
    first = spec.assets[0] if spec.assets else ""
    if spec.find:
        return spec.find(first)
    return assets.fetch(first) if first else None


def _scenes() -> list[Frame]:
    """Bright rectangles on grey, in frames of several sizes."""
    random = np.random.default_rng(0)
    scenes = []
    for height, width in ((96, 128), (128, 96), (64, 200)):
        scene = np.full((height, width, 3), 60, np.uint8)
        for top, left in ((8, 8), (12, 52), (40, 30)):
            scene[top : top + 20, left : left + 28] = random.integers(170, 255, 3)
        scenes.append(scene)
    return scenes


def _detect(detector: Detector, frames: Sequence[Frame]) -> list[Detections]:
    """What it finds in frames, which it must leave as they are."""
    given = [frame.copy() for frame in frames]
    seen = _tried("The detector, on (H, W, 3) uint8 frames,", lambda: detector(given))
    _require(all(map(np.array_equal, given, frames)), "It changes the frames that it is given: it must not.")
    right = isinstance(seen, list) and len(seen) == len(frames) and all(isinstance(s, Detections) for s in seen)
    _require(right, f"Of {len(frames)} frames it must make a list of as many Detections.")
    return seen


def _check_company(detector: Detector, frames: list[Frame], seen: list[Detections]) -> None:
    """That frames are seen alike in another order, alone, and once more."""
    _require(_detect(detector, []) == [], "Of no frames it must make an empty list.")
    backwards = _detect(detector, frames[::-1])[::-1]
    alone = [_detect(detector, [frame])[0] for frame in frames]
    alike = all(_equal(*pair) for others in (backwards, alone) for pair in zip(seen, others, strict=True))
    _require(alike, "A frame's detections change with the frames beside it, or from call to call: they must not.")


def _check_classes(detector: Detector) -> None:
    names = getattr(detector, "class_names", None)
    right = isinstance(names, Mapping) and names and all(isinstance(key, int) for key in names)
    _require(right, f"class_names is {names!r}: it must be a mapping from each label (int) to its name.")


def _check_detections(found: Detections, frame: Frame, class_names: Mapping[int, str]) -> None:
    count, (height, width, _) = len(found.score), frame.shape
    for field, shape, dtype in (
        ("xyxy", (count, 4), "float32"),
        ("score", (count,), "float32"),
        ("label", (count,), "int64"),
    ):
        array = getattr(found, field)
        right = isinstance(array, np.ndarray) and array.shape == shape and array.dtype == dtype
        _require(right, f"{field} is {_kind(array)}: it must be {shape} {dtype}.")
    x0, y0, x1, y1 = found.xyxy.T
    inside = (x0 >= 0) & (x0 <= x1) & (x1 <= width) & (y0 >= 0) & (y0 <= y1) & (y1 <= height)
    _require(inside.all(), f"Boxes must be x0, y0, x1, y1 in the frame of {width}x{height}, not {found.xyxy[~inside]}.")
    _require(((found.score >= 0) & (found.score <= 1)).all(), f"Scores must lie in 0..1, not {found.score}.")
    _require((np.diff(found.score) <= 0).all(), "Detections must be sorted by falling score.")
    unknown = set(found.label.tolist()) - set(class_names)
    _require(not unknown, f"Labels {unknown} are not in class_names.")


def _kind(array: Any) -> str:
    return f"{array.shape} {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__


def _equal(a: Detections, b: Detections) -> bool:
    return all(np.array_equal(getattr(a, field), getattr(b, field)) for field in ("xyxy", "score", "label"))


def _tried(what: str, call: Callable[[], Any]) -> Any:
    """What a call of the plug-in's code gives; its error says what was being tried."""
    try:
        return call()
    except Exception as error:
        raise AssertionError(f"{what} fails: {type(error).__name__}: {error}") from error


def _require(condition: Any, message: str) -> None:
    if not condition:
        raise AssertionError(message)
