"""Comparisons: paired by frame, honest about chance and number, and refused where numbers do not compare."""

import dataclasses
import json
import math
import re
import statistics

import numpy as np
import pytest

from detbench import compare, stats, store
from detbench.compare import counts_by_threshold, leave_one_clip_out
from detbench.match import match
from detbench.types import DetbenchError, Detections, FrameScore, RunResult, RunSpec

FRAMES = 24
CLIPS = [f"clip{i // 2:02}" for i in range(FRAMES)]
SPEC = RunSpec(
    "identity", deblurer_hash="0" * 64, dataset_hash="d" * 64, detector_hash="e" * 64, device="cpu", dataset="street"
)


@pytest.fixture
def run(tmp_path):
    """Makes runs whose objects, six a frame, are found with a probability, at a PSNR and SSIM with some noise."""

    def make(deblurer="identity", found=0.5, psnr=25.0, ssim=0.8, draw=0, clips=CLIPS, **changes):
        common, own = np.random.default_rng(0), np.random.default_rng([draw, *deblurer.encode()])
        ease, rows = common.random((FRAMES, 6)), []
        for i, clip in enumerate(clips):
            tp = int((0.9 * ease[i] + 0.1 * own.random(6) < found).sum())
            noise = own.normal(0, 0.1)
            rows.append(
                FrameScore(f"f{i:02}", clip, tp, 1, 6 - tp, 0, 0, 0, psnr + noise, ssim + noise / 100, 5.0, 9.0)
            )
        spec = dataclasses.replace(SPEC, deblurer=deblurer, deblurer_hash=deblurer.ljust(64, "0"), **changes)
        signature = "street:dddddddd|p,r,f1:micro|psnr,ssim:rgb|detbench:1"
        path = tmp_path / f"street-{deblurer}-{spec.hash8}-{draw}"
        return RunResult(spec, {"signature": signature}, tuple(rows), path)

    return make


def counts(result):
    return np.array([[s.tp, s.fp, s.fn] for s in result.scores])


def measure(result, field):
    return np.array([[getattr(s, field), 1] for s in result.scores])


def found(comparison, model, metric):
    (difference,) = [d for d in comparison.differences if (d.model, d.metric) == (model, metric)]
    return difference


def test_each_difference_is_the_one_that_stats_gives_alone(run):
    floor, better, worse = run(), run("dc250", 0.6, 26), run("unsharp", 0.45, 24.8)
    comparison = compare.compare([floor, better, worse], resamples=300)
    assert [model.name for model in comparison.models] == ["blurred", "dc250", "unsharp"]
    for result in (better, worse):
        for metric, statistic in [("f1", stats.f1), ("recall", stats.recall), ("precision", stats.precision)]:
            alone = stats.bootstrap_difference(counts(result), counts(floor), statistic, CLIPS, 300)
            assert vars(found(comparison, result.spec.deblurer, metric).interval) == pytest.approx(vars(alone))
        for metric in ("psnr_db", "ssim"):
            alone = stats.bootstrap_difference(measure(result, metric), measure(floor, metric), stats.mean, CLIPS, 300)
            assert vars(found(comparison, result.spec.deblurer, metric).interval) == pytest.approx(vars(alone))
    for metric in compare.METRICS:
        both = [found(comparison, name, metric) for name in ("dc250", "unsharp")]
        assert [d.p_holm for d in both] == stats.holm([d.interval.p for d in both]).tolist()


def test_values_are_those_of_the_runs(run):
    results = [run(), run("dc250", 0.6, 26)]
    rows = compare.compare(results, resamples=100).rows()
    for row, result in zip(rows, [r for r in results for _ in compare.METRICS], strict=True):
        expected = {"f1": result.f1, "recall": result.recall, "precision": result.precision}
        expected |= {metric: result.mean(metric) for metric in ("psnr_db", "ssim")}
        assert row["value"] == pytest.approx(expected[row["metric"]])
    assert rows[0]["difference"] is None
    assert rows[5]["difference"] == pytest.approx(rows[5]["value"] - rows[0]["value"])
    assert rows[5]["reference_value"] == rows[0]["value"]
    json.dumps(rows, allow_nan=False)


