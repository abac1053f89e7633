"""What a Python file says, read off its syntax tree: plug-ins are listed and fingerprinted without being imported."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from detbench.files import source_hash


def title(file: Path) -> str:
    """The first line of a file's docstring; empty if it has none."""
    return (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").partition("\n")[0]


def stated(file: Path, name: str, field: str) -> Any:
    """The literal that the call assigned to ``name`` gives as keyword argument.

    Where it gives none, the literal of the call that its first argument names, here or in a sibling, and so on: a
    variant says what it is a variant of. None if there is no such literal, as for what is computed.
    """
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
                    return stated(file.parent / f"{sibling}.py", attribute, field)
                case [ast.Name(id=local)]:
                    return stated(file, local, field)
    return None


def hashes(file: Path) -> list[str]:
    """SHA-256 (hexadecimal) of each source file of a plug-in: its own, and those of the siblings that it imports."""
    return [source_hash(source) for source in sorted(_with_siblings(file))]


def _with_siblings(file: Path) -> set[Path]:
    """A file and the siblings that it imports, and they import, and so on."""
    found, todo = set[Path](), [file]
    while todo:
        path = todo.pop()
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                names = [node.module] if node.module else [alias.name for alias in node.names]
                todo += [p for name in names if (p := file.parent / f"{name}.py").exists() and p not in found]
    return found
