"""Deblurers handed over from Python: scored as registered ones are, and known by what they compute."""

import dataclasses
import functools

import cv2
import numpy as np
import pytest
import torch
from torch import nn

import detbench
from detbench import custom, runner, store
from detbench.types import DeblurerSpec, DetbenchError, Preset, RunSpec
from detbench.weights import save_weights


@pytest.fixture
def spec(pairs, bright_boxes):
    return RunSpec("mine", dataset=str(pairs), conf=0.55, device="cpu")


class Scaled(nn.Module):
    """A network with a weight, an option, and sides that must be even."""

    def __init__(self, gain=1.0, offset=0.0):
        super().__init__()
        self.gain, self.offset = nn.Parameter(torch.tensor(gain)), offset

    def forward(self, x):
        assert x.shape[-1] % 2 == x.shape[-2] % 2 == 0
        return x * self.gain + self.offset


def scores(result):
    """Of all frames, without their times."""
    return [dataclasses.replace(score, restore_ms=0.0, detect_ms=0.0) for score in result.scores]


def known(deblurer, name="mine"):
    """What a run knows a deblurer by; None where it cannot be known."""
    taken = custom.take(RunSpec(name), deblurer)
    return taken.hash if taken.known else None


def test_a_lambda_is_scored(spec, tmp_path):
    floor = detbench.run(dataclasses.replace(spec, deblurer="identity"), tmp_path)
    same = detbench.run(spec, tmp_path, deblurer=lambda frame: frame)
    black = detbench.run(dataclasses.replace(spec, deblurer="black"), tmp_path, deblurer=lambda frame: 0 * frame)
    assert scores(same) == scores(floor)
    assert same.path.name.startswith("data-mine-")
    assert same.path != floor.path
    assert black.total("tp") == 0 < floor.total("tp")
    assert store.read(black.path) == black


def test_a_registered_deblurer_handed_over_scores_as_itself(spec, tmp_path):
    from detbench import registry

    by_name = detbench.run(dataclasses.replace(spec, deblurer="unsharp"), tmp_path)
    assert scores(detbench.run(spec, tmp_path, deblurer=registry.get("unsharp"))) == scores(by_name)
    net = registry.load("unsharp").build()
    assert scores(detbench.run(dataclasses.replace(spec, deblurer="net"), tmp_path, deblurer=net)) == scores(by_name)


def test_range_and_multiple_are_a_specifications(spec, tmp_path):
    presets = {"default": Preset(multiple_of=2)}
    build = functools.partial(Scaled, gain=-1.0)
    inverted = detbench.run(spec, tmp_path, deblurer=DeblurerSpec(build, presets=presets, value_range=(-1.0, 1.0)))
    function = detbench.run(dataclasses.replace(spec, deblurer="f"), tmp_path, deblurer=lambda frame: 255 - frame)
    assert scores(inverted) == scores(function)


def test_a_network_stays_as_it_is(spec, tmp_path):
    net = Scaled().train()
    detbench.run(spec, tmp_path, deblurer=net)
    assert net.training


def test_a_function_cannot_change_the_frames_that_are_compared(spec, tmp_path):
    def darken(frame):
        frame //= 2
        return frame

    result = detbench.run(dataclasses.replace(spec, input="sharp"), tmp_path, deblurer=darken)
    assert result.mean("psnr_db") < 20


def test_a_finished_run_is_found_again_and_another_networks_is_not(spec, tmp_path, monkeypatch):
    first = detbench.run(spec, tmp_path, deblurer=Scaled())
    other = detbench.run(spec, tmp_path, deblurer=Scaled(gain=0.5))
    assert first.path != other.path
    monkeypatch.setattr(runner, "Loop", None)
    assert detbench.run(spec, tmp_path, deblurer=Scaled()) == first


def test_what_cannot_be_known_is_run_again_and_says_so(spec, tmp_path, capsys, home):
    class Darkener:
        """Depends on something that no hash stands for."""

        def __call__(self, frame):
            return frame // 2

    runs = [detbench.run(spec, tmp_path, deblurer=Darkener()) for _ in range(2)]
    assert scores(runs[0]) == scores(runs[1])
    assert runs[0].path != runs[1].path
    assert "mine: nothing stands for all that it computes with" in capsys.readouterr().err
    assert not (home / "restored").exists()


