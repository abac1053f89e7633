"""Detectors in ONNX files: what their descriptions say, how outputs become boxes, and what is refused."""

import dataclasses

import cv2
import numpy as np
import pytest
from skimage import data

from detbench import assets, cli, detectors, runner
from detbench.detectors import onnx
from detbench.detectors._description import TEMPLATES, read
from detbench.detectors._fit import fit
from detbench.signature import Signature
from detbench.testing import check_detector
from detbench.types import DetbenchError, Detections, RunSpec

onnx_package = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

PICTURES = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket(), data.astronaut()[:500, 100:400]]
RANDOM = np.random.default_rng(0)


def write(path, outputs, size=(64, 64), layout="nchw", others=(), dtype="FLOAT"):
    """An ONNX file whose outputs are constant: (name, array) each."""
    from onnx import TensorProto, helper, numpy_helper

    shape = [1, 3, *size] if layout == "nchw" else [1, *size, 3]
    inputs = [helper.make_tensor_value_info("images", getattr(TensorProto, dtype), shape)]
    inputs += [helper.make_tensor_value_info(name, TensorProto.INT64, [1, 2]) for name in others]
    nodes, values = [], []
    for name, array in outputs:
        nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array)))
        kind = TensorProto.INT64 if array.dtype == np.int64 else TensorProto.FLOAT
        values.append(helper.make_tensor_value_info(name, kind, array.shape))
    graph = helper.make_graph(nodes, "net", inputs, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx_package.save(model, str(path))


def describe(tmp_path, text, outputs, **options):
    tmp_path.mkdir(exist_ok=True)
    write(tmp_path / "net.onnx", outputs, **options)
    (tmp_path / "net.toml").write_text(text)
    return f"onnx:{tmp_path / 'net.onnx'}"


def build(name, conf=0.25, **options):
    found = detectors.resolve(name)
    settings = {"conf": conf, "nms_iou": 0.7, "imgsz": found.spec.imgsz, "device": "cpu"}
    return found.build(**settings | options)


BOXES = """
classes = ["a", "b"]
[output]
boxes = "boxes"
scores = "scores"
labels = "labels"
"""


def boxes(corners, scores, labels):
    return [
        ("boxes", np.array([corners], np.float32)),
        ("scores", np.array([scores], np.float32)),
        ("labels", np.array([labels], np.int64)),
    ]


# What goes in.


def test_yolox_sees_frames_in_the_corner_as_its_authors_write_it():
    """Their demo: a canvas of 114, the frame scaled by one ratio to whole pixels in the corner, BGR in 0..255."""
    says = read(TEMPLATES["yolox"])
    for picture in PICTURES:
        ratio = min(416 / picture.shape[0], 416 / picture.shape[1])
        height, width = int(picture.shape[0] * ratio), int(picture.shape[1] * ratio)
        expected = np.full((416, 416, 3), 114.0)
        expected[:height, :width] = cv2.resize(picture[..., ::-1], (width, height), interpolation=cv2.INTER_LINEAR)
        given = onnx.prepared(fit(picture, (416, 416), says.input.fit, says.input.place, says.input.pad), says)
        np.testing.assert_array_equal(given, expected.transpose(2, 0, 1))


def test_nanodet_sees_bgr_less_its_means_in_the_middle_of_black():
    says = read(TEMPLATES["nanodet"])
    picture = np.full((100, 200, 3), (30, 60, 90), np.uint8)
    given = onnx.prepared(fit(picture, (416, 416), says.input.fit, says.input.place, says.input.pad), says)
    mean, std = np.array([103.53, 116.28, 123.675]), np.array([57.375, 57.12, 58.395])
    np.testing.assert_allclose(given[:, 208, 208], (np.array([90, 60, 30]) - mean) / std, atol=1e-5)
    np.testing.assert_allclose(given[:, 103, 208], -mean / std, atol=1e-5)  # 208 rows of picture, from 104 on
    assert (given[0] != given[0, 0, 0]).any(axis=1).nonzero()[0].tolist() == list(range(104, 312))


@pytest.mark.parametrize("how", ["stretch", "letterbox"])
@pytest.mark.parametrize("place", ["centre", "corner"])
def test_boxes_come_back_to_where_they_were(how, place):
    """A bright box, found again in the fitted picture by its pixels."""
    picture = np.zeros((120, 200, 3), np.uint8)
    picture[30:90, 50:150] = 255
    fitted = fit(picture, (160, 160), how, place)
    rows, columns = np.nonzero(fitted.image[..., 0] > 200)
    corners = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    np.testing.assert_allclose(fitted.back(np.array(corners)), [[50, 30, 150, 90]], atol=1.5)


def test_layout_range_and_a_second_input(tmp_path):
    text = BOXES + '[input]\nlayout = "nhwc"\nfit = "stretch"\ntarget_size = "size"\n'
    name = describe(tmp_path, text, boxes([[0, 0, 32, 64]], [0.9], [1]), layout="nhwc", others=["size"], size=(64, 32))
    (found,) = build(name)([np.zeros((100, 100, 3), np.uint8)])
    np.testing.assert_allclose(found.xyxy, [[0, 0, 100, 100]])


# What comes out.


def cells(size=64, strides=(8, 16, 32)):
    for stride in strides:
        for row in range(size // stride):
            for column in range(size // stride):
                yield stride, row, column


def test_yolox_decodes_as_a_loop_over_cells_does():
    raw = RANDOM.normal(0, 0.5, (1, 84, 85)).astype(np.float32)
    raw[..., 4:] = RANDOM.uniform(0, 1, raw[..., 4:].shape)
    corners, scores, labels = onnx.decoded({"output": raw}, read(TEMPLATES["yolox"]), (64, 64))
    for i, (stride, row, column) in enumerate(cells()):
        x, y, w, h, objectness, *shares = raw[0, i].tolist()
        width, height = np.exp(w) * stride, np.exp(h) * stride
        left, top = (x + column) * stride - width / 2, (y + row) * stride - height / 2
        np.testing.assert_allclose(corners[i], [left, top, left + width, top + height], rtol=1e-4, atol=1e-3)
        assert scores[i] == pytest.approx(objectness * max(shares), rel=1e-5)
        assert labels[i] == int(np.argmax(shares))


def test_nanodet_decodes_as_a_loop_over_cells_does():
    counts, names = (64, 16, 4), (("792", "795"), ("814", "817"), ("836", "839"))
    outputs = {}
    for count, (scores, distances) in zip(counts, names, strict=True):
        outputs[scores] = RANDOM.uniform(0, 1, (1, count, 80)).astype(np.float32)
        outputs[distances] = RANDOM.normal(0, 2, (1, count, 32)).astype(np.float32)
    corners, scores, labels = onnx.decoded(outputs, read(TEMPLATES["nanodet"]), (64, 64))
    assert len(scores) == 84 * 80 - sum((outputs[name] < 0.001).sum() for name, _ in names)  # a box may be of several
    all_scores = np.concatenate([outputs[name][0] for name, _ in names])
    all_distances = np.concatenate([outputs[name][0] for _, name in names])
    which = np.nonzero(all_scores >= 0.001)[0]
    np.testing.assert_array_equal(scores, all_scores[which, labels])
    for i, (stride, row, column) in enumerate(cells()):
        bins = np.exp(all_distances[i].reshape(4, 8))
        left, up, right, down = (bins / bins.sum(1, keepdims=True) * range(8)).sum(1) * stride
        x, y = (column + 0.5) * stride, (row + 0.5) * stride
        np.testing.assert_allclose(corners[which == i][0], [x - left, y - up, x + right, y + down], atol=1e-3)


def test_detr_takes_the_softmax_and_leaves_no_object_out():
    logits = np.full((1, 2, 92), -9.0, np.float32)
    logits[0, 0, 3], logits[0, 1, 91] = 4.0, 4.0  # a car; and nothing
    corners, scores, labels = onnx.decoded(
        {"logits": logits, "pred_boxes": np.array([[[0.5, 0.5, 0.2, 0.4], [0.1, 0.1, 0.1, 0.1]]], np.float32)},
        read(TEMPLATES["detr"]),
        (100, 200),
    )
    np.testing.assert_allclose(corners[0], [80, 30, 120, 70], rtol=1e-5)
    assert labels[0] == 3
    np.testing.assert_allclose(scores, [1 / (1 + 91 * np.exp(-13)), np.exp(-13)], rtol=1e-3)


def test_rows_after_columns_as_ultralytics_has_them():
    raw = np.zeros((1, 84, 3), np.float32)
    raw[0, :4, 1], raw[0, 4 + 7, 1] = [50, 60, 20, 30], 0.8
    corners, scores, labels = onnx.decoded({"output0": raw}, read(TEMPLATES["ultralytics"]), (640, 640))
    assert (corners[1].tolist(), labels[1], scores[1]) == ([40, 45, 60, 75], 7, np.float32(0.8))


@pytest.mark.parametrize("template", ["rtmdet", "dfine"])
def test_boxes_with_labels(template, tmp_path):
    corners, scores, labels = [[8, 8, 40, 40], [9, 8, 41, 40]], [0.9, 0.6], [2, 2]
    outputs = boxes(corners, scores, labels)
    if template == "rtmdet":
        outputs = [("dets", np.hstack([corners, np.array(scores)[:, None]])[None].astype(np.float32)), outputs[2]]
    others = ["orig_target_sizes"] if template == "dfine" else []
    name = describe(tmp_path, f'template = "{template}"\n', outputs, others=others)
    (found,) = build(name)([np.zeros((64, 64, 3), np.uint8)])
    np.testing.assert_array_equal(found.xyxy, corners)  # what overlaps is left: it was for the network to suppress
    assert build(name).class_names[2] == "car"


def test_overlapping_boxes_of_one_class_are_suppressed_where_the_network_does_not(tmp_path):
    name = describe(
        tmp_path, BOXES, boxes([[8, 8, 40, 40], [9, 8, 41, 40], [8, 8, 40, 40]], [0.6, 0.9, 0.5], [0, 0, 1])
    )
    (found,) = build(name)([np.zeros((64, 64, 3), np.uint8)])
    np.testing.assert_array_equal(found.xyxy, [[9, 8, 41, 40], [8, 8, 40, 40]])
    np.testing.assert_array_equal(found.label, [0, 1])


def test_it_is_a_detector(tmp_path):
    name = describe(tmp_path, BOXES, boxes([[8, 8, 40, 40], [50, 50, 90, 90]], [0.6, 0.1], [0, 1]))
    found = detectors.resolve(name)
    check_detector(found.spec, found.weights, imgsz=64)


# What is refused.


@pytest.mark.parametrize(
    ("text", "outputs", "message"),
    [
        (BOXES, boxes([[0, 0, 9, 9]], [0.9, 0.8], [0, 0]), r"makes boxes \(1, 1, 4\), scores .*1 boxes, 2 scores"),
        (
            BOXES.replace('labels = "labels"\n', ""),
            boxes([[0, 0, 9, 9]], [0.9], [0]),
            "of 1 classes, and 2 names",
        ),
        (BOXES, boxes([[0, 0, 9, 9, 1]], [0.9], [0]), "boxes have 5 columns"),
        (BOXES, boxes([[0, 0, 9, 9]], [0.9], [7]), "has the label 7, and its description no name for it"),
        (
            BOXES.replace('"boxes"', '{output = "boxes", first = 2, end = 9}'),
            boxes([[0] * 4], [1], [0]),
            "4 columns",
        ),
        (
            BOXES.replace("[output]", '[output]\ndecode = "yolox"'),
            boxes([[0] * 4], [1], [0]),
            r"1 boxes, and 84 cells of strides \[8, 16, 32\]",
        ),
        (
            BOXES.replace('"scores"', '"confidences"'),
            boxes([[0] * 4], [1], [0]),
            "no output 'confidences': it has",
        ),
        (
            BOXES + '[input]\nname = "x"\n',
            boxes([[0] * 4], [1], [0]),
            r"no input 'x' \(\[input\] name\): it has",
        ),
        (BOXES + '[input]\ntarget_size = "x"\n', boxes([[0] * 4], [1], [0]), r"no input 'x' \(\[input\] target_size\)"),
    ],
)
def test_what_the_description_does_not_say_is_refused(text, outputs, message, tmp_path):
    name = describe(tmp_path, text, outputs)
    with pytest.raises(DetbenchError, match=message):
        build(name)([np.zeros((64, 64, 3), np.uint8)])


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(DetbenchError, match=r"onnx:no.onnx: there is no such file"):
        detectors.resolve("onnx:no.onnx")
    write(tmp_path / "net.onnx", boxes([[0] * 4], [1], [0]))
    with pytest.raises(DetbenchError, match=r"does not say what goes in.*Write .*net.toml; where it is one of detr"):
        detectors.resolve("onnx:net.onnx")


def test_a_size_of_its_own_is_its_working_size_and_no_other(tmp_path):
    name = describe(tmp_path, BOXES, boxes([[0, 0, 9, 9]], [0.9], [0]))
    found = detectors.resolve(name)
    assert (found.spec.imgsz, found.spec.conf, found.spec.fixed) == (64, 0.25, True)
    with pytest.raises(DetbenchError, match="imgsz is 640: .*net.onnx works at 64 pixels only"):
        build(name, imgsz=640)


def test_another_description_is_another_detector(tmp_path):
    name = describe(tmp_path, BOXES, boxes([[0, 0, 9, 9]], [0.9], [0]))
    first = detectors.resolve(name).sha256
    (tmp_path / "net.toml").write_text(BOXES + "# a remark\n")
    assert detectors.resolve(name).sha256 == first
    (tmp_path / "net.toml").write_text(BOXES.replace('"b"', '"c"'))
    assert detectors.resolve(name).sha256 != first


# The two of other makers.


def refuse(host, *rest, **options):
    raise OSError("no network")


@pytest.mark.parametrize("name", onnx.NAMED)
def test_where_the_file_is_missing_the_message_says_where_to_put_it(name, home, monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    with pytest.raises(DetbenchError) as caught:
        detectors.resolve(name)
    assert str(home / "assets" / f"{name}.onnx") in str(caught.value)
    assert assets.find(name).sha256 in str(caught.value)


@pytest.mark.parametrize(("name", "conf"), [("yolox_nano", 0.25), ("nanodet_m", 0.4)])
def test_they_find_what_is_there(name, conf):
    """Only where the files have been put: no package holds them."""
    if not (assets.home() / "assets" / f"{name}.onnx").is_file():
        pytest.skip(f"{name}.onnx is not in {assets.home() / 'assets'}")
    spec = detectors.resolve(name).spec
    assert (spec.imgsz, spec.conf, spec.fixed) == (416, conf, True)
    assert spec.licence.startswith("Apache-2.0")
    detector = build(name, conf)
    woman, cup = detector([data.astronaut(), data.coffee()])
    assert detector.class_names[woman.label[0]] == "person"
    x0, y0, x1, y1 = woman.xyxy[0]  # her face lies around (225, 110)
    assert x0 < 170 and x1 > 280 and y0 < 60 and y1 > 350
    assert "cup" in [detector.class_names[label] for label in cup.label]


# In a run.


def result_of(count, least):
    return Detections(np.zeros((count, 4), np.float32), np.linspace(0.9, least, count), np.zeros(count, np.int64))


def test_a_threshold_inside_is_seen_by_its_results_and_lower_ones_are_refused(tmp_path, pairs, home):
    """Thirty boxes of .3 to .9 in any picture, and nothing fainter."""
    corners = [[4 * i % 60, 4 * i % 40, 4 * i % 60 + 4, 4 * i % 40 + 4] for i in range(30)]
    name = describe(tmp_path, BOXES, boxes(corners, np.linspace(0.3, 0.9, 30).tolist(), [0] * 30))
    spec = RunSpec("identity", dataset=str(pairs), detector=name, device="cpu")
    with pytest.raises(DetbenchError, match=r"keeps what it scores below 0.3 to itself.*Give at least --conf 0.3"):
        runner.run(spec, tmp_path / "runs")
    result = runner.run(dataclasses.replace(spec, conf=0.3), tmp_path / "runs")
    assert "|silent-below:0.3|" in str(Signature.of(result))
    assert detectors.silent_below([result_of(30, 0.3)] * 2, 0.01) == pytest.approx(0.3)
    assert (
        detectors.silent_below([result_of(300, 0.3)] * 2, 0.01) == 0
    )  # as many as there can be: the faint are cut off
    assert detectors.silent_below([result_of(5, 0.3)], 0.01) == 0
    faint = boxes(corners, np.linspace(0.011, 0.9, 30).tolist(), [0] * 30)
    name = describe(tmp_path / "pairs2", BOXES, faint)
    result = runner.run(dataclasses.replace(spec, detector=name), tmp_path / "runs")
    assert "silent-below" not in str(Signature.of(result))
    assert (result.spec.imgsz, result.spec.conf) == (64, 0.25)


def test_boxes_that_are_no_numbers_are_refused(tmp_path, pairs, home):
    name = describe(tmp_path, BOXES.replace("[output]", "nms = true\n[output]"), boxes([[np.nan] * 4], [0.9], [0]))
    with pytest.raises(DetbenchError, match=r"gives boxes or scores that are no numbers \(NaN\)"):
        runner.run(RunSpec("identity", dataset=str(pairs), detector=name, device="cpu"), tmp_path / "runs")


def test_the_command_takes_a_description_and_classes(tmp_path, pairs, home, capsys):
    name = describe(tmp_path, BOXES, boxes([[4, 4, 20, 20], [30, 4, 50, 20]], [0.9, 0.8], [0, 1]))
    arguments = ["run", "--deblurer", "unsharp", "--dataset", str(pairs), "--detector", name, "--device", "cpu"]
    cli.app([*arguments, "--classes", "b", "--out", str(tmp_path / "runs")], standalone_mode=False)
    assert "to be found: 6 objects in 6 frames of 1 clip" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.app([*arguments, "--classes", "zebra", "--out", str(tmp_path / "runs")])
    assert "has no class 'zebra'. Among its classes: a, b." in capsys.readouterr().err
