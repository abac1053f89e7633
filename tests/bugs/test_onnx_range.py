"""ONNX networks of values in [-1, 1] were given [0, 1], and restored frames came out grey and dark."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from detbench import cli, resolve, restorers
from detbench.data import images
from detbench.types import DetbenchError, RunSpec


@pytest.fixture
def negative(tmp_path):
    """A network that turns values round 0: a negative picture, if they are in [-1, 1]."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3, None, None]) for name in "az"]
    graph = helper.make_graph([helper.make_node("Neg", ["a"], ["z"])], "negative", ends[:1], ends[1:], [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "net.onnx")
    return f"onnx:{tmp_path / 'net.onnx'}"


def test_the_range_is_the_users_to_say(negative, tmp_path):
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    (made,) = restorers.restorer(RunSpec(negative, value_range=(-1.0, 1.0)))([frame])
    assert np.abs(made.astype(int) - (255 - frame)).max() <= 1
    (dark,) = restorers.restorer(RunSpec(negative))([frame])
    assert dark.max() == 0
    images.write_image(tmp_path / "in.png", frame)
    arguments = ["deblur", tmp_path / "in.png", tmp_path / "out.png", "--deblurer", negative, "--value-range", "-1:1"]
    done = CliRunner().invoke(cli.app, [str(each) for each in arguments])
    assert done.exit_code == 0, done.output
    assert (images.read_image(tmp_path / "out.png") == made).all()


def test_it_is_another_run(negative, pairs, bright_boxes):
    specs = [RunSpec(negative, dataset=str(pairs), conf=0.5, value_range=each) for each in (None, (-1.0, 1.0))]
    resolved = [resolve.resolve(spec) for spec in specs]
    assert resolved[0].hash8 != resolved[1].hash8
    assert resolved[0].deblurer_hash != resolved[1].deblurer_hash  # by which restored frames are kept


@pytest.mark.parametrize(("text", "says"), [("1", "two numbers"), ("1:0", "less than"), ("a:b", "two numbers")])
def test_what_is_no_range_is_refused(negative, text, says):
    done = CliRunner().invoke(cli.app, ["run", "--deblurer", negative, "--value-range", text])
    assert done.exit_code == 1
    assert says in done.output


def test_our_own_know_theirs():
    with pytest.raises(DetbenchError, match="knows its range"):
        restorers.restorer(RunSpec("unsharp", value_range=(-1.0, 1.0)))
