"""What holds with one detector, held against others: pairs, verdicts, working sizes."""

import dataclasses
import json

import numpy as np
import pytest
from conftest import CLIPS, boxes

from detbench import cli, stats, store, swap
from detbench.lineup import Lineup
from detbench.report import formats, swaps
from detbench.swap import CARRIES, ONLY, TURNS, UNKNOWN, Pair


def gain(estimate, low, high, p):
    return stats.Interval(estimate, low, high, p)


UP, DOWN, FLAT = gain(0.1, 0.05, 0.15, 0.001), gain(-0.1, -0.15, -0.05, 0.001), gain(0.01, -0.02, 0.03, 0.5)


@pytest.mark.parametrize(
    ("gains", "verdict", "better", "worse"),
    [
        ([UP, UP], CARRIES, ["a", "b"], []),
        ([DOWN, DOWN], CARRIES, [], ["a", "b"]),
        ([UP, FLAT], ONLY, ["a"], []),
        ([UP, DOWN], TURNS, ["a"], ["b"]),
        ([FLAT, FLAT], UNKNOWN, [], []),
    ],
)
def test_verdicts(gains, verdict, better, worse):
    named = dict(zip("ab", gains, strict=True))
    pair = Pair("one", "other", named, {name: its.p for name, its in named.items()})
    assert (pair.verdict, pair.better, pair.worse) == (verdict, better, worse)


def test_what_holmes_correction_leaves_counts():
    pair = Pair("one", "other", {"a": UP, "b": UP}, {"a": 0.2, "b": 0.01})
    assert (pair.verdict, pair.better) == (ONLY, ["b"])


@pytest.fixture
def lineups(run):
    """Two detectors: sharpen helps with both, paint with the first alone, and blur harms with the second."""
    found = {"yolo26n": (0.3, 0.7, 0.6, 0.3), "yolo11n": (0.3, 0.7, 0.3, 0.1)}
    made = []
    for detector, shares in found.items():
        looking = {"detector": detector, "detector_hash": detector.ljust(64, "0")}
        floor, *models = (
            run(name, share, **looking)
            for name, share in zip(("identity", "sharpen", "paint", "blur"), shares, strict=True)
        )
        made.append(Lineup(floor, tuple(models), run("jpeg95", 1.0, input="sharp", **looking)))
    return made


def test_pairs_before_two_detectors(lineups):
    found = {(pair.one, pair.other): pair for pair in swap.pairs(lineups)}
    assert len(found) == 6
    assert found["sharpen", "blurred"].verdict == CARRIES
    assert (found["paint", "blurred"].verdict, found["paint", "blurred"].better) == (ONLY, ["yolo26n 640"])
    assert (found["blurred", "blur"].verdict, found["blurred", "blur"].better) == (ONLY, ["yolo11n 640"])
    pair = found["sharpen", "paint"]
    for number, detector in enumerate(("yolo26n 640", "yolo11n 640")):
        sharpen, paint, _ = lineups[number].models
        assert pair.gains[detector].estimate == pytest.approx(sharpen.f1 - paint.f1)
        counts = [np.array([(s.tp, s.fp, s.fn) for s in each.scores], float) for each in (sharpen, paint)]
        alone = stats.bootstrap_difference(
            *counts, lambda sums: 2 * sums[..., 0] / (2 * sums[..., 0] + sums[..., 1] + sums[..., 2]), CLIPS
        )
        assert (pair.gains[detector].low, pair.gains[detector].high) == pytest.approx((alone.low, alone.high))
        assert pair.p[detector] >= pair.gains[detector].p


def test_many_pairs_can_still_be_told_apart(lineups, monkeypatch):
    """With as few resamples as for one pair the least p-value, times the number of pairs, would be above the level."""
    asked = []
    resampled = stats.resampled_sums
    monkeypatch.setattr(stats, "resampled_sums", lambda v, c, n: asked.append(n) or resampled(v, c, 100))
    monkeypatch.setattr(swap, "RESAMPLES_A_PAIR", 5000)
    swap.pairs(lineups)
    assert asked == [30_000] * 2
    assert 2 / swap.RESAMPLES_A_PAIR < swap.LEVEL


def test_a_deblurer_that_one_detector_lacks_is_left_out(lineups):
    short = dataclasses.replace(lineups[1], models=lineups[1].models[:1])
    assert [(pair.one, pair.other) for pair in swap.pairs([lineups[0], short])] == [("sharpen", "blurred")]
    assert swaps.sentences([lineups[0], short], swap.pairs([lineups[0], short]))[1:] == [
        "Left out, for they did not run with every detector: blur, paint."
    ]


