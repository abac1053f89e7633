"""Groups of runs → a report each, and whether the ranking of one survives in another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from detbench import stats
from detbench.metrics import Sums
from detbench.report import page
from detbench.report.collect import Group
from detbench.report.document import Report, statistic, title
from detbench.report.formats import Column, Part, Table


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
        Report(group, out / part).write()
        link = f'<p><a href="{part}/index.html">Report</a></p>'
        links.append(page.Section(part, heading, [str(group.signature)], [link]))
    return page.write(out, "detbench: groups of runs", "", [*links, *_swaps(groups, titles, out)])


def _swaps(groups: Sequence[Group], titles: Sequence[str], out: Path) -> Iterator[page.Section]:
    """Does the ranking survive another detector? One section for each two groups on the same frames."""
    pairs = itertools.combinations(zip(groups, titles, strict=True), 2)
    for number, ((a, title_a), (b, title_b)) in enumerate(pairs, 1):
        if a.floor.spec.dataset_hash != b.floor.spec.dataset_hash or len(a.floor.scores) != len(b.floor.scores):
            continue
        runs = [{group.labels[run.path]: run for run in group.models} for group in (a, b)]
        both = [name for name in runs[0] if name in runs[1]]
        if not both:
            continue
        frames = [[Sums.of(of[name].scores).values for name in both] for of in runs]
        clips = [score.clip for score in a.floor.scores]
        found = stats.bootstrap_rank_correlation(frames[0], frames[1], statistic("f1"), statistic("f1"), clips)
        rows = tuple((name, runs[0][name].f1, runs[1][name].f1) for name in both)
        table = Table(
            "F1 in both",
            (Column("method"), Column(title_a, "{:.3f}", "highest"), Column(title_b, "{:.3f}", "highest")),
            (Part(rows),),
            (str(a.signature), str(b.signature)),
            f"swap-{number}",
        )
        report = Report(a, out)
        sentence = (
            f"Spearman's rank correlation of F1 over {len(both)} deblurers:"
            f" {found.estimate:+.2f} [{found.low:+.2f}, {found.high:+.2f}] (95 %, bootstrap over clips)."
            if np.isfinite(found.low)
            else f"Rank correlation over {len(both)} deblurers: not enough data."
        )
        yield page.Section(f"swap-{number}", "Does the ranking survive?", [sentence], [report.table(table)])


def _titles(groups: Sequence[Group]) -> list[str]:
    """A title for each group, with the settings in which they differ."""
    specs = [group.floor.spec for group in groups]
    differing = [
        f for f in ("limit", "noise", "conf", "nms_iou", "match_iou") if len({getattr(spec, f) for spec in specs}) > 1
    ]
    return [
        ", ".join([title(group), *(f"{field} {getattr(spec, field)}" for field in differing)])
        for group, spec in zip(groups, specs, strict=True)
    ]
