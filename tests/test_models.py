"""Model cards: what a training's record says is told, and a docstring is Markdown."""

import numpy as np

from detbench import registry
from detbench.report import models
from detbench.weights import read_record

RECORD = {
    "images_seen": 90_000,
    "iterations": 45_000,
    "wall_seconds": 7200.0,
    "seed": 3,
    "environment": {"cores": 2, "threads": 1, "cpu": "Abacus", "gpu": None},
    "init": {"from": "dc250", "sha256": "0"},
    "recipe": {"detector": ["yolo26n"], "iterations": 8000, "real_pairs": 0.0},
    "data": [{"folder": "photos", "files": 2036}],
    "changes": [{"iteration": 2500, "recipe_was": {"iterations": 12_000}}],
}


def test_a_training_is_told():
    assert models._training(RECORD) == [
        "- 90,000 crops in 45,000 iterations, 2.0 hours (Abacus, 1 thread, no GPU), seed 3.",
        "- It starts from the weights of `dc250`.",
        "- In its loss: yolo26n.",
        "- Files that it was given, by folder ([what is in them](../../reports/training)): 2,036 of photos."
        " It drew from the photographs alone.",
        "- The recipe was changed at iteration 2,500: iterations from 12000 to 8000.",
    ]
    assert models._training({}) == ["It was not trained here."]
    assert ", 5 minutes (" in models._training({**RECORD, "wall_seconds": 294})[0]


def test_a_course_is_told_by_its_last_quarter():
    curve = np.array([(100, 24.0), (200, 25.0), (300, 25.5), (400, 25.25)])
    (line,) = models._course("psnr_db", curve, 400)
    assert line == "- Over the last quarter of its iterations its validation went from 25.50 to 25.25 (PSNR dB)."
    assert models._course("psnr_db", curve[:1], 100) == models._course("psnr_db", curve[:0], 100) == []
    assert models._course("psnr_db", curve, 300)[0].endswith("(PSNR dB). The weights are of iteration 300.")


def test_every_deblurers_docstring_and_record_can_be_told():
    for entry in registry.entries().values():
        (about,) = models._described(entry.doc)
        assert about[:1].isupper() or about[:1].isdigit() or about[:1] == "`", entry.name
        assert ":mod:" not in about and "``" not in about
        if entry.weights.exists():
            assert " crops in " in models._training(read_record(entry.weights))[0]
            assert any(line.startswith("| licence |") for line in models._facts(entry, read_record(entry.weights)))