def test_frames_are_paired_by_id_not_by_place(run):
    floor, other = run(), run("dc250", 0.6)
    turned = dataclasses.replace(other, scores=other.scores[::-1])
    straight = compare.compare([floor, other], resamples=200)
    assert straight.differences == compare.compare([floor, turned], resamples=200).differences
    assert straight.differences != compare.compare([floor, run("dc250", 0.6, draw=1)], resamples=200).differences


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"dataset_hash": "a" * 64, "dataset": "/data/mine"},
            r"dataset_hash \(dddddddd of street and aaaaaaaa of mine",
        ),
        (
            {"detector_hash": "b" * 64, "detector": "yolov8s"},
            r"detector_hash \(eeeeeeee of yolo26n and bbbbbbbb of yolo",
        ),
        ({"conf": 0.4}, r"conf \(0.25 and 0.4\)"),
        ({"nms_iou": 0.5}, r"nms_iou \(0.7 and 0.5\)"),
        ({"imgsz": 1280}, r"imgsz \(640 and 1280\)"),
        ({"match_iou": 0.75}, r"match_iou \(0.5 and 0.75\)"),
        ({"limit": 10}, r"limit \(None and 10\)"),
        ({"limit": 10, "conf": 0.4}, r"limit \(None and 10\); conf"),
    ],
)
def test_runs_that_do_not_compare_are_refused_by_name(run, change, named):
    other = run("unsharp", **change)
    with pytest.raises(DetbenchError, match=named) as refused:
        compare.compare([run(), run("dc250"), other])
    assert str(other.path) in str(refused.value)


def test_other_frames_and_other_conventions_are_refused(run):
    floor, other = run(), run("dc250")
    with pytest.raises(DetbenchError, match=r"frames \(24 and 23; in one only: f05\)"):
        compare.compare([floor, dataclasses.replace(other, scores=other.scores[:5] + other.scores[6:])])
    elsewhere = {"signature": floor.environment["signature"].replace("rgb", "luma").replace("detbench:1", "detbench:2")}
    with pytest.raises(DetbenchError, match=r"how scores are computed \(.*rgb and .*luma\)"):
        compare.compare([floor, dataclasses.replace(other, environment=elsewhere)])


def test_nothing_to_compare(run):
    with pytest.raises(DetbenchError, match="nothing to compare"):
        compare.compare([])
    for results in ([run()], [run(), run()]):  # the same run twice is one run
        comparison = compare.compare(results, resamples=100)
        assert comparison.sentences() == ["There is nothing to compare blurred with."]
        assert comparison.cells() == []


