"""The page of findings: its blanks are filled from runs, and what it says in words follows the numbers."""

from types import SimpleNamespace

import pytest
from conftest import boxes

from detbench import compare, published, retrained, stats
from detbench.claims import Claim, Finding
from detbench.report import findings
from detbench.report.collect import Group
from detbench.report.findings import UNTRUE, Findings
from detbench.signature import Signature
from detbench.swap import Pair
from detbench.types import DetbenchError


@pytest.fixture
def found(run):
    """One deblurer that helps and one that does not, with two detectors, with noise, and on sharp frames."""

    def group(good, other, **changes):
        models = (run("good", good, 27.0, **changes), run("other", other, 26.0, draw=1, **changes))
        ceiling = run("jpeg95", 0.98, input="sharp", **changes)
        harm = (run("good", 0.9, input="sharp", **changes),)
        return Group(run("identity", 0.4, 24.0, **changes), models, ceiling, harm=harm)

    groups = [group(0.8, 0.41), group(0.42, 0.4, detector="yolo11n", detector_hash="2" * 64)]
    claims = [
        Claim(
            "better", "It is.", "a paper", (Finding("good", "identity", "f1", 0.0, gain=stats.Interval(0.2, 0.1, 0.3)),)
        ),
        Claim("ours", "It is, too.", "", (Finding("good", "other", "f1", 0.0),)),
    ]
    pairs = [Pair("good", "other", {"a": stats.Interval(0.2, 0.1, 0.3)}, {"a": 0.01})]
    weighed = SimpleNamespace(
        rows=[SimpleNamespace(name="as it is"), SimpleNamespace(name="bigger: yolo26m")],
        severity=("light", "strong"),
        gain=lambda row, frames: stats.Interval(0.1 * frames.sum(), 0.05, 0.3),
    )
    families = {"good": "DeblurGAN", "other": "pix2pix"}
    return Findings(groups, group(0.5, 0.4, noise=0.01), pairs, weighed, claims, families)


def test_blanks_are_filled(found):
    blanks = "value('good')", "gain('good')", "gap('good')", "names(judged('helps'))", "claim('better')"
    filled = findings.page("; ".join(f"{{{{ {blank} }}}}" for blank in blanks), found).split("; ")
    floor, good, ceiling = (
        each.f1 for each in (found.groups[0].floor, found.groups[0].models[0], found.groups[0].ceiling)
    )
    compared = compare.compare([found.groups[0].floor, found.groups[0].models[0]])
    (gain,) = [each.interval for each in compared.differences if each.metric == "f1"]
    gap = f"{(good - floor) / (ceiling - floor):.0%}".replace("%", " %")
    assert filled == [f"{good:.3f}", gain.format("{:.3f}"), gap, "`good`", "holds"]


def test_each_detector_noise_and_sharp_frames_have_their_own_runs(found):
    one, other = found.groups
    assert found.value("good", before="yolo11n 640") == f"{other.models[0].f1:.3f}"
    assert found.value("good", noise=True) == f"{found.noisy.models[0].f1:.3f}"
    assert found.value("good", sharp=True) == f"{one.harm[0].f1:.3f}"
    assert found.difference("good", sharp=True).estimate == pytest.approx(one.harm[0].f1 - one.ceiling.f1)
    assert found.value("good", "psnr_db") == f"{one.models[0].mean('psnr_db'):.2f}"
    assert found.helped("good") == ["yolo26n 640"]
    assert found.everywhere() == []
    assert found.above("psnr_db") == ["good", "other"]


