"""A run on a Ray cluster of this machine: the same as without, also when a worker dies; and what is refused."""

import dataclasses
import os
import subprocess
import sys

import pytest
from test_shards import contents
from typer.testing import CliRunner

from detbench import assets, cli, cluster, export, runner
from detbench.shards import Shard
from detbench.types import DetbenchError


def invoke(*arguments):
    return CliRunner().invoke(cli.app, ["run", *map(str, arguments)])


def dies_once(spec, files, threads, pairs, journal):
    """The first worker that does this dies at once."""
    marker = os.path.join(os.path.dirname(spec["dataset"]), "died")
    if not os.path.exists(marker):
        open(marker, "w").close()
        os._exit(1)
    return cluster.shard(spec, files, threads, pairs, journal)


def dies(spec, files, threads, pairs, journal):
    os._exit(1)


def finds_no_file(spec, files, threads, pairs, journal):
    """A node that has none of the driver's files."""
    assert {"deblurer"} <= files.keys()
    name, place = spec["deblurer"].split(":")
    return cluster.shard(spec | {"deblurer": f"{name}:/nowhere/{place[-8:]}"}, files, threads, pairs, journal)


def refuses(spec, files, threads, pairs, journal):
    return f"{pairs[0].id} is broken"


def run_on_it(spec, out, one=None):
    cluster.score(spec, out, cpus=1, one=one)
    return runner.run(spec, out).path


@pytest.fixture(scope="module")
def nodes_home(tmp_path_factory):
    """The cache of the node, which is empty at first."""
    return tmp_path_factory.mktemp("node")


@pytest.fixture(scope="module")
def ray(nodes_home):
    """Two workers, which find what tests define."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([os.path.dirname(__file__), *sys.path]))
        patch.setenv("DETBENCH_HOME", str(nodes_home))
        ray.init(num_cpus=2, log_to_driver=False, logging_level="error", include_dashboard=False)
        yield ray
        ray.shutdown()


@pytest.mark.slow("starts processes")
def test_the_same_as_on_one_machine(eight_frames, ray, tmp_path):
    whole = runner.run(eight_frames, tmp_path / "whole").path
    made = run_on_it(eight_frames, tmp_path / "ray")
    assert made.name == whole.name
    assert contents(made) == contents(whole)
    pictures = [sorted((path / "frames").iterdir()) for path in (made, whole)]
    assert [path.name for path in pictures[0]] == [path.name for path in pictures[1]]
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(*pictures, strict=True))
    cluster.score(eight_frames, tmp_path / "ray")  # which is finished


@pytest.mark.slow("starts processes")
def test_a_worker_that_dies_loses_nothing(eight_frames, ray, tmp_path):
    whole = runner.run(eight_frames, tmp_path / "whole").path
    made = run_on_it(eight_frames, tmp_path / "ray", one=dies_once)
    assert (tmp_path / "died").exists()
    assert contents(made) == contents(whole)


@pytest.mark.slow("starts processes")
def test_weights_are_sent_along(eight_frames, ray, nodes_home, tmp_path):
    export.export("dc0", tmp_path / "net.onnx")
    mine = dataclasses.replace(eight_frames, deblurer=f"onnx:{tmp_path / 'net.onnx'}", limit=2)
    whole = runner.run(mine, tmp_path / "whole").path
    made = run_on_it(mine, tmp_path / "ray", one=finds_no_file)
    assert made.name == whole.name
    assert contents(made) == contents(whole)
    (sent,) = (nodes_home / "sent").glob("*/net.onnx")
    assert sent.read_bytes() == (tmp_path / "net.onnx").read_bytes()
    assert (nodes_home / "assets" / "yolo26n.pt").read_bytes() == (assets.home() / "assets" / "yolo26n.pt").read_bytes()


@pytest.mark.slow("starts processes")
def test_what_was_done_is_not_done_again(eight_frames, ray, tmp_path):
    """A driver that was killed: two of eight shards are there, and of the others each is done once."""
    count = cluster.A_WORKER * 2
    for number in (2, 5):
        runner.run_shard(eight_frames, Shard(number, count), tmp_path / "ray")
    done = []
    finished = cluster._finished

    def counted(task, order, parts, most):
        for journal, made in finished(task, order, parts, most):
            done.append(int(journal.split("-")[1]))
            yield journal, made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "_finished", counted)
        made = run_on_it(eight_frames, tmp_path / "ray")
    assert sorted(done) == [1, 3, 4, 6, 7, 8]
    assert contents(made) == contents(runner.run(eight_frames, tmp_path / "whole").path)


@pytest.mark.slow("starts processes")
def test_what_goes_wrong_is_said_in_a_line(eight_frames, ray, tmp_path, monkeypatch):
    with pytest.raises(DetbenchError, match="[0-7] is broken"):
        cluster.score(eight_frames, tmp_path / "ray", cpus=1, one=refuses)
    monkeypatch.setattr(cluster, "RETRIES", 0)
    with pytest.raises(DetbenchError, match=r"The workers of journal-\d-of-8.jsonl died 1 times"):
        cluster.score(eight_frames, tmp_path / "ray", cpus=1, one=dies)


def test_a_cluster_that_does_not_answer(eight_frames):
    pytest.importorskip("ray")
    done = invoke("--engine", "ray", "--address", "127.0.0.1:9", "--dataset", eight_frames.dataset)
    assert done.exit_code == 1
    assert "No Ray cluster answers at 127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.output


def test_without_ray(eight_frames, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = invoke("--engine", "ray", "--dataset", eight_frames.dataset)
    assert done.exit_code == 1
    assert "pip install 'detbench[ray]'" in done.stderr


def test_rays_options_need_ray():
    assert "add --engine ray" in invoke("--address", "auto").stderr


def test_a_local_run_imports_no_ray(eight_frames, tmp_path):
    code = (
        "import sys; from detbench.cli import app\ntry: app()\nexcept SystemExit: pass\nassert 'ray' not in sys.modules"
    )

    command = [
        sys.executable,
        "-c",
        code,
        "run",
        "--deblurer",
        "unsharp",
        "--dataset",
        eight_frames.dataset,
        "--limit",
        "1",
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
