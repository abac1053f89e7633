"""Results of a dataset given by a relative path could not be looked at from another folder."""

from detbench import figure, runner, store
from detbench.types import RunSpec


def test_results_know_where_their_frames_are(pairs, tmp_path, bright_boxes, monkeypatch):
    monkeypatch.chdir(pairs.parent)
    result = runner.run(RunSpec("unsharp", dataset=pairs.name, conf=0.55, device="cpu"), tmp_path / "runs")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    figure.write(store.read(result.path), tmp_path / "made.png")
    assert (tmp_path / "made.png").stat().st_size > 1000
