"""A group of runs → its report: a page, and beside it its tables and figures as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from detbench import stats, store, tide
from detbench.ap import average_precision
from detbench.counts import Counts, counted
from detbench.data import datasets
from detbench.files import sweep, write_file
from detbench.lineup import name as lineup_name
from detbench.progress import say
from detbench.report import breakdown, conclusions, formats, gains, page, plots, scatter, style, tables
from detbench.report.collect import Group
from detbench.report.formats import Column, Part, Table
from detbench.report.tables import framed
from detbench.thresholds import leave_one_clip_out
from detbench.types import DetbenchError, Detections, RunResult
from detbench.verdict import verdicts

if TYPE_CHECKING:
    import matplotlib.figure

OPEN = ("verdict", "trade-offs", "leaderboard")
"""Sections that are open at first; the others are details."""

USUAL = (0.1, 0.6)
"""Confidences that people choose: which deblurer is first between them is said below the leaderboard."""

BARS = 6
"""Runs that a figure shows side by side; of more, those with the best F1."""


@dataclass(frozen=True)
class Report:
    """One group's report.

    Attributes:
        group: the runs.
        out: the folder.
    """

    group: Group
    out: Path

    def write(self) -> Path:
        """Write the page and all files; gives the page's path."""
        sweep(self.out)
        frames = counted(len(self.group.floor.scores), "frame")
        intro = f"Does deblurring help the detector see? {frames} of {title(self.group)}."
        return page.write(self.out, f"detbench: {title(self.group)}", intro, self.sections(), self.gallery())

    def sections(self) -> list[page.Section]:
        """Write tables and figures; gives what a page says of them."""
        makers = [
            self.verdict,
            self.trade_offs,
            self.leaderboard,
            self.sure,
            self.thresholds,
            self.where,
            self.errors,
            self.harm,
            self.publications,
            self.measured,
        ]
        made = [section for maker in makers if (section := maker())]
        return [replace(section, folded=section.anchor not in OPEN) for section in made]

    # --- what the sections look at -------------------------------------------------------------------------------

    @cached_property
    def labels(self) -> Mapping[Path, str]:
        """A unique name for each run."""
        return self.group.labels

    @cached_property
    def runs(self) -> dict[str, RunResult]:
        """Deblurers on blurred frames by name, the best F1 first."""
        return {self.labels[run.path]: run for run in self.group.ranked}

    @cached_property
    def framed(self) -> dict[str, RunResult]:
        """The same between floor and ceiling."""
        floor, ceiling = self.group.floor, self.group.ceiling
        return {self.labels[floor.path]: floor, **self.runs, self.labels[ceiling.path]: ceiling}

    @cached_property
    def seen(self) -> dict[str, list[Detections]]:
        """What was detected in each restored frame, by run."""
        floor, *others = self.framed
        return {floor: self._floor["restored"]} | {
            name: store.read_detections(self.framed[name].path)["restored"] for name in others
        }

    @cached_property
    def sweeps(self) -> dict[str, breakdown.Sweep]:
        """Counts over the confidence, by run."""
        iou = self.group.floor.spec.match_iou
        return {name: breakdown.confidence_sweep(seen, self.reference, iou) for name, seen in self.seen.items()}

    @cached_property
    def reference(self) -> list[Detections]:
        """The objects of the sharp frames."""
        return self._floor["sharp"]

    @cached_property
    def _floor(self) -> dict[str, list[Detections]]:
        """All detections of the floor's run."""
        return store.read_detections(self.group.floor.path)

    @cached_property
    def matches(self) -> dict[str, breakdown.Matches]:
        """All detections and objects, and which were matched, by run."""
        spec = self.group.floor.spec
        return {
            name: breakdown.matches(seen, self.reference, spec.match_iou, spec.conf) for name, seen in self.seen.items()
        }

    @cached_property
    def clips(self) -> list[str]:
        """The clip of each frame."""
        return [score.clip for score in self.group.floor.scores]

    def table(self, table: Table) -> str:
        """Write a table's files; gives its HTML."""
        for suffix, render in (("md", formats.markdown), ("tex", formats.latex), ("csv", formats.csv)):
            write_file(self.out / "tables" / f"{table.key}.{suffix}", render(table), "replace")
        return formats.html(table, f"tables/{table.key}.csv")

    def figure(self, name: str, figure: matplotlib.figure.Figure, alt: str, caption: str = "") -> page.Figure:
        """Write a figure's files."""
        style.save(figure, self.out / "figures", name)
        return page.Figure(f"figures/{name}.svg", alt, caption)

    # --- sections ------------------------------------------------------------------------------------------------

    def verdict(self) -> page.Section:
        """Does it help, and by how much?"""
        group, compared = self.group, self.group.compared
        words = [
            conclusions.headline(compared),
            *(conclusions.conclusions(compared) if self.few else ()),
            *conclusions.caution(group.floor),
            *(f"Unfinished, and left out: {path}." for path in group.unfinished),
        ]
        figures = []
        if self.runs:
            ceiling = group.ceiling.f1 - group.floor.f1
            drawn = gains.forest(verdicts(compared), ceiling, lineup_name(group.floor), lineup_name(group.ceiling))
            alt = "F1 that each deblurer gains over the blurred frames, with 95 % intervals and verdicts"
            figures.append(self.figure("gains", drawn, alt))
        return page.Section("verdict", "Verdict", [text for text in words if text], figures=figures)

    @property
    def few(self) -> bool:
        """Whether there are too few clips for a conclusion."""
        return len(self.group.compared.clips) < stats.MINIMUM_CLIPS

    def sure(self) -> page.Section:
        """How sure is it?"""
        group, compared = self.group, self.group.compared
        models = compared.models[1:]
        one_by_one = not self.few and len(models) <= conclusions.FEW  # else the table says it, or the verdict
        words = conclusions.conclusions(compared) if one_by_one else []
        said = conclusions.caution(group.floor)
        words += [text for text in conclusions.remarks(compared) if text not in said]
        bars = plots.score_bars(self.runs, group.floor, group.ceiling)
        alt = "F1, precision and recall of each run as bars with 95 % intervals; floor and ceiling as lines"
        return page.Section(
            "sure",
            "How sure it is",
            [*words, conclusions.TEST],
            [self.table(tables.differences(compared))] if models else [],
            [self.figure("scores", bars, alt)],
        )

    def leaderboard(self) -> page.Section:
        """Everything between floor and ceiling."""
        return page.Section("leaderboard", "Leaderboard", tables=[self.table(self.board)])

    @cached_property
    def board(self) -> Table:
        """The leaderboard, with a word on whether the confidence that was chosen decides who is first."""
        table = tables.leaderboard(self.group)
        return replace(table, notes=(*table.notes, *self._leaders()))

    def _leaders(self) -> list[str]:
        """Who is first at which confidence, where several deblurers are compared."""
        if len(self.runs) < 2:
            return []
        found = breakdown.leaders({name: self.sweeps[name] for name in self.runs}, *USUAL)
        least, most = USUAL
        (first, times), *others = found.most_common()
        if not others:
            return [f"{first} has the best F1 at every confidence from {least:g} to {most:g}."]
        rest = ", ".join(f"{name} at {count}" for name, count in others)
        return [
            f"The confidence decides which has the best F1: of {found.total()} thresholds from {least:g} to {most:g}"
            f" {first} has it at {times}, {rest}."
        ]

    def trade_offs(self) -> page.Section:
        """F1 against time and against PSNR."""
        group = self.group
        others = {
            self.labels[other.path]: (
                other.median("restore_ms") + other.median("detect_ms"),
                float(self._rescored(other).sum().f1),
            )
            for other in group.alternatives
        }
        time = scatter.f1_against_time(self.runs, group.floor, group.ceiling, others)
        correlation = scatter.ranked_alike(group.models, "f1", "psnr_db") if group.models else None
        psnr = scatter.f1_against_psnr(self.runs, group.floor, group.ceiling, correlation)
        asked = "Does PSNR rank deblurers as F1 does?" if len(self.runs) > 1 else ""
        words = ["Times are of this machine, deblurring and detection together."]
        if scatter.unnamed(time) or scatter.unnamed(psnr):
            words.append("A point among others has no name: the tables have them all.")
        if others:
            words.append(
                "Hollow: no deblurring, but a larger detector or a closer look at the blurred frames, scored against"
                " the same objects as the others."
            )
        return page.Section(
            "trade-offs",
            "Trade-offs",
            words,
            figures=[
                self.figure("f1-time", time, "F1 of each run against milliseconds a frame"),
                self.figure("f1-psnr", psnr, "F1 of each run against PSNR", asked),
            ],
        )

    def _rescored(self, other: RunResult) -> Counts:
        """(frames,) counts of what an alternative sees, against the objects that all others are to find."""
        spec = self.group.floor.spec
        seen = store.read_detections(other.path)["restored"]
        return breakdown.rescore(seen, self.reference, spec.match_iou, spec.conf)

    def thresholds(self) -> page.Section:
        """How much depends on the confidence and the overlap that were chosen."""
        spec = self.group.floor.spec
        several = len(set(self.clips)) > 1
        rows = []
        for name, run in self.framed.items():
            ap = average_precision(self.seen[name], self.reference)
            chosen = (
                leave_one_clip_out(self.seen[name], self.reference, self.clips, spec.match_iou) if several else None
            )
            best = None if chosen is None else float(chosen.sum().f1)
            rows.append((name, run.f1, best, ap.ap, ap.ap50, ap.ap75))
        headings = ["F1", "F1, threshold from other clips", "AP", "AP50", "AP75"]
        columns = (Column("method"), *(Column(heading, "{:.3f}", "highest") for heading in headings))
        table = Table(
            "Without one arbitrary threshold",
            columns,
            framed(rows, str(self.group.signature)),
            (
                f"F1 at a confidence of {spec.conf:g}, and at the one that is best on all other clips. AP is COCO's,"
                " as pycocotools has it, against the objects of the sharp frames.",
            ),
            "thresholds",
        )
        figures = []
        for name in list(self.runs)[:1]:
            floor = next(iter(self.framed))
            curves = plots.confidence_curves(self.sweeps[name], spec.conf, self.sweeps[floor], name)
            alt = f"Precision, recall and F1 of {name} over the confidence threshold, blurred dotted"
            figures.append(self.figure("confidence", curves, alt, f"{name}; dotted: blurred"))
            sweeps = [breakdown.iou_sweep(self.seen[n], self.reference, spec.conf) for n in (name, floor)]
            alt = f"Precision, recall and F1 of {name} over the overlap wanted, blurred dotted"
            curves = plots.iou_curves(sweeps[0], sweeps[1], name)
            figures.append(self.figure("iou", curves, alt, f"{name}; dotted: blurred"))
        return page.Section("thresholds", "Thresholds", tables=[self.table(table)], figures=figures)

    def where(self) -> page.Section:
        """By class, size and severity."""
        names, _ = store.read_frames(self.group.floor.path)
        severity = breakdown.severities(self.group.floor.scores)
        cuts: dict[str, Callable[[breakdown.Matches], list[breakdown.Cell]]] = {
            "class": lambda run: breakdown.by_class(run, names),
            "size": breakdown.by_size,
            "severity": lambda run: breakdown.by_severity(run, severity),
        }
        floor, *runs, ceiling = self.matches
        htmls, figures = [], []
        for cut, by in cuts.items():
            cells = {name: by(run) for name, run in self.matches.items()}
            best = {name: cells[name] for name in runs[:BARS]}
            alt = f"F1 of each run by {cut}"
            bars = plots.cell_bars(best, cells[floor], cells[ceiling])
            figures.append(self.figure(f"by-{cut}", bars, alt, f"By {cut}"))
            htmls.append(self.table(tables.by_cell(cut, cells, str(self.group.signature))))
        few = [f"The figures show the {BARS} runs with the best F1."] if len(runs) > BARS else []
        return page.Section(
            "where",
            "Where it helps",
            [
                "Sizes are COCO's, in square pixels of the sharp frame's box: below 32², up to 96², above. Severity: as"
                " the dataset has it, or else a third of the frames each, by their PSNR before deblurring. Hatched, or"
                f" with an asterisk: fewer than {breakdown.ENOUGH} objects, not enough data.",
                *few,
            ],
            htmls,
            figures,
        )

    def errors(self) -> page.Section:
        """What kind of errors are left."""
        spec = self.group.floor.spec
        found = {name: tide.errors(seen, self.reference, spec.conf) for name, seen in self.seen.items()}
        kinds = ["localisation", "classification", "both", "duplicate", "background", "missed"]
        rows = tuple((name, *(getattr(e, kind) for kind in kinds)) for name, e in found.items())
        table = Table(
            "Errors by kind",
            (Column("method"), *(Column(kind, "{:d}", "lowest") for kind in kinds)),
            framed(rows, str(self.group.signature)),
            ("Kinds as in TIDE (Bolya et al., ECCV 2020), counted, not weighed by AP.",),
            "errors",
        )
        bars = plots.error_bars(found)
        return page.Section(
            "errors",
            "Kinds of errors",
            tables=[self.table(table)],
            figures=[self.figure("errors", bars, "How many errors of each kind each run makes")],
        )

    def harm(self) -> page.Section | None:
        """What deblurers do to frames that need no help."""
        if not self.group.harm:
            return None
        results = [*self.group.harm, self.group.ceiling]
        rows = tuple(
            (self.labels[run.path], run.total("fn"), run.total("hallucinated"), run.f1, run.mean("psnr_db"))
            for run in results
        )
        columns = (
            Column("method"),
            Column("missed", "{:d}", "lowest"),
            Column("hallucinated", "{:d}", "lowest"),
            tables.column("f1"),
            tables.column("psnr_db"),
        )
        parts = (
            Part(rows[:-1], source=str(self.group.signature)),
            Part(rows[-1:], source=str(self.group.signature), ranked=False),
        )
        notes = ("Missed: objects of the sharp frames that the detector no longer finds in them once deblurred.",)
        table = Table("Deblurers on sharp frames", columns, parts, notes, "harm")
        return page.Section(
            "harm",
            "Do no harm",
            [
                "What a deblurer does to frames that are sharp already: the last row, JPEG at quality 95, is what a"
                " change does that nobody can see. What hardly changes a frame can be above it."
            ],
            [self.table(table)],
        )

    def publications(self) -> page.Section | None:
        """The papers' tables, our numbers below theirs; of those of which several were run."""
        shown = [table for table in tables.published(self.group) if tables.has_several(table, self.group)]
        if not shown:
            return None
        return page.Section(
            "publications",
            "Beside the publications",
            ["Other frames, detectors and conventions: patterns can be compared, digits cannot."],
            [self.table(table) for table in shown],
        )

    def measured(self) -> page.Section:
        """How to read and repeat the numbers."""
        environment, skipped = self.group.floor.environment, self.group.floor.spec.skipped
        packages = ", ".join(f"{name} {version}" for name, version in environment.get("packages", {}).items())
        return page.Section(
            "measured",
            "How it was measured",
            [
                f"Signature: {self.group.signature}",
                f"Frames that cannot be read, or that a deblurer failed on, are left out of all: {', '.join(skipped)}."
                if skipped
                else "",
                tables.machines(self.group).strip(),
                "Precision, recall and F1 count all objects of all frames against what the same detector sees in the"
                " sharp frames. PSNR and SSIM are means over frames.",
                f"Versions: {packages}." if packages else "",
                "Runs: " + ", ".join(run.path.name for run in self.framed.values()) + ".",
            ],
        )

    def gallery(self) -> page.Gallery | None:
        """The frames on which most changed, if they are still the runs' own."""
        spec = self.group.floor.spec
        try:
            dataset = datasets.of(spec)
        except DetbenchError as error:
            say(f"The page shows no frames: {error}")
            return None
        if dataset.identity != spec.dataset_hash:
            say(f"The page shows no frames: {dataset.name} has changed since its runs were made.")
            return None
        return page.gallery(list(self.runs.values()), self.labels, dataset.pairs, self.out)


def title(group: Group) -> str:
    """Dataset and detector of a group, in words."""
    spec = group.floor.spec
    return f"{Path(spec.dataset).name}, {Path(spec.detector).stem} at {spec.imgsz} px"