def test_words_and_tables(lineups):
    lines = swaps.sentences(lineups, swap.pairs(lineups))
    assert lines[:3] == [
        "sharpen is better than blurred with every detector here: that carries over.",
        "paint is better than blurred only with yolo26n 640.",
        "blurred is better than blur only with yolo11n 640.",
    ]
    assert lines[3] == "sharpen is better than paint with every detector here: that carries over."
    assert len(lines) == 6
    made = {table.key: table for table in swaps.tables(lineups, swap.pairs(lineups))}
    assert set(made) == {"swap"}
    rows = {row[0]: row for row in made["swap"].parts[0].rows}
    assert rows["sharpen less blurred"][-1] == CARRIES
    assert rows["paint less blurred"][-1] == "only with yolo26n 640"
    for form in (formats.markdown, formats.latex, formats.csv, formats.html):
        assert all("None" not in form(table) for table in made.values())


def test_how_alike_detectors_rank(lineups, monkeypatch):
    monkeypatch.setattr(stats, "MINIMUM_MODELS", 2)
    ranks = swaps.tables(lineups, swap.pairs(lineups))[1].parts[0].rows
    f1 = [[run.f1 for run in lineup.models] for lineup in lineups]
    assert ranks[0][2] == ranks[1][1] == pytest.approx(float(stats.rank_correlation(*np.array(f1))))
    assert ranks[0][1] is None


def test_of_many_deblurers_those_that_help_are_gathered(lineups, monkeypatch):
    monkeypatch.setattr(swaps, "FEW", 2)
    lines = swaps.sentences(lineups, swap.pairs(lineups))
    assert lines[0] == "Better than blurred with every detector: sharpen."
    assert lines[1] == (
        "Better or worse than blurred with some: paint (better with yolo26n 640), blur (worse with yolo11n 640)."
    )
    rows = [row[0] for row in swaps.tables(lineups, swap.pairs(lineups))[0].parts[0].rows]
    assert rows == ["sharpen less blurred", "paint less blurred", "blurred less blur"]


def test_gains_over_the_working_size(run, tmp_path, monkeypatch):
    """At 320 the detector sees one object of two in the sharp frame: against 640's reference it misses the other."""
    here, there = (0, 0, 10, 10), (50, 50, 60, 60)
    seen = {
        ("identity", 640): ([here, there], [here]),
        ("sharpen", 640): ([here, there], [here, there]),
        ("identity", 320): ([here], [there]),
        ("sharpen", 320): ([here], [here]),
    }
    found = {}
    made = {}
    for (name, imgsz), (sharp, restored) in seen.items():
        result = run(name, 0.5, imgsz=imgsz)
        tp = sum(each in sharp for each in restored)
        scores = tuple(dataclasses.replace(s, tp=tp, fp=len(restored) - tp, fn=len(sharp) - tp) for s in result.scores)
        made[name, imgsz] = dataclasses.replace(result, scores=scores)
        found[result.path] = {"sharp": [boxes(*sharp)] * 24, "restored": [boxes(*restored)] * 24}
    monkeypatch.setattr(store, "read_detections", lambda path: found[path])
    lineups = [Lineup(made["identity", n], (made["sharpen", n],), made["identity", n]) for n in (320, 640)]
    (rows,) = swap.sizes(lineups).values()
    assert [(row.deblurer, row.imgsz) for row in rows] == [("sharpen", 320), ("sharpen", 640)]
    assert rows[0].gain.estimate == pytest.approx(1.0)  # from 0 to 1
    assert rows[0].of_largest.estimate == pytest.approx(0.0)  # one of two either way
    assert rows[1].gain.estimate == rows[1].of_largest.estimate == pytest.approx(1 - 2 / 3)
    (table,) = [each for each in swaps.tables(lineups, swap.pairs(lineups)) if each.key == "sizes"]
    assert [column.heading for column in table.columns] == [
        "deblurer",
        "640 px",
        "320 px",
        "320 px, against 640 px's",
    ]


def test_a_folder_of_several_detectors_is_compared_detector_by_detector(pairs, bright_boxes, tmp_path, capsys):
    arguments = ["run", "--deblurer", "unsharp", "--dataset", str(pairs), "--device", "cpu", "--detector", "a.pt"]
    cli.app([*arguments, "--imgsz", "64", "--imgsz", "32", "--out", str(tmp_path / "runs")], standalone_mode=False)
    assert "With several detectors:" in capsys.readouterr().out
    cli.app(["compare", str(tmp_path / "runs")], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "Does it hold with another detector?" in printed
    assert "a 64" in printed and "a 32" in printed
    cli.app(["compare", str(tmp_path / "runs"), "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert {row["detector"] for row in found["rows"]} == {"a 64", "a 32"}
    assert {row["verdict"] for row in found["rows"]} <= {CARRIES, ONLY, TURNS, UNKNOWN}
