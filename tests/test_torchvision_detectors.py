"""Torchvision's detectors against torchvision's own way of calling them, on weights that the test makes."""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage import data
from torchvision import models

from detbench import detectors
from detbench.detectors import torchvision
from detbench.testing import check_detector
from detbench.types import DetbenchError

PICTURES = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket(), data.astronaut()[:300, 100:500]]
CONF, NMS_IOU = 0.1, 0.6


def made(name, path, outputs=91, spread=0.2):
    """Weights as they are drawn, with an output layer that tells classes apart."""
    torch.manual_seed(0)
    net = models.get_model(name, weights=None, weights_backbone=None, num_classes=outputs)
    for key, value in net.state_dict().items():
        if re.search(r"cls_score|classification_head.module_list.\d.1\.", key):
            value.normal_(0, spread)
    torch.save(net.state_dict(), path)
    return path


def build(name, weights, **options):
    found = detectors.resolve(f"torchvision:{name}", weights)
    settings = {"conf": CONF, "nms_iou": NMS_IOU, "imgsz": found.spec.imgsz, "device": "cpu"}
    return found.build(**settings | options)


@pytest.mark.slow("runs two large networks on five pictures")
@pytest.mark.parametrize("name", ["fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large"])
def test_it_sees_what_torchvision_sees(name, tmp_path):
    """Its own transform of a picture, and its own model with these thresholds: inputs equal, boxes equal."""
    weights = made(name, tmp_path / "net.pth", spread=2)
    options = {"box_score_thresh": CONF, "box_nms_thresh": NMS_IOU, "box_detections_per_img": 300}
    if name.startswith("ssd"):
        options = {"score_thresh": CONF, "nms_thresh": NMS_IOU, "detections_per_img": 300}
    theirs = models.get_model(name, weights=None, weights_backbone=None, **options).eval()
    theirs.load_state_dict(torch.load(weights))
    ours = build(name, weights)
    inputs = []
    for net in (ours._net, theirs):
        net.backbone.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    transform = models.get_model_weights(name).DEFAULT.transforms()
    count = 0
    for picture in PICTURES:
        (found,) = ours([picture])
        with torch.no_grad():
            (expected,) = theirs([transform(torch.from_numpy(picture).permute(2, 0, 1))])
        assert torch.equal(inputs[-2], inputs[-1])
        order = np.argsort(-expected["scores"].numpy(), kind="stable")
        np.testing.assert_allclose(found.xyxy, expected["boxes"].numpy()[order], atol=1)
        np.testing.assert_allclose(found.score, expected["scores"].numpy()[order], atol=0.01)
        np.testing.assert_array_equal(found.label, expected["labels"].numpy()[order])
        count += len(found)
    assert count >= 20


@pytest.mark.parametrize("name", models.list_models(module=models.detection))
def test_every_builder_declares_its_size(name):
    found = torchvision.of(name)
    fixed = {"ssd300_vgg16": 300, "ssdlite320_mobilenet_v3_large": 320}
    own = {**fixed, "fasterrcnn_mobilenet_v3_large_320_fpn": 640}
    assert (found.imgsz, found.fixed) == (own.get(name, 1333), name in fixed)


def test_another_size_keeps_the_proportion_of_the_sides(tmp_path):
    name = "fasterrcnn_mobilenet_v3_large_fpn"
    transform = build(name, made(name, tmp_path / "net.pth"), imgsz=640)._net.transform
    assert (transform.min_size, transform.max_size) == ((384,), 640)


def test_it_is_a_detector(tmp_path, traffic):
    name = "ssdlite320_mobilenet_v3_large"
    check_detector(torchvision.of(name), made(name, tmp_path / "net.pth"), traffic, imgsz=320)


def test_classes_of_its_own_stand_beside_the_weights(tmp_path):
    name = "ssdlite320_mobilenet_v3_large"
    made(name, tmp_path / "net.pth", outputs=3)
    with pytest.raises(
        DetbenchError, match=r"holds no weights of torchvision's ssdlite320.*net.toml beside it names them"
    ):
        build(name, tmp_path / "net.pth")
    (tmp_path / "net.toml").write_text('classes = ["drone", "bird"]\n')
    assert build(name, tmp_path / "net.pth").class_names == {0: "N/A", 1: "drone", 2: "bird"}
    (tmp_path / "net.toml").write_text("names = 3\n")
    with pytest.raises(DetbenchError, match=r"net.toml has no list of classes"):
        build(name, tmp_path / "net.pth")


def test_safetensors_are_read_too(tmp_path):
    name = "ssdlite320_mobilenet_v3_large"
    state = torch.load(made(name, tmp_path / "net.pth"))
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "net.safetensors")
    (found,), (same,) = (build(name, tmp_path / f"net.{kind}")([data.astronaut()]) for kind in ("pth", "safetensors"))
    np.testing.assert_array_equal(found.xyxy, same.xyxy)


class Trap:
    """Touches a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


def test_weights_that_do_not_fit_or_could_run_code(tmp_path):
    name = "ssdlite320_mobilenet_v3_large"
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    torch.save({"model": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for file in ("other", "trap", "text"):
        with pytest.raises(DetbenchError, match=f"{file}.pth holds no weights of torchvision's {name}"):
            build(name, tmp_path / f"{file}.pth")
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(DetbenchError, match=r"The weights .*missing.pth do not exist"):
        build(name, tmp_path / "missing.pth")


def test_an_unknown_name_answers_with_those_there_are():
    with pytest.raises(DetbenchError, match=r"no detector 'fasterrcnn'.*fasterrcnn_resnet50_fpn_v2"):
        detectors.resolve("torchvision:fasterrcnn")


def test_published_weights_are_downloaded_once_and_checked(home, monkeypatch):
    url = models.get_model_weights("ssd300_vgg16").DEFAULT.url
    path = home / "assets" / url.rpartition("/")[2]
    asked = []

    def refuse(*arguments, **options):
        asked.append(arguments)
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(DetbenchError, match=rf"could not be downloaded from {url}.*\n.*put the file at {path}"):
        detectors.resolve("torchvision:ssd300_vgg16")
    assert len(asked) == 1
    path.write_bytes(b"half of it")
    with pytest.raises(DetbenchError, match=r"is damaged: its SHA-256 does not begin with b556d3b4"):
        detectors.resolve("torchvision:ssd300_vgg16")
    assert len(asked) == 1


def test_weights_besides_a_name_are_for_kinds_that_take_them(tmp_path):
    with pytest.raises(
        DetbenchError, match="yolo26n takes no weights besides its name: leave out --detector-weights x.pt"
    ):
        detectors.resolve("yolo26n", tmp_path.relative_to(tmp_path) / "x.pt")
