"""Deblurrers by name: the files of ``deblurers/`` and the entry points of other packages; no second list anywhere."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detbench.types import DeblurerSpec, DetbenchError, Preset, canonical_hash
from detbench.weights import file_hash, load_weights, read_record

if TYPE_CHECKING:
    from torch import nn

GROUP = "detbench.deblurers"
"""Entry-point group through which other packages offer deblurrers: NAME = "package.module"."""


@dataclass(frozen=True)
class Entry:
    """Where a deblurrer is defined.

    Attributes:
        name: by which users call it.
        module: dotted name of the module whose ``SPEC`` it is.
        file: that module's file.
    """

    name: str
    module: str
    file: Path

    @property
    def title(self) -> str:
        """First line of the file's docstring, without the name; reads the file but does not import it."""
        docstring = ast.get_docstring(ast.parse(self.file.read_text("utf-8"))) or ""
        return docstring.partition("\n")[0].removeprefix(f"{self.name}: ")

    @property
    def weights(self) -> Path:
        """Where its trained weights lie, if it has any."""
        return self.file.parent / "weights" / f"{self.name}.safetensors"


@dataclass(frozen=True)
class Deblurer:
    """A deblurrer that is ready to build.

    Attributes:
        spec: its definition.
        preset: the size that its weights have.
        weights: its trained weights; None if it needs none.
        hash: SHA-256 (hexadecimal) of its weights and its source, with the ``_family.py`` files beside it.
    """

    spec: DeblurerSpec
    preset: Preset
    weights: Path | None
    hash: str

    def build(self) -> nn.Module:
        """The network with its weights.

        Raises:
            DetbenchError: the weights do not fit or cannot be read.
        """
        net = self.spec.build(**self.preset.options)
        if self.weights:
            load_weights(net, self.weights)
        return net


def entries() -> dict[str, Entry]:
    """All deblurrers by name; imports none of them.

    Raises:
        DetbenchError: two origins offer the same name.
    """
    package = importlib.util.find_spec("deblurers")
    assert package is not None and package.submodule_search_locations
    folder = Path(package.submodule_search_locations[0])
    files = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    found = {path.stem: Entry(path.stem, f"deblurers.{path.stem}", path) for path in files}
    for point in importlib.metadata.entry_points(group=GROUP):
        spec = importlib.util.find_spec(point.module)
        if spec is None or spec.origin is None:
            raise DetbenchError(
                f"The entry point {point.name} of {_origin(point)} names {point.module}: no such module."
            )
        if point.name in found:
            raise DetbenchError(
                f"Two deblurrers are called {point.name}: {found[point.name].file} and {spec.origin} of"
                f" {_origin(point)}. Rename or uninstall one."
            )
        found[point.name] = Entry(point.name, point.module, Path(spec.origin))
    return found


def find(name: str) -> Entry:
    """A deblurrer's entry.

    Raises:
        DetbenchError: an unknown name; the message gives the nearest ones.
    """
    known = entries()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known)
        raise DetbenchError(f"There is no deblurrer {name!r}. Did you mean {', '.join(near)}?")
    return known[name]


def get(name: str) -> DeblurerSpec:
    """Import one deblurrer's definition. Errors in its file are raised as they are.

    Raises:
        DetbenchError: an unknown name, or a module without a ``SPEC``.
    """
    entry = find(name)
    spec: Any = getattr(importlib.import_module(entry.module), "SPEC", None)
    if not isinstance(spec, DeblurerSpec):
        raise DetbenchError(f"{entry.file} defines no SPEC = DeblurerSpec(...).")
    return spec


def load(name: str, weights: Path | None = None) -> Deblurer:
    """A deblurrer with its weights.

    Args:
        name: of the deblurrer.
        weights: a safetensors file in place of its own.

    Raises:
        DetbenchError: an unknown name, or one that has a recipe but no trained weights.
    """
    entry, spec = find(name), get(name)
    source = [file_hash(path) for path in (entry.file, *sorted(entry.file.parent.glob("_*.py")))]
    if weights is None and spec.presets[spec.preset].recipe is None:
        return Deblurer(spec, spec.presets[spec.preset], None, canonical_hash(source))
    path = weights or entry.weights
    if weights and not path.exists():
        raise DetbenchError(f"The weights {path} do not exist.")
    if not path.exists():
        raise DetbenchError(
            f"{name} has no trained weights ({path} does not exist): run `detbench train {name}`, and give"
            " what that writes with --weights."
        )
    record = read_record(path)
    if record.get("deblurer", name) != name:
        raise DetbenchError(f"{path} holds weights of {record['deblurer']}, not of {name}.")
    preset = record.get("preset", spec.preset)
    if preset not in spec.presets:
        raise DetbenchError(f"{path} was trained as {name}'s preset {preset!r}, which {entry.file} does not define.")
    return Deblurer(spec, spec.presets[preset], path, canonical_hash([*source, file_hash(path)]))


def _origin(point: importlib.metadata.EntryPoint) -> str:
    """The distribution that an entry point belongs to."""
    return point.dist.name if point.dist else "an unknown package"
