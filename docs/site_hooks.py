"""What the site shows of the repository beside docs/: README as its first page, the reports, and links between them."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
FIRST, INDEX = "README.md", "index.md"
BESIDE = (
    *(FIRST, "CONTRIBUTING.md", "CHANGELOG.md"),
    *("reports/*.md", "reports/training/*.md", "reports/tables/*.md", "reports/figures/*"),
)
"""Pages and pictures that lie elsewhere than in docs/."""


def on_files(files: Files, config: Any) -> Files:
    """Take in what lies beside docs/."""
    for pattern in BESIDE:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, _of_site(path.relative_to(ROOT).as_posix()), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Links as they are in the repository, to where the site has their targets; what it does not have stays text."""
    uri = page.file.src_uri
    here = posixpath.dirname(_of_repository(uri))

    def link(found: re.Match[str]) -> str:
        picture, text, target = found.groups()
        path, hash_, anchor = target.partition("#")
        if not path or re.match(r"\w+:", target):
            return found[0]
        there = _of_site(posixpath.normpath(posixpath.join(here, path)))
        if files.get_file_from_path(there) is None:
            return f"{text}"
        return f"{picture}[{text}]({posixpath.relpath(there, posixpath.dirname(uri) or '.')}{hash_}{anchor})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, markdown)


def on_page_content(html: str, page: Page, config: Any, files: Files) -> str:
    """Names in docstrings without Sphinx's roles."""
    return re.sub(r":(class|func|data|meth|mod|attr):(?=<code>)", "", html)


def _of_site(path: str) -> str:
    """Where the site has a file of the repository."""
    return INDEX if path == FIRST else path.removeprefix("docs/")


def _of_repository(uri: str) -> str:
    """Where the repository has a page of the site."""
    if uri == INDEX:
        return FIRST
    return uri if (ROOT / uri).exists() else f"docs/{uri}"
