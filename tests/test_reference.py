"""Reference boxes go out to the tools that people use, and come back checked."""

import contextlib
import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from detbench import cli, reference, runner, store
from detbench.ap import average_precision
from detbench.data import datasets
from detbench.data.images import image_size, read_image
from detbench.types import DetbenchError, RunSpec


@pytest.fixture
def result(pairs, bright_boxes, tmp_path):
    """A run in which some objects are missed."""
    return runner.run(RunSpec("identity", dataset=str(pairs), conf=0.5, device="cpu"), tmp_path / "runs")


@pytest.fixture
def exported(result, tmp_path):
    return reference.export(result, tmp_path / "out")


def test_what_is_exported_comes_back(result, exported, pairs, tmp_path, home):
    kept = reference.take(exported, datasets.load(str(pairs)), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    info = json.loads(kept.read_text())["info"]
    assert (info["imported"], info["from"]) == ("2026-01-02T03:04:05+00:00", "annotations.json")
    again = runner.run(RunSpec(**vars(result.spec) | {"truth": str(kept), "truth_hash": ""}), tmp_path / "runs")
    assert again.path != result.path
    assert again.counts == result.counts  # the same boxes, read from a file


def test_the_sheet_shows_all_frames(exported):
    folder = exported.parent
    assert len(list((folder / "images").iterdir())) == 6
    height, width = image_size(folder / "contact-sheet.jpg")
    assert (height, width) == (2 * 300, 4 * 400)
    sheet = read_image(folder / "contact-sheet.jpg").astype(int)
    green = (sheet[..., 1] - np.maximum(sheet[..., 0], sheet[..., 2])) > 25
    assert green.sum() > 1000


def test_corrections_are_not_overwritten(result, exported):
    with pytest.raises(DetbenchError, match="is not empty: corrections may lie there"):
        reference.export(result, exported.parent)


def change(path, edit):
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda data: data["images"][0].update(file_name="else.png"), "1 images that are no frame: else.png"),
        (
            lambda data: data["images"][1].update(file_name="frame0.png"),
            "1 images of one frame, more than once",
        ),
        (lambda data: data["annotations"][0].update(image_id=99), "1 boxes of no image: 1"),
        (lambda data: data["annotations"][0].update(category_id=99), "1 boxes of no category: 1"),
        (lambda data: data["annotations"][0].update(bbox=[0, 0, 0, 9]), "1 boxes without area: 1"),
        (lambda data: data["annotations"][0].update(bbox=[50, 0, 20, 9]), "1 boxes outside their image: 1"),
        (lambda data: data["annotations"].append({**data["annotations"][0], "id": 77}), "1 boxes drawn twice: 77"),
    ],
)
def test_what_is_wrong_is_listed(edit, message, exported, pairs, home):
    change(exported, edit)
    with pytest.raises(DetbenchError, match=message):
        reference.take(exported, datasets.load(str(pairs)))
    assert not (home / "references").exists()


def test_the_commands(result, pairs, tmp_path, home):
    out = tmp_path / "commanded"
    done = CliRunner().invoke(cli.app, ["reference", "export", str(result.path), str(out)])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(cli.app, ["reference", "import", done.stdout.strip(), "--dataset", str(pairs)])
    assert done.exit_code == 0, done.output
    kept = Path(done.stdout.split("kept: ")[1].split(". Go on")[0])
    assert kept.parent == home / "references"


# The tools of the field, each on what a run and an export leave


def evaluated(COCO, COCOeval, run):
    """AP, AP50 by pycocotools or what takes its place, from a run's files alone."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(run / "detections-sharp.json"))
        found = truth.loadRes(str(run / "detections-restored.json"))
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return list(evaluation.stats[:2])


def test_pycocotools_and_faster_coco_eval_read_a_run(result):
    from faster_coco_eval import COCO as FasterCOCO
    from faster_coco_eval import COCOeval_faster
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    seen = store.read_detections(result.path)
    ours = average_precision(seen["restored"], seen["sharp"])
    for tools in ((COCO, COCOeval), (FasterCOCO, COCOeval_faster)):
        assert evaluated(*tools, result.path) == pytest.approx([ours.ap, ours.ap50], abs=1e-6)
    with contextlib.redirect_stdout(io.StringIO()):
        COCO(str(result.path / "detections-sharp.json")).info()


def test_tidecv_reads_a_run(result):
    from tidecv import TIDE
    from tidecv import datasets as tide

    with contextlib.redirect_stdout(io.StringIO()):
        bench = TIDE()
        bench.evaluate(
            tide.COCO(str(result.path / "detections-sharp.json")),
            tide.COCOResult(str(result.path / "detections-restored.json")),
            mode=TIDE.BOX,
        )
    (run,) = bench.runs.values()
    seen = store.read_detections(result.path)
    assert run.ap == pytest.approx(100 * average_precision(seen["restored"], seen["sharp"]).ap50, abs=1.0)


def test_supervision_reads_an_export_and_a_run(result, exported):
    import supervision as sv

    whole = sv.DetectionDataset.from_coco(str(exported.parent / "images"), str(exported))
    assert len(whole) == 6
    assert sum(len(boxes) for _, _, boxes in whole) == result.counts.objects
    of_run = sv.DetectionDataset.from_coco(str(result.path / "frames"), str(result.path / "detections-sharp.json"))
    assert sum(len(boxes) for _, _, boxes in of_run) == result.counts.objects
    assert all(os.path.exists(path) for path, _, _ in of_run)


def test_fiftyones_importer_would_take_it(result, exported):
    """Its rules (COCODetectionDatasetImporter): files found below the images' folder by file_name; ids; bbox, area,
    iscrowd and segmentation of each box; category ids that are known."""
    for file, folder in (
        (exported, exported.parent / "images"),
        (result.path / "detections-sharp.json", result.path / "frames"),
    ):
        data = json.loads(file.read_text())
        assert {"info", "licenses", "categories", "images", "annotations"} <= data.keys()
        images = {image["id"]: image for image in data["images"]}
        categories = {category["id"] for category in data["categories"]}
        for image in images.values():
            assert image_size(folder / image["file_name"]) == (image["height"], image["width"])
        assert data["annotations"]
        for box in data["annotations"]:
            x, y, width, height = box["bbox"]
            assert box["image_id"] in images and box["category_id"] in categories
            assert box["area"] == width * height and box["iscrowd"] == 0
            assert box["segmentation"] == [[x, y, x + width, y, x + width, y + height, x, y + height]]