def test_a_function_is_known_by_its_code_and_what_it_refers_to():
    def blurs(side):
        """Make one that depends on a variable of its maker."""

        def blur(frame, times=1):
            return cv2.blur(frame, (side, side))

        return blur

    def commented(frame):
        """Something else is said here."""
        return frame[..., ::-1]  # and here

    def plain(frame):
        """Nothing more is done."""
        return frame[..., ::-1]

    plain.__qualname__ = commented.__qualname__
    one, two = (lambda frame: frame + 1), (lambda frame: frame + 2)
    assert known(one) != known(two)
    assert known(blurs(3)) == known(blurs(3)) != known(blurs(5))
    assert known(commented) == known(plain)
    faster = blurs(3)
    faster.__defaults__ = (2,)
    assert known(faster) != known(blurs(3))


OFFSET, TABLE, NET = 1, np.arange(256, dtype=np.uint8), Scaled()


def helper(frame):
    return frame + OFFSET


def test_variables_and_helpers_of_the_module_count(monkeypatch):
    functions = [helper, lambda frame: helper(frame), lambda frame: TABLE[frame], lambda frame: NET(frame)]
    before = [known(function) for function in functions]
    assert None not in before
    monkeypatch.setitem(globals(), "OFFSET", 2)
    monkeypatch.setitem(globals(), "TABLE", TABLE[::-1])
    monkeypatch.setitem(globals(), "NET", Scaled(2.0))
    assert not {known(function) for function in functions} & set(before)


def test_a_recursive_function_is_known():
    def again(frame, times=3):
        return again(frame, times - 1) if times else frame

    assert known(again)


def test_a_network_is_known_by_tensors_code_and_options():
    class Other(Scaled):
        def forward(self, x):
            return super().forward(x) + 1

    nets = [Scaled(), Scaled(0.5), Scaled(offset=0.1), Other(), nn.Sequential(Scaled()), nn.ReLU(), nn.LeakyReLU(0.1)]
    nets += [nn.LeakyReLU(0.2), nn.Dropout(0.1), nn.Dropout(0.2)]
    for heads in (2, 4):  # which show in no tensor, and not in how it is printed
        torch.manual_seed(0)
        nets.append(nn.MultiheadAttention(8, heads))
    found = [known(net) for net in nets]
    assert None not in found
    assert len(set(found)) == len(nets)
    assert known(Scaled()) == found[0]
    assert known(DeblurerSpec(Scaled)) == found[0]
    assert known(DeblurerSpec(Scaled, value_range=(-1.0, 1.0))) != found[0]
    assert known(DeblurerSpec(Scaled, presets={"default": Preset(multiple_of=2)})) != found[0]


def test_a_network_with_something_else_in_it_is_not_known():
    for helper in (object(), np.array([object()]), [Scaled()]):
        net = Scaled()
        net.helper = helper
        if isinstance(helper, list):
            helper[0].helper = [net]  # each contains the other
        assert known(net) is None
    assert known(functools.partial(np.clip, a_min=0, a_max=9)) is None


def test_a_specification_gets_the_weights_of_the_run(tmp_path):
    save_weights(tmp_path / "w.safetensors", Scaled(0.5), {})
    taken = [custom.take(RunSpec("mine", weights=w), DeblurerSpec(Scaled)) for w in (None, tmp_path / "w.safetensors")]
    assert taken[0].hash != taken[1].hash == known(Scaled(0.5))


@pytest.mark.parametrize(
    ("fields", "deblurer", "message"),
    [
        ({"deblurer": "dc250"}, nn.Identity(), "'dc250' is another deblurer's name: .*a name of its own"),
        ({"deblurer": "onnx:x"}, nn.Identity(), "'onnx:x' is another deblurer's name"),
        ({"deblurer": ""}, nn.Identity(), "RunSpec.deblurer is empty"),
        ({"weights": "w.safetensors"}, nn.Identity(), r"mine .*leave RunSpec\.weights out"),
        ({}, 3, "mine is a int: hand over a torch.nn.Module, a DeblurerSpec or a function"),
        ({}, lambda frame: frame[1:], r"mine failed on frame frame0: it made \(47, 64, 3\) uint8"),
        ({}, lambda frame: frame / 255, "it made .* float64"),
        ({}, lambda frame: None, "it made NoneType of"),
        ({"precision": "bf16"}, lambda frame: frame, "mine is a function: leave out backend and precision"),
    ],
)
def test_what_cannot_be_run_is_refused(spec, tmp_path, fields, deblurer, message):
    with pytest.raises(DetbenchError, match=message):
        detbench.run(dataclasses.replace(spec, **fields), tmp_path, deblurer=deblurer)


def test_a_recipe_without_weights_is_refused(tmp_path):
    from detbench.gan.recipe import Recipe

    untrained = DeblurerSpec(Scaled, presets={"default": Preset(recipe=Recipe({"l1": 1.0}))})
    with pytest.raises(DetbenchError, match=r"mine has a recipe and no trained weights: .*RunSpec\.weights"):
        custom.take(RunSpec("mine"), untrained)
