"""What a TOML file beside an ONNX file says of a detector, and which mistakes in it are named."""

import dataclasses

import pytest

from detbench.detectors import _description
from detbench.detectors._description import TEMPLATES, read
from detbench.types import DetbenchError


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_are_whole(name, tmp_path):
    (tmp_path / "net.toml").write_text(f'template = "{name}"\n')
    assert read(tmp_path / "net.toml") == read(TEMPLATES[name])
    assert read(TEMPLATES[name]).licence != _description.Description.licence


def test_a_description_starts_from_a_template_and_differs(tmp_path):
    (tmp_path / "net.toml").write_text(
        'template = "nanodet"\nclasses = ["drone"]\nconf = 0.3\n[input]\npad = 9\n[output]\nactivation = "sigmoid"\n'
    )
    found, base = read(tmp_path / "net.toml"), read(TEMPLATES["nanodet"])
    assert found == dataclasses.replace(
        base,
        classes={0: "drone"},
        conf=0.3,
        input=dataclasses.replace(base.input, pad=9),
        output=dataclasses.replace(base.output, activation="sigmoid"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes = 3\n[output]\n", r"net.toml, line 1: classes is 3; give a list of names, or coco"),
        ("conf = 0.2\n[output]\nboxes = 'b'\nscores = 's'", "line 1: there are no classes"),
        ('template = "yolo"\n', r"line 1: template is 'yolo'; there are detr, dfine, nanodet"),
        (
            'template = "detr"\nsize = 3\n',
            "line 2: there is no key 'size' outside the tables; there are classes",
        ),
        (
            'template = "detr"\n[input]\nmeans = 3\n',
            r"line 3: there is no key 'means' in \[input\]; there are name",
        ),
        ('template = "detr"\n[input]\norder = "gbr"\n', "line 3: order is 'gbr'; give rgb or bgr"),
        ('template = "detr"\n[output]\nnormalised = 1\n', "line 3: normalised is 1, which is no bool"),
        ('template = "detr"\nconf = true\n', "line 2: conf is True, which is no float"),
        ('template = "detr"\n[output]\nboxes = 4\n', "line 3: boxes is 4; give an output's name, or {output = "),
        (
            'classes = "coco"\n[output]\nboxes = "b"\n',
            r"line 2: \[output\] has no scores, which decode",
        ),
        (
            'template = "nanodet"\n[output]\nstrides = [8]\n',
            "line 3: scores, distances and strides must",
        ),
        ('template = "detr"\ninput = 3\n', r"line 2: input is no table: write \[input\]"),
        ("a = = 3", "no description of a detector: "),
    ],
)
def test_mistakes_are_named_with_key_and_line(text, message, tmp_path):
    (tmp_path / "net.toml").write_text(text)
    with pytest.raises(DetbenchError, match=message):
        read(tmp_path / "net.toml")
