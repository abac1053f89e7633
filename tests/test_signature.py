"""A signature prints itself, and nothing reads it back."""

import dataclasses

from detbench.signature import CONVENTIONS, Signature, short
from detbench.types import RunResult, RunSpec


def signature(tmp_path, **changes):
    settings = {"conf": 0.25, "imgsz": 640} | changes
    spec = RunSpec("dc250", dataset="clips/mine", detector="models/yolo11n.pt", **settings)
    spec = dataclasses.replace(spec, dataset_hash="a" * 64, detector_hash="b" * 64)
    environment = {"dataset": "mine", "conventions": CONVENTIONS, "detbench": "0.1.0"}
    return Signature.of(RunResult(spec, environment, (), tmp_path))


def test_it_says_what_a_number_depends_on(tmp_path):
    assert str(signature(tmp_path)) == (
        "mine:aaaaaaaa|yolo11n:bbbbbbbb|imgsz:640|conf:0.25|nms:0.7|iou:0.5|p,r,f1:micro"
        "|psnr,ssim:rgb,uint8,255,frame-mean;ssim:gauss11x11,s1.5,k.01/.03,crop5|detbench:0.1.0"
    )


def test_what_is_asked_for_stands_in_it(tmp_path):
    asked = signature(tmp_path, limit=12, noise=0.001, imgsz=416, conf=0.4, nms_iou=0.6, match_iou=0.75)
    text = str(dataclasses.replace(asked, without=("motorway", "bikes")))
    assert text.startswith(
        "mine:aaaaaaaa|limit:12|noise:0.001|yolo11n:bbbbbbbb|imgsz:416|conf:0.4|nms:0.6|iou:0.75|p,r,f1"
    )
    assert text.endswith("|detbench:0.1.0|without:motorway|without:bikes")
    assert asked == signature(tmp_path, limit=12, noise=0.001, imgsz=416, conf=0.4, nms_iou=0.6, match_iou=0.75)
    assert asked != signature(tmp_path)
    spaced = dataclasses.replace(asked, dataset="my footage")
    assert spaced.short.startswith("my_footage|limit:12|")


def test_the_short_form_stands_for_all_of_it(tmp_path):
    plain, asked = signature(tmp_path), signature(tmp_path, limit=12, noise=0.001)
    assert plain.short.startswith("mine|yolo11n|imgsz:640|#")
    assert asked.short.startswith("mine|limit:12|noise:0.001|yolo11n|imgsz:640|#")
    others = [signature(tmp_path, conf=0.3), signature(tmp_path, nms_iou=0.6), signature(tmp_path, match_iou=0.6)]
    others += [dataclasses.replace(plain, detbench="0.1.1"), dataclasses.replace(plain, dataset_hash="c" * 64)]
    assert len({each.short for each in (plain, *others)}) == 6
    assert short("Values between bars | are no signature") == "Values between bars | are no signature"
    assert short(plain.short) == plain.short