def test_runs_that_differ_in_their_seed_are_one_model(run):
    floor = run()
    seeds = [run("deblurgan_wild", 0.6, 26, draw=seed, seed=seed) for seed in range(3)]
    comparison = compare.compare([floor, *seeds], resamples=200)
    assert [len(model.runs) for model in comparison.models] == [1, 3]
    rows = {row["metric"]: row for row in comparison.rows() if row["model"] == "deblurgan_wild"}
    assert rows["f1"]["seed_mean"] == pytest.approx(statistics.mean(s.f1 for s in seeds))
    assert rows["f1"]["seed_deviation"] == pytest.approx(statistics.stdev(s.f1 for s in seeds))
    tp, fp, fn = sum(counts(s).sum(axis=0) for s in seeds)
    assert rows["f1"]["value"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert rows["psnr_db"]["seed_deviation"] == pytest.approx(statistics.stdev(s.mean("psnr_db") for s in seeds))
    averaged = np.mean([measure(s, "psnr_db") for s in seeds], axis=0)
    alone = stats.bootstrap_difference(averaged, measure(floor, "psnr_db"), stats.mean, CLIPS, 200)
    assert vars(found(comparison, "deblurgan_wild", "psnr_db").interval) == pytest.approx(vars(alone))
    assert any("deblurgan_wild over 3 seeds" in sentence for sentence in comparison.sentences())


def test_the_same_seed_again_is_another_model_with_its_path(run):
    floor, first, again = run(), run("dc250", 0.6), run("dc250", 0.6, draw=1)
    models = compare.compare([floor, first, again], resamples=100).models
    assert [model.name for model in models] == ["blurred", f"dc250 ({first.path})", f"dc250 ({again.path})"]


def test_what_is_shown_is_said_in_words(run):
    comparison = compare.compare([run(), run("dc250", 0.75, 27), run("unsharp", 0.5, 24)], resamples=500)
    said = comparison.sentences()
    assert any(s.startswith("dc250 finds more objects than blurred: recall +0.2") for s in said)
    assert any(s.startswith("dc250 lets the detector see better than blurred: F1 +0.") for s in said)
    assert any(s.startswith("dc250 is closer to the sharp frames than blurred: PSNR dB +") for s in said)
    assert any(s.startswith("unsharp is farther from the sharp frames than blurred: PSNR dB -1") for s in said)
    (unsure,) = [s for s in said if s.startswith("No difference could be shown between unsharp and blurred: F1")]
    assert "recall" in unsure
    assert "PSNR" not in unsure
    assert "12 clips" in said[-1]
    assert "Holm's correction for 2 models" in said[-1]
    assert "Holm" not in " ".join(compare.compare([run(), run("dc250", 0.75)], resamples=100).sentences())


def test_what_holm_takes_back_is_not_claimed(run):
    """One of many models that differ by chance alone looks better, until it is counted how many were tried."""
    floor, many = run(), [run(f"net{i}", draw=i) for i in range(12)]
    comparison = compare.compare([floor, *many], resamples=1000)
    lucky = [d for d in comparison.differences if d.interval.p < compare.LEVEL <= d.p_holm]
    assert lucky
    for difference in lucky:
        heading = compare.METRICS[difference.metric].heading
        (said,) = [s for s in comparison.sentences() if s.startswith(f"{heading} against blurred's: ")]
        assert difference.model in said.split("no difference shown: ")[1]


def test_of_many_models_it_is_said_metric_by_metric(run):
    good, bad, same, perfect = run("good", 0.75), run("bad", 0.2), run("same"), run("perfect", psnr=math.inf)
    said = compare.compare([run(), good, bad, same, perfect], resamples=500).sentences()
    assert len([s for s in said if "against blurred's" in s]) == len(compare.METRICS)
    recall, psnr = (next(s for s in said if s.startswith(heading)) for heading in ("recall", "PSNR dB"))
    assert re.fullmatch(
        r"recall against blurred's: higher: good \+0\.\d+ \[.*\]; lower: bad -0\.\d+ \[.*\];"
        r" no difference shown: same, perfect\.",
        recall,
    )
    assert psnr.endswith("; no comparison possible: perfect.")


@pytest.mark.parametrize("clips", [9, 1])
def test_few_clips_are_not_enough_data(run, clips):
    names = [f"{i % clips}" for i in range(FRAMES)]
    comparison = compare.compare([run(clips=names), run("dc250", 0.9, clips=names)])
    assert comparison.sentences()[0].startswith(f"Not enough data: {clips} clip")
    assert not any("finds more" in sentence for sentence in comparison.sentences())
    assert all(math.isnan(d.p_holm) for d in comparison.differences)
    assert all(row[6] == "no interval" for row in comparison.cells())
    json.dumps(comparison.rows(), allow_nan=False)


def test_an_infinite_psnr_is_said_so(run):
    perfect = run("perfect", psnr=math.inf)
    comparison = compare.compare([run(), perfect], resamples=100)
    assert any("cannot be compared in PSNR dB: it is infinite" in sentence for sentence in comparison.sentences())
    assert math.isfinite(found(comparison, "perfect", "ssim").p_holm)
    json.dumps(comparison.rows(), allow_nan=False)


def test_runs_on_sharp_and_on_blurred_frames_are_not_compared(run):
    with pytest.raises(DetbenchError, match=r"input \(blurred and sharp\)"):
        compare.compare([run(), run("dc250", input="sharp")])


def test_cells_fit_their_headings(run):
    comparison = compare.compare([run(), run("dc250", 0.6)], resamples=100)
    assert len(comparison.cells()) == len(compare.METRICS)
    for cells in comparison.cells():
        assert len(cells) == len(compare.HEADINGS)
        assert all(isinstance(cell, str) for cell in cells)


def test_one_large_clip_and_moved_objects_are_cautioned_about(run):
    clips = ["video"] * 10 + [f"photo{i}" for i in range(10, FRAMES)]
    floor, other = run(clips=clips), run("dc250", clips=clips)
    objects = [s.tp + s.fn for s in floor.scores]
    told = f"10 of 24 frames and {sum(objects[:10])} of {sum(objects)} objects are of one clip, video"
    assert any(told in sentence for sentence in compare.compare([floor, other]).sentences())
    moved = dataclasses.replace(other, scores=(dataclasses.replace(other.scores[0], fn=9), *other.scores[1:]))
    (caution,) = [s for s in compare.compare([floor, moved]).sentences() if "other objects in the sharp" in s]
    assert "dc250" in caution
    assert "1 frame)" in caution
    assert "Caution" not in " ".join(compare.compare([run(), run("dc250")]).sentences())


def test_a_clip_that_is_left_out_counts_nowhere(run):
    clips = ["video"] * 10 + [f"photo{i}" for i in range(10, FRAMES)]
    whole = [run(clips=clips), run("dc250", 0.6, 26, clips=clips)]
    short = [dataclasses.replace(result, scores=result.scores[10:]) for result in whole]
    without, never = compare.compare(whole, without=["video"]), compare.compare(short)
    assert without.differences == never.differences
    assert without.rows() == never.rows()
    assert without.clips == never.clips
    assert "Left out: 10 frames of video." in without.sentences()
    assert set(without.sentences()) - set(never.sentences()) == {"Left out: 10 frames of video."}
    with pytest.raises(DetbenchError, match="no clip vidoe to leave out: there are photo10, photo11.* \\.\\.\\."):
        compare.compare(whole, without=["vidoe"])
    with pytest.raises(DetbenchError, match="without all clips"):
        compare.compare([run(clips=["a"] * FRAMES)], without=["a"])


# --- thresholds ---------------------------------------------------------------------------------------------------


def crowd(rng, boxes, ties=False):
    """Boxes of two classes that overlap a lot, so that they compete for objects."""
    corner = rng.uniform(0, 40, (boxes, 2))
    xyxy = np.hstack([corner, corner + rng.uniform(15, 30, (boxes, 2))]).astype(np.float32)
    score = rng.choice([0.1, 0.3, 0.5, 0.7], boxes) if ties else rng.uniform(0.01, 1, boxes)
    score = np.sort(score)[::-1].astype(np.float32)
    return Detections(xyxy, score, rng.integers(0, 2, boxes))


@pytest.mark.parametrize("ties", [False, True])
def test_one_matching_serves_all_thresholds(ties):
    rng = np.random.default_rng(0)
    seen = [crowd(rng, rng.integers(0, 25), ties) for _ in range(60)]
    reference = [crowd(rng, rng.integers(0, 12)) for _ in range(60)]
    thresholds = np.array([0.0, 0.1, 0.25, 0.3, 0.5, 0.500001, 0.7, 0.99, 1.0])
    counted = counts_by_threshold(seen, reference, 0.4, thresholds)
    assert counted.shape == (60, 9, 3)
    again = np.zeros_like(counted)
    for frame, (found_, objects) in enumerate(zip(seen, reference, strict=True)):
        for t, threshold in enumerate(thresholds):
            kept = found_.above(threshold)
            tp = int((match(kept, objects, 0.4) >= 0).sum())
            again[frame, t] = tp, len(kept) - tp, len(objects) - tp
    assert (counted == again).all()
    assert counted[:, 0, 0].sum() > counted[:, 4, 0].sum() > 0


def naive_loco(seen, reference, clips, match_iou, thresholds):
    def total(threshold, frames):
        kept = [seen[i].above(threshold) for i in frames]
        tp = sum(int((match(k, reference[i], match_iou) >= 0).sum()) for k, i in zip(kept, frames, strict=True))
        return tp, sum(map(len, kept)) - tp, sum(len(reference[i]) for i in frames) - tp

    rows = []
    for i, clip in enumerate(clips):
        others = [j for j, other in enumerate(clips) if other != clip]
        rows.append(total(max(thresholds, key=lambda t: float(stats.f1(np.array(total(t, others), float)))), [i]))
    return rows


def test_loco_equals_the_naive_loop():
    rng = np.random.default_rng(1)
    seen = [crowd(rng, 12) for _ in range(14)]
    reference = [crowd(rng, 8) for _ in range(14)]
    clips = list("aabbbcdeefffgh")
    thresholds = np.arange(1, 20) / 20
    counted = leave_one_clip_out(seen, reference, clips, 0.3, thresholds)
    assert counted.tolist() == [list(row) for row in naive_loco(seen, reference, clips, 0.3, thresholds)]


def boxes(scores, left):
    xyxy = np.array([[x, 0, x + 10, 10] for x in left], np.float32).reshape(-1, 4)
    return Detections(xyxy, np.array(scores, np.float32), np.zeros(len(left), np.int64))


def test_a_clips_own_frames_have_no_say_in_its_threshold():
    """Clip b alone would want 0.1, where its object is; a and c are best off above their false detections at 0.4."""
    good = boxes([0.9, 0.4], [0, 50])
    seen = [good, boxes([0.1], [0]), good]
    reference = [boxes([1], [0])] * 3
    assert leave_one_clip_out(seen, reference, list("abc"), 0.5, np.array([0.1, 0.5])).tolist() == [
        [1, 1, 0],
        [0, 0, 1],
        [1, 1, 0],
    ]


def test_loco_of_nothing_and_of_one_clip():
    empty = [Detections.empty()] * 3
    assert leave_one_clip_out(empty, empty, list("abc"), 0.5).tolist() == [[0, 0, 0]] * 3
    with pytest.raises(DetbenchError, match="only one"):
        leave_one_clip_out(empty, empty, list("aaa"), 0.5)


def test_comparing_with_loco_reads_the_runs_detections(run, tmp_path):
    rng = np.random.default_rng(0)
    reference, written = [crowd(rng, 6) for _ in range(FRAMES)], []
    for name in ("identity", "dc250"):
        result = run(name)
        result.path.mkdir()
        seen = {"sharp": reference, "blurred": reference, "restored": [crowd(rng, 9) for _ in range(FRAMES)]}
        seen["sharp"] = [Detections(r.xyxy, np.ones_like(r.score), r.label) for r in reference]
        sizes = [(80, 80)] * FRAMES
        store.finish(result.path, result.spec, result.environment, list(result.scores), seen, {0: "a", 1: "b"}, sizes)
        written.append(store.read(result.path))
    comparison = compare.compare(written, threshold="leave-one-clip-out", resamples=100)
    detections = store.read_detections(written[1].path)
    expected = leave_one_clip_out(detections["restored"], detections["sharp"], CLIPS, 0.5)
    assert (comparison.models[1].values[0, :, :3] == expected).all()
    assert (comparison.models[1].values[0, :, 3] == [s.psnr_db for s in written[1].scores]).all()
    assert {row["threshold"] for row in comparison.rows()} == {"leave-one-clip-out"}
