"""``python -m detbench.gan NAME``: train from a source tree with torch, numpy, Pillow and Fabric alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from detbench import registry
from detbench.gan.schedule import train_all
from detbench.gan.train import train
from detbench.parse import seconds
from detbench.types import DetbenchError

TRAININGS = Path("reports/training")

parser = argparse.ArgumentParser(prog="python -m detbench.gan", description="Train a deblurer: `detbench train`, bare.")
what = parser.add_mutually_exclusive_group(required=True)
what.add_argument("name", nargs="?")
what.add_argument("--all", action="store_true", dest="everything", help="all that have a recipe, one after the other")
parser.add_argument("--data", type=Path, action="append", help="a folder or a pack; repeat for several")
parser.add_argument("--validation", type=Path, action="append", help="likewise")
parser.add_argument("--from", type=Path, dest="weights")
parser.add_argument("--steps", type=int, dest="iterations")
parser.add_argument("--preset")
parser.add_argument("--out", type=Path)
parser.add_argument("--every", type=int, default=1000)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--device", default="auto")
parser.add_argument("--budget", type=seconds, default=float("inf"))


def main() -> None:
    """Parse and train."""
    options = vars(parser.parse_args())
    name, everything, budget = (options.pop(key) for key in ("name", "everything", "budget"))
    out = options.pop("out")
    if everything:
        specs = {name: registry.get(name) for name in registry.entries()}
        left = train_all(specs, out or TRAININGS, budget, **options)
        print(f"not finished: {', '.join(left)}" if left else "all are finished")
    else:
        print(train(name, registry.get(name), out or TRAININGS / name, budget=budget, **options))


if __name__ == "__main__":
    try:
        main()
    except DetbenchError as error:
        sys.exit(f"detbench.gan: {error}")
