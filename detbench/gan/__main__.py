"""``python -m detbench.gan NAME``: train from a source tree with torch, numpy, Pillow and Fabric alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from detbench import registry
from detbench.gan.schedule import seconds
from detbench.gan.train import train

parser = argparse.ArgumentParser(
    prog="python -m detbench.gan", description="Train a deblurrer: `detbench train`, bare."
)
parser.add_argument("name")
parser.add_argument("--data", type=Path, action="append", help="a folder or a pack; repeat for several")
parser.add_argument("--validation", type=Path, action="append", help="likewise")
parser.add_argument("--steps", type=int, dest="iterations")
parser.add_argument("--preset")
parser.add_argument("--out", type=Path)
parser.add_argument("--every", type=int, default=1000)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--device", default="auto")
parser.add_argument("--budget", type=seconds, default=float("inf"))

if __name__ == "__main__":
    options = vars(parser.parse_args())
    name = options.pop("name")
    out = options.pop("out") or Path("reports/training") / name
    print(train(name, registry.get(name), out, **options))
