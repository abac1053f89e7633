"""Run directories: whole or recognisably not, and readable by others."""

import errno
import json
import math

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detbench import store
from detbench.journal import Journal
from detbench.types import DetbenchError, Detections, FrameScore, RunSpec


def boxes(*left):
    xyxy = np.array([[x, 0, x + 10, 10] for x in left], np.float32).reshape(-1, 4)
    return Detections(xyxy, np.linspace(0.9, 0.5, len(left), dtype=np.float32), np.zeros(len(left), np.int64))


SCORES = [
    FrameScore("a", "clip", 1, 0, 1, 1, 0, 0, math.inf, 1.0, 1.5, 2.5),
    FrameScore("b", "clip", 0, 1, 0, 0, 0, 1, 30.123456789012345, 0.1, 1 / 3, 2.0),
]


@pytest.fixture
def written(tmp_path):
    seen = ([boxes(0, 20), boxes()], [boxes(), boxes()], [boxes(0), boxes(40)])
    path = tmp_path / "run"
    path.mkdir()
    rows = [store.row(score, (32, 64), *its) for score, its in zip(SCORES, zip(*seen, strict=True), strict=True)]
    store.finish(path, RunSpec("identity"), {"cpu": "x"}, rows, {0: "car"})
    return path


def test_what_was_written_is_read_to_the_last_digit(written):
    result = store.read(written)
    assert list(result.scores) == SCORES
    assert result.spec == RunSpec("identity")
    assert (result.total("tp"), result.total("fp"), result.total("fn")) == (1, 1, 1)
    assert result.f1 == pytest.approx(0.5)
    assert list(result.to_pandas()["id"]) == ["a", "b"]


def test_pycocotools_scores_the_detections(written):
    truth = COCO(str(written / "detections-sharp.json"))
    judged = COCOeval(truth, truth.loadRes(str(written / "detections-restored.json")), "bbox")
    judged.evaluate()
    matched = [m for image in judged.evalImgs if image and image["aRng"] == [0, 1e10] for m in image["dtMatches"][0]]
    assert sorted(m > 0 for m in matched) == [False, True]
    assert truth.loadCats([0])[0]["name"] == "car"


def test_a_run_without_its_manifest_is_unfinished(written):
    (written / "manifest.json").unlink()
    assert not store.is_complete(written)
    with pytest.raises(DetbenchError, match=r"manifest\.json is missing"):
        store.read(written)


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("frames.csv", lambda text: text.replace("30.123", "thirty"), r"frames\.csv, line 3 is damaged"),
        ("frames.csv", lambda text: text[: text.rindex("b,")], r"frames\.csv has 1 frames in place of 2"),
        ("manifest.json", lambda text: text[:40], r"manifest\.json is damaged"),
        ("manifest.json", lambda text: text.replace('"schema": 2', '"schema": 99'), r"schema 99.*reads 2"),
    ],
)
def test_damage_is_named(written, file, damage, message):
    (written / file).write_text(damage((written / file).read_text()))
    with pytest.raises(DetbenchError, match=message):
        store.read(written)


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_journal_drops_the_line_that_a_kill_cut_short(tmp_path, cut):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.add("a", {"x": 0.1})
        journal.add("b", {"x": math.inf})
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Journal(path) as journal:
        assert journal == {"a": {"x": 0.1}}
        journal.add("b", {"x": math.inf})
        assert journal == {"a": {"x": 0.1}, "b": {"x": math.inf}}
    assert path.read_bytes() == whole


def test_a_journal_takes_the_rows_of_another_as_they_are(tmp_path):
    with Journal(tmp_path / "a.jsonl") as one, Journal(tmp_path / "b.jsonl") as other:
        one.add("a", {"x": 0.1})
        other.add("a", {"x": 2})
        other.add("b", {"x": math.inf})
        one.take(other)
        assert one == {"a": {"x": 0.1}, "b": {"x": math.inf}}
        assert list(one) == ["a", "b"]
    with Journal(tmp_path / "a.jsonl") as again:
        assert again == {"a": {"x": 0.1}, "b": {"x": math.inf}}


def test_two_processes_add_to_one_journal(tmp_path):
    with Journal(tmp_path / "j.jsonl") as one, Journal(tmp_path / "j.jsonl") as other:
        for i in range(40):  # lines longer and shorter than a buffer
            one.add(f"a{i}", {"x": ["o" * i] * 700})
            other.add(f"b{i}", {"x": ["t" * (40 - i)] * 700})
        for i in range(40):
            assert one[f"a{i}"] == {"x": ["o" * i] * 700}
            assert other[f"b{i}"] == {"x": ["t" * (40 - i)] * 700}
    with Journal(tmp_path / "j.jsonl") as both:
        assert len(both) == 80


class Full:
    """A file on a full disk."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_so(tmp_path, monkeypatch):
    with Journal(tmp_path / "journal.jsonl") as journal:
        monkeypatch.setattr(journal, "_file", Full())
        with pytest.raises(DetbenchError, match=r"disk is full.*journal\.jsonl.*run again"):
            journal.add("a", {})
        assert journal == {}
        monkeypatch.undo()


def test_detections_survive_json_exactly():
    seen = Detections(np.array([[0.1, 1 / 3, 7.7, 9]], np.float32), np.array([0.3], np.float32), np.array([5]))
    again = store.detections_from_json(json.loads(json.dumps(store.detections_to_json(seen))))
    for field in ("xyxy", "score", "label"):
        assert getattr(again, field).tobytes() == getattr(seen, field).tobytes()
    assert store.detections_from_json(store.detections_to_json(Detections.empty())).xyxy.shape == (0, 4)
