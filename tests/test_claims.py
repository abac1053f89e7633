"""Claims: a verdict that follows from the interval, and a page that tells what was printed and what was found."""

import dataclasses

import numpy as np
import pytest
from conftest import BrightBoxes, stand_in

from detbench import claims, detectors, published, registry, runner, stats
from detbench.metrics import metric
from detbench.report import claims as page
from detbench.report.tables import printed
from detbench.results import Results
from detbench.types import RunSpec


def finding(low, high):
    return claims.Finding("a", "b", "psnr_db", 0.0, gain=stats.Interval((low + high) / 2, low, high, 0.01))


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.1, 0.3), "holds"),
        ((-0.3, -0.1), "does not hold"),
        ((-0.1, 0.1), "undecided at this budget"),
        ((0.0, 0.1), "undecided at this budget"),
        ((0.01, 0.04), "no difference that matters"),
        ((-0.04, 0.04), "no difference that matters"),
        ((0.01, 0.06), "holds"),
        ((float("nan"), float("nan")), "undecided at this budget"),
    ],
)
def test_a_verdict_follows_from_the_interval(interval, verdict):
    assert finding(*interval).verdict == verdict


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((-0.3, 0.3), "holds"),
        ((-0.1, 0.4), "undecided at this budget"),
        ((-0.4, 0.1), "undecided at this budget"),
        ((0.31, 0.4), "does not hold"),
        ((-0.4, -0.31), "does not hold"),
        ((float("nan"), float("nan")), "undecided at this budget"),
    ],
)
def test_about_equal_is_within_the_margin(interval, verdict):
    assert dataclasses.replace(finding(*interval), margin=0.3).verdict == verdict


def test_a_claim_holds_only_if_all_of_it_does():
    good, bad, open_, same = finding(0.1, 0.2), finding(-0.2, -0.1), finding(-0.1, 0.1), finding(0.01, 0.02)
    untested = claims.Finding("a", "b", "ssim", 0.0)

    def verdict(*findings):
        return claims.Claim("key", "says", "source", findings).verdict

    assert verdict(good, good) == "holds"
    assert verdict(good, same) == "no difference that matters"
    assert verdict(same, open_) == "undecided at this budget"
    assert verdict(good, open_, untested) == "not tested"
    assert verdict(good, open_, untested, bad) == "does not hold"


def test_every_claim_names_deblurers_and_printed_numbers_that_exist():
    for entry in claims._entries():
        for names in entry["pairs"]:
            assert set(names) <= set(registry.entries()) or "source" not in entry  # ours may come before the deblurer
            for part in entry["parts"] if "table" in entry else ():
                better, worse = (float(printed(entry["table"], part, name, entry["measures"][0])) for name in names)
                if "margins" in entry:
                    assert abs(better - worse) <= entry["margins"][entry["measures"][0]]
                else:
                    assert better > worse, "the publication says the opposite"
        assert all(metric(measure).min_effect for measure in entry["measures"])


def test_claims_are_tested_on_runs(pairs, bright_boxes, tmp_path, monkeypatch):
    """Of six frames there is no interval: two deblurers that surely differ leave the claim undecided."""
    entry = {
        "key": "sharpening",
        "says": "The identity is better than an unsharp mask.",
        "source": "nobody",
        "pairs": [["identity", "unsharp"], ["identity", "dc250p"]],
        "measures": ["psnr_db"],
        "parts": {"here": 0.0, "noisy": 0.001},
    }
    monkeypatch.setattr(claims, "_entries", lambda: [entry])
    base = RunSpec("", dataset=str(pairs), conf=0.55, device="cpu")
    (claim,) = claims.verify(Results(tmp_path / "runs"), base, ["unsharp"])
    tested, untested = claim.findings[:2], claim.findings[2:]
    for found, noise in zip(tested, (0.0, 0.001), strict=True):
        results = [
            runner.run(dataclasses.replace(base, deblurer=name, noise=noise), tmp_path / "runs")
            for name in ("identity", "unsharp")
        ]
        assert found.ours == pytest.approx([result.mean("psnr_db") for result in results])
        assert found.gain.estimate == pytest.approx(found.ours[0] - found.ours[1])
    assert {found.verdict for found in untested} == {"not tested"}
    assert claim.verdict == "not tested"
    text = page.page([claim], runner.run(dataclasses.replace(base, deblurer="identity"), tmp_path / "runs"))
    assert "|noise:0.001|" in text
    assert "The identity is better than an unsharp mask." in text
    assert "| blurred, unsharp " in text
    assert "`identity`" not in text
    assert "`dc250p`: has no weights yet." in text or "`dc250p`: compact preset" in text


