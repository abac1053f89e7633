"""A frozen detector's view of restored crops: what the terms are, and that nothing else moves."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torchvision
from lightning.fabric import Fabric
from torch.nn import functional as F

from detbench import detectors, registry
from detbench.detectors import yolo
from detbench.gan import losses
from detbench.gan.data import Batch
from detbench.gan.detector import FrozenDetector, View, find_objects, mean_terms, task_loss, terms
from detbench.gan.prepare import teacher_of
from detbench.gan.recipe import Recipe
from detbench.gan.step import stage, step, training_state
from detbench.types import DetbenchError

CPU = torch.device("cpu")
NEVER = -40.0
"""A logit whose probability is 0."""


@pytest.fixture(scope="module")
def frozen():
    return FrozenDetector("yolo26n", CPU)


def tensor(frames):
    """Frames as the networks take them, in [-1, 1]."""
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1


def view(features=(0.0, 0.0), logits=((NEVER,) * 4,), sides=((0.0,) * 4,) * 4):
    """Of one picture: one row of a map of one channel, classes by anchors, and sides by anchors."""
    return View(
        (torch.tensor(features).view(1, 1, 1, -1),), torch.tensor(logits)[None], torch.tensor(sides).view(1, 4, -1)
    )


def test_equal_views_have_no_difference(frozen, traffic):
    with torch.no_grad():
        (seen,) = frozen.look(tensor(traffic[:2]), [1.0, 1.0])
    assert terms(seen, seen) == {"features": 0, "classes": 0, "boxes": 0}


def test_features_are_compared_in_units_of_their_spread():
    # The sharp map's deviation is sqrt(2) (of a sample of two); one of its two values differs, by 0.5.
    found = terms(view(features=(0.5, 2.0)), view(features=(0.0, 2.0)))
    assert found["features"].item() == pytest.approx(0.25 / (math.sqrt(2) + 0.05))
    # A map without spread: 0.1 in units of 0.05.
    found = terms(view(features=(1.1, 1.1)), view(features=(1.0, 1.0)))
    assert found["features"].item() == pytest.approx(2.0)
    # Strides count alike, however many values they have.
    sharp = View((torch.tensor([[[[0.0, 2.0]]]]), torch.ones(1, 1, 1, 4)), *dataclasses.astuple(view())[1:])
    restored = dataclasses.replace(sharp, features=(torch.tensor([[[[0.5, 2.0]]]]), torch.full((1, 1, 1, 4), 1.1)))
    assert terms(restored, sharp)["features"].item() == pytest.approx((0.25 / (math.sqrt(2) + 0.05) + 2.0) / 2)


def test_classes_are_compared_for_each_object_seen():
    # One anchor of probability 0.5, restored as 0.75: 0.5 ln(0.5 / 0.75) + 0.5 ln(0.5 / 0.25) = 0.143841.
    # It counts 0.5 - 0.05 as seen, but at least 1 is divided by.
    restored, sharp = (view(logits=((logit, NEVER, NEVER, NEVER), (NEVER,) * 4)) for logit in (math.log(3), 0.0))
    assert terms(restored, sharp)["classes"].item() == pytest.approx(0.143841, rel=1e-4)
    # Four such anchors: 4 * 0.143841 for 4 * 0.45 objects. A second class is summed, and is not seen twice.
    restored, sharp = (view(logits=((logit,) * 4, (logit,) * 4)) for logit in (math.log(3), 0.0))
    assert terms(restored, sharp)["classes"].item() == pytest.approx(2 * 4 * 0.143841 / 1.8, rel=1e-4)


def test_boxes_count_by_the_probability_of_their_object():
    # Anchors of probability 0.5, 0.5, 0.75 and 0.04 count 0.45, 0.45, 0.7 and nothing, in all 1.6. The first box
    # differs by 4 strides on one side, in the mean by 1; the third by 2 on all; the fourth does not matter.
    logits = ((0.0, 0.0, math.log(3), math.log(0.04 / 0.96)),)
    moved = ((4.0, 0.0, 2.0, 9.0), (0.0, 0.0, -2.0, 9.0), (0.0, 0.0, 2.0, 9.0), (0.0, 0.0, 2.0, 9.0))
    found = terms(view(logits=logits, sides=moved), view(logits=logits))
    assert found["boxes"].item() == pytest.approx((0.45 * 1 + 0.7 * 2) / 1.6)
    # Where next to nothing is seen, at least 1 is divided by.
    logits = ((0.0, NEVER, NEVER, NEVER),)
    assert terms(view(logits=logits, sides=moved), view(logits=logits))["boxes"].item() == pytest.approx(0.45)


def test_the_class_term_is_never_negative():
    torch.manual_seed(0)
    for _ in range(20):
        sharp = view(logits=tuple(map(tuple, (5 * torch.randn(2, 4)).tolist())))
        restored = dataclasses.replace(sharp, logits=sharp.logits + 0.5 * torch.randn(1, 2, 4))
        assert terms(restored, sharp)["classes"] > 0


def test_the_loss_weights_the_terms():
    recipe = Recipe({}, detector_features=5.0, detector_classes=2.0, detector_boxes=3.0)
    seen = {"features": torch.tensor(1.0), "classes": torch.tensor(10.0), "boxes": torch.tensor(100.0)}
    assert task_loss(seen, recipe) == 325


def test_detectors_and_pictures_count_alike():
    def spread(by):
        return view(features=(1.0 + by, 1.0 + by))

    three = View(*(torch.cat([t] * 3) if isinstance(t, torch.Tensor) else t for t in dataclasses.astuple(view())))
    three = dataclasses.replace(three, features=(torch.ones(3, 1, 1, 2),))
    off = dataclasses.replace(three, features=(torch.full((3, 1, 1, 2), 1.1),))
    # Two detectors of one picture each: 2 and 4 in units of 0.05.
    found = mean_terms([[spread(0.1)], [spread(0.2)]], [[spread(0.0)], [spread(0.0)]])
    assert found["features"].item() == pytest.approx(3.0)
    # One detector, three pictures at one size and one at another: 2, 2, 2 and 0.
    found = mean_terms([[off, spread(0.0)]], [[three, spread(0.0)]])
    assert found["features"].item() == pytest.approx(1.5)


def test_the_gradient_reaches_the_picture_and_no_weight(frozen, traffic):
    sharp = tensor(traffic[:1])
    restored = F.avg_pool2d(sharp, 5, 1, 2).requires_grad_()
    with torch.no_grad():
        target = frozen.look(sharp, [1.0])
    for name, term in mean_terms([frozen.look(restored, [1.0])], [target]).items():
        (gradient,) = torch.autograd.grad(term, restored, retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().sum() > 0, name
    sum(mean_terms([frozen.look(restored, [1.0])], [target]).values()).backward()
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in frozen._net.parameters())


def small_state(recipe):
    """A small dark-channel network and its opponent, if any, on a CPU."""
    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu")
    net = registry.get("dc250").build(width=4, levels=2, dropout_blocks=1, global_skip=True)
    return training_state(net, recipe, fabric), fabric


def batch(traffic):
    """Two crops, 128 pixels wide, that are seen at two scales."""
    sharp = tensor([frame[40:168, 80:208] for frame in traffic[:2]])
    return Batch(F.avg_pool2d(sharp, 5, 1, 2), sharp, (1.0, 0.5))


TASK = Recipe({"l1": 1.0}, detector_features=5.0, detector_classes=1.0, detector_boxes=1.0, crop=128)


def test_training_leaves_the_detector_as_it_was(frozen, traffic):
    both, fabric = small_state(TASK)
    generator = [parameter.clone() for parameter in both.generator.parameters()]
    before = {name: value.clone() for name, value in frozen.state().items()}
    rows = [step(both, TASK, stage(TASK, i), batch(traffic), fabric, [frozen]).row() for i in (1, 2, 3)]
    assert all(row["classes"] > 0 and row["features"] > 0 and row["boxes"] > 0 for row in rows)
    weighted = rows[0]["content"] + 5 * rows[0]["features"] + rows[0]["classes"] + rows[0]["boxes"]
    assert rows[0]["g_loss"] == pytest.approx(weighted, rel=1e-5)
    after = frozen.state()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(module.training for module in frozen._net.modules())
    assert any(not torch.equal(*pair) for pair in zip(generator, both.generator.parameters(), strict=True))


def test_the_terms_join_the_adversarial_loss(frozen, traffic):
    opponent = {"kind": "score", "width": 4}
    recipe = dataclasses.replace(TASK, adversarial="bce", adversarial_weight=3.0, discriminator=opponent)
    both, fabric = small_state(recipe)
    given = batch(traffic)
    seen = step(both, recipe, stage(recipe, 1), given, fabric, [frozen])
    row = seen.row()
    with torch.no_grad():
        game = losses.ADVERSARIAL["bce"].generator(both.discriminator(given.blurred, seen.restored)).item()
    task = 5 * row["features"] + row["classes"] + row["boxes"]
    assert row["d_loss"] > 0
    assert row["g_loss"] == pytest.approx(row["content"] + 3 * game + task, rel=1e-5)


def test_a_teacher_is_a_further_target(traffic):
    recipe = dataclasses.replace(TASK, teacher="unsharp", teacher_weight=4.0)
    both, fabric = small_state(recipe)
    given = batch(traffic)
    shown = []

    def teacher(blurred):
        shown.append(blurred)
        return blurred / 2

    seen = step(both, recipe, stage(recipe, 1), given, fabric, (), teacher)
    row = seen.row()
    assert [torch.equal(each, given.blurred) for each in shown] == [True]
    assert row["teacher"] == pytest.approx((seen.restored - given.blurred / 2).abs().mean().item(), rel=1e-5)
    assert row["g_loss"] == pytest.approx(row["content"] + 4 * row["teacher"], rel=1e-5)


def test_a_teacher_is_frozen_and_in_the_range_of_training():
    fabric = Fabric(accelerator="cpu")
    assert teacher_of(TASK, fabric) is None
    net = teacher_of(dataclasses.replace(TASK, teacher="dc0"), fabric)
    assert not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())
    frames = 2 * torch.rand(1, 3, 64, 64) - 1
    with torch.no_grad():
        torch.testing.assert_close(net(frames), registry.load("dc0").build().eval()(frames))
        unsharp = teacher_of(dataclasses.replace(TASK, teacher="unsharp"), fabric)
        torch.testing.assert_close(unsharp(torch.full((1, 3, 32, 32), -1.0)), torch.full((1, 3, 32, 32), -1.0))


def test_gradients_are_clipped(frozen, traffic):
    norms = []
    for limit in (0.0, 0.01):
        recipe = dataclasses.replace(TASK, clip_gradient=limit)
        both, fabric = small_state(recipe)
        step(both, recipe, stage(recipe, 1), batch(traffic), fabric, [frozen])
        norms.append(torch.cat([parameter.grad.flatten() for parameter in both.generator.parameters()]).norm().item())
    assert norms[0] > 0.1
    assert norms[1] == pytest.approx(0.01, rel=1e-3)


def test_it_sees_what_is_evaluated(frozen, traffic):
    """The logits and sides of the loss, decoded here, are the detections of :class:`detbench.detectors.yolo.Yolo`."""
    found = detectors.resolve("yolo26n")
    assert frozen.sha256 == found.sha256
    (wanted,) = found.build(conf=0.25, nms_iou=0.7, imgsz=320, device="cpu")(traffic[:1])
    with torch.no_grad():
        (seen,) = frozen.look(tensor(traffic[:1]), [1.0])
    places, strides = [], []
    for features, stride in zip(seen.features, (8, 16, 32), strict=True):
        height, width = features.shape[2:]
        assert (height, width) == (224 // stride, 320 // stride)
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        places.append(torch.stack([x, y], dim=-1).view(-1, 2))
        strides += [stride] * (height * width)
    place, (left, top, right, bottom) = torch.cat(places), seen.sides[0]
    x, y = place.T
    corners = torch.stack([x - left, y - top, x + right, y + bottom], dim=1) * torch.tensor(strides)[:, None]
    score, label = seen.logits[0].sigmoid().max(0)
    sure = score > 0.25
    corners, score, label = corners[sure], score[sure], label[sure]
    kept = torchvision.ops.batched_nms(corners, score, label, 0.7)
    assert len(kept) == len(wanted) > 3
    np.testing.assert_allclose(score[kept], wanted.score, atol=1e-4)
    np.testing.assert_array_equal(label[kept], wanted.label)
    np.testing.assert_allclose(corners[kept], wanted.xyxy.clip(0), atol=0.05)


def test_crops_are_shown_at_the_scale_of_their_frame(frozen, traffic):
    crops = tensor([frame[40:168, 80:208] for frame in traffic[:3]])  # 128 x 128
    with torch.no_grad():
        half, whole = frozen.look(crops, [0.5, 0.5, 1.0])
        (alone,) = frozen.look(crops[2:], [1.0])
        (reduced,) = frozen.look(F.avg_pool2d(crops[:2], 2), [1.0, 1.0])
        mixed = frozen.look(crops, [1.0, 0.5, 1.0])
        (near,) = frozen.look(crops[:1], [0.55])  # rounded to the stride
    assert [f.shape for f in half.features] == [(2, 64, 8, 8), (2, 128, 4, 4), (2, 256, 2, 2)]
    assert whole.logits.shape == (1, 80, 16**2 + 8**2 + 4**2)
    torch.testing.assert_close(whole.logits, alone.logits)
    torch.testing.assert_close(half.logits, reduced.logits, atol=1e-3, rtol=1e-3)
    assert [len(each.logits) for each in mixed] == [1, 1, 1]
    assert near.logits.shape == (1, 80, 8**2 + 4**2 + 2**2)


@pytest.fixture
def built(tmp_path):
    """Save one of ultralytics' networks, with random weights, as a .pt file."""

    def built(config, kind="Detection"):
        torch.manual_seed(0)
        model = getattr(yolo._ultralytics().nn.tasks, f"{kind}Model")(f"{config}.yaml", verbose=False)
        torch.save({"model": model}, tmp_path / f"{config}.pt")
        return str(tmp_path / f"{config}.pt")

    return built


