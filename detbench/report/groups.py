"""Groups of runs → a report each, and whether what holds with one detector holds with another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from detbench import best, swap
from detbench.report import conclusions, formats, gains, page, swaps
from detbench.report.collect import Group
from detbench.report.document import Report, title


def write(groups: Sequence[Group], out: Path) -> Path:
    """Write a report.

    Args:
        groups: from :func:`detbench.report.collect.collect`. Several get a folder each, and a page that links them.
        out: the report's folder: ``index.html``, ``tables/`` (Markdown, LaTeX, CSV), ``figures/`` (PNG, PDF, SVG) and
            the page's pictures.

    Returns:
        The path of the page.

    Raises:
        DetbenchError: a run's detections are damaged.
    """
    if len(groups) == 1:
        return Report(groups[0], out).write()
    titles, links = _titles(groups), []
    for number, (group, heading) in enumerate(zip(groups, titles, strict=True), 1):
        part = f"group-{number}"
        report = Report(group, out / part)
        report.write()
        board = formats.html(report.board, f"{part}/tables/{report.board.key}.csv")
        link = f'<p><a href="{part}/index.html">All of it, and the frames</a></p>'
        told = conclusions.headline(group.compared) or conclusions.conclusions(group.compared)[0]
        links.append(page.Section(part, heading, [told], [board, link]))
    return page.write(out, "detbench: groups of runs", "", [*_swaps(groups, out), *links])


def _swaps(groups: Sequence[Group], out: Path) -> Iterator[page.Section]:
    """Does it hold with another detector? A section for the groups on the same frames."""
    frames: dict[tuple[str, int], list[Group]] = {}
    for group in groups:
        frames.setdefault((group.floor.spec.dataset_hash, len(group.floor.scores)), []).append(group)
    for number, members in enumerate(frames.values(), 1):
        before = {(group.floor.spec.detector_hash, group.floor.spec.imgsz): group for group in members}
        if len(before) > 1 and len(swap.by_name(members := list(before.values()))) > 1:
            report = Report(members[0], out)
            found = swap.pairs(members)
            tables = [replace(each, key=f"{each.key}-{number}") for each in swaps.tables(members, found)]
            made = [report.table(each) for each in tables]
            boards = [best.of_group(each) for each in members]
            alt = "F1 that each deblurer gains with each detector, with its verdict"
            yield page.Section(
                f"swap-{number}",
                "Does it hold with another detector?",
                swaps.sentences(members, found),
                made,
                [report.figure(f"matrix-{number}", gains.matrix(boards), alt)],
            )


def _titles(groups: Sequence[Group]) -> list[str]:
    """A title for each group, with the settings in which they differ."""
    specs = [group.floor.spec for group in groups]
    differing = [
        f for f in ("limit", "noise", "conf", "nms_iou", "match_iou") if len({getattr(spec, f) for spec in specs}) > 1
    ]
    return [
        ", ".join(
            [title(group), *(f"{field} {value}" for field in differing if (value := getattr(spec, field)) is not None)]
        )
        for group, spec in zip(groups, specs, strict=True)
    ]
