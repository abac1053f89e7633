"""Boxes that people drew: read, and scored against as pycocotools does."""

import contextlib
import io
import json

import numpy as np
import pytest
from conftest import boxes
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detbench import benchmarks, cli, match, runner, store
from detbench.data.coco import read_truth
from detbench.data.images import list_images
from detbench.types import DetbenchError, Detections, RunSpec

CLASSES = {0: "person", 2: "car"}


def write(path, images, annotations, categories=((1, "Person"), (3, "car"), (9, "unicorn"))):
    data = {
        "images": [{"id": id, "file_name": name} for id, name in images],
        "categories": [{"id": id, "name": name} for id, name in categories],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, "bbox": box, "iscrowd": crowd}
            for i, (image, category, box, crowd) in enumerate(annotations, 1)
        ],
    }
    path.write_text(json.dumps(data))
    return path


def test_boxes_are_read_in_the_detectors_classes(tmp_path):
    path = write(
        tmp_path / "truth.json",
        [(7, "frames/a.jpg"), (8, "ride/b.png"), (9, "elsewhere.png")],
        [(7, 1, [1, 2, 10, 20], 0), (7, 9, [0, 0, 5, 5], 0), (8, 3, [3, 4, 5, 6], 1), (9, 1, [0, 0, 9, 9], 0)],
    )
    truth = read_truth(path, ["a", "ride-b"], CLASSES)
    assert truth.objects["a"].xyxy.tolist() == [[1, 2, 11, 22]]
    assert (truth.objects["a"].label.tolist(), truth.objects["a"].score.tolist()) == ([0], [1])
    assert len(truth.objects["ride-b"]) == 0
    assert truth.crowds["ride-b"].xyxy.tolist() == [[3, 4, 8, 10]]
    assert truth.crowds["ride-b"].label.tolist() == [2]
    assert truth.ignored == ("unicorn",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "is not COCO's JSON of boxes"),
        ('{"images": [], "categories": [], "annotations": [{}]}', "is not COCO's JSON of boxes: 'image_id' is missing"),
    ],
)
def test_other_files_are_refused(text, message, tmp_path):
    (tmp_path / "truth.json").write_text(text)
    with pytest.raises(DetbenchError, match=message):
        read_truth(tmp_path / "truth.json", ["a"], CLASSES)


def test_boxes_of_other_frames_or_classes_are_refused(tmp_path):
    path = write(tmp_path / "truth.json", [(1, "a.png"), (2, "x/c.png"), (3, "y/c.png")], [])
    with pytest.raises(DetbenchError, match=r"no image of 2 of the 3 frames: b, c\. Its images are called a\.png, x/c"):
        read_truth(path, ["a", "b", "c"], CLASSES)  # which c it is cannot be known
    path = write(tmp_path / "truth.json", [(1, "a.png")], [], [(1, "dog")])
    with pytest.raises(DetbenchError, match="no category that the detector knows: it has dog, the detector person"):
        read_truth(path, ["a"], CLASSES)


def random_boxes(rng, count):
    corner, size = rng.integers(0, 60, (count, 2)), rng.integers(4, 40, (count, 2))
    return np.hstack([corner, corner + size]).astype(np.float32)


