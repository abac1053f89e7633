"""Weights of a network that is smaller than its teacher: first of its innermost level, then of all of it."""

import dataclasses
import sys

import numpy as np
import pytest
import torch

from deblurers import fastsrn, fastsrn_task_small, srn
from detbench import registry
from detbench.gan import distil
from detbench.gan.data import Batches
from detbench.gan.prepare import fabric_on
from detbench.gan.sources import load_folders
from detbench.images import write_image
from detbench.weights import read_record


def test_the_innermost_level_is_what_the_network_computes_there():
    torch.manual_seed(0)
    net = fastsrn_task_small.SmallFastSRN().eval()
    blurred = torch.rand(2, 3, 64, 96)
    given, wanted = distil._features(net, blurred)
    assert given.shape == wanted.shape == (2, 64, 8, 12)
    replaced = net.layers["dec2_4"].register_forward_hook(lambda *_: wanted)
    same, _ = net(blurred), replaced.remove()
    torch.testing.assert_close(net(blurred), same)


@pytest.fixture
def sources(tmp_path, monkeypatch):
    monkeypatch.setattr(distil, "LEVEL_CROPS", 4)
    monkeypatch.setattr(distil, "LEVEL_BATCH", 2)
    monkeypatch.setattr(distil, "LEVEL_STEPS", 3)
    monkeypatch.setattr(distil, "CROPS", 4)
    write_image(tmp_path / "photo.png", np.random.default_rng(0).integers(0, 255, (300, 320, 3), np.uint8))
    return load_folders([tmp_path])


def test_the_level_learns_and_no_other_does(sources):
    net = distil.distil(sources, None, 0, 0, fabric_on("cpu")).state_dict()
    torch.manual_seed(0)
    fastsrn_task_small.SmallFastSRN(srn.WIDTHS)  # the teacher's turn to draw weights comes first
    begun = fastsrn_task_small.SmallFastSRN()
    begun.adopt(registry.load("fastsrn_task").build().state_dict())
    for name, tensor in begun.state_dict().items():
        inner = name.startswith(fastsrn_task_small.INNERMOST)
        assert torch.equal(tensor, net[name]) != inner, name


def test_its_error_falls():
    torch.manual_seed(0)
    wide, net = fastsrn_task_small.SmallFastSRN((32, 64, 32)), fastsrn_task_small.SmallFastSRN((32, 64, 8))
    given, wanted = distil._features(wide, torch.rand(4, 3, 64, 64))
    wanted = 1 + 0 * wanted  # which any level can learn
    first = distil.fit_level(net, given, wanted, iterations=1)
    assert distil.fit_level(net, given, wanted, iterations=60) < first
    level = distil._innermost(net)
    assert float((level(given) - wanted).detach().square().mean()) < 0.25 * first


def test_the_network_learns_to_restore_as_its_teacher_does():
    torch.manual_seed(0)
    fabric, net = fabric_on("cpu"), fastsrn_task_small.SmallFastSRN((8, 8, 8))
    given = torch.randint(0, 200, (4, 3, 64, 64), dtype=torch.uint8)
    wanted = given + 50  # which is easily learnt

    def error(network):
        with torch.no_grad():
            return float((network(given / 255) - wanted / 255).abs().mean())

    before = error(net)
    assert error(distil.imitate(net, given, wanted, 150, fabric)) < before / 2


def test_the_teachers_crops_are_what_it_makes_of_the_blurred_ones(sources):
    torch.manual_seed(0)
    fabric, teacher = fabric_on("cpu"), registry.load("fastsrn_task").build().eval()
    crops = Batches(sources, dataclasses.replace(distil.recipe(None, 1), batch=2), 0, 0, fabric.device)
    given, wanted = distil.restored(teacher, crops, 2, fabric)
    assert given.shape == wanted.shape == (4, 3, 256, 256)
    assert given.dtype == wanted.dtype == torch.uint8
    with torch.no_grad():
        again = (teacher(given / 255).clamp(0, 1) * 255).round()
    assert (again - wanted).abs().max() <= 8  # in bfloat16, where the machine has it
    assert not torch.equal(given, wanted)


def test_the_command_writes_weights_with_their_record(sources, tmp_path, monkeypatch):
    out = tmp_path / "small.safetensors"
    words = ["--data", tmp_path, "--out", out, "--steps", 2, "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["distil", *map(str, words)])
    distil.main()
    registry.load("fastsrn_task_small", out).build()
    record = read_record(out)
    assert (record["deblurer"], record["preset"]) == ("fastsrn_task_small", "default")
    assert (record["images_seen"], record["recipe"]["teacher"]) == (2 * distil.BATCH, "fastsrn_task")
    assert [source["files"] for source in record["data"]] == [1]
    assert record["init"] == {"from": "fastsrn_task", "sha256": registry.fingerprint("fastsrn_task")}


def test_weights_of_another_network_are_refused():
    with pytest.raises(RuntimeError):
        fastsrn_task_small.SmallFastSRN().adopt(fastsrn.FastSRN((8, 16, 32)).state_dict())
