"""Trainings again: a recipe's own part, what it scores, and what a claim makes of it."""

import dataclasses

import numpy as np
import pytest
from training import RECIPE, small_spec, tensors

from detbench import claims, quality, registry, retrained, stats
from detbench.gan import retrain
from detbench.gan.step import stage
from detbench.gan.training import learning_rate
from detbench.report import claims as page
from detbench.report.retrained import tables
from detbench.retrained import Score
from detbench.types import RunSpec
from detbench.weights import read_record

SHARED = dataclasses.replace(RECIPE, l1_until=0.5, adversarial_from=0.75, decay_from=0.25, iterations=8)


def written(monkeypatch, *scores):
    monkeypatch.setattr(retrained, "scores", lambda: scores)


def score(name, seed, psnr, signature="street:0|yolo26n:1"):
    return Score(name, seed, "start", 10, "0" * 8, signature, (psnr, 0.5, 0.25, 0.5, 0.75, 1.0))


@pytest.mark.parametrize("name", [*retrain.studies()["dark-channel"].recipes, *retrain.studies()["deblurgan"].recipes])
def test_the_own_part_goes_on_where_the_shared_one_ends(name):
    spec = registry.get(name)
    recipe = spec.presets[spec.preset].recipe
    own, shared = retrain.own_part(recipe, "dc0"), recipe.shared_iterations
    assert own.iterations == recipe.iterations - shared > 0
    for done in range(1, own.iterations + 1):
        now, then = stage(own, done), stage(recipe, shared + done)
        assert (now.adversarial, now.content) == (then.adversarial, then.content)
        assert learning_rate(own, done) == pytest.approx(learning_rate(recipe, shared + done), abs=1e-12)


@pytest.mark.parametrize("changes", [{"schedule": "cosine"}, {"decay_from": 0.75}])
def test_a_rate_that_another_part_cannot_follow_is_refused(changes):
    with pytest.raises(ValueError, match="along a line"):
        retrain.own_part(dataclasses.replace(SHARED, **changes), "dc0")


def test_trainings_again_differ_by_their_seed_and_are_scored_with_and_without_noise(
    folder, pairs, tmp_path, bright_boxes, monkeypatch
):
    from detbench.gan.train import train

    start = train("small", small_spec(), tmp_path / "start", data=[folder / "photos"], iterations=2, device="cpu")
    monkeypatch.setattr(quality, "grid_db", lambda restored, sharp: 1.25)  # of larger frames than these
    spec = small_spec(SHARED)
    monkeypatch.setattr(registry, "get", lambda name: spec)
    study = retrain.Study(str(start), retrain.own_parts(str(start), "dc250"), [{}, {"noise": 0.001}])
    where = {"data": [folder / "photos"], "validation": folder / "photos", "out": tmp_path / "again", "seeds": 2}
    base = RunSpec("identity", dataset=str(pairs), conf=0.55, device="cpu")
    found = list(retrain.retrain(study, **where, base=base))
    assert [(each.seed, "noise" in each.signature) for each in found] == [(s, n) for s in (0, 1) for n in (False, True)]
    assert {each.iterations for each in found} == {4}
    first, other = (tmp_path / "again" / f"dc250-{seed}" / "last.safetensors" for seed in (0, 1))
    assert read_record(first)["recipe"]["init_from"] == str(start)
    assert any((a != b).any() for a, b in zip(tensors(first).values(), tensors(other).values(), strict=True))
    assert {each.values[-1] for each in found} == {1.25}
    assert found[0].weights == found[1].weights != found[2].weights
    assert found[0].values[0] > found[1].values[0]  # noise costs decibels
    before = first.stat().st_mtime_ns
    assert list(retrain.retrain(study, **where, base=base)) == found
    assert first.stat().st_mtime_ns == before


def test_the_file_is_read_as_it_was_written(tmp_path, monkeypatch):
    found = [score("a", 0, 20.125, "p,r,f1:micro|x"), score("b", 1, 21.0)]
    (tmp_path / retrained.FILE).write_text(retrained.written(found), "utf-8")
    monkeypatch.setattr(retrained, "files", lambda package: tmp_path)
    retrained.scores.cache_clear()
    assert retrained.scores() == tuple(found)
    retrained.scores.cache_clear()


