"""Where the sharp frames show no object, F1 was 1.000 for everything."""

import numpy as np
import pytest

from detbench import benchmarks
from detbench.data import images
from detbench.types import DetbenchError, RunSpec


def test_it_is_said_in_place_of_a_score(tmp_path, bright_boxes):
    for side in ("sharp", "blur"):
        images.write_image(tmp_path / "data" / side / "a.png", np.full((48, 64, 3), 40, np.uint8))
    with pytest.raises(DetbenchError, match="nothing to be found"):
        benchmarks.benchmark(
            RunSpec("unsharp", dataset=str(tmp_path / "data"), conf=0.5, device="cpu"), tmp_path / "runs"
        )
