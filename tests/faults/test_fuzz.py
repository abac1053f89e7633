"""Bytes turned over: a right result or one clear line, within ten seconds, and never a traceback."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import videos
from conftest import scene
from faulty import outcome
from PIL import Image
from safetensors.torch import save_file

import detbench
from detbench import external, runner, store
from detbench.data import cards, coco, images
from detbench.data.video import Reader
from detbench.gan import checkpoint
from detbench.results import Results
from detbench.types import RunSpec
from detbench.weights import read_record, read_tensors

pytestmark = [pytest.mark.slow("thousands of damaged files"), pytest.mark.timeout(3600)]


def damaged(data, rng):
    """Bytes with some turned over, cut out, put in, or an end cut off."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        at, kind = int(rng.integers(0, max(1, len(data)))), rng.integers(0, 4)
        if kind == 0 and data:
            data[at : at + 1] = bytes([int(rng.integers(0, 256))])
        elif kind == 1:
            del data[at : at + int(rng.integers(1, 40))]
        elif kind == 2:
            data[at:at] = rng.integers(0, 256, int(rng.integers(1, 40)), np.uint8).tobytes()
        else:
            data = data[: max(1, at)]
    return bytes(data)


def fuzz(whole, call, path, times, count, seed=0):
    """Damage a file's bytes, give it to a function, and count what comes out."""
    rng = np.random.default_rng(seed)
    for _ in range(times):
        path.write_bytes(damaged(whole, rng))
        count[outcome(call, path)] += 1


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp", ".gif", ".ppm", ".tga", ".jp2"])
def test_pictures(tmp_path, tries, tally, suffix):
    Image.fromarray(scene(1)).save(tmp_path / f"whole{suffix}")
    whole = (tmp_path / f"whole{suffix}").read_bytes()
    fuzz(whole, images.read_image, tmp_path / f"a{suffix}", tries(500), tally(f"pictures ({suffix})"))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_videos(tmp_path, tries, tally, name):
    whole = videos.write(tmp_path / f"whole-{name}", videos.frames(6)).read_bytes()
    fuzz(whole, lambda path: list(Reader(path)), tmp_path / name, tries(250), tally(f"videos ({name[1:]})"))


def test_boxes_that_people_drew(tmp_path, tries, tally):
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}],
        "categories": [{"id": 3, "name": "car"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 10, 20], "iscrowd": 0}],
    }
    whole = json.dumps(data).encode()
    fuzz(whole, lambda path: coco.read_truth(path, ["a"], {2: "car"}), tmp_path / "a.json", tries(2000), tally("COCO"))


def test_cards(tmp_path, tries, tally):
    whole = (Path(detbench.__file__).parent.parent / "datasets" / "street1.toml").read_bytes()

    def parse(path):
        cards.parse("street1", path.read_text("utf-8", "replace"))

    fuzz(whole, parse, tmp_path / "street1.toml", tries(1000), tally("cards of datasets"))


def test_runs(data, tmp_path, tries, tally, bright_boxes):
    path = runner.run(RunSpec("unsharp", dataset=str(data), conf=0.6, device="cpu"), tmp_path / "runs").path
    for name, call in (
        ("manifest.json", store.read),
        ("frames.csv", store.read),
        ("detections-sharp.json", store.read_detections),
        ("detections-restored.json", store.read_detections),
    ):
        whole = (path / name).read_bytes()
        fuzz(whole, lambda _, call=call: call(path), path / name, tries(500), tally(f"runs ({name})"))
        (path / name).write_bytes(whole)


def test_results(data, tmp_path, tries, tally, bright_boxes):
    results = Results(tmp_path / "runs")
    run = results.run(RunSpec("unsharp", dataset=str(data), conf=0.6, device="cpu"))
    results.save(tmp_path / "whole.tar.xz", [run.path])
    number = iter(range(10**6))

    def load(path):
        Results.load(path, tmp_path / "out" / str(next(number)))

    whole = (tmp_path / "whole.tar.xz").read_bytes()
    fuzz(whole, load, tmp_path / "a.tar.xz", tries(300), tally("results (xz)"))


def test_weights(tmp_path, tries, tally):
    save_file({"a.weight": torch.ones(8, 4)}, tmp_path / "whole.safetensors", {"detbench": "{}"})
    whole = (tmp_path / "whole.safetensors").read_bytes()
    fuzz(whole, read_tensors, tmp_path / "a.safetensors", tries(1000), tally("weights (safetensors)"))
    fuzz(whole, read_record, tmp_path / "a.safetensors", tries(1000), tally("training records"))
    torch.save({"state_dict": {"a.weight": torch.ones(8, 4)}}, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    fuzz(whole, external._weights, tmp_path / "a.pth", tries(500), tally("checkpoints (spandrel:)"))
    (tmp_path / "out").mkdir()
    torch.save({"record": {"recipe": {"iterations": 3}, "every": 1}}, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    path = tmp_path / "out" / "checkpoint.pt"
    fuzz(whole, lambda _: checkpoint.planned(tmp_path / "out"), path, tries(500), tally("checkpoints of trainings"))


def test_onnx(tmp_path, tries, tally):
    ends = [onnx.helper.make_tensor_value_info(name, 1, [None, 3, None, None]) for name in "az"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["a"], ["z"])], "g", ends[:1], ends[1:], [])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    whole = model.SerializeToString()
    fuzz(whole, lambda path: external._onnx(path), tmp_path / "a.onnx", tries(500), tally("ONNX deblurers"))
