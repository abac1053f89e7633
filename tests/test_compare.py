"""Comparisons: paired by frame, honest about chance and number, and refused where numbers do not compare."""

import dataclasses
import json
import statistics

import numpy as np
import pytest
from conftest import CLIPS, FRAMES, crowd

from detbench import compare, stats, store
from detbench.counts import Counts
from detbench.metrics import compared
from detbench.report.conclusions import cells, sentences
from detbench.thresholds import leave_one_clip_out
from detbench.types import DetbenchError, Detections


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
        for metric in ("f1", "recall", "precision"):
            alone = stats.bootstrap_difference(
                counts(result), counts(floor), lambda sums, of=metric: getattr(Counts.of(sums), of), CLIPS, 300
            )
            assert vars(found(comparison, result.spec.deblurer, metric).interval) == pytest.approx(vars(alone))
        for metric in ("psnr_db", "ssim"):
            alone = stats.bootstrap_difference(measure(result, metric), measure(floor, metric), stats.mean, CLIPS, 300)
            assert vars(found(comparison, result.spec.deblurer, metric).interval) == pytest.approx(vars(alone))
    for metric in compared():
        both = [found(comparison, name, metric) for name in ("dc250", "unsharp")]
        assert [d.p_holm for d in both] == stats.holm([d.interval.p for d in both]).tolist()


def test_values_are_those_of_the_runs(run):
    results = [run(), run("dc250", 0.6, 26)]
    rows = compare.compare(results, resamples=100).rows()
    for row, result in zip(rows, [r for r in results for _ in compared()], strict=True):
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
        compare.compare([floor := run(), run("dc250"), other])
    assert f"{other.path} cannot be compared with {floor.path}: they differ in" in str(refused.value)


def test_messages_name_five_and_say_that_there_are_more(run):
    clips = [f"c{i % 5}" for i in range(FRAMES)]
    floor, other = run(clips=clips), run("dc250", clips=clips)
    for missing, shown in ((5, "f00, f01, f02, f03, f04)"), (6, "f00, f01, f02, f03, f04 ...)")):
        fewer = dataclasses.replace(other, scores=other.scores[missing:])
        with pytest.raises(DetbenchError) as refused:
            compare.compare([floor, fewer])
        assert f"in one only: {shown}" in str(refused.value)
    with pytest.raises(DetbenchError, match=r"there are c0, c1, c2, c3, c4\.$"):
        compare.compare([floor, other], without=["c9"])


def test_other_frames_and_other_conventions_are_refused(run):
    floor, other = run(), run("dc250")
    with pytest.raises(DetbenchError, match=r"frames \(24 and 23; in one only: f05\)"):
        compare.compare([floor, dataclasses.replace(other, scores=other.scores[:5] + other.scores[6:])])
    elsewhere = floor.environment | {"conventions": "p,r,f1:micro|psnr,ssim:luma", "detbench": "2"}
    with pytest.raises(DetbenchError, match=r"how scores are computed \(.*rgb and .*luma\)"):
        compare.compare([floor, dataclasses.replace(other, environment=elsewhere)])


def test_nothing_to_compare(run):
    with pytest.raises(DetbenchError, match="nothing to compare"):
        compare.compare([])
    for results in ([run()], [run(), run()]):  # the same run twice is one run
        comparison = compare.compare(results, resamples=100)
        assert sentences(comparison) == ["There is nothing to compare blurred with."]
        assert cells(comparison) == []


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
    assert any("deblurgan_wild over 3 seeds" in sentence for sentence in sentences(comparison))


def test_the_same_seed_again_is_another_model_with_its_path(run):
    floor, first, again = run(), run("dc250", 0.6), run("dc250", 0.6, draw=1)
    models = compare.compare([floor, first, again], resamples=100).models
    assert [model.name for model in models] == ["blurred", f"dc250 ({first.path})", f"dc250 ({again.path})"]


def test_runs_on_sharp_and_on_blurred_frames_are_not_compared(run):
    with pytest.raises(DetbenchError, match=r"input \(blurred and sharp\)"):
        compare.compare([run(), run("dc250", input="sharp")])


def test_a_clip_that_is_left_out_counts_nowhere(run):
    clips = ["video"] * 10 + [f"photo{i}" for i in range(10, FRAMES)]
    whole = [run(clips=clips), run("dc250", 0.6, 26, clips=clips)]
    short = [dataclasses.replace(result, scores=result.scores[10:]) for result in whole]
    without, never = compare.compare(whole, without=["video"]), compare.compare(short)
    assert without.differences == never.differences
    assert without.rows() == never.rows()
    assert without.clips == never.clips
    assert "Left out: 10 frames of video." in sentences(without)
    assert set(sentences(without)) - set(sentences(never)) == {"Left out: 10 frames of video."}
    with pytest.raises(DetbenchError, match="no clip vidoe to leave out: there are photo10, photo11.* \\.\\.\\."):
        compare.compare(whole, without=["vidoe"])
    with pytest.raises(DetbenchError, match="without all clips"):
        compare.compare([run(clips=["a"] * FRAMES)], without=["a"])


def test_comparing_with_loco_reads_the_runs_detections(run, tmp_path):
    rng = np.random.default_rng(0)
    reference, written = [crowd(rng, 6) for _ in range(FRAMES)], []
    for name in ("identity", "dc250"):
        result = run(name)
        result.path.mkdir()
        sure = [Detections(r.xyxy, np.ones_like(r.score), r.label) for r in reference]
        frames = zip(result.scores, sure, reference, strict=True)
        rows = [store.row(score, (80, 80), sharp, blurred, crowd(rng, 9)) for score, sharp, blurred in frames]
        store.finish(result.path, result.spec, result.environment, rows, {0: "a", 1: "b"})
        written.append(store.read(result.path))
    comparison = compare.compare(written, threshold="leave-one-clip-out", resamples=100)
    detections = store.read_detections(written[1].path)
    expected = leave_one_clip_out(detections["restored"], detections["sharp"], CLIPS, 0.5)
    frames = comparison.models[1].frames
    assert (frames.counts.columns()[0] == expected.columns()).all()
    assert (frames["psnr_db"][0] == [s.psnr_db for s in written[1].scores]).all()
    assert {row["threshold"] for row in comparison.rows()} == {"leave-one-clip-out"}
