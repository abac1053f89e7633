"""The page's files: what is chosen for the gallery, what is written, and that nothing in it can break the page."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from detbench import match, runner, store
from detbench.data import datasets, images
from detbench.report import page
from detbench.report.style import OUTLINES
from detbench.types import Detections, FramePair, FrameScore, RunResult, RunSpec


def detections(rng, objects):
    x0, y0 = rng.uniform(0, 60, (2, objects))
    w, h = rng.uniform(8, 30, (2, objects))
    xyxy = np.stack([x0, y0, x0 + w, y0 + h], axis=1).astype(np.float32)
    return Detections(xyxy, np.sort(rng.uniform(0, 1, objects))[::-1].astype(np.float32), rng.integers(0, 2, objects))


def shaken(rng, seen):
    """Some of these boxes, moved a little."""
    keep = rng.random(len(seen)) < 0.7
    moved = seen.xyxy[keep] + rng.normal(0, 2, (keep.sum(), 4)).astype(np.float32)
    return Detections(moved, seen.score[keep], seen.label[keep])


@pytest.mark.parametrize("seed", range(30))
def test_what_is_drawn_is_what_is_counted(seed):
    rng = np.random.default_rng(seed)
    sharp = detections(rng, rng.integers(0, 12))
    blurred, restored = shaken(rng, sharp), shaken(rng, sharp)
    extra = detections(rng, 4)
    restored = Detections(*(np.concatenate([getattr(s, f) for s in (restored, extra)]) for f in vars(extra)))
    boxes = match.outcomes(restored, blurred, sharp, 0.5).boxes(restored, sharp)
    counts = match.score_frame(restored, blurred, sharp, 0.5)
    n = {name: sum(box.outcome == name for box in boxes) for name in OUTLINES}
    assert n["recovered"] == counts.recovered
    assert n["lost"] == counts.lost
    assert n["hallucinated"] + n["false"] == counts.fp
    assert n["found"] + n["recovered"] == counts.tp
    assert n["lost"] + n["missed"] == counts.fn
    assert n["hallucinated"] == counts.hallucinated
    assert [box.score is None for box in boxes] == [box.outcome in ("lost", "missed") for box in boxes]


def test_of_nothing_nothing_is_drawn():
    nothing = Detections.empty()
    assert match.outcomes(nothing, nothing, nothing, 0.5).boxes(nothing, nothing) == []


def run(tmp_path, name, changes):
    """A run of which only the (recovered, lost, hallucinated) of its frames count."""
    scores = [FrameScore(id, id, 0, 0, 0, *change, 30.0, 0.9, 1.0, 1.0) for id, change in changes.items()]
    return RunResult(RunSpec(name), {}, tuple(scores), tmp_path / name)


def test_frames_with_most_change_come_first(tmp_path):
    one = run(tmp_path, "one", {"a": (1, 0, 0), "b": (0, 0, 9), "c": (5, 5, 0), "d": (0, 3, 0), "e": (0, 0, 0)})
    assert page.most_changed([one]) == ["d", "a", "c", "b", "e"]
    two = run(tmp_path, "two", {"a": (0, 4, 0), "b": (0, 0, 0), "c": (0, 0, 0), "d": (1, 0, 0), "e": (0, 0, 0)})
    assert page.most_changed([one, two]) == ["a", "d", "c", "b", "e"]
    assert page.most_changed([]) == []


@pytest.fixture
def runs(pairs, bright_boxes, tmp_path):
    spec = RunSpec("unsharp", dataset=str(pairs), conf=0.55, device="cpu")
    return [runner.run(dataclasses.replace(spec, deblurer=name), tmp_path / "runs") for name in ("unsharp", "identity")]


@pytest.fixture
def make(runs, pairs, tmp_path):
    """Makes a gallery of these runs."""
    labels = {run.path: name for run, name in zip(runs, ("Unsharp", "unsharp"), strict=True)}
    return lambda **options: page.gallery(runs, labels, datasets.load(str(pairs)).pairs, tmp_path / "page", **options)


def test_a_gallery(make, runs, tmp_path):
    gallery = make()
    assert gallery.models == ["Unsharp", "unsharp"]  # differ in case alone: their files must not
    assert gallery.classes == ["box"]
    assert [frame["id"] for frame in gallery.frames] == page.most_changed(runs)
    assert [(view["model"], view["frame"]) for view in gallery.views] == [(m, f) for m in (0, 1) for f in range(6)]
    assert gallery.notes == []
    assert "all frames" in gallery.summary and "Counts" not in gallery.summary
    for view in gallery.views:
        frame, result = gallery.frames[view["frame"]], runs[view["model"]]
        (score,) = [s for s in result.scores if s.id == frame["id"]]
        assert frame["number"] == result.scores.index(score)
        outcomes = [list(OUTLINES)[box[5]] for box in view["boxes"]]
        assert outcomes.count("recovered") == score.recovered
        assert outcomes.count("lost") == score.lost
        assert outcomes.count("lost") + outcomes.count("missed") == score.fn
        assert view["psnr"] == round(score.psnr_db, 2)
        for file in (frame["blurred"], frame["sharp"], view["restored"]):
            assert images.image_size(tmp_path / "page" / file) == (48, 64)
    assert len({view["restored"] for view in gallery.views}) == 12
    assert any(view["boxes"] for view in gallery.views)
    assert len(list((tmp_path / "page" / "gallery").iterdir())) == 6 * 4


def test_boxes_are_in_percent_of_the_frame(make, runs):
    gallery = make()
    sharp = store.read_detections(runs[0].path)["sharp"]
    frame = gallery.frames[0]
    (view,) = [view for view in gallery.views if view["frame"] == 0 and view["model"] == 0]
    x0, y0, x1, y1 = sharp[frame["number"]].xyxy[0].tolist()
    expected = [x0 / 0.64, y0 / 0.48, (x1 - x0) / 0.64, (y1 - y0) / 0.48]
    assert any(box[:4] == pytest.approx(expected, abs=8) for box in view["boxes"])
    assert page._percent(np.array([320, 120, 640, 480], np.float32), (480, 640)) == [50, 25, 50, 75]


def test_few_frames_and_few_bytes(make, tmp_path):
    few = make(most=2)
    assert len(few.frames) == 2
    assert len(few.views) == 4
    assert "the 2 of 6 frames on which most changed" in few.summary
    assert "Counts here are of these alone, in the tables of all 6." in few.summary
    files = {path.name: path.stat().st_size for path in (tmp_path / "page" / "gallery").iterdir()}
    assert len(files) == 8
    smaller = make(budget=sum(files.values()) - 1)
    assert len(smaller.frames) == 1
    assert len(list((tmp_path / "page" / "gallery").iterdir())) == 4  # what the last page had is gone
    none = make(budget=0)
    assert (none.frames, none.views) == ([], [])
    assert "no frames" in none.summary


def test_many_runs_have_fewer_frames_of_each(make, monkeypatch):
    monkeypatch.setattr(page, "VIEWS", 6)
    assert len(make().frames) == 3


def test_a_run_without_restored_frames_says_so(make, runs):
    for path in (runs[1].path / "frames").iterdir():
        path.unlink()
    gallery = make()
    assert [view["restored"] is None for view in gallery.views] == [False] * 6 + [True] * 6
    assert gallery.notes == ["Without restored frames, which older runs did not keep: unsharp. Run again for them."]


def test_frames_that_the_dataset_lacks_are_left_out(runs, pairs, tmp_path):
    labels = {run.path: run.spec.deblurer for run in runs}
    some = datasets.load(str(pairs)).pairs[:2]
    assert {f["id"] for f in page.gallery(runs, labels, some, tmp_path / "a").frames} == {pair.id for pair in some}
    assert page.gallery(runs, labels, [], tmp_path / "b").views == []
    assert page.gallery([], {}, some, tmp_path / "c").views == []


def test_wide_pictures_shrink_and_odd_names_are_quoted(runs, pairs, tmp_path):
    result = runs[0]
    wide = np.zeros((100, 2000, 3), np.uint8)
    wide[:, 1000:] = 200
    images.write_image(tmp_path / "wide.png", wide)
    odd = "50 % #1"
    pair = FramePair(odd, tmp_path / "wide.png", tmp_path / "wide.png", odd)
    renamed = dataclasses.replace(result, scores=(dataclasses.replace(result.scores[0], id=odd), *result.scores[1:]))
    gallery = page.gallery([renamed], {result.path: "a"}, [pair], tmp_path / "page")
    assert gallery.frames[0]["sharp"] == "gallery/50%20%25%20%231--sharp.webp"
    small = images.read_image(tmp_path / "page" / "gallery" / f"{odd}--sharp.webp")
    assert small.shape == (48, 960, 3)
    assert abs(small[:, 700:].mean() - 200) < 3
    assert (gallery.frames[0]["width"], gallery.frames[0]["height"]) == (2000, 100)


SECTIONS = [
    page.Section("a", "A < B", ["1 & 2"], ["<table><tr><td>1</td></tr></table>"]),
    page.Section("b", "Plots", figures=[page.Figure("plots/a b.svg", 'says "so"', "A plot.")]),
]


def test_a_page(make, tmp_path):
    path = page.write(tmp_path / "page", "T & U", "Hello <you>.", SECTIONS, make())
    text = path.read_text("utf-8")
    assert path == tmp_path / "page" / "index.html"
    assert "<title>T &amp; U</title>" in text
    assert "Hello &lt;you&gt;." in text
    assert '<li><a href="#a">A &lt; B</a></li>' in text
    assert "<table><tr><td>1</td></tr></table>" in text  # tables are HTML
    assert '<img src="plots/a%20b.svg" alt="says &#34;so&#34;"' in text
    for outcome, outline in OUTLINES.items():  # as in all other figures
        assert f".{outcome} {{ --hue: {outline.colour};" in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.search(r"<(link|script)[^>]*(href|src)=\"(?!data:)", text)
    first = path.read_bytes()
    assert page.write(tmp_path / "page", "T & U", "Hello <you>.", SECTIONS, make()).read_bytes() == first


def test_a_page_without_frames_and_tables_has_no_script(tmp_path):
    for gallery in (None, page.Gallery([], [], [], [], 0)):
        text = page.write(tmp_path / "page", "T", "", [], gallery).read_text("utf-8")
        assert "<script" not in text
        assert ('id="gallery"' in text) == (gallery is not None)


def test_names_cannot_end_the_script(tmp_path):
    name = "</script><!-- & 'x'"
    frame = {"id": name, "number": 0, "width": 2, "height": 1, "blurred": "b", "sharp": "s"}
    view = {"frame": 0, "model": 0, "restored": None, "psnr": None, "boxes": []}
    gallery = page.Gallery([name], [name], [frame], [view], 1)
    text = page.write(tmp_path, "T", "", [], gallery).read_text("utf-8")
    assert text.count("</script>") == 2
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert json.loads(data)["models"] == [name]
    assert json.loads(data)["frames"][0]["id"] == name


def test_the_page_stays_small_with_twenty_runs():
    """24 frames of 20 runs would be 480 pictures; pictures take 11 MB at most, so the rest must stay below 4 MB."""
    boxes = [[12.34, 56.78, 12.34, 56.78, 10, 3, 0.55]] * 25
    views = [{"frame": 0, "model": 0, "restored": "gallery/" + "x" * 40, "psnr": 22.22, "boxes": boxes}] * page.VIEWS
    gallery = page.Gallery([], [], [], views, 75)
    assert page.BUDGET + len(page._json(gallery)) < 13_000_000
    assert sum(Path(page.__file__).with_name(name).stat().st_size for name in ("page.js", "sections.js")) < 20_000
