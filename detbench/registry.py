"""Plug-ins by name: the files of a folder and the entry points of other packages; no second list anywhere.

:class:`Registry` serves deblurers and detectors alike. What follows it is about deblurers, which have weights.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import importlib.util
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from detbench import assets, external, source
from detbench.files import file_hash, source_hash
from detbench.lineup import CEILING, FLOOR
from detbench.types import DeblurerSpec, DetbenchError, Preset, canonical_hash
from detbench.weights import load_weights, read_record

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
"""The class of the plug-ins' specifications."""


@dataclass(frozen=True)
class Entry:
    """Where a plug-in is defined. Its properties and methods read files, and import nothing.

    Attributes:
        name: by which users call it.
        module: dotted name of the module whose ``SPEC`` it is.
        file: that module's file.
        spec_class: of its ``SPEC``.
    """

    name: str
    module: str
    file: Path
    spec_class: type = DeblurerSpec

    @property
    def title(self) -> str:
        """First line of the file's docstring, without the name."""
        return source.title(self.file).removeprefix(f"{self.name}: ")

    @property
    def doc(self) -> str:
        """The file's docstring."""
        return source.doc(self.file)

    def stated(self, field: str) -> Any:
        """What its ``SPEC`` says of a field that is a literal there (``paper``, ``licence``, ``assets``).

        A variant, which is made by a call whose first argument is another specification, says what that one says; what
        nobody says has the specification's default.
        """
        value = source.stated(self.file, "SPEC", field)
        return vars(self.spec_class)["__dataclass_fields__"][field].default if value is None else value

    def chosen(self, weights: Path | None) -> Path:
        """The given weights file, or where its own lie.

        Raises:
            DetbenchError: the given file does not exist.
        """
        if weights and not weights.exists():
            raise DetbenchError(f"The weights {weights} do not exist.")
        return weights or self.weights

    def hash(self, weights: Path | None = None) -> str:
        """SHA-256 (hexadecimal) of its source, with the siblings that it imports, and of its weights.

        Args:
            weights: a file in place of its own.

        Raises:
            DetbenchError: the weights do not exist.
        """
        path = self.chosen(weights)
        trained = [file_hash(path)] if path.exists() else []
        published = [] if trained else [assets.find(name).sha256 for name in self.stated("assets")]
        return canonical_hash([*source.hashes(self.file), *trained, *published])

    @property
    def source(self) -> str:
        """SHA-256 (hexadecimal) of its source alone, with the siblings that it imports."""
        return canonical_hash(source.hashes(self.file))

    @property
    def weights(self) -> Path:
        """Where its trained weights lie, if it has any."""
        return self.file.parent / "weights" / f"{self.name}.safetensors"


class Registry(Generic[T]):
    """Plug-ins of one kind: each is a module whose constant ``SPEC`` says what it is.

    Args:
        noun: what one of them is called, in messages.
        package: whose files they are, those whose names begin with an underscore apart.
        spec_class: of their specifications.
        hint: the end of the message for an unknown name that looks like a file.

    Attributes:
        group: entry-point group through which other packages offer theirs: NAME = "package.module".
    """

    def __init__(self, noun: str, package: str, spec_class: type[T], hint: str = "") -> None:
        self.group = f"detbench.{noun}s"
        self._noun, self._package, self._spec_class, self._hint = noun, package, spec_class, hint

    def entries(self) -> dict[str, Entry]:
        """All of them by name; imports none.

        Raises:
            DetbenchError: two origins offer the same name, or an entry point names no module.
        """
        package = importlib.util.find_spec(self._package)
        assert package is not None and package.submodule_search_locations
        folder = Path(package.submodule_search_locations[0])
        files = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
        found = {path.stem: Entry(path.stem, f"{self._package}.{path.stem}", path, self._spec_class) for path in files}
        for point in _points(self.group, tuple(_state(place) for place in sys.path)):
            entry = self._offered(point)
            if entry.name in found:
                raise DetbenchError(
                    f"Two {self._noun}s are called {entry.name}: {found[entry.name].file} and {entry.file} of"
                    f" {_origin(point)}. Rename or uninstall one."
                )
            found[entry.name] = entry
        return found

    def find(self, name: str) -> Entry:
        """The entry of that name.

        Raises:
            DetbenchError: an unknown name; the message gives the nearest ones.
        """
        known = self.entries()
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            names = f"Did you mean {', '.join(near)}?" if near else f"There are {', '.join(known)}."
            hint = f" {self._hint}" if self._hint and Path(name).suffix else ""
            raise DetbenchError(f"There is no {self._noun} {name!r}. {names}{hint}")
        return known[name]

    def get(self, name: str) -> T:
        """Import one's specification. Errors in its file are raised as they are.

        Raises:
            DetbenchError: an unknown name, or a module without a ``SPEC``.
        """
        entry = self.find(name)
        spec = getattr(importlib.import_module(entry.module), "SPEC", None)
        if not isinstance(spec, self._spec_class):
            raise DetbenchError(f"{entry.file} defines no SPEC = {self._spec_class.__name__}(...).")
        return spec

    def _offered(self, point: importlib.metadata.EntryPoint) -> Entry:
        """What an entry point offers."""
        spec = importlib.util.find_spec(point.module)
        if spec is None or spec.origin is None:
            raise DetbenchError(
                f"The entry point {point.name} of {_origin(point)} names {point.module}: no such module."
            )
        return Entry(point.name, point.module, Path(spec.origin), self._spec_class)


@lru_cache
def _points(group: str, _installed: tuple[Any, ...]) -> tuple[importlib.metadata.EntryPoint, ...]:
    """The entry points of what is installed: reading all that packages offer takes most of a listing."""
    return tuple(importlib.metadata.entry_points(group=group))