@pytest.mark.parametrize("config", ["yolov5nu", "yolov8n", "yolo11n", "yolo26n", "yolo26n-seg"])
def test_every_family_has_a_view(config, built):
    images = (2 * torch.rand(1, 3, 64, 96) - 1).requires_grad_()
    frozen = FrozenDetector(built(config, "Segmentation" if "seg" in config else "Detection"), CPU)
    (seen,) = frozen.look(images, [1.0])
    anchors = 8 * 12 + 4 * 6 + 2 * 3
    assert [f.shape[2:] for f in seen.features] == [(8, 12), (4, 6), (2, 3)]
    assert (seen.logits.shape, seen.sides.shape) == ((1, 80, anchors), (1, 4, anchors))
    assert len(frozen.classes) == 80
    for part in (*seen.features, seen.logits, seen.sides):
        (gradient,) = torch.autograd.grad(part.square().sum(), images, retain_graph=True)
        assert gradient.any()


def test_what_has_no_detection_head_is_refused(built, tmp_path):
    with pytest.raises(DetbenchError, match=r"yolov8n-cls\.pt does not find boxes .*its task is classify"):
        FrozenDetector(built("yolov8n-cls", "Classification"), CPU)
    (tmp_path / "some.onnx").write_bytes(b"")
    with pytest.raises(DetbenchError, match=r"some\.onnx cannot be differentiated through: give the \.pt"):
        FrozenDetector(str(tmp_path / "some.onnx"), CPU)


