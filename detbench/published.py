"""What is published, and whether it is of what is here: of these deblurers, weights, frames and detectors."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from detbench import registry
from detbench.data.cards import cards
from detbench.files import write_file
from detbench.report.collect import Group
from detbench.types import RunSpec

REPORTS = Path(__file__).parent.parent / "reports"
"""The published state, in a checkout."""

DATASET = RunSpec.dataset
"""What the deblurers are published on."""

DETECTORS = (
    *(("yolo26n", 640), ("yolo11n", 640), ("yolo26m", 640), ("yolo26n", 416), ("yolo26n", 320)),
    *(("yolox_nano", 416), ("nanodet_m", 416)),
)
"""Detectors, each with its ``imgsz``, with which the deblurers are published; the first is the leaderboard's."""

MARK = " (older weights)"
"""What a row is marked with that was made with older weights than those that are here."""


def shipped() -> list[str]:
    """Names of the deblurers of this repository that run as they are; other packages' are for them to publish."""
    known = registry.entries()
    return [name for name in registry.runnable() if known[name].module.startswith("deblurers.")]


def state(groups: Sequence[Group]) -> dict[str, Any]:
    """What the published numbers were made from: what :func:`stale` and :func:`waiting` compare with what is here.

    Args:
        groups: one a detector and ``imgsz``; the first one's deblurers.
    """
    specs = [group.floor.spec for group in groups]
    known = registry.entries()
    deblurers = {run.spec.deblurer: run.spec.deblurer_hash for run in groups[0].models}
    return {
        "dataset": {"name": specs[0].dataset, "hash": specs[0].dataset_hash},
        "detectors": [{"name": spec.detector, "imgsz": spec.imgsz, "hash": spec.detector_hash} for spec in specs],
        "deblurers": deblurers,
        "sources": {name: known[name].source for name in deblurers},
    }


def stale(reports: Path) -> list[str]:
    """What has changed under the published numbers, in words: a release and the test suite want none of it.

    Looks at the sources of the deblurers and at the dataset's card; imports and fetches nothing. New weights, and what
    is not published yet, are :func:`waiting`.
    """
    published, known, here = recorded(reports), registry.entries(), shipped()
    sources = published["sources"]
    reasons = [f"{name} is published, and does not run any more" for name in sources if name not in here]
    reasons += [f"{name} has changed" for name in here if name in sources and known[name].source != sources[name]]
    dataset = published["dataset"]
    if cards()[dataset["name"]].identity != dataset["hash"]:
        reasons.append(f"the dataset {dataset['name']} has changed")
    return reasons


def waiting(reports: Path) -> list[str]:
    """What waits for the next :func:`publish`, in words: a release wants none of it."""
    published = recorded(reports)
    reasons = [f"{name} has newer weights than its row" for name in older(reports)]
    if (name := published["dataset"]["name"]) != DATASET:
        reasons.append(f"the leaderboard is of {name}, and not of {DATASET}")
    reasons += [f"{name} is not published" for name in shipped() if name not in published["deblurers"]]
    seen = [(detector["name"], detector["imgsz"]) for detector in published["detectors"]]
    missing = [each for each in DETECTORS if each not in seen]
    reasons += [f"the detector {name} at {imgsz} pixels is not published" for name, imgsz in missing]
    return reasons


def older(reports: Path) -> list[str]:
    """The deblurers whose published numbers are of older weights than those that are here."""
    published, known = recorded(reports), registry.entries()
    return [
        name
        for name in shipped()
        if published["sources"].get(name) == known[name].source
        and published["deblurers"][name] != registry.fingerprint(name)
    ]


def mark(root: Path) -> list[Path]:
    """Mark the rows of leaderboard and README that are older than their weights, and no others.

    Args:
        root: of the checkout.

    Returns:
        The files that this changed.
    """
    names, changed = older(root / "reports"), []
    for path in (root / "reports" / "leaderboard.md", root / "README.md"):
        text = path.read_text("utf-8")
        if (new := marked(text, names)) != text:
            write_file(path, new)
            changed.append(path)
    return changed


def marked(text: str, names: Collection[str]) -> str:
    """Markdown whose tables' rows of these names bear :data:`MARK`, and no other rows."""

    def cell(found: re.Match[str]) -> str:
        name = found[1] + (MARK if found[1] in names else "")
        return f"| {name:<{len(found[0]) - len('|  |')}} |"

    return re.sub(rf"^\| (\w+)(?:{re.escape(MARK)})? *\|", cell, text, flags=re.M)


def recorded(reports: Path) -> dict[str, Any]:
    """What :func:`state` was when the numbers were made."""
    published: dict[str, Any] = json.loads((reports / "published.json").read_text("utf-8"))
    return published
