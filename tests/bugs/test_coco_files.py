"""COCO files without `segmentation`, `info` or suffixes in `file_name` were refused, or matched no frame."""

import json

import pytest

from detbench.data import coco
from detbench.data.pairing import ids_of

NAMES = {0: "person", 2: "car"}


def truth(tmp_path, file_name="a.png", **extra):
    data = {
        "images": [{"id": 1, "file_name": file_name}],
        "categories": [{"id": 3, "name": "car"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 10, 20], **extra}],
    }
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize("file_name", ["a.png", "a", "a.jpg", "images/a.png", "sharp/a", "a.with.points"])
def test_the_bare_minimum_is_read(tmp_path, file_name):
    wanted = "a.with.points" if "with" in file_name else "a"
    found = coco.read_truth(truth(tmp_path, file_name), [wanted], NAMES)
    assert found.objects[wanted].xyxy.tolist() == [[1, 2, 11, 22]]
    assert found.objects[wanted].label.tolist() == [2]


def test_names_with_points_and_without_suffix():
    assert ids_of(["clip.1/f.001", "clip.1/f.002.png"], ["clip.1-f.001", "clip.1-f.002"]) == [
        "clip.1-f.001",
        "clip.1-f.002",
    ]
