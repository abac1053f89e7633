"""The gate's verdict as JUnit, Markdown and GitHub's annotations, whatever names it has to write."""

import dataclasses
from xml.etree import ElementTree

import pytest

from detbench import stats
from detbench.baseline import CannotCompare
from detbench.check import Change, Outcome, Verdict
from detbench.counts import Counts
from detbench.metrics import compared
from detbench.report import ci

NASTY = 'a<b>&"c"|`d`\x00\n::error::%'


def outcome(key, change=0.0):
    """A metric that changed for sure, by so much."""
    before = 30.0 if key == "psnr_db" else 0.8
    near = abs(change) / 10
    return Outcome(key, before, before + change, stats.Interval(change, change - near, change + near, 0.01))


@pytest.fixture
def verdicts(run):
    """A verdict that passed, and one that failed on a deblurer with an impossible name."""
    before, worse = run(), run(found=0.05, psnr=22.0, draw=1)
    before.environment["wall_seconds"], worse.environment["wall_seconds"] = 2.5, 3.5
    equal = {key: 0.0 for key in (*compared(), "reference")}
    passed = Verdict(before, before, tuple(map(outcome, equal)), (), Counts(9, 0, 0))
    fell = equal | {"f1": -0.2, "recall": -0.3, "psnr_db": -3.0}
    named = [
        dataclasses.replace(
            each,
            spec=dataclasses.replace(each.spec, deblurer=NASTY),
            scores=tuple(dataclasses.replace(score, id=score.id + "|<b>\x01") for score in each.scores),
        )
        for each in (before, worse)
    ]
    changes = (Change("deblurer", "0" * 64, "1" * 64), Change("training.note", NASTY, "x"))
    return passed, Verdict(*named, tuple(outcome(*each) for each in fell.items()), changes, Counts(9, 0, 0))


def test_junit_has_a_case_a_metric(verdicts):
    for verdict in verdicts:
        root = ElementTree.fromstring(ci.junit(verdict).encode())
        (suite,) = root.findall("testsuite")
        cases = suite.findall("testcase")
        assert [case.get("name") for case in cases] == [outcome.heading for outcome in verdict.outcomes]
        failed = [case.get("name") for case in cases if case.find("failure") is not None]
        assert failed == [outcome.heading for outcome in verdict.failures]
        for tag in (root, suite):
            assert (tag.get("tests"), tag.get("failures")) == ("6", str(len(failed)))
            assert float(tag.get("time")) == verdict.now.environment["wall_seconds"]
    failure = list(suite.iter("failure"))[-1]
    assert "PSNR dB" in failure.get("message")
    assert failure.text.count("dB") == ci.SHOWN
    properties = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert properties["deblurer"] == "00000000 → 11111111"
    assert properties["training.note"].startswith('a<b>&"c"|`d`\N{REPLACEMENT CHARACTER}')


def test_a_metric_without_interval_is_skipped(verdicts):
    outcome = dataclasses.replace(verdicts[0].outcomes[0], interval=stats.Interval(-0.5))
    verdict = dataclasses.replace(verdicts[0], outcomes=(outcome,))
    assert verdict.passed
    assert ElementTree.fromstring(ci.junit(verdict).encode()).find(".//skipped") is not None
    assert "not enough data" in ci.summary(verdict)
    assert ci.github(verdict)[0].startswith("::warning")


def test_the_summary_is_markdown_whose_tables_are_whole(verdicts):
    passed, failed = map(ci.summary, verdicts)
    assert passed.startswith("### detbench check: passed\n")
    assert failed.startswith("### detbench check: failed\n")
    assert "**failed**" in failed
    assert "- PSNR dB" in failed
    assert "may get worse by 0.05" in failed
    assert "the baseline's." in passed
    assert "deblurer" in failed
    assert "<b>" not in failed.replace("<details>", "")
    width = None
    for line in failed.splitlines():
        cells = line.replace(r"\|", "").count("|") if line.startswith("|") else None
        assert cells is None or width is None or cells == width, line
        width = cells
    assert "Frames that fell most" in failed
    assert failed.count(r"\|&lt;b&gt;") == ci.SHOWN


def test_github_reads_the_annotations(verdicts):
    passed, failed = map(ci.github, verdicts)
    assert [line.split(" ")[0] for line in passed] == ["::notice"]
    assert all(line.startswith("::error title=detbench check%3A ") for line in failed)
    assert len(failed) == len(verdicts[1].failures)
    for line in passed + failed:
        assert "\n" not in line


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("error", "a: b, c", "one: two, three"), "::error title=a%3A b%2C c::one: two, three"),
        (("notice", "5 %", "10 %25\r\nnext"), "::notice title=5 %25::10 %2525%0D%0Anext"),
        (("warning", "x::y\n", "::error::no"), "::warning title=x%3A%3Ay%0A::::error::no"),
    ],
)
def test_annotations_are_escaped(arguments, command):
    assert ci.annotation(*arguments) == command


def test_no_verdict_is_an_error_everywhere(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    ci.deliver(CannotCompare("another <detector>"), tmp_path / "junit.xml", tmp_path / "summary.md")
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert (root.get("tests"), root.get("errors"), root.get("failures")) == ("1", "1", "0")
    assert root.find(".//error").get("message") == "another <detector>"
    expected = "### detbench check: cannot compare\n\nanother &lt;detector&gt;\n"
    assert (tmp_path / "summary.md").read_text() == (tmp_path / "step.md").read_text() == expected
    assert capsys.readouterr().out.startswith("::error title=detbench check%3A cannot compare::another")


def test_other_objects_in_the_sharp_frames_are_named(verdicts):
    moved = dataclasses.replace(verdicts[0], reference=Counts(7, 1, 2))
    assert "misses 2 of the baseline's 9 objects and sees 1 others" in ci.summary(moved)
    assert any(line.startswith("::warning") for line in ci.github(moved))
    assert "another truth" not in ci.summary(verdicts[0])
