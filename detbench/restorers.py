"""The deblurer that a run names, ready for frames: what stands for it, what computes it, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detbench import environment, external, quality, registry, restored
from detbench.data import datasets
from detbench.types import DetbenchError, RunSpec, canonical_hash
from detbench.weights import count_parameters, read_record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from detbench.backends import Restore
    from detbench.custom import Custom

PROVED = 3
"""Frames that backends are tried on."""


class OnlyBlurred:
    """Restores the frames that measure blurred, and leaves the others as they are.

    Args:
        restore: (H, W, 3) uint8 RGB frames of one size to the same.
        above: frames whose :func:`detbench.quality.blurriness` is above this are restored.

    Attributes:
        left: how many frames were left as they are.
    """

    def __init__(self, restore: Restore, above: float = quality.BLURRED) -> None:
        self.left = 0
        self._restore, self._above = restore, above

    def __call__(self, frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """The frames, restored or not."""
        made = [self._restore([f])[0] if quality.blurriness(f) > self._above else f for f in frames]
        self.left += sum(new is old for new, old in zip(made, frames, strict=True))
        return made


def restorer(spec: RunSpec, own: Custom | None = None) -> Restore:
    """The spec's deblurer, ready for frames; a backend that is ``auto`` is chosen by the first that it restores.

    Args:
        spec: which deblurer, how it is computed, and whether frames that measure sharp are left alone.
        own: the deblurer, where it was handed over and is in no registry.

    Raises:
        DetbenchError: an unknown name, weights that are missing or do not fit, or an unknown device.
    """
    restore = _of_every_frame(spec, own)
    return OnlyBlurred(restore) if spec.only_blurred else restore


def _of_every_frame(spec: RunSpec, own: Custom | None = None) -> Restore:
    """The same, whether a frame measures sharp or not."""
    from detbench.convert import bare
    from detbench.restore import Restorer

    if own:
        return own.restorer(spec)
    if "auto" in (spec.backend, spec.precision):
        return _chosen_by_frames(spec)
    deblurer = loaded(spec)
    return Restorer(
        bare(deblurer.build().eval()),  # normalising weights for every frame takes time, and counters of FLOP cannot
        multiple_of=deblurer.preset.multiple_of,
        value_range=deblurer.spec.value_range,
        device=environment.device(spec.device),
        precision=spec.precision,
        backend=spec.backend,
        key="" if spec.backend == "torch" else fingerprint(spec),
    )


def _chosen_by_frames(spec: RunSpec) -> Restore:
    spec = replace(spec, deblurer_hash=fingerprint(spec), device=environment.device(spec.device))
    made: list[Restore] = []

    def restore(frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        if not made:
            made.append(_of_every_frame(settled(spec, lambda: frames[:PROVED])))
        return made[0](frames)

    return restore


def settled(spec: RunSpec, frames: Callable[[], Sequence[NDArray[np.uint8]]], own: Custom | None = None) -> RunSpec:
    """A spec with the backend and the precision that ``auto`` stands for.

    Args:
        spec: whose deblurer's hash and device are known.
        frames: a few to try backends on.
        own: as for :func:`restorer`.
    """
    if "auto" not in (spec.backend, spec.precision):
        return spec
    if spec.deblurer.startswith((restored.PREFIX, "onnx:")):  # nothing is left to be chosen
        return replace(spec, backend="torch", precision="fp32")
    from detbench import backends

    def make(backend: str, precision: str) -> Restore:
        return _of_every_frame(replace(spec, backend=backend, precision=precision), own)

    backend, precision = backends.choose(
        spec.deblurer,
        make,
        frames(),
        backend=spec.backend,
        precision=spec.precision,
        device=spec.device,
        key=spec.deblurer_hash if own is None or own.known else "",
    )
    return replace(spec, backend=backend, precision=precision)


def loaded(spec: RunSpec) -> registry.Deblurer:
    """The deblurer that a spec names."""
    deblurer = registry.load(spec.deblurer, Path(spec.weights) if spec.weights else None)
    if spec.value_range is None:
        return deblurer
    if not spec.deblurer.startswith(external.PREFIXES):
        raise DetbenchError(f"{spec.deblurer} knows its range of values: leave out --value-range.")
    return replace(deblurer, spec=replace(deblurer.spec, value_range=spec.value_range))


def check(spec: RunSpec) -> None:
    """Find out whether a spec's deblurer can run.

    Raises:
        DetbenchError: it is unknown, or lacks weights, or frames.
    """
    if spec.deblurer.startswith(restored.PREFIX):
        if spec.weights:
            raise DetbenchError(f"{spec.deblurer} needs no weights: leave out --weights.")
        restored.RestoredFrames(spec.deblurer, datasets.frames(spec))
    else:
        loaded(spec)


def fingerprint(spec: RunSpec) -> str:
    """What stands for weights, code and range of values: frames that are kept are known by the deblurer alone."""
    found = registry.fingerprint(spec.deblurer, Path(spec.weights) if spec.weights else None)
    return canonical_hash([found, spec.value_range]) if spec.value_range else found


def identity(spec: RunSpec) -> str:
    """What computes a spec's deblurer, with its version."""
    from detbench import backends

    return backends.identity(spec.backend)


def training(spec: RunSpec) -> dict[str, Any]:
    """The training record of the deblurer's weights, with how many values they have; these alone of published ones."""
    deblurer = loaded(spec)
    if deblurer.weights:
        return read_record(deblurer.weights) | {"parameters": count_parameters(deblurer.weights)}
    return {"parameters": deblurer.parameters} if deblurer.spec.assets else {}