def test_differences_are_of_one_seed_on_the_same_frames(monkeypatch):
    written(
        monkeypatch,
        *(score("a", seed, 20.0 + seed) for seed in (0, 1, 2)),
        *(score("b", seed, 19.5) for seed in (1, 0)),
        score("b", 2, 10.0, "elsewhere"),
    )
    assert retrained.differences("a", "b", "psnr_db", "street:0|yolo26n:1|detbench:9.9") == (0.5, 1.5)
    assert retrained.differences("a", "b", "psnr_db", "street:0|yolo26n:1|detbench:9.9|without:x") == ()
    assert retrained.differences("a", "b", "ms", "street:0|yolo26n:1") == ()
    assert retrained.differences("a", "c", "psnr_db", "street:0|yolo26n:1") == ()
    written(monkeypatch, score("a", 0, 20.0), dataclasses.replace(score("b", 0, 19.5), start="other"))
    assert retrained.differences("a", "b", "psnr_db", "street:0|yolo26n:1") == ()


def test_the_spread_is_that_of_one_recipe_s_trainings():
    found = [score("a", seed, 20.0 + seed) for seed in (0, 1, 2)] + [score("b", 0, 30.0), score("b", 1, 31.0)]
    assert retrained.spread(found, "psnr_db") == pytest.approx(((2 * 1.0 + 0.5) / 3) ** 0.5)
    assert retrained.spread([*found, score("c", 0, 99.0)], "psnr_db") == retrained.spread(found, "psnr_db")
    assert np.isnan(retrained.spread(found[:1], "psnr_db"))


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ((), "holds"),
        ((0.2, 0.21, 0.22), "holds"),
        ((0.2, 0.1, -0.3), "undecided at this budget"),
        ((-0.2, -0.21, -0.22), "undecided at this budget"),
        ((0.2,), "undecided at this budget"),
    ],
)
def test_a_verdict_that_another_training_may_turn_round_is_none(differences, verdict):
    gain = stats.Interval(0.2, 0.1, 0.3, 0.01)
    assert claims.Finding("a", "b", "psnr_db", 0.0, gain=gain, retrained=differences).verdict == verdict


def test_a_claim_says_what_was_trained_again(monkeypatch):
    written(monkeypatch, score("a", 0, 20.0), score("a", 1, 20.0), score("b", 0, 20.0), score("c", 0, 20.0))
    gain = stats.Interval(0.2, 0.1, 0.3, 0.01)
    bare = claims.Finding("a", "b", "psnr_db", 0.0, ours=(20.0, 19.8), gain=gain)
    again = dataclasses.replace(bare, retrained=(0.1, 0.2, 0.3))
    assert page._retrained(claims.Claim("key", "says", "source", (bare,))) == []
    claim = claims.Claim("key", "says", "source", (again, dataclasses.replace(bare, measure="ssim")))
    (note,) = page._retrained(claim)
    assert "3 of each recipe" in note
    assert "a 10 from start's weights of that day on, b 10 from start's weights of that day on (" in note
    table = page._table(claim)
    assert [column.heading for column in table.columns][-2:] == ["over trainings", "verdict"]
    assert table.parts[0].rows[0][-2] == "+0.20 [-0.05, +0.45]"  # 0.2 ∓ 4.303 * 0.1 / sqrt(3)
    assert table.parts[0].rows[1][-2] is None


@pytest.mark.parametrize(("study", "name"), [("terms", "fastsrn_task"), ("dc250-terms", "dc250_task")])
def test_the_terms_differ_from_the_recipe_in_nothing_else(study, name):
    found = retrain.studies()[study].recipes
    whole = found[f"{name}, all terms"][1]
    for label, changes in retrain.TERMS[name].items():
        its, recipe = found[f"{name}, {label}"]
        changed = {key for key, value in vars(recipe).items() if value != vars(whole)[key]}
        assert (its, changed) == (name, changes.keys())
    assert whole.init_from == retrain.studies()[study].start


def test_tables_have_the_mean_and_the_range_of_seeds():
    signature = "street:01234567|noise:0.001|yolo26n:89abcdef|imgsz:640|conf:0.25"
    found = [score("a", seed, 20.0 + seed, signature) for seed in (0, 1, 2)] + [score("b", 0, 19.5, signature)]
    (table,) = tables(found)
    assert table.title == "From start's weights on"
    (part,) = table.parts
    assert part.heading == "yolo26n at 640 pixels, with noise of variance 0.001"
    assert part.rows[0][:4] == ("a", "3", "10", "21.00 (20.00 to 22.00)")
    assert part.rows[1][:4] == ("b", "1", "10", "19.50")


def test_what_was_trained_again_are_todays_recipes():
    known = {study.start: study.recipes for study in retrain.studies().values()}
    for each in retrained.scores():
        wanted = known[each.start][each.recipe][1].iterations
        if each.start == "dc0":  # whose rows are of its first recipe, and reports/findings.md says so
            wanted = 2_700
        assert each.iterations == wanted
