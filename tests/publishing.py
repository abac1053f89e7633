"""A checkout to publish in moments: one deblurer, twelve small frames, detectors that stand in for YOLO."""

import hashlib
from functools import partial

import numpy as np
from conftest import BrightBoxes, stand_in

from detbench import detectors, publish, published
from detbench.features import Distances
from detbench.report import findings
from detbench.types import RunSpec


def checkout(root):
    """A folder with what ``publish`` writes into."""
    (root / "detbench").mkdir(parents=True)
    (root / "reports").mkdir()
    (root / "reports" / findings.PROSE).write_text(
        "`unsharp`: {{ gain('unsharp') }} of F1{{ so(surely('unsharp')) }}.\n"
    )
    (root / "README.md").write_text(f"{publish.START} {publish.END}\n")
    return root


def miniature(data, monkeypatch):
    """Let ``publish`` run no more than that."""
    by_name = stand_in(BrightBoxes, lambda name: hashlib.sha256(name.encode()).hexdigest())
    monkeypatch.setattr(detectors, "resolve", by_name)
    monkeypatch.setattr(publish, "RunSpec", partial(RunSpec, dataset=str(data), conf=0.7))
    monkeypatch.setattr(published, "shipped", lambda: ["unsharp"])
    monkeypatch.setattr(publish, "DRAWN", "unsharp")
    monkeypatch.setattr(publish.claims, "write", lambda *_: [])
    apart = Distances(np.ones(12), {"unsharp": np.full(12, 0.8)}, [str(i) for i in range(12)])
    monkeypatch.setattr(publish.features, "measure", lambda group: apart)
