"""WebP takes sides of 16,383 pixels and JPEG of 65,500: longer ones ended a run after all of its work."""

import numpy as np
import pytest
from conftest import scene

from detbench import figure, runner, store
from detbench.data import images
from detbench.types import DetbenchError, RunSpec

WIDE = np.zeros((16, 16_400, 3), np.uint8)


@pytest.mark.parametrize(("suffix", "width"), [(".jpg", 65_501), (".webp", 16_384)])
def test_too_large_is_said(tmp_path, suffix, width):
    with pytest.raises(DetbenchError, match=rf"{width}x16 is too large for (JPEG|WEBP) .* Name it \.png"):
        images.write_image(tmp_path / f"a{suffix}", np.zeros((16, width, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_a_preview_falls_back(tmp_path):
    path = store.preview(tmp_path, "frame", WIDE.shape[:2])
    images.write_image(path, WIDE)
    assert path.name == "frame.png"
    assert store.preview(tmp_path, "frame") == path
    assert store.preview(tmp_path, "other").name == "other.webp"


@pytest.mark.slow("runs on wide frames")
def test_a_run_on_wide_frames(tmp_path, bright_boxes):
    for side in ("sharp", "blur"):
        frame = WIDE.copy()
        frame[:, 200:264] = scene(3, height=16)
        images.write_image(tmp_path / "data" / side / "a.png", frame)
    result = runner.run(RunSpec("unsharp", dataset=str(tmp_path / "data"), conf=0.5, device="cpu"), tmp_path / "runs")
    assert store.preview(result.path, "a").name == "a.png"
    assert dict(figure.panels(result, ["a"]))["a"][1].shape == WIDE.shape
