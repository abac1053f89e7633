"""Each metric is described once: a new entry is found by tables, pages, comparisons and the gate."""

import numpy as np
import pytest
from conftest import CLIPS, FRAMES

from detbench import check, compare, store, table
from detbench.lineup import Lineup
from detbench.metrics import FIELDS, METRICS, OTHERS, Metric, Sums, compared, metric
from detbench.report import document
from detbench.report.collect import Group
from detbench.report.conclusions import sentences
from detbench.types import Detections


def test_a_new_metric_is_found_everywhere(run, tmp_path, monkeypatch):
    missed = Metric(
        "missed",
        "{:.1%}",
        "lower",
        lambda sums: 1 - sums.counts.recall,
        min_effect=0.01,
        more="misses more",
        less="misses less",
    )
    monkeypatch.setitem(METRICS, "missed", missed)
    floor, better, ceiling = run(), run("dc250", 0.75, 26), run("jpeg95", 0.95, 40, input="sharp")
    share = floor.counts.fn / floor.counts.objects

    row = table.rows(Lineup(floor, (better,), ceiling))[0]
    assert row["missed"] == pytest.approx(share)
    assert f"{share:.1%}" in table.cells(row, table.chosen("all"))
    page = document.Report(Group(floor, (better,), ceiling), tmp_path / "page").leaderboard()
    assert '<th scope="col">missed</th>' in page.tables[0]
    assert f"<td>{share:.1%}</td>" in page.tables[0]
    comparison = compare.compare([floor, better], resamples=200)
    assert {row["metric"] for row in comparison.rows()} == {*compared(), "missed"}
    assert any(sentence.startswith("dc250 misses less than blurred: missed -") for sentence in sentences(comparison))
    for result in (floor, better):
        result.path.mkdir()
        rows = [store.row(score, (9, 9), *[Detections.empty()] * 3) for score in result.scores]
        store.finish(result.path, result.spec, result.environment, rows, {})
    outcomes = {outcome.metric: outcome for outcome in check.judge(floor, better).outcomes}
    assert (outcomes["missed"].heading, outcomes["missed"].baseline) == ("missed", pytest.approx(share))
    assert outcomes["recall"].word == outcomes["missed"].word == "improved"
    worse = {outcome.metric: outcome for outcome in check.judge(better, floor).failures}
    assert {"recall", "missed"} <= set(worse)
    assert worse["missed"].gain.estimate == pytest.approx(worse["recall"].gain.estimate)


def test_f1_leads_what_is_compared():
    least = {"f1": 0.01, "precision": 0.01, "recall": 0.01, "psnr_db": 0.05, "ssim": 0.002}
    assert {key: of.min_effect for key, of in compared().items()} == least
    assert list(compared()) == list(least)


def test_the_publications_count_seconds_a_frame(run):
    whole = Sums.of(run().scores).total()
    assert metric("seconds").of(whole) == pytest.approx(5.0 / 1e3)


def test_every_metric_is_described_in_full():
    for key, of in (METRICS | OTHERS).items():
        assert of == metric(key)
        assert of.form.format(1)
        assert of.heading.startswith(of.name)
    for of in compared().values():
        assert of.function and of.more and of.less


def test_sums_have_names(run):
    scores = run().scores
    frames = Sums.of(scores)
    assert frames.values.shape == (FRAMES, len(FIELDS))
    assert frames["tp"].tolist() == [score.tp for score in scores]
    total = frames.total()
    assert total["frames"] == FRAMES == len(CLIPS)
    assert total.mean("psnr_db") == np.mean([score.psnr_db for score in scores])
    assert total.counts.objects == 6 * FRAMES
    other = frames.replaced(ssim=np.ones(FRAMES))
    assert other["ssim"].sum() == FRAMES
    assert (other["psnr_db"] == frames["psnr_db"]).all()
    assert np.isnan(Sums.of(()).total().mean("ssim"))


def test_what_sums_do_not_tell_is_refused():
    with pytest.raises(ValueError, match="gap closed"):
        METRICS["gap_closed"].of(Sums.of(()))
    with pytest.raises(KeyError):
        metric("no such metric")
