"""Detectors of transformers against transformers' own pipeline, on weights that the test makes."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage import data

from detbench import detectors
from detbench.detectors import transformers as kind
from detbench.testing import check_detector
from detbench.types import DetbenchError

transformers = pytest.importorskip("transformers")

PICTURES = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket(), data.astronaut()[:300, 100:500]]
CONF = 0.03


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A YOLOS of two layers, as ``save_pretrained`` writes it."""
    import torch

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("yolos")
    config = transformers.YolosConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=[96, 128],
        num_detection_tokens=40,
        num_labels=6,
        id2label={i: name for i, name in enumerate(["a", "b", "c", "d", "e", "f"])},
        label2id={name: i for i, name in enumerate(["a", "b", "c", "d", "e", "f"])},
        initializer_range=0.5,
    )
    transformers.YolosForObjectDetection(config).save_pretrained(path)
    processor = transformers.YolosImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})
    processor.save_pretrained(path)
    return path


def build(folder, conf=CONF, imgsz=0):
    found = detectors.resolve(f"transformers:{folder}")
    return found.build(conf=conf, nms_iou=0.7, imgsz=imgsz or found.spec.imgsz, device="cpu")


def test_it_sees_what_transformers_pipeline_sees(folder):
    theirs = transformers.pipeline("object-detection", model=str(folder), device="cpu")
    ours, inputs, count = build(folder), [], 0
    for net in (ours._net, theirs.model):
        net.register_forward_pre_hook(lambda _, __, given: inputs.append(given["pixel_values"]), with_kwargs=True)
    for picture in PICTURES:
        (found,) = ours([picture])
        expected = sorted(theirs(Image.fromarray(picture), threshold=CONF), key=lambda box: -box["score"])
        np.testing.assert_array_equal(inputs[-2], inputs[-1])
        assert len(found) == len(expected)
        corners = [[box["box"][side] for side in ("xmin", "ymin", "xmax", "ymax")] for box in expected]
        height, width = picture.shape[:2]
        corners = np.clip(np.array(corners).reshape(-1, 4), 0, [width, height, width, height])
        np.testing.assert_allclose(found.xyxy, corners, atol=1)
        np.testing.assert_allclose(found.score, [box["score"] for box in expected], atol=0.01)
        assert [ours.class_names[label] for label in found.label] == [box["label"] for box in expected]
        count += len(found)
    assert count >= 20


def test_it_is_a_detector(folder, traffic):
    check_detector(kind.of(str(folder)), folder, traffic, imgsz=160)


def test_it_declares_its_size_and_takes_others(folder):
    assert detectors.resolve(f"transformers:{folder}").spec.imgsz == 160
    assert build(folder, imgsz=320)._scaled == {"shortest_edge": 192, "longest_edge": 320}


def test_other_files_are_another_detector(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "copy")
    first, same = (detectors.resolve(f"transformers:{each}").sha256 for each in (folder, tmp_path / "copy"))
    assert first == same
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    (tmp_path / "copy" / "config.json").write_text(json.dumps(config | {"id2label": {"0": "z"}}))
    assert detectors.resolve(f"transformers:{tmp_path / 'copy'}").sha256 != first


def test_pickled_weights_are_refused(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").rename(tmp_path / "copy" / "pytorch_model.bin")
    with pytest.raises(DetbenchError, match=r"copy has no \*\.safetensors.*pickled ones can run code"):
        detectors.resolve(f"transformers:{tmp_path / 'copy'}")


def test_a_model_with_code_of_its_own_is_refused_and_nothing_runs(folder, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    config |= {
        "model_type": "hers",
        "auto_map": {"AutoConfig": "hers.Config", "AutoModelForObjectDetection": "hers.Net"},
    }
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "hers.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    with pytest.raises(DetbenchError, match="can load without running code of the model's own"):
        build(copy)
    assert not (tmp_path / "ran").exists()


def test_a_model_that_is_nowhere(tmp_path, monkeypatch):
    import huggingface_hub

    def refuse(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(DetbenchError, match=r"transformers:org/net: there is no such folder, and .*no network"):
        detectors.resolve("transformers:org/net")