def test_a_claim_is_tested_before_each_detector_it_names(pairs, tmp_path, bright_boxes, monkeypatch):
    entry = {
        "key": "ours",
        "says": "The identity is better than an unsharp mask.",
        "pairs": [["identity", "unsharp"], ["nowhere_yet", "unsharp"]],
        "measures": ["psnr_db"],
        "parts": {"here": 0.0},
        "detectors": [["yolo11n", 416], ["yolo26n", 640]],
    }
    monkeypatch.setattr(claims, "_entries", lambda: [entry])
    monkeypatch.setattr(detectors, "resolve", stand_in(BrightBoxes, lambda name: name.ljust(64, "0")))
    base = RunSpec("", dataset=str(pairs), conf=0.55, device="cpu")
    (claim,) = claims.verify(Results(tmp_path / "runs"), base, ["unsharp"])
    assert [finding.detector for finding in claim.findings] == [("yolo11n", 416)] * 2 + [("yolo26n", 640)] * 2
    assert ["|yolo11n:yolo11n0|imgsz:416|" in finding.signature for finding in claim.findings] == [True] + [False] * 3
    assert [finding.verdict for finding in claim.findings[1::2]] == ["not tested"] * 2
    assert claim.findings[0].ours == claim.findings[2].ours != ()
    text = page.page([claim], runner.run(dataclasses.replace(base, deblurer="identity"), tmp_path / "runs"))
    assert "A claim of this project, of no publication. **Verdict: not tested.**" in text
    assert "| *this project's* " in text
    assert "*the publications'*" not in text
    assert "*yolo11n at 416 pixels, without noise*" in text
    assert "`nowhere_yet`: has no weights yet." in text
    assert "`unsharp`: not trained here." in text


def test_our_own_claims_are_of_several_detectors_and_lead_with_those_that_were_not_in_the_loss():
    own = [entry for entry in claims._entries() if "source" not in entry]
    assert {entry["pairs"][0][0] for entry in own} == {"fastsrn_task", "dc250_task", "fastsrn_task_gan"}
    for entry in own:
        assert sorted(map(tuple, entry["detectors"])) == sorted(published.DETECTORS)
        assert entry["detectors"][0][0] != "yolo26n"


def test_what_was_trained_against_nobody_is_not_said_to_have_an_opponent(monkeypatch):
    recipe = {"content": {"l1": 1.0}, "adversarial": "", "discriminator": {}, "iterations": 10}
    record = {"preset": "default", "images_seen": 20, "seed": 0, "iterations": 10, "recipe": recipe}
    monkeypatch.setattr(page, "_record", {"a": record}.get)
    monkeypatch.setattr(registry, "runnable", lambda: ["a"])
    claim = claims.Claim("key", "says", "", (claims.Finding("a", "identity", "f1", 0.0),))
    assert page._budget([claim]).endswith("of 10 iterations 0 with L1 alone, 10 with its own losses.\n")
    recipe["adversarial"] = "bce"
    assert page._budget([claim]).endswith("its own losses, of these 10 against its discriminator.\n")


def test_a_claim_says_which_detector_was_in_the_loss(monkeypatch):
    records = {"a": {"recipe": {"detector": ["yolo26n", "her/yolo11n.pt"]}}, "b": {"recipe": {"detector": []}}}
    records["c"] = {"recipe": {}}
    monkeypatch.setattr(page, "_record", records.get)
    findings = (claims.Finding("a", "b", "f1", 0.0), claims.Finding("c", "identity", "f1", 0.0))
    claim = claims.Claim("key", "says", "", findings)
    assert page._in_the_loss(claim) == ["In the loss of a: yolo26n, yolo11n."]
    records["c"]["recipe"]["teacher"] = "elsewhere"  # which the claim is not about
    records["elsewhere"] = records["a"]
    monkeypatch.setattr(registry, "entries", lambda: {"elsewhere": None})
    assert page._in_the_loss(claim)[1:] == ["In the loss of c: yolo26n, yolo11n."]


def test_a_comparison_of_unequal_trainings_says_so(monkeypatch):
    claim = claims.Claim("key", "says", "source", (claims.Finding("a", "b", "psnr_db", 0.0),))
    seen = {"a": {"images_seen": 90_000}, "b": {"images_seen": 16_000}}
    monkeypatch.setattr(page, "_record", seen.get)
    (note,) = page._unequal(claim)
    assert "a 90,000, b 16,000" in note
    seen["b"] = seen["a"]
    assert not page._unequal(claim)
    seen["b"] = None
    assert not page._unequal(claim)


def test_of_grid_artefacts_less_is_better():
    values = np.full(12, 1.0), np.full(12, 3.0)
    ours, gain = claims._less(values, [str(i) for i in range(12)])
    assert ours == (1, 3)
    assert (gain.estimate, gain.low, gain.high) == (2, 2, 2)


def test_the_published_page_is_of_the_claims():
    text = (published.REPORTS / "claims.md").read_text("utf-8")
    for entry in claims._entries():
        assert f"## {entry['says']}" in text
