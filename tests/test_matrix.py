"""Runs from a file: which there are, what is left of them, and what is wrong with a file, by its line."""

import pytest
from typer.testing import CliRunner

from detbench import best, cli, matrix, runner
from detbench.lineup import role
from detbench.types import DetbenchError, RunSpec


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "m.toml").write_text(text)
        return tmp_path / "m.toml"

    return write


def invoke(*arguments):
    return CliRunner().invoke(cli.app, ["run", *map(str, arguments)])


def test_lists_are_combined(write):
    found = matrix.read(
        write(
            """
            dataset = ["street", "street1"]
            noise = [0.0, 0.001]
            deblurer = ["dc0", "dc250"]
            precision = ["fp32", "bf16"]
            seed = [0, 1]
            detector = ["yolo26n", "yolo11n"]
            imgsz = [640, 320]
            classes = ["person", "car"]
            """
        )
    )
    assert [(one.specs[0].dataset, one.specs[0].noise) for one in found] == [
        ("street", 0.0),
        ("street", 0.001),
        ("street1", 0.0),
        ("street1", 0.001),
    ]
    for one in found:
        assert len(one.specs) == len(set(one.specs)) == 8
        assert [(view["detector"], view["imgsz"]) for view in one.views] == [
            ("yolo26n", 640),
            ("yolo26n", 320),
            ("yolo11n", 640),
            ("yolo11n", 320),
        ]
        assert all(view["classes"] == ["person", "car"] for view in one.views)


def test_one_value_needs_no_list(write):
    (one,) = matrix.read(write("deblurer = 'dc0'\nlimit = 4\n"))
    assert one.specs == (RunSpec("dc0", limit=4),)
    assert one.views == ({"detector": "yolo26n"},)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "deblurer = 'dc0'\n\ndetectors = 'yolo26n'\n",
            r"m.toml, line 3: detectors is not known; there are backend, .*",
        ),
        ("deblurer = ['dc0', 'dc0']\n", "line 1: deblurer is empty, or has one value twice"),
        ("deblurer = 'dc0'\nseed = []\n", "line 2: seed is empty"),
        ("dataset = 'street'\n", "names no deblurer"),
        ("deblurer = 'dc0'\nprecision = 'fp8'\n", "m.toml: precision is 'fp8': it must be"),
        ("deblurer = 'dc0'\nconf = 2.0\n", "m.toml: conf is 2.0"),
        ("deblurer = 'dc0'\nconf = 'high'\n", "m.toml: "),
        ("deblurer = \n", "cannot be read as TOML: .*line 1"),
    ],
)
def test_what_is_wrong_is_named(write, text, message):
    with pytest.raises(DetbenchError, match=message):
        matrix.read(write(text))


@pytest.fixture
def small(write, data):
    return write(
        f"dataset = {str(data)!r}\ndeblurer = ['unsharp', 'dc0']\nimgsz = [320, 640]\nconf = 0.6\ndevice = 'cpu'\n"
    )


def test_a_plan_says_what_is_left(small, tmp_path):
    matrices = matrix.read(small)
    sizes = []

    def measure(spec, size):
        sizes.append(size)
        return 10.0

    rows = matrix.plan(matrices, tmp_path / "runs", measure)
    assert [(row.deblurer, row.runs, row.done, row.frames, row.ms) for row in rows] == [
        ("unsharp", 2, 0, 12, 10.0),
        ("dc0", 2, 0, 12, 10.0),
    ]
    assert sizes == [(64, 48)] * 2
    spec = matrices[0].specs[0]
    for view in matrices[0].views:
        runner.run(RunSpec(**{**vars(spec), **view}), tmp_path / "runs")
    rows = matrix.plan(matrices, tmp_path / "runs", measure)
    assert [(row.done, row.frames) for row in rows] == [(2, 0), (0, 12)]


def test_the_command(small, tmp_path, monkeypatch):
    monkeypatch.setattr(best, "guess", lambda spec, size: 500.0)
    with monkeypatch.context() as patch:
        patch.setattr(runner, "run", pytest.fail)
        shown = invoke("--config", small, "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout == ""
    assert "4 runs, and floors and ceilings: about 12 s of restoring here." in shown.stderr
    done = invoke("--config", small, "--json")
    assert done.exit_code == 0, done.output
    runs = [runner.store.read(path) for path in (tmp_path / "reports" / "runs").iterdir()]
    assert sorted(role(run.spec) for run in runs) == ["ceiling"] * 2 + ["floor"] * 2 + ["model"] * 4
    again = invoke("--config", small)
    assert "about 0 s of restoring" in again.stderr
    assert again.stdout.count("unsharp") >= 2


def test_what_goes_with_a_file(small):
    done = invoke("--config", small, "--deblurer", "dc0", "--imgsz", "320")
    assert done.exit_code == 1
    assert "m.toml says what is run: leave out --deblurer, --imgsz." in done.stderr
    assert "--dry-run needs --config" in invoke("--dry-run").stderr


def test_the_time_is_guessed_by_a_part_of_a_frame(unsharp_spec):
    assert best.guess(unsharp_spec, (640, 480)) > 0
    assert best.guess(RunSpec("spandrel:/nowhere.pth"), (640, 480)) is None
