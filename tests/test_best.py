"""Which deblurer to take: only what helps for sure, within the budget, by times that are measured here."""

import dataclasses
import json
import time

import pytest
from typer.testing import CliRunner

from detbench import best, cli
from detbench.report.collect import Group
from detbench.stats import Interval
from detbench.types import DetbenchError, RunSpec
from detbench.verdict import HARMS, HELPS, UNKNOWN, Verdict


def score(name, gain, word):
    return best.Score(name, 0.5 + gain, Verdict(word, Interval(gain, gain - 0.04, gain + 0.04)))


BOARD = best.Board(
    "street",
    66,
    "yolo26n",
    640,
    0.5,
    (
        score("slow", 0.2, HELPS),
        score("unsure", 0.15, UNKNOWN),
        score("quick", 0.1, HELPS),
        score("quicker", 0.05, HELPS),
        score("bad", -0.1, HARMS),
    ),
)
SPEC = RunSpec("blurred", device="cpu")

TIMES = {"slow": 500.0, "quick": 50.0, "quicker": 5.0, "unsure": 1.0, "bad": 1.0}


def measure(name, budget_ms):
    return best.Time(TIMES[name], guessed=TIMES[name] > 3 * budget_ms)


@pytest.mark.parametrize(
    "budget, name, tried",
    [
        (1000, "slow", ["slow"]),
        (500, "slow", ["slow"]),
        (100, "quick", ["slow", "quick"]),
        (10, "quicker", ["slow", "quick", "quicker"]),
        (2, None, ["slow", "quick", "quicker"]),  # those that are fast enough do not help for sure
    ],
)
def test_the_most_f1_for_sure_within_the_budget(budget, name, tried):
    found = best.choose(BOARD, budget, measure)
    assert (found.best.deblurer if found.best else None) == name
    assert [each.deblurer for each, _ in found.tried] == tried


def test_what_is_left_out_has_names():
    assert best.choose(BOARD, 100, measure).less == ["quicker"]
    assert best.choose(BOARD, 10, measure).less == best.choose(BOARD, 2, measure).less == []


def test_of_those_that_are_as_fast_the_best_is_named_by_times_that_are_measured():
    """Guesses, which are too much, decide nothing."""
    times, guesses = {"slow": 50.0, "quick": 50.0, "quicker": 48.0}, {"slow": 99.0, "quick": 70.0, "quicker": 60.0}

    def measure(name, budget_ms):
        guessed = guesses[name] > 3 * budget_ms
        return best.Time(guesses[name] if guessed else times[name], guessed=guessed)

    found = best.choose(BOARD, 2, measure)
    assert [(taken.ms, taken.guessed) for _, taken in found.tried] == [(50, False), (50, False), (48, False)]
    assert found.cheapest[0].deblurer == "slow"
    assert best.choose(dataclasses.replace(BOARD, scores=()), 2, measure).cheapest is None


def test_what_tables_cannot_tell_apart_is_ranked_by_all_detectors():
    def board(detector, **gains):
        scores = (score(name, gain, HELPS) for name, gain in gains.items())
        return dataclasses.replace(BOARD, detector=detector, scores=tuple(scores))

    boards = [board("one", a=0.2003, b=0.2001, c=0.1), board("other", c=0.3, b=0.2, a=0.1)]
    assert [its.deblurer for its in best.before(boards, None, None).scores] == ["b", "a", "c"]
    assert [its.deblurer for its in best.before(boards, "other", None).scores] == ["c", "b", "a"]


def test_what_cannot_be_tried_is_said_and_left_out():
    def out_of_reach(name, budget_ms):
        if name == "slow":
            raise DetbenchError("its weights are out of reach")
        return measure(name, budget_ms)

    found = best.choose(BOARD, 1000, out_of_reach)
    assert found.best.deblurer == "quick"
    assert found.failed == {"slow": "its weights are out of reach"}


def test_a_time_is_of_whole_frames_unless_a_part_tells_enough():
    sizes = []

    def restorer(spec):
        def restore(frames):
            sizes.append(frames[0].shape[:2])
            time.sleep(0.002 * frames[0].size / (40 * 60 * 3))
            return frames

        return restore

    taken = best.measurer((60, 40), SPEC, restorer)("any", 1000.0)
    assert not taken.guessed
    assert 2 <= taken.least <= taken.ms <= taken.most < 200
    assert sizes == [(20, 30)] * 4 + [(40, 60)] * 4  # tiles, a frame that warms up, three that count
    sizes.clear()
    assert best.measurer((60, 40), SPEC, restorer)("any", 0.01).guessed
    assert set(sizes) == {(20, 30)}


def test_a_backend_that_is_chosen_by_frames_is_chosen_by_whole_ones():
    firsts = []

    def restorer(spec):
        sizes = []
        firsts.append(sizes)
        return lambda frames: sizes.append(frames[0].shape[:2]) or frames

    best.measurer((60, 40), dataclasses.replace(SPEC, backend="auto", precision="auto"), restorer)("any", 1e3)
    assert [sizes[0] for sizes in firsts] == [(20, 30), (40, 60)]


