"""detbench: does a deblurer help a detector see?

>>> result = detbench.run(detbench.RunSpec("dc250"))  # doctest: +SKIP
>>> result.to_pandas().sort_values("psnr_db")  # doctest: +SKIP
>>> detbench.run(detbench.RunSpec("mine"), deblurer=net)  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

from detbench.types import DeblurerSpec, DetbenchError, DetectorSpec, Preset, RunResult, RunSpec

if TYPE_CHECKING:
    from detbench.benchmarks import benchmark
    from detbench.runner import run

__version__ = "0.1.0"
__all__ = [
    "DeblurerSpec",
    "DetbenchError",
    "DetectorSpec",
    "Preset",
    "RunResult",
    "RunSpec",
    "__version__",
    "benchmark",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import the loop when it is first wanted: `detbench --help` must not wait for it."""
    if name in (rooms := {"benchmark": "benchmarks", "run": "runner"}):
        import importlib

        return getattr(importlib.import_module(f"detbench.{rooms[name]}"), name)
    raise AttributeError(f"module 'detbench' has no attribute {name!r}")
