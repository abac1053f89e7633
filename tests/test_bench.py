"""Bench: what it measures adds up, what it counts is what a network computes, and what it prints can be read."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from detbench import bench, cli, registry, restorers
from detbench.report import roofline, style
from detbench.restore import Restorer
from detbench.types import RunSpec


@pytest.fixture
def found(unsharp_spec):
    return bench.bench(unsharp_spec)


def test_stages_add_up(found):
    assert sum(stage.share for stage in found.stages) == pytest.approx(1)
    names = [stage.name for stage in found.stages]
    assert names[:3] == ["reading", "deblurring: network", "deblurring: around it"]
    assert all(stage.ms >= 0 for stage in found.stages)
    assert found.size == (64, 48)
    assert found.matrix_gflop_per_s == found.fp32_gflop_per_s > 0 < found.memory_gb_per_s


def test_what_a_network_computes_is_counted(found):
    network = next(stage for stage in found.stages if stage.name == "deblurring: network")
    assert network.gflop == pytest.approx(sum(layer.gflop for layer in found.layers))
    assert network.gflop_per_s == pytest.approx(network.gflop / network.ms * 1e3)
    assert network.rate == pytest.approx(network.gflop_per_s / found.fp32_gflop_per_s)
    other = next(stage for stage in found.stages if stage.name == "scoring")
    assert other.gflop is None and other.gflop_per_s is None


def test_networks_with_normalised_weights_are_counted_and_restore_the_same():
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    restore = restorers.restorer(RunSpec("pix2pix_sa_sn", device="cpu"))
    assert bench.gflop(restore, frame) > 0
    deblurer = registry.load("pix2pix_sa_sn", None)
    as_trained = Restorer(
        deblurer.build(), multiple_of=deblurer.preset.multiple_of, value_range=deblurer.spec.value_range
    )
    assert np.abs(restore([frame])[0].astype(int) - as_trained([frame])[0]).max() <= 1


def test_frames_are_scaled(unsharp_spec, found):
    twice = bench.bench(unsharp_spec, (128, 96))
    assert twice.size == (128, 96)
    assert twice.layers[0].gflop == pytest.approx(4 * found.layers[0].gflop)


def test_other_backends_count_the_same(unsharp_spec, found):
    other = bench.bench(replace(unsharp_spec, backend="onnx"))
    assert [stage.gflop for stage in other.stages] == [stage.gflop for stage in found.stages]


def test_a_roofline(found, tmp_path):
    style.write(roofline.roofline(found), tmp_path / "roof.png")
    assert (tmp_path / "roof.png").stat().st_size > 5000


def test_the_command(unsharp_spec, tmp_path):
    options = ["--dataset", unsharp_spec.dataset, "--weights", unsharp_spec.weights, "--device", "cpu"]
    done = CliRunner().invoke(cli.app, ["bench", "unsharp", *options, "--figure", "roof.svg"])
    assert done.exit_code == 0, done.output
    assert "unsharp by torch in fp32, 64x48, on cpu" in done.stdout
    assert (tmp_path / "roof.svg").exists()
    plain = json.loads(CliRunner().invoke(cli.app, ["bench", "unsharp", *options, "--json"]).stdout)
    assert {"stages", "layers", "matrix_gflop_per_s", "memory_gb_per_s", "peak_mb", "size"} <= plain.keys()
    wrong = CliRunner().invoke(cli.app, ["bench", "unsharp", *options, "--size", "big"])
    assert wrong.exit_code == 1 and "--size big is not width x height" in wrong.stderr


def test_a_deblurer_of_the_name_is_needed():
    done = CliRunner().invoke(cli.app, ["bench", "nothing"])
    assert done.exit_code == 1
    assert "nothing" in done.stderr
