"""A comparison in words: what can be concluded of it, what cannot, and what to keep in mind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detbench import stats
from detbench.compare import LEVEL, Comparison, Difference, Model
from detbench.counts import counted
from detbench.data import alignment
from detbench.metrics import compared, metric
from detbench.types import RunResult
from detbench.verdict import HARMS, HELPS, SAME, UNKNOWN, verdicts

FEW = 3
"""Of more models than this, conclusions are drawn metric by metric, not model by model."""

MANY = 12
"""More models than this that show no difference are counted, not named."""

TEST = (
    "How that is tested: the clips are drawn again by chance, many times, both runs are scored on each draw, and p is"
    " twice the share of draws that turn their difference round."
)
"""The test in a sentence."""

HEADINGS = ("", "", "value", "SD (seeds)", "reference", "difference", "95 % interval", "p", "p (Holm)")
"""Of :func:`cells`."""


def cells(comparison: Comparison) -> list[list[str]]:
    """The differences as text, under :data:`HEADINGS`."""
    rows = [row for row in comparison.rows() if row["model"] != comparison.models[0].name]
    return [_cells(row) for row in rows]


def sentences(comparison: Comparison) -> list[str]:
    """What can be concluded, in words, and what cannot; then what to keep in mind."""
    return conclusions(comparison) + remarks(comparison)


def headline(comparison: Comparison) -> str:
    """The verdict in a line: which deblurers help the detector, by F1; empty where there is nothing to conclude."""
    found = {name: each for name, each in verdicts(comparison).items() if not np.isnan(each.gain.p)}
    parts: dict[str, list[str]] = {word: [] for word in (HELPS, HARMS, SAME, UNKNOWN)}
    for name, each in found.items():
        sure = each.word in (HELPS, HARMS)
        parts[each.word].append(f"{name} (F1 {each.gain.estimate:+.3f})" if sure else name)
    return " ".join(f"{word.capitalize()}: {', '.join(names)}." for word, names in parts.items() if names)


def conclusions(comparison: Comparison) -> list[str]:
    """What can be concluded and what cannot: of a few models one by one, of many metric by metric."""
    reference, others = comparison.models[0].name, comparison.models[1:]
    if not others:
        return [f"There is nothing to compare {reference} with."]
    if len(comparison.clips) < stats.MINIMUM_CLIPS:
        return [
            f"Not enough data: {counted(len(comparison.clips), 'clip')}, and a conclusion wants {stats.MINIMUM_CLIPS}."
        ]
    differences = comparison.differences
    if len(others) > FEW:
        return [_overview(key, reference, [d for d in differences if d.metric == key]) for key in compared()]
    return [
        sentence
        for model in others
        for sentence in _conclusions(model.name, reference, [d for d in differences if d.model == model.name])
    ]


def remarks(comparison: Comparison) -> list[str]:
    """How the numbers came about, and what to keep in mind."""
    others, lines = comparison.models[1:], []
    if others and len(comparison.clips) >= stats.MINIMUM_CLIPS:
        adjusted = (
            f"; p is after Holm's correction for {len(others)} models, within each metric, intervals are without"
            if len(others) > 1
            else ""
        )
        lines.append(f"Intervals are of 95 %, by paired bootstrap over {len(comparison.clips)} clips{adjusted}.")
    if comparison.threshold == "leave-one-clip-out":
        lines.append("Each run counts from the confidence that is best for it on all other clips.")
    lines += [f"Left out: {counted(frames, 'frame')} of {clip}." for clip, frames in comparison.without.items()]
    lines += [_seeds(model) for model in comparison.models if len(model.runs) > 1]
    return lines + caution(comparison.models[0].runs[0]) + _moved(comparison.models)


def caution(result: RunResult) -> list[str]:
    """Warnings: only the first frames were run, much is of one clip, or blurred and sharp frames are not aligned."""
    return _limited(result) + _of_one_clip(result) + _shifted(result)


def _limited(result: RunResult) -> list[str]:
    """The first frames of a set are no sample of it."""
    limit = result.spec.limit
    return [f"Caution: these are the first {limit} frames (--limit): no sample of the whole set."] if limit else []


def _shifted(result: RunResult) -> list[str]:
    """Of frames that are not aligned: every box is moved against the reference, and no deblurer can help that."""
    shift = result.environment.get("shift_px", 0.0)
    if shift <= alignment.LARGEST_PX:
        return []
    return [
        f"Caution: blurred frames lie {shift:.1f} px from the sharp ones, in the mean: boxes are moved, and PSNR and"
        " SSIM are too low, whatever a deblurer does."
    ]


def _of_one_clip(result: RunResult) -> list[str]:
    """Intervals over clips rest on their being many and alike."""
    frames: Counter[str] = Counter()
    objects: Counter[str] = Counter()
    for score in result.scores:
        frames[score.clip] += 1
        objects[score.clip] += score.tp + score.fn
    [(largest, share)] = (objects if objects.total() else frames).most_common(1) or [("", 0)]
    if len(frames) < 2 or share <= (objects.total() or frames.total()) / 3:
        return []
    return [
        f"Caution: {frames[largest]} of {frames.total()} frames and {objects[largest]} of {objects.total()} objects are"
        f" of one clip, {largest}. Where chance leaves it out, scores differ much: intervals are lopsided, and may be"
        f" too narrow. `detbench compare RUN... --without {largest}` leaves it out."
    ]


def _cells(row: Mapping[str, Any]) -> list[str]:
    """A row of :func:`cells`."""
    shown = metric(row["metric"])

    def text(key: str, form: str) -> str:
        return "-" if row[key] is None else form.format(row[key])

    interval = "no interval" if row["low"] is None else f"[{row['low']:+.3g}, {row['high']:+.3g}]"
    return [
        row["model"],
        shown.heading,
        text("value", shown.form),
        text("seed_deviation", shown.form),
        text("reference_value", shown.form),
        text("difference", "{:+.3g}"),
        interval,
        text("p", "{:.4f}"),
        text("p_holm", "{:.4f}"),
    ]


def _conclusions(model: str, reference: str, found: Sequence[Difference]) -> list[str]:
    """A sentence for each difference that was shown, one for those that were not, and one for what has no interval."""
    lines, unsure, mute = [], [], []
    for difference in found:
        of, gain = metric(difference.metric), difference.interval
        p = "p < 0.001" if difference.p_holm < 0.001 else f"p = {difference.p_holm:.3f}"
        shown = f"{of.heading} {gain.format(of.form)}, {p}"
        if difference.p_holm < LEVEL:
            verb = of.more if gain.low > 0 else of.less
            lines.append(f"{model} {verb} than {reference}: {shown}.")
        elif np.isnan(difference.p_holm):
            mute.append(of.heading)
        else:
            unsure.append(shown)
    if unsure:
        lines.append(f"Not known whether {model} and {reference} differ: {'; '.join(unsure)}.")
    if mute:
        why = "it is infinite where a frame equals the sharp one"
        lines.append(f"{model} and {reference} cannot be compared in {', '.join(mute)}: {why}.")
    return lines


def _overview(key: str, reference: str, found: Sequence[Difference]) -> str:
    """One sentence on one metric of many models: which are above the reference, which below, and which are not sure."""
    of = metric(key)
    parts: dict[str, list[str]] = {"higher": [], "lower": [], "not known": [], "no comparison possible": []}
    for difference in found:
        gain = difference.interval
        shown = f"{difference.model} {gain.format(of.form)}"
        if difference.p_holm < LEVEL:
            parts["higher" if gain.low > 0 else "lower"].append(shown)
        elif np.isnan(difference.p_holm):
            parts["no comparison possible"].append(difference.model)
        else:
            parts["not known"].append(difference.model)
    unsure = parts["not known"]
    if len(unsure) > MANY:
        parts["not known"] = [f"{'all' if len(unsure) == len(found) else 'the other'} {len(unsure)}"]
    groups = "; ".join(f"{word}: {', '.join(models)}" for word, models in parts.items() if models)
    return f"{of.heading} against {reference}'s: {groups}."


def _seeds(model: Model) -> str:
    """How much the seeds of a model matter, in words."""
    values = [
        f"{of.heading} {of.form.format(by.mean())} \N{PLUS-MINUS SIGN} {of.form.format(by.std(ddof=1))}"
        for key, of in compared().items()
        if np.isfinite(by := model.by_seed(key)).all()
    ]
    return (
        f"{model.name} over {len(model.runs)} seeds (mean \N{PLUS-MINUS SIGN} standard deviation): {', '.join(values)}."
    )


def _moved(models: Sequence[Model]) -> list[str]:
    """A warning for each model whose reference objects are not the first's, as with other versions of packages."""
    objects = [model.frames.counts.objects for model in models]
    moved = [(objects[0][:1] != of_model).any(axis=0).sum() for of_model in objects]
    return [
        f"Caution: the detector saw other objects in the sharp frames when {model.name} was run than when"
        f" {models[0].name} was ({counted(int(frames), 'frame')}): were packages updated between? Run both again."
        for model, frames in zip(models, moved, strict=True)
        if frames
    ]
