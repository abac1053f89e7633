"""The published state: what has changed under it, what waits, and that it can be made again from its results."""

import json
import re
import tarfile

import pandas as pd
import pytest
from PIL import Image
from publishing import checkout, miniature
from typer.testing import CliRunner

from detbench import cli, publish, published, registry, runner
from detbench.data.cards import cards
from detbench.results import Results
from detbench.types import DetbenchError


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_the_published_state_is_not_stale():
    """If this fails, `detbench publish` makes it right."""
    assert published.stale(published.REPORTS) == []


def test_rows_older_than_their_weights_are_marked():
    """If this fails, `detbench publish --mark` makes it right, at once."""
    names = published.older(published.REPORTS)
    for path in (published.REPORTS / "leaderboard.md", published.REPORTS.parent / "README.md"):
        text = path.read_text("utf-8")
        assert published.marked(text, names) == text


@pytest.fixture
def spoilt(tmp_path, monkeypatch):
    """A checkout's published state as of what is here, to be spoilt: the state, and how to write it.

    Of three deblurers, since the hashes of all take seconds; the tests of the real state look at all.
    """
    monkeypatch.setattr(registry, "runnable", lambda: ["dc0", "dc250", "unsharp"])
    (tmp_path / "reports").mkdir()
    known = registry.entries()
    state = json.loads((published.REPORTS / "published.json").read_text())
    state["deblurers"] = {name: registry.fingerprint(name) for name in published.shipped()}
    state["sources"] = {name: known[name].source for name in published.shipped()}
    state["dataset"] = {"name": published.DATASET, "hash": cards()[published.DATASET].identity}
    state["detectors"] = [{"name": name, "imgsz": imgsz, "hash": "0" * 64} for name, imgsz in published.DETECTORS]

    def write():
        (tmp_path / "reports" / "published.json").write_text(json.dumps(state))
        return tmp_path / "reports"

    return state, write


def test_what_is_stale_is_named(spoilt, monkeypatch):
    state, write = spoilt
    name, source = next(iter(state["sources"].items()))
    assert published.stale(write()) == []
    state["sources"][name] = "0" * 64
    state["deblurers"][name] = "1" * 64
    assert published.stale(write()) == [f"{name} has changed"]
    assert published.older(write()) == []  # it is not the weights, or not they alone
    state["sources"][name] = source
    assert published.stale(write()) == []
    state["dataset"]["hash"] = "0" * 64
    assert published.stale(write()) == ["the dataset street has changed"]
    monkeypatch.setattr(registry, "runnable", lambda: [])
    assert f"{name} is published, and does not run any more" in published.stale(write())


def test_what_waits_to_be_published_is_named(spoilt):
    state, write = spoilt
    name, other, *_ = state["deblurers"]
    assert published.waiting(write()) == []
    state["deblurers"][name] = "0" * 64
    del state["deblurers"][other], state["sources"][other], state["detectors"][-1]
    state["dataset"]["name"] = "street1"
    assert published.waiting(write()) == [
        f"{name} has newer weights than its row",
        "the leaderboard is of street1, and not of street",
        f"{other} is not published",
        "the detector nanodet_m at 416 pixels is not published",
    ]
    assert published.older(write()) == [name]