def test_the_other_detectors_and_sizes_of_somebodys_runs_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(best, "measurer", lambda size, spec: measure)
    asked = ["best", "--budget-ms", "100", "--runs", str(tmp_path)]
    for others, named in (((320, 320), "yolo26n at 320, too"), ((), "")):
        boards = [BOARD, *(dataclasses.replace(BOARD, imgsz=imgsz) for imgsz in others)]
        monkeypatch.setattr(best, "of_folder", lambda runs, boards=boards: boards)
        said = CliRunner().invoke(cli.app, asked).stdout
        assert f"The runs in {tmp_path} are with {named}" in said if named else "The runs in" not in said


def test_of_somebodys_runs_those_before_the_usual_detector_come_first(run, monkeypatch):
    groups = [Group(run(detector=name), (run("dc250", 0.7, detector=name),), None) for name in ("yolo11n", "yolo26n")]
    monkeypatch.setattr(best, "collect", lambda folders, split: groups)
    assert [board.detector for board in best.of_folder(best.Path("runs"))] == ["yolo26n", "yolo11n"]


def test_the_published_scores_are_those_of_the_reports():
    boards = best.published()
    state = json.loads((best.Path(__file__).parent.parent / "reports" / "published.json").read_text())
    assert [(board.detector, board.imgsz) for board in boards] == [(d["name"], d["imgsz"]) for d in state["detectors"]]
    for board in boards:
        assert {each.deblurer for each in board.scores} == state["deblurers"].keys()
        assert [each.f1 for each in board.scores] == sorted((each.f1 for each in board.scores), reverse=True)
        for each in board.scores:
            gain = each.verdict.gain
            assert gain.low <= gain.estimate <= gain.high
            assert each.f1 - board.floor == pytest.approx(gain.estimate, abs=2e-6)
            assert each.verdict.word != HELPS or gain.estimate > 0


def test_a_board_survives_its_file(run, tmp_path, monkeypatch):
    models = (run("unsharp", 0.3, 24.8), run("dc250", 0.75, 26))
    made = best.of_group(Group(run(), models, run("jpeg95", 0.95, 40, input="sharp")))
    assert [each.deblurer for each in made.scores] == ["dc250", "unsharp"]
    assert [each.verdict.word for each in made.scores] == [HELPS, HARMS]
    (tmp_path / best.PUBLISHED).write_text(json.dumps([made.plain()]))
    monkeypatch.setattr(best, "files", lambda package: tmp_path)
    (read,) = best.published()
    assert dataclasses.replace(read, scores=()) == dataclasses.replace(made, scores=())
    for one, other in zip(read.scores, made.scores, strict=True):
        assert (one.deblurer, one.f1, one.verdict.word) == (other.deblurer, other.f1, other.verdict.word)
        assert one.verdict.gain.low == other.verdict.gain.low


def test_a_detector_without_scores_is_refused_with_those_that_have_some():
    assert best.before([BOARD], None, None) == BOARD
    assert best.before([BOARD], "yolo26n", 640) == BOARD
    with pytest.raises(DetbenchError, match="no scores with x at 320, only with yolo26n at 640. Run `detbench"):
        best.before([BOARD], "x", 320)


def test_the_command_answers_and_says_what_to_type_next(monkeypatch):
    monkeypatch.setattr(best, "published", lambda: [BOARD])
    monkeypatch.setattr(best, "measurer", lambda size, spec: measure)
    done = CliRunner().invoke(cli.app, ["best", "--budget-ms", "100", "--size", "1280x720"])
    assert done.exit_code == 0
    assert "Take quick: F1 0.500 -> 0.600 on street (66 clips), with yolo26n at 640, for 50 ms a frame" in done.stdout
    assert "Next: detbench deblur INPUT OUTPUT --deblurer quick\n" in done.stdout
    auto = CliRunner().invoke(cli.app, ["best", "--budget-ms", "100", "--backend", "auto", "--device", "cpu"])
    assert "Next: detbench deblur INPUT OUTPUT --deblurer quick --device cpu --backend auto\n" in auto.stdout
    none = CliRunner().invoke(cli.app, ["best", "--budget-ms", "1"])
    assert none.exit_code == 0
    assert "Take none: nothing that helps for sure" in none.stdout
    assert "The best of the fastest is quicker, with 5 ms.\nNext: detbench best --budget-ms 6, a fif" in none.stdout
    plain = json.loads(CliRunner().invoke(cli.app, ["best", "--budget-ms", "100", "--json"]).stdout)
    assert (plain["best"], plain["f1_without"], len(plain["tried"])) == ("quick", 0.5, 2)


@pytest.mark.parametrize("size", ["1280", "0x5", "axb", "1280x720x3"])
def test_a_size_that_is_none_is_refused(size):
    done = CliRunner().invoke(cli.app, ["best", "--budget-ms", "1", "--size", size])
    assert done.exit_code == 1
    assert "not width x height" in done.stderr
