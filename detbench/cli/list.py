"""What can be named: list."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer

from detbench.cli._app import app, errors
from detbench.cli._print import print_table


@app.command(name="list")
def list_(
    what: Annotated[Literal["deblurers", "datasets", "detectors"], typer.Argument(help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, deblurers with paper and licence.")] = False,
) -> None:
    """List what can be named."""
    with errors():
        rows: list[dict[str, Any]] = []
        if what == "deblurers":
            from detbench import registry
            from detbench.weights import count_parameters, read_record

            for name, entry in registry.entries().items():
                there = entry.weights.exists()
                row = {
                    "deblurer": name,
                    "family": entry.stated("family"),
                    "parameters": count_parameters(entry.weights) if there else None,
                    "images seen": read_record(entry.weights).get("images_seen", 0) if there else None,
                    "what it is": entry.title,
                }
                cited = {field: entry.stated(field) for field in ("paper", "licence")} if as_json else {}
                rows.append(row | cited)
        elif what == "datasets":
            from detbench.data.cards import cards

            rows += [{"dataset": c.name, "role": c.role, "what it is": c.title} for c in cards().values()]
        else:
            from detbench import assets, detectors

            for name, kind in detectors.named().items():
                asset = assets.catalogue().get(name)
                size = f"{asset.size / 1e6:.1f}" if asset else ""
                its, licence = (asset.what, asset.licence) if asset else (kind.title, kind.stated("licence"))
                rows.append({"detector": name, "what it is": its, "MB": size, "licence": licence})
            for kind in detectors.kinds():
                if form := kind.stated("form"):
                    row = {"detector": form, "what it is": kind.title, "MB": "", "licence": kind.stated("licence")}
                    rows.append(row)
        if as_json:
            print(json.dumps(rows, indent=1))
        else:
            cells = [[_cell(value) for value in row.values()] for row in rows]
            print_table(list(rows[0]), cells)


def _cell(value: Any) -> str:
    """A value as text: numbers with thousands divided, nothing for what is not there."""
    return f"{value:,}" if isinstance(value, int) else value or ""