def test_objects_are_looked_for_once(stocked, traffic, monkeypatch):
    found = find_objects(traffic[:2], "yolo26n", 320, CPU)
    assert all(len(boxes) > 3 and boxes.shape[1] == 4 for boxes in found)
    chosen = detectors.resolve("yolo26n")
    (wanted,) = chosen.build(conf=0.25, nms_iou=0.7, imgsz=320, device="cpu")(traffic[:1])
    np.testing.assert_allclose(found[0], wanted.xyxy, atol=0.051)

    looked = []

    class Watched(yolo.Yolo):
        def __call__(self, frames):
            looked.append(len(frames))
            return super().__call__(frames)

    spec = dataclasses.replace(chosen.spec, build=Watched)
    watched = dataclasses.replace(chosen, spec=spec)
    monkeypatch.setattr(detectors, "resolve", lambda name: watched)
    again = find_objects(traffic[::-1][2:], "yolo26n", 320, CPU)
    assert not looked
    assert all(np.array_equal(*pair) for pair in zip(again, found[::-1], strict=True))
    find_objects(traffic[:3], "yolo26n", 320, CPU)
    assert looked == [1]
    watched = dataclasses.replace(chosen, spec=spec, sha256="0" * 64)  # another detector
    find_objects(traffic[:3], "yolo26n", 320, CPU)
    assert looked == [1] * 4
