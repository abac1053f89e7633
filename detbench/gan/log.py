"""What a training tells people: on the terminal, in ``log.csv``, in sample pictures, in TensorBoard if installed."""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from detbench.data.images import write_image
from detbench.files import replacing
from detbench.gan.sources import Photo


class Log:
    """The training's log: the terminal, ``log.csv``, sample pictures, and TensorBoard where it is installed."""

    COLUMNS = (
        "iteration",
        "seconds",
        "d_loss",
        "g_loss",
        "content",
        "features",
        "classes",
        "boxes",
        "teacher",
        "psnr_train",
        "psnr_validation",
        "task_validation",
        "f1_validation",
        "f1_sharp",
        "learning_rate",
        "waiting",
    )

    def __init__(self, out: Path, iteration: int, seconds: float = 0.0) -> None:
        self.out, self.start = out, (iteration, seconds)
        self.path = out / "log.csv"
        kept: list[Mapping[str, Any]] = []
        if iteration and self.path.exists():
            with self.path.open(encoding="utf-8", newline="") as file:
                # What came after the checkpoint will be done again.
                kept = [row for row in csv.DictReader(file) if int(row["iteration"]) <= iteration]
        with replacing(self.path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.COLUMNS)
            writer.writeheader()
            writer.writerows(kept)
        self.board = None
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(out / "tensorboard"), purge_step=iteration)

    def write(self, iteration: int, iterations: int, seconds: float, row: Mapping[str, float]) -> None:
        """Add one line everywhere."""
        values = {key: f"{value:.6g}" for key, value in row.items()}
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, self.COLUMNS).writerow({"iteration": iteration, "seconds": f"{seconds:.0f}", **values})
        if self.board:
            for key, value in row.items():
                self.board.add_scalar(key, value, iteration)
        shown = "  ".join(f"{key} {value:.4g}" for key, value in row.items())
        rate = (iteration - self.start[0]) / max(seconds - self.start[1], 1e-9)
        pace = f"{rate:.2f} iterations/s, {(iterations - iteration) / max(rate, 1e-9) / 60:.0f} min to the recipe's end"
        print(f"{iteration}/{iterations}  {shown}  {pace}", file=sys.stderr, flush=True)

    def sample(self, iteration: int, validation: list[tuple[Photo, Photo]], restored: list[Photo]) -> None:
        """Write ``samples/ITERATION.png``: up to six rows of blurred | restored | sharp, spread over the set."""
        if not validation:
            return
        picked = np.linspace(0, len(validation) - 1, min(6, len(validation))).astype(int)
        rows = [np.hstack([validation[i][0], restored[i], validation[i][1]]) for i in picked]
        write_image(self.out / "samples" / f"{iteration:07d}.png", np.vstack(rows))
