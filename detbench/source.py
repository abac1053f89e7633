"""What a Python file says, read off its syntax tree: plug-ins are listed and fingerprinted without being imported."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from typing import Any

from detbench.files import source_hash, syntax


def doc(file: Path) -> str:
    """A file's docstring; empty if it has none."""
    return ast.get_docstring(syntax(file.read_text("utf-8"))) or ""


def title(file: Path) -> str:
    """Its first line."""
    return doc(file).partition("\n")[0]


def stated(file: Path, name: str, field: str) -> Any:
    """The literal that the call assigned to ``name`` gives as keyword argument.

    Where it gives none, the literal of the call that its first argument names, here or in a sibling, and so on: a
    variant says what it is a variant of. None if there is no such literal, as for what is computed.
    """
    if not file.exists():
        return None
    for node in syntax(file.read_text("utf-8")).body:
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
                    return stated(file.parent / f"{sibling}.py", attribute, field)
                case [ast.Name(id=local)]:
                    return stated(file, local, field)
    return None


def hashes(file: Path) -> list[str]:
    """SHA-256 (hexadecimal) of each source file of a plug-in: its own, and those of the siblings that it imports.

    Siblings lie in the same folder, and are imported by ``from . import x``, ``from .x import y``, or by their full
    name.
    """
    return [source_hash(source) for source in sorted(_with_siblings(file))]


def _with_siblings(file: Path) -> set[Path]:
    """A file and the siblings that it imports, and they import, and so on."""
    found, todo = set[Path](), [file]
    while todo:
        path = todo.pop()
        found.add(path)
        siblings = (file.parent / f"{name}.py" for name in _imported(path.read_text("utf-8"), file.parent.name))
        todo += [sibling for sibling in siblings if sibling.exists() and sibling not in found]
    return found


@lru_cache(256)  # by the text: it is asked for again and again, and a file may change
def _imported(text: str, package: str) -> tuple[str, ...]:
    """Names of modules that a file's text imports from a package."""
    return tuple(name for node in ast.walk(syntax(text)) for name in _siblings(node, package))


def _siblings(node: ast.AST, package: str) -> list[str]:
    """Names of modules that a statement imports from a package, which is known by the last part of its name."""
    if isinstance(node, ast.Import):
        parts = [alias.name.split(".") for alias in node.names]
        return [each[-1] for each in parts if each[-2:-1] in ([package], [])]
    if not isinstance(node, ast.ImportFrom):
        return []
    module = (node.module or "").split(".")
    names = [alias.name for alias in node.names]
    if node.level == 1:
        return names if module == [""] else [module[0]]
    if node.level:
        return []
    if module[-1] == package:
        return names
    return [module[-1]] if module[-2:-1] in ([package], []) else []