def test_new_weights_of_a_file_make_a_row_older(tmp_path, monkeypatch):
    """By the files themselves: other bytes in the weights, the same source."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "reports").mkdir()
    (tmp_path / "mine.py").write_text('"""mine: one."""\n')
    entry = registry.Entry("mine", "deblurers.mine", tmp_path / "mine.py")
    monkeypatch.setattr(registry.DEBLURERS, "entries", lambda: {"mine": entry})
    monkeypatch.setattr(registry, "runnable", lambda: ["mine"])
    entry.weights.write_bytes(b"first")
    state = {"deblurers": {"mine": entry.hash()}, "sources": {"mine": entry.source}, "detectors": []}
    state["dataset"] = json.loads((published.REPORTS / "published.json").read_text())["dataset"]
    (tmp_path / "reports" / "published.json").write_text(json.dumps(state))
    assert published.older(tmp_path / "reports") == []
    entry.weights.write_bytes(b"second")
    assert published.older(tmp_path / "reports") == ["mine"]
    assert published.stale(tmp_path / "reports") == []
    (tmp_path / "mine.py").write_text('"""mine: one."""\nWIDTH = 3\n')
    assert published.older(tmp_path / "reports") == []
    assert published.stale(tmp_path / "reports") == ["mine has changed"]


BOARD = """# Title
| method         |    F1 |
| -------------- | ----: |
| blurred        | 0.588 |
| dc0            | 0.603 |
| dc250          | 0.575 |
| sharp, JPEG 95 | 0.972 |
"""


def test_marks_are_put_and_taken_off_row_by_row():
    marked = published.marked(BOARD, ["dc0", "srn"])
    assert "| dc0 (older weights) | 0.603 |\n| dc250          | 0.575 |" in marked
    assert published.marked(marked, ["dc0"]) == marked
    assert published.marked(BOARD, []) == BOARD
    other = published.marked(marked, ["dc250"])
    assert other.count(published.MARK) == 1
    assert "| dc250 (older weights) | 0.575 |" in other


def test_publish_marks_and_checks_without_running_anything(spoilt, tmp_path, monkeypatch):
    state, write = spoilt
    monkeypatch.setattr(runner, "run", pytest.fail)
    write()
    for path in (tmp_path / "README.md", tmp_path / "reports" / "leaderboard.md"):
        path.write_text(BOARD)
    assert invoke("publish", "--mark", "--check").exit_code == 0
    assert (tmp_path / "README.md").read_text() == BOARD
    state["deblurers"]["dc0"] = "0" * 64
    write()
    done = invoke("publish", "--check")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == ["dc0 has newer weights than its row"]
    assert (tmp_path / "README.md").read_text() == BOARD
    done = invoke("publish", "--mark")
    assert done.exit_code == 0
    assert done.stdout.split() == [str(tmp_path / "reports" / "leaderboard.md"), str(tmp_path / "README.md")]
    for path in (tmp_path / "README.md", tmp_path / "reports" / "leaderboard.md"):
        assert path.read_text() == published.marked(BOARD, ["dc0"])
    assert invoke("publish", "--mark").stdout == ""


TABLES = ("detectors", "swap", "sizes", "fooling", "features", "alternatives")


@pytest.mark.slow("runs and tables of several detectors")
def test_publish_writes_a_page_of_every_detector(data, tmp_path, monkeypatch):
    """All of it, of one deblurer on twelve small frames, with several detectors that stand in for YOLO."""
    miniature(data, monkeypatch)
    checkout(tmp_path)
    publish.publish(tmp_path, tmp_path / "runs", "cpu")
    boards = json.loads((tmp_path / "detbench" / "results.json").read_text())
    assert [(board["detector"], board["imgsz"]) for board in boards] == list(published.DETECTORS)
    assert re.search(r"^\| unsharp +\| +\w", (tmp_path / "README.md").read_text(), re.M)
    assert (tmp_path / "reports" / "figures" / "matrix.png").stat().st_size > 1000
    page = (tmp_path / "reports" / "leaderboard.md").read_text()
    for name, imgsz in published.DETECTORS:
        assert f"| {name} {imgsz}: F1 |" in page
        assert f"\n- {name} {imgsz}: " in page
    assert page.index("## With several") < page.index("**Is it there?**") < page.index("## Deblur, or adapt")
    assert page.index("| selective: unsharp") < page.index("## With noise")
    assert page.count("| unsharp less blurred |") == 1
    assert "| unsharp " in page.split("**Without a threshold**")[1]
    assert "yolo26n 640: seen by yolo11n 640" in page
    card = (tmp_path / "docs" / "models" / "unsharp.md").read_text()
    assert card.startswith("# unsharp\n\n")
    assert "It was not trained here." in card
    assert all(f"\n| {name} {imgsz} " in card for name, imgsz in published.DETECTORS)
    assert re.search(r"of \d+ objects \d+ are found again that the blurred frames hide, \d+ are lost", card)
    assert "](figures/unsharp.webp)" in card
    with Image.open(tmp_path / "docs" / "models" / "figures" / "unsharp.webp") as picture:
        assert picture.width > 3 * picture.height / 2
    made = {path.name for path in (tmp_path / "reports" / "tables").iterdir()}
    assert {f"{key}.{suffix}" for key in TABLES for suffix in ("md", "tex", "csv")} <= made
    state = json.loads((tmp_path / "reports" / "published.json").read_text())
    assert [(eye["name"], eye["imgsz"]) for eye in state["detectors"]] == list(published.DETECTORS)
    monkeypatch.setitem(state, "dataset", {"name": "street", "hash": cards()["street"].identity})
    (tmp_path / "reports" / "published.json").write_text(json.dumps(state))
    assert published.stale(tmp_path / "reports") == published.waiting(tmp_path / "reports") == []
    with monkeypatch.context() as patch:
        _again(tmp_path, patch)
    with monkeypatch.context() as patch:
        _added(tmp_path, patch)
    with monkeypatch.context() as patch:
        _timed(tmp_path, patch)


def _written(root):
    """All that `detbench publish` writes as text, by path."""
    pages = [root / "README.md", *(root / "detbench").glob("*.json"), *(root / "reports").glob("*.md")]
    pages += (root / "docs" / "models").glob("*.md")
    files = [*pages, *(root / "reports" / "tables").iterdir(), *(root / "reports" / "figures").glob("*.svg")]
    return {path.relative_to(root).as_posix(): path.read_text() for path in files}


def _again(root, monkeypatch):
    """Pages from the results: the same, and another count in one frame is another number wherever it is told."""
    monkeypatch.setattr(runner, "run", pytest.fail)
    monkeypatch.setattr(publish.features, "measure", pytest.fail)
    first, archive = _written(root), root / publish.RESULTS
    for path in (root / "reports" / "leaderboard.md", root / "detbench" / "results.json"):
        path.unlink()
    publish.again(root)
    assert _written(root) == first
    kept = archive.read_bytes()
    publish.publish(root, root / "no runs", "cpu")  # which runs what has changed, and nothing has
    assert _written(root) == first
    assert archive.read_bytes() == kept

    found = Results.load(archive, root / "unpacked")
    run = found.run(publish.RunSpec("unsharp"))
    rows = pd.read_csv(run.path / "frames.csv")
    frame = rows.index[rows["tp"] > 0][0]
    rows.loc[frame, ["tp", "fn"]] += [-1, 1]
    rows.to_csv(run.path / "frames.csv", index=False)
    with tarfile.open(archive, "w:xz") as spoilt:
        spoilt.add(root / "unpacked", ".")
    publish.again(root)
    changed = {path for path, text in _written(root).items() if text != first[path]}
    told = ("leaderboard", "detectors", "differences", "swap", "sizes", "features", "thresholds")
    wanted = {f"reports/tables/{key}.{suffix}" for key in told for suffix in ("md", "tex", "csv")}
    wanted |= {f"reports/figures/{key}.svg" for key in ("gains", "matrix", "scores", "f1-psnr", "f1-time")}
    wanted |= {"README.md", "detbench/results.json", "reports/leaderboard.md", "docs/models/unsharp.md"}
    assert wanted <= changed, wanted - changed
    # These are made from the detections, and the counts alone were changed.
    assert not {path for path in changed if "errors" in path or "by-" in path or "confidence" in path}


def _added(root, monkeypatch):
    """A run that was made elsewhere gets a row, marked; one with another signature does not."""
    monkeypatch.chdir(root)
    honest = runner.run
    hers = runner.run(publish.RunSpec("unsharp", seed=1), root / "hers")
    other = runner.run(publish.RunSpec("unsharp", conf=0.6), root / "hers")
    monkeypatch.setattr(runner, "run", pytest.fail)
    before = (root / publish.RESULTS).read_bytes()
    how = "Ada, who gives the frames away: unpack them, detbench run --deblurer frames:DIR"
    for run, name, by, wrong in (
        (hers, "herNet", "", "--by"),
        (hers, "unsharp", how, "already"),
        (other.path, "herNet", how, "conf (0.7 and 0.6)"),
    ):
        done = invoke("publish", "--add", getattr(run, "path", run), "--name", name, "--by", by)
        assert done.exit_code == 1 and wrong in done.output, done.output
    assert (root / publish.RESULTS).read_bytes() == before
    for _ in range(2):  # the second takes the place of the first
        done = invoke("publish", "--add", hers.path, "--name", "herNet", "--by", how)
        assert done.exit_code == 0, done.output
    page = (root / "reports" / "leaderboard.md").read_text()
    assert page.split("## With several")[0].count("| herNet †") == 1
    assert f"† herNet: {how} (Not run here; times of another machine.)" in page
    assert "herNet" not in page.split("## With several")[1]
    for number, anew in enumerate((False, True)):  # and it stays there
        with monkeypatch.context() as patch:
            patch.setattr(runner, "run", honest if anew else pytest.fail)
            publish.publish(root, root / f"runs{number}", "cpu", anew=anew)
        again = Results.load(root / publish.RESULTS, root / f"once more {number}")
        assert [run.spec.deblurer for run in again.added] == ["herNet"]
        assert again.added[0].scores == hers.scores


def _timed(root, monkeypatch):
    """Other times, and nothing else, of all that was run here."""
    monkeypatch.setattr(runner, "run", pytest.fail)
    monkeypatch.chdir(root)
    before = Results.load(root / publish.RESULTS, root / "before times")
    done = invoke("publish", "--times", "--device", "cpu")
    assert done.exit_code == 0, done.output
    after = Results.load(root / publish.RESULTS, root / "after times")
    spec = publish.RunSpec("unsharp")
    was, now = (pd.DataFrame(map(vars, results.run(spec).scores)) for results in (before, after))
    changed = (was != now).any()
    assert set(changed.index[changed]) == {"restore_ms", "detect_ms"}
    assert after.added[0].scores == before.added[0].scores
    page = (root / "reports" / "leaderboard.md").read_text()
    assert ", taken in turn, frame by frame." in page
    assert "Not all runs were made together" not in page


def test_the_readme_and_the_leaderboard_agree():
    root = published.REPORTS.parent
    readme, board = ((root / name).read_text() for name in ("README.md", "reports/leaderboard.md"))
    part = readme.split(publish.START)[1].split(publish.END)[0].strip()
    assert part.startswith("**Leaderboard**")
    rows = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("|")]
    heads, _, *rows = rows
    assert len(rows) >= 4
    for row in rows:
        (whole,) = re.findall(rf"^\| {re.escape(row[0])} +\|.*$", board.split("## With several")[0], re.M)
        for heading in ("F1", "gap closed", "PSNR dB"):
            assert row[heads.index(heading)] in {cell.strip(" *") for cell in whole.split("|")}, (row, heading)


def test_a_readme_without_a_place_is_refused():
    with pytest.raises(DetbenchError, match="no place for the leaderboard"):
        publish._into("# Something else", "")
    made = publish._into(f"a\n{publish.START} old {publish.END}\nb", "new")
    assert made == f"a\n{publish.START}\n\nnew\n{publish.END}\nb"
    assert publish._into(made, "new") == made
