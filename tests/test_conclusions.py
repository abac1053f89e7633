"""What a comparison says in words: what was shown, what was not, and what to keep in mind."""

import dataclasses
import json
import math
import re

import pytest
from conftest import FRAMES

from detbench import compare
from detbench.metrics import compared
from detbench.report.conclusions import HEADINGS, MANY, cells, sentences


def test_what_is_shown_is_said_in_words(run):
    comparison = compare.compare([run(), run("dc250", 0.75, 27), run("unsharp", 0.5, 24)], resamples=500)
    said = sentences(comparison)
    assert any(s.startswith("dc250 finds more objects than blurred: recall +0.2") for s in said)
    assert any(s.startswith("dc250 lets the detector see better than blurred: F1 +0.") for s in said)
    assert any(s.startswith("dc250 is closer to the sharp frames than blurred: PSNR dB +") for s in said)
    assert any(s.startswith("unsharp is farther from the sharp frames than blurred: PSNR dB -1") for s in said)
    (unsure,) = [s for s in said if s.startswith("Not known whether unsharp and blurred differ: F1")]
    assert "recall" in unsure
    assert "PSNR" not in unsure
    assert "12 clips" in said[-1]
    assert "Holm's correction for 2 models" in said[-1]
    assert "Holm" not in " ".join(sentences(compare.compare([run(), run("dc250", 0.75)], resamples=100)))


def test_what_holm_takes_back_is_not_claimed(run):
    """One of many models that differ by chance alone looks better, until it is counted how many were tried."""
    floor, many = run(), [run(f"net{i}", draw=i) for i in range(12)]
    comparison = compare.compare([floor, *many], resamples=1000)
    lucky = [d for d in comparison.differences if d.interval.p < compare.LEVEL <= d.p_holm]
    assert lucky
    for difference in lucky:
        heading = compared()[difference.metric].heading
        (said,) = [s for s in sentences(comparison) if s.startswith(f"{heading} against blurred's: ")]
        assert difference.model in said.split("not known: ")[1]


def test_of_many_models_it_is_said_metric_by_metric(run):
    good, bad, same, perfect = run("good", 0.75), run("bad", 0.2), run("same"), run("perfect", psnr=math.inf)
    said = sentences(compare.compare([run(), good, bad, same, perfect], resamples=500))
    assert len([s for s in said if "against blurred's" in s]) == len(compared())
    recall, psnr = (next(s for s in said if s.startswith(heading)) for heading in ("recall", "PSNR dB"))
    assert re.fullmatch(
        r"recall against blurred's: higher: good \+0\.\d+ \[.*\]; lower: bad -0\.\d+ \[.*\];"
        r" not known: same, perfect\.",
        recall,
    )
    assert psnr.endswith("; no comparison possible: perfect.")


def test_many_that_are_not_sure_are_counted(run):
    floor = run()
    names = [f"same{i}" for i in range(MANY + 1)]
    alike = [
        dataclasses.replace(floor, path=floor.path.with_name(name), spec=dataclasses.replace(floor.spec, deblurer=name))
        for name in names
    ]
    said = sentences(compare.compare([floor, run("good", 0.75), *alike], resamples=2000))
    assert any(s.startswith("recall") and s.endswith(f"; not known: the other {MANY + 1}.") for s in said)
    said = sentences(compare.compare([floor, *alike], resamples=500))
    assert f"recall against blurred's: not known: all {MANY + 1}." in said


@pytest.mark.parametrize("clips", [9, 1])
def test_few_clips_are_not_enough_data(run, clips):
    names = [f"{i % clips}" for i in range(FRAMES)]
    comparison = compare.compare([run(clips=names), run("dc250", 0.9, clips=names)])
    assert sentences(comparison)[0].startswith(f"Not enough data: {clips} clip")
    assert not any("finds more" in sentence for sentence in sentences(comparison))
    assert all(math.isnan(d.p_holm) for d in comparison.differences)
    assert all(row[6] == "no interval" for row in cells(comparison))
    json.dumps(comparison.rows(), allow_nan=False)


def test_an_infinite_psnr_is_said_so(run):
    perfect = run("perfect", psnr=math.inf)
    comparison = compare.compare([run(), perfect], resamples=100)
    assert any("cannot be compared in PSNR dB: it is infinite" in sentence for sentence in sentences(comparison))
    (ssim,) = [difference for difference in comparison.differences if difference.metric == "ssim"]
    assert math.isfinite(ssim.p_holm)
    json.dumps(comparison.rows(), allow_nan=False)


def test_cells_fit_their_headings(run):
    comparison = compare.compare([run(), run("dc250", 0.6)], resamples=100)
    assert len(cells(comparison)) == len(compared())
    for row in cells(comparison):
        assert len(row) == len(HEADINGS)
        assert all(isinstance(cell, str) for cell in row)


def test_frames_that_are_not_aligned_are_cautioned_about(run):
    floor = run()
    assert not any("Caution" in line for line in sentences(compare.compare([floor, run("dc250")])))
    floor.environment["shift_px"] = 1.7
    (caution,) = [line for line in sentences(compare.compare([floor, run("dc250")])) if "Caution" in line]
    assert "lie 1.7 px from the sharp ones" in caution


def test_one_large_clip_and_moved_objects_are_cautioned_about(run):
    clips = ["video"] * 10 + [f"photo{i}" for i in range(10, FRAMES)]
    floor, other = run(clips=clips), run("dc250", clips=clips)
    objects = [s.tp + s.fn for s in floor.scores]
    told = f"10 of 24 frames and {sum(objects[:10])} of {sum(objects)} objects are of one clip, video"
    assert any(told in sentence for sentence in sentences(compare.compare([floor, other])))
    moved = dataclasses.replace(other, scores=(dataclasses.replace(other.scores[0], fn=9), *other.scores[1:]))
    (caution,) = [s for s in sentences(compare.compare([floor, moved])) if "other objects in the sharp" in s]
    assert "dc250" in caution
    assert "1 frame)" in caution
    assert "Caution" not in " ".join(sentences(compare.compare([run(), run("dc250")])))
