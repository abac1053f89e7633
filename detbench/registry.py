"""Deblurers by name: the files of ``deblurers/`` and the entry points of other packages; no second list anywhere."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detbench import assets, external
from detbench.files import file_hash, source_hash
from detbench.lineup import CEILING, FLOOR
from detbench.types import DeblurerSpec, DetbenchError, Preset, canonical_hash
from detbench.weights import load_weights, read_record

if TYPE_CHECKING:
    from torch import nn

GROUP = "detbench.deblurers"
"""Entry-point group through which other packages offer deblurers: NAME = "package.module"."""


@dataclass(frozen=True)
class Entry:
    """Where a deblurer is defined.

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

    def stated(self, field: str) -> str:
        """What its ``SPEC`` says of a text field (``paper``, ``family``, ``licence``), read without importing it.

        A variant, which is made by a call whose first argument is another specification, says what that one says.
        """
        return str(_stated(self.file, "SPEC", field) or DeblurerSpec.__dataclass_fields__[field].default)

    def chosen(self, weights: Path | None) -> Path:
        """The given weights file, or where its own lie.

        Raises:
            DetbenchError: the given file does not exist.
        """
        if weights and not weights.exists():
            raise DetbenchError(f"The weights {weights} do not exist.")
        return weights or self.weights

    def hash(self, weights: Path | None = None) -> str:
        """SHA-256 (hexadecimal) of its source, with the siblings that it imports, and of its weights; imports nothing.

        Args:
            weights: a file in place of its own.

        Raises:
            DetbenchError: the weights do not exist.
        """
        path = self.chosen(weights)
        trained = [file_hash(path)] if path.exists() else []
        published = [] if trained else [assets.find(name).sha256 for name in _stated(self.file, "SPEC", "assets") or ()]
        return canonical_hash([*_source_hashes(self.file), *trained, *published])

    @property
    def source(self) -> str:
        """SHA-256 (hexadecimal) of its source alone, with the siblings that it imports; imports nothing."""
        return canonical_hash(_source_hashes(self.file))

    @property
    def weights(self) -> Path:
        """Where its trained weights lie, if it has any."""
        return self.file.parent / "weights" / f"{self.name}.safetensors"


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
    """All deblurers by name; imports none of them.

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
                f"Two deblurers are called {point.name}: {found[point.name].file} and {spec.origin} of"
                f" {_origin(point)}. Rename or uninstall one."
            )
        found[point.name] = Entry(point.name, point.module, Path(spec.origin))
    return found


def find(name: str) -> Entry:
    """A deblurer's entry.

    Raises:
        DetbenchError: an unknown name; the message gives the nearest ones.
    """
    known = entries()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        told = f"Did you mean {', '.join(near)}?" if near else f"There are {', '.join(known)}."
        hint = " A checkpoint is named spandrel:PATH or onnx:PATH." if Path(name).suffix else ""
        raise DetbenchError(f"There is no deblurer {name!r}. {told}{hint}")
    return known[name]


def get(name: str) -> DeblurerSpec:
    """Import one deblurer's definition, or make a checkpoint's. Errors in its file are raised as they are.

    Raises:
        DetbenchError: an unknown name, a module without a ``SPEC``, or a checkpoint that cannot be read.
    """
    if name.startswith(external.PREFIXES):
        return external.load(name)[0]
    entry = find(name)
    spec: Any = getattr(importlib.import_module(entry.module), "SPEC", None)
    if not isinstance(spec, DeblurerSpec):
        raise DetbenchError(f"{entry.file} defines no SPEC = DeblurerSpec(...).")
    return spec


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
            " what that writes with --weights."
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
        name: as for :func:`load`.
        weights: likewise.

    Raises:
        DetbenchError: an unknown name, or weights that do not exist.
    """
    if name.startswith(external.PREFIXES):
        tuned = [file_hash(weights)] if weights and weights.exists() else []
        return canonical_hash([source_hash(Path(external.__file__)), file_hash(external.find(name)), *tuned])
    return find(name).hash(weights)


def _stated(file: Path, name: str, field: str) -> Any:
    """The literal that an assignment's call gives as keyword argument, or that of its first argument; else None."""
    if not file.exists():
        return None
    for node in ast.parse(file.read_text("utf-8")).body:
        names = [t.id for t in node.targets if isinstance(t, ast.Name)] if isinstance(node, ast.Assign) else []
        if name in names and isinstance(call := getattr(node, "value", None), ast.Call):
            for keyword in call.keywords:
                if keyword.arg == field:
                    try:
                        return ast.literal_eval(keyword.value)
                    except ValueError:  # computed: only an import would tell
                        return None
            match call.args[:1]:
                case [ast.Attribute(value=ast.Name(id=sibling), attr=attribute)]:
                    return _stated(file.parent / f"{sibling}.py", attribute, field)
                case [ast.Name(id=local)]:
                    return _stated(file, local, field)
    return None


def _source_hashes(file: Path) -> list[str]:
    """SHA-256 (hexadecimal) of each of a deblurer's source files."""
    return [source_hash(source) for source in sorted(_sources(file))]


def _sources(file: Path) -> set[Path]:
    """A deblurer's file and the siblings that it imports, and they import, and so on."""
    found, todo = set[Path](), [file]
    while todo:
        path = todo.pop()
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                names = [node.module] if node.module else [alias.name for alias in node.names]
                todo += [p for name in names if (p := file.parent / f"{name}.py").exists() and p not in found]
    return found


def _origin(point: importlib.metadata.EntryPoint) -> str:
    """The distribution that an entry point belongs to."""
    return point.dist.name if point.dist else "an unknown package"