def pycocotools_counts(seen, objects, crowds, iou):
    """(tp, fp) of a frame by COCOeval, which ignores what matches a crowd."""
    made = COCO()
    rows = [(frame, crowd) for frame, crowd in ((objects, 0), (crowds, 1))]
    truth = [
        {"image_id": 1, "category_id": int(label) + 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": crowd}
        for frame, crowd in rows
        for (x0, y0, x1, y1), label in zip(frame.xyxy.tolist(), frame.label, strict=True)
    ]
    results = [
        {"image_id": 1, "category_id": int(label) + 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": float(score)}
        for (x0, y0, x1, y1), label, score in zip(seen.xyxy.tolist(), seen.label, seen.score, strict=True)
    ]
    made.dataset = {
        "images": [{"id": 1}],
        "categories": [{"id": 1}, {"id": 2}],
        "annotations": [{"id": i, "area": row["bbox"][2] * row["bbox"][3], **row} for i, row in enumerate(truth, 1)],
        "info": {},
    }
    with contextlib.redirect_stdout(io.StringIO()):
        made.createIndex()
        evaluation = COCOeval(made, made.loadRes(results) if results else COCO(), "bbox")
        evaluation.params.iouThrs = np.array([iou])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [1000]
        evaluation.evaluate()
    tp = fp = 0
    for image in filter(None, evaluation.evalImgs):
        counted = ~image["dtIgnore"][0].astype(bool)
        tp += int((image["dtMatches"][0][counted] > 0).sum())
        fp += int((image["dtMatches"][0][counted] == 0).sum())
    return tp, fp


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_crowds_are_ignored_as_by_pycocotools(seed):
    rng = np.random.default_rng(seed)
    objects, crowds, seen = (
        boxes(*random_boxes(rng, n), score=scores, label=rng.integers(0, 2, n))
        for n, scores in ((4, [1] * 4), (2, [1] * 2), (8, rng.permutation(8) / 10 + 0.1))
    )
    seen = seen.where(np.argsort(-seen.score))
    kept = seen.where(match.outside_crowds(seen, objects, crowds, 0.5))
    counts = match.score_frame(kept, kept, objects, 0.5)
    assert (counts.tp, counts.fp) == pycocotools_counts(seen, objects, crowds, 0.5)


def test_a_detection_without_area_is_in_no_crowd():
    flat, none = boxes((5, 5, 5, 9)), Detections.empty()
    assert match.outside_crowds(flat, none, boxes((0, 0, 50, 50)), 0.5).tolist() == [True]


@pytest.fixture
def truth(pairs, bright_boxes):
    """One box in each frame, where the detector sees three; in the first a crowd besides, where it sees another."""
    images = [(i, f"sharp/{path.name}") for i, path in enumerate(list_images(pairs / "sharp"))]
    drawn = [(i, 1, [4, 4, 18, 14], 0) for i, _ in images] + [(0, 1, [30, 0, 34, 24], 1)]
    return write(pairs.parent / "truth.json", images, drawn, [(1, "box")])


def test_a_run_is_scored_against_what_people_drew(pairs, truth, tmp_path):
    base = RunSpec("identity", dataset=str(pairs), input="sharp", device="cpu")
    seen = runner.run(base, tmp_path / "runs")
    drawn = runner.run(RunSpec(**vars(base) | {"truth": truth}), tmp_path / "runs")
    assert (seen.counts.tp, seen.counts.fp, seen.counts.fn) == (18, 0, 0)
    assert (drawn.counts.tp, drawn.counts.fp, drawn.counts.fn) == (6, 11, 0)  # one of three in each, but for the crowd
    assert seen.path != drawn.path
    assert len(store.read_detections(drawn.path)["sharp"][0]) == 1
    assert drawn.spec.truth_hash and not seen.spec.truth_hash
    with pytest.raises(DetbenchError, match=r"There is no file .*nothing\.json"):
        runner.run(RunSpec(**vars(base) | {"truth": "nothing.json"}), tmp_path / "runs")


def test_the_command_prints_both_tables(pairs, truth, tmp_path, capsys):
    arguments = ["run", "--deblurer", "unsharp", "--dataset", str(pairs), "--truth", str(truth), "--device", "cpu"]
    cli.app([*arguments, "--out", str(tmp_path / "runs")], standalone_mode=False)
    printed = capsys.readouterr().out.splitlines()
    assert "yolo26n, imgsz 640, against what it sees in the sharp frames" in printed
    assert f"yolo26n, imgsz 640, against {truth}" in printed
    assert [line.split() for line in printed].count(["AP", "AP50", "AR"]) == 1
    assert "to be found: 18 objects in 6 frames of 1 clip" in printed
    assert "to be found: 6 objects in 6 frames of 1 clip" in printed
    assert any("|truth:" in line for line in printed)
    cli.app([*arguments, "--out", str(tmp_path / "runs"), "--json"], standalone_mode=False)
    seen, drawn = json.loads(capsys.readouterr().out)
    assert [(each["objects"], each["frames"], each["clips"]) for each in (seen, drawn)] == [(18, 6, 1), (6, 6, 1)]
    assert "averages" not in seen
    assert drawn["averages"]["blurred"].keys() == {"ap", "ap50", "ar"}


def test_only_some_classes_count(pairs, bright_boxes, tmp_path, capsys):
    spec = RunSpec("identity", dataset=str(pairs), device="cpu", classes=("Box",))
    assert runner.run(spec, tmp_path).counts.objects == 18
    assert "|classes:Box|" in str(benchmarks.benchmark(spec, tmp_path).signature)
    with pytest.raises(DetbenchError, match="yolo26n has no class 'boat'. Among its classes: box"):
        runner.run(RunSpec(**vars(spec) | {"classes": ["boat"]}), tmp_path)


def test_labels_that_do_not_count_are_in_no_score(pairs, bright_boxes, tmp_path, monkeypatch):
    monkeypatch.setattr("conftest.BrightBoxes.class_names", {0: "box", 1: "ball"})
    spec = RunSpec("identity", dataset=str(pairs), device="cpu", classes=("ball",))
    assert runner.run(spec, tmp_path).counts.objects == 0
    with pytest.raises(DetbenchError, match="nothing to be found: yolo26n sees none in 6 sharp frames of these"):
        benchmarks.benchmark(spec, tmp_path)
