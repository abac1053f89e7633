"""The checks that plug-ins' tests call: each fault is found, and named."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import BrightBoxes
from torch import nn

from detbench.gan.recipe import Recipe
from detbench.testing import check_deblurer, check_detector
from detbench.types import DeblurerSpec, Detections, DetectorSpec, Preset


class Function(nn.Module):
    """A network that is a function of its input, and has one parameter."""

    def __init__(self, function):
        super().__init__()
        self.function, self.scale = function, nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.scale * self.function(x)


class Unsaved(nn.Module):
    """Draws a number when it is built, and keeps it to itself."""

    def __init__(self):
        super().__init__()
        self.drawn = torch.rand(1).item()

    def forward(self, x):
        return x * self.drawn


class Unseeded(nn.Module):
    """Makes something else at each call."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return x / self.calls


class Stubborn(nn.Identity):
    """Takes no state dict, not even its own."""

    def load_state_dict(self, state, strict=True):
        raise RuntimeError("not mine")


class Steep(nn.Module):
    """Has an infinite gradient."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x + self.scale.sqrt()


def halves(x):
    """Needs sides that are multiples of two."""
    return nn.functional.interpolate(nn.functional.avg_pool2d(x, 2), scale_factor=2)


def deblurer(function, multiple_of=1, **fields):
    return DeblurerSpec(lambda: Function(function), {"default": Preset(multiple_of=multiple_of)}, **fields)


def trained(build=lambda: Function(lambda x: x), multiple_of=1, **fields):
    recipe = Recipe(**({"content": {"l1": 1.0}} | fields))
    return DeblurerSpec(build, {"default": Preset(multiple_of=multiple_of, recipe=recipe)}, paper="new")


@pytest.mark.parametrize(
    "spec",
    [
        deblurer(lambda x: x),
        deblurer(halves, multiple_of=2),
        deblurer(lambda x: x + torch.rand_like(x) / 9),
        trained(),
        trained(adversarial="bce", discriminator={"kind": "patch"}),
    ],
    ids=["plain", "multiple", "random", "trained", "adversarial"],
)
def test_a_deblurer_passes(spec):
    check_deblurer(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("dc250", "SPEC is a str"),
        (deblurer(lambda x: x, preset="large"), "no preset 'large'"),
        (deblurer(lambda x: x, licence=""), "licence is empty"),
        (deblurer(lambda x: x, value_range=(1.0, 0.0)), "value_range"),
        (deblurer(lambda x: x, multiple_of=0), "multiple_of of preset 'default' is 0"),
        (deblurer(halves), r"20x100|33x47|47x33"),
        (deblurer(lambda x: x[..., 1:]), "must keep the shape"),
        (deblurer(lambda x: x.repeat(1, 2, 1, 1)), "must keep the shape"),
        (deblurer(lambda x: [x, x][2]), "fails: IndexError"),
        (deblurer(lambda x: x / 0), "NaN or infinity"),
        (deblurer(lambda x: x - x.mean(0, keepdim=True)), "must not mix a batch"),
        (DeblurerSpec(Unseeded), "one batch and seed"),
        (DeblurerSpec(Unsaved), "parameter, a buffer, or an option"),
        (DeblurerSpec(Stubborn), "load_state_dict.*not mine"),
        (DeblurerSpec(lambda: halves), "must make a torch.nn.Module"),
        (DeblurerSpec(nn.Conv2d), r"build\(\*\*\{\}\) fails: TypeError"),
        (dataclasses.replace(trained(), paper=""), "paper is empty"),
        (trained(nn.Identity), "no parameter to train"),
        (trained(Steep), "gradient is not finite"),
        (trained(multiple_of=3), "crop is 256, no multiple"),
        (trained(content={"l3": 1.0}), "content is l3; there are .*l1"),
        (trained(init="she"), "init is she"),
        (trained(adversarial="gan"), "adversarial is gan"),
        (trained(schedule="steep"), "schedule is steep; there are linear, cosine"),
        (trained(object_motion=0.6, uniform_blur=0.6), "sum to 1.2"),
        (trained(adversarial="bce", discriminator={"kind": "critic"}), "discriminator fails"),
    ],
)
def test_a_deblurers_fault_is_named(spec, message):
    with pytest.raises(AssertionError, match=message):
        check_deblurer(spec)


def test_another_preset_can_be_tried():
    spec = dataclasses.replace(deblurer(lambda x: x), presets={"default": Preset(), "odd": Preset({"side": 3})})
    check_deblurer(spec)
    with pytest.raises(AssertionError, match="build.*side"):
        check_deblurer(spec, "odd")


def detector(**overrides):
    """A kind whose detector finds bright boxes, but for what is overridden."""
    return DetectorSpec(type("Changed", (BrightBoxes,), overrides))


def with_field(**fields):
    """The same, with fields of its detections computed in another way."""

    def look(self, frame):
        found = BrightBoxes.look(self, frame)
        return dataclasses.replace(found, **{name: change(getattr(found, name)) for name, change in fields.items()})

    return detector(look=look)


def remembering(self, frames):
    """What is found depends on how much there is to look at."""
    return [found.above(0.7 if len(frames) > 1 else 0) for found in BrightBoxes.__call__(self, frames)]


def drawing(self, frame):
    frame[0] = 255
    return Detections.empty()


def test_a_detector_passes():
    check_detector(DetectorSpec(BrightBoxes))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("yolo26n", "SPEC is a str"),
        (DetectorSpec(BrightBoxes, licence=""), "licence is empty"),
        (DetectorSpec(BrightBoxes, stride=0), "stride is 0"),
        (DetectorSpec(lambda weights: None), "build.* fails: TypeError"),
        (detector(class_names={}), r"class_names is \{\}"),
        (detector(class_names={"box": 0}), "class_names is .*mapping from each label"),
        (detector(class_names={1: "box"}), r"Labels \{0\} are not in class_names"),
        (detector(__call__=lambda self, frames: iter(())), "make a list of as many Detections"),
        (detector(__call__=lambda self, frames: []), "make a list of as many Detections"),
        (detector(look=lambda self, frame: Detections.empty()), "detects nothing"),
        (detector(look=drawing), "changes the frames"),
        (with_field(xyxy=lambda xyxy: xyxy.astype(float)), "xyxy is .* float64"),
        (with_field(xyxy=lambda xyxy: xyxy[:, :2]), "xyxy is .*2.* must be"),
        (with_field(xyxy=lambda xyxy: xyxy[:, [2, 3, 0, 1]]), "Boxes must be x0, y0, x1, y1"),
        (with_field(xyxy=lambda xyxy: xyxy + 500), "in the frame of 128x96"),
        (with_field(score=lambda score: score * 2), "Scores must lie in 0..1"),
        (with_field(score=lambda score: score[::-1]), "falling score"),
        (with_field(label=lambda label: label.tolist()), "label is list"),
        (detector(__call__=remembering), "frames beside it"),
        (
            detector(look=lambda self, frame: BrightBoxes.look(self, (frame * (0.9 if self.conf < 0.1 else 1)))),
            "only add fainter",
        ),
    ],
)
def test_a_detectors_fault_is_named(spec, message):
    with pytest.raises(AssertionError, match=message):
        check_detector(spec)


def test_frames_are_the_callers():
    black = [np.zeros((32, 32, 3), np.uint8)]
    with pytest.raises(AssertionError, match="give check_detector frames"):
        check_detector(DetectorSpec(BrightBoxes), frames=black)