def _state(place: str) -> tuple[str, int]:
    """What shows that something was installed in one of the folders that Python imports from."""
    try:
        return place, Path(place).stat().st_mtime_ns
    except OSError:
        return place, 0


def _origin(point: importlib.metadata.EntryPoint) -> str:
    """The distribution that an entry point belongs to."""
    return point.dist.name if point.dist else "an unknown package"


DEBLURERS = Registry(
    "deblurer",
    "deblurers",
    DeblurerSpec,
    "A checkpoint is named spandrel:PATH or onnx:PATH; frames restored elsewhere are frames:DIR.",
)
"""All deblurers but checkpoints."""


@dataclass(frozen=True)
class Deblurer:
    """A deblurer that is ready to build.

    Attributes:
        spec: its definition.
        preset: the size that its weights have.
        weights: its trained weights; None if it needs none, or if they are published ones (``spec.assets``,
            or a checkpoint, which ``spec.build`` reads).
    """

    spec: DeblurerSpec
    preset: Preset
    weights: Path | None

    def build(self) -> nn.Module:
        """The network with its weights; published ones are fetched, if need be.

        Raises:
            DetbenchError: the weights do not fit, cannot be read or cannot be fetched.
        """
        net = self.spec.build(**self.preset.options)
        if self.weights:
            load_weights(net, self.weights)
        elif self.spec.assets:
            self._load_published(net)
        return net

    @property
    def parameters(self) -> int:
        """How many values the network's weights have, buffers included; nothing is fetched or made."""
        import torch

        with torch.device("meta"):
            return sum(value.numel() for value in self.spec.build(**self.preset.options).state_dict().values())

    def _load_published(self, net: nn.Module) -> None:
        """Fetch the pinned files and load what they hold, strictly."""
        if self.spec.convert is None:
            raise DetbenchError(f"The SPEC has assets ({', '.join(self.spec.assets)}) but no convert to read them.")
        paths = [assets.fetch(name) for name in self.spec.assets]
        try:
            net.load_state_dict(self.spec.convert(paths))
        except (RuntimeError, ValueError) as error:
            files = ", ".join(map(str, paths))
            raise DetbenchError(f"The published weights {files} do not fit the network: {error}") from error


def entries() -> dict[str, Entry]:
    """All deblurers by name; see :meth:`Registry.entries`."""
    return DEBLURERS.entries()


def find(name: str) -> Entry:
    """A deblurer's entry; see :meth:`Registry.find`."""
    return DEBLURERS.find(name)


def get(name: str) -> DeblurerSpec:
    """Import one deblurer's definition, or make a checkpoint's. Errors in its file are raised as they are.

    Raises:
        DetbenchError: an unknown name, a module without a ``SPEC``, or a checkpoint that cannot be read.
    """
    return external.load(name)[0] if name.startswith(external.PREFIXES) else DEBLURERS.get(name)


def load(name: str, weights: Path | None = None) -> Deblurer:
    """A deblurer with its weights. Published ones (``spec.assets``) are not fetched yet.

    Args:
        name: of the deblurer; or ``spandrel:PATH`` or ``onnx:PATH``, for a checkpoint.
        weights: a safetensors file in place of its own.

    Raises:
        DetbenchError: an unknown name, one that has a recipe but no trained weights, or an unknown asset.
    """
    if name.startswith(external.PREFIXES):
        if weights and not name.startswith("spandrel:"):
            raise DetbenchError(f"{name} is a file with its own weights: leave out --weights {weights}.")
        if weights and not weights.exists():
            raise DetbenchError(f"The weights {weights} do not exist.")
        spec, _ = external.load(name)
        return Deblurer(spec, spec.presets[spec.preset], weights)
    entry, spec = find(name), get(name)
    if weights is None and (spec.assets or spec.presets[spec.preset].recipe is None):
        return Deblurer(spec, spec.presets[spec.preset], None)
    path = entry.chosen(weights)
    if not path.exists():
        raise DetbenchError(
            f"{name} has no trained weights ({path} does not exist): run `detbench train {name}`, and give"
            " what that writes with --weights; or the repository's deblurers/weights, of which a wheel has not all."
        )
    record = read_record(path)
    if record.get("deblurer", name) != name:
        raise DetbenchError(f"{path} holds weights of {record['deblurer']}, not of {name}.")
    preset = record.get("preset", spec.preset)
    if preset not in spec.presets:
        raise DetbenchError(f"{path} was trained as {name}'s preset {preset!r}, which {entry.file} does not define.")
    return Deblurer(spec, spec.presets[preset], path)


def runnable() -> list[str]:
    """Names of the deblurers that run as they are: classical ones, and those with weights; not floor and ceiling."""
    return [
        name
        for name, entry in entries().items()
        if name not in (FLOOR, CEILING)
        and ((spec := get(name)).assets or entry.weights.exists() or spec.presets[spec.preset].recipe is None)
    ]


def fingerprint(name: str, weights: Path | None = None) -> str:
    """SHA-256 (hexadecimal) of all that a deblurer's frames depend on: its source and its weights.

    Imports nothing and fetches nothing: a finished run is looked up by it.

    Args:
        name: as for :func:`load`; or ``frames:DIR``, for frames that were restored elsewhere.
        weights: as for :func:`load`.

    Raises:
        DetbenchError: an unknown name, or weights that do not exist.
    """
    if name.startswith("frames:"):
        from detbench import restored

        return restored.fingerprint(name)
    if name.startswith(external.PREFIXES):
        tuned = [file_hash(weights)] if weights and weights.exists() else []
        return canonical_hash([source_hash(Path(external.__file__)), file_hash(external.find(name)), *tuned])
    return find(name).hash(weights)
