"""The command line: ``app`` with all its commands, one module for each kind of them."""

from detbench.cli import run, best, bench, list, judge, train, data, cache  # isort: skip  (the order of --help)
from detbench.cli._app import app

__all__ = ["app", "bench", "best", "cache", "data", "judge", "list", "run", "train"]