def test_severities_are_of_the_blurred_frames(found):
    floor = found.groups[0].floor.scores
    least = {s.id for s in sorted(floor, key=lambda s: -s.psnr_db)[: len(floor) // 3]}
    of_least = [s for s in found.groups[0].models[0].scores if s.id in least]
    tp, fp, fn = (sum(getattr(s, field) for s in of_least) for field in ("tp", "fp", "fn"))
    assert found.value("good", severity="light") == f"{2 * tp / (2 * tp + fp + fn):.3f}"


def test_sizes_are_of_the_objects(found, monkeypatch):
    """A small object that is found, and a large one that is not."""
    sharp = [boxes((0, 0, 20, 20), (100, 100, 300, 300))]
    seen = {"sharp": sharp, "restored": [boxes((0, 0, 20, 20))]}
    monkeypatch.setattr(findings.store, "read_detections", lambda path: seen)
    sizes = found.of_sizes("good")
    assert (sizes["small"], sizes["large"]) == (1.0, 0.0)


def test_confidences_are_held_against_what_is_sure(found, monkeypatch):
    """With the first detector `good` helps for sure, with the other nothing does."""
    scores = {"identity": 0.5, "good": 0.6}
    for more, expected in ((0.6, (1, 1)), (0.4, (0, 1))):
        scores["good"] = more
        monkeypatch.setattr(
            findings.store,
            "read_detections",
            lambda path: {"restored": [boxes((0, 0, 9, 9), score=[scores[path.name.split("-")[1]]])]},
        )
        assert found.surer() == expected


def test_what_is_said_in_words_follows_the_numbers(found):
    prose = "Good helps{{ so(surely('good') == 'above') }}. Other harms{{ so(surely('other') == 'below') }}."
    assert findings.page(prose, found) == f"Good helps. Other harms{UNTRUE}."
    assert found.surely("identity", "good") == "below"
    assert found.surely("other") == ""


def test_trainings_again_are_asked_for_by_detector(found, monkeypatch):
    def again(name, seed, f1, group):
        signature = retrained.timeless(str(Signature.of(group.floor)))
        return retrained.Score(name, seed, "start", 10, "0" * 8, signature, (20.0, 0.5, f1, 0.5, 0.5, 0.0))

    one, other = found.groups
    scores = [again("good", 0, 0.5, one), again("good", 1, 0.7, one), again("other", 0, 0.4, one)]
    scores += [again("good", 0, 0.9, other), again("other", 0, 0.4, other)]
    monkeypatch.setattr(retrained, "scores", lambda: tuple(scores))
    assert found.over_trainings("good", "other").estimate == pytest.approx(0.1)
    assert found.over_trainings("good", "other", before="yolo11n 640").estimate == pytest.approx(0.5)
    assert found.spread() == pytest.approx((0.2**2 / 2) ** 0.5)
    with pytest.raises(DetbenchError, match="No training of good stands beside one of nobody"):
        found.over_trainings("good", "nobody")


def test_lists_counts_and_the_rest(found):
    assert found.names(["a", "b", "c"]) == "`a`, `b` and `c`"
    assert found.names([]) == "none"
    assert found.of("pix2pix") == ["other"]
    assert (found.claims(), found.claims(published=False)) == ("holds: 1", "not tested: 1")
    assert found.carried("carries over") == 1
    assert found.instead("bigger", "strong").startswith("+0.100 [")
    assert (found.frames, found.clips, found.deblurers) == (24, 12, ["good", "other"])
    assert found.objects == 144


@pytest.mark.parametrize(
    ("prose", "says"),
    [
        ("{{ value('nobody') }}", "no run of nobody here"),
        ("{{ value('other', sharp=True) }}", "no run of other on sharp frames here"),
        ("{{ value('good', before='eye 1') }}", "no detector eye 1: there are yolo26n 640, yolo11n 640"),
        ("{{ claim('nothing') }}", "no claim nothing"),
        ("{{ instead('nothing') }}", "no alternative nothing"),
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{% if %}", "cannot be written"),
    ],
)
def test_what_is_not_there_is_refused(found, prose, says):
    with pytest.raises(DetbenchError, match=says):
        findings.page(prose, found)


def test_the_published_page_says_nothing_that_its_numbers_do_not_bear_out():
    """If this fails, write reports/findings.jinja anew where it says so, and `detbench publish --from-results`."""
    text = (published.REPORTS / "findings.md").read_text("utf-8")
    assert UNTRUE.strip() not in text
    assert (published.REPORTS / findings.PROSE).is_file()
    assert "{{" not in text
