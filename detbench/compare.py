"""Runs on the same frames → what differs between them, how sure that is, and what may be concluded.

The differences of all models in all metrics come from one paired bootstrap over clips, so they share its draws.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from detbench import stats, store, table
from detbench.match import match
from detbench.types import DetbenchError, Detections, RunResult

SAME = ("dataset_hash", "limit", "detector_hash", "conf", "nms_iou", "imgsz", "match_iou", "noise")
"""Fields of a run's spec that must agree for its numbers to be compared with another's."""

LEVEL = 0.05
"""A difference is called one when its p-value, after Holm's correction, is below this."""

FEW = 3
"""Of more models than this, it is said metric by metric what can be concluded, not model by model."""

THRESHOLDS: NDArray[np.float64] = np.arange(1, 100) / 100
"""Confidences that are tried on the other clips."""

HEADINGS = ("", "", "value", "SD (seeds)", "reference", "difference", "95 % interval", "p", "p (Holm)")
"""Of :meth:`Comparison.cells`."""


@dataclass(frozen=True)
class Metric:
    """What is compared: a function of the sums of :func:`scores`.

    Attributes:
        heading: what it is called.
        form: how its values are written.
        statistic: from (..., 6) sums to (...); more is better.
        min_effect: the smallest difference that matters. A hundredth of F1 is less than one object in a hundred;
            0.05 dB and 0.002 are below what anybody can see, and yet many times the differences between processors.
        more: what a run does that has more of it.
        less: what a run does that has less.
    """

    heading: str
    form: str
    statistic: stats.Statistic
    min_effect: float
    more: str
    less: str


METRICS = {
    "f1": Metric(
        "F1",
        "{:.3f}",
        lambda sums: stats.f1(sums[..., :3]),
        0.01,
        "lets the detector see better",
        "lets the detector see worse",
    ),
    "recall": Metric(
        "recall", "{:.3f}", lambda sums: stats.recall(sums[..., :3]), 0.01, "finds more objects", "finds fewer objects"
    ),
    "precision": Metric(
        "precision",
        "{:.3f}",
        lambda sums: stats.precision(sums[..., :3]),
        0.01,
        "has a smaller share of false detections",
        "has a larger share of false detections",
    ),
    "psnr_db": Metric(
        "PSNR dB",
        "{:.2f}",
        lambda sums: stats.mean(sums[..., [3, 5]]),
        0.05,
        "is closer to the sharp frames",
        "is farther from the sharp frames",
    ),
    "ssim": Metric(
        "SSIM",
        "{:.4f}",
        lambda sums: stats.mean(sums[..., [4, 5]]),
        0.002,
        "keeps more of the sharp frames' structure",
        "keeps less of the sharp frames' structure",
    ),
}
"""Everything that is compared, by key."""


@dataclass(frozen=True, eq=False)
class Model:
    """One run, or several that differ in nothing but their seed.

    Attributes:
        name: unique within a comparison.
        runs: one a seed.
        values: (seeds, frames, 6) float64, as from :func:`scores`, all runs' frames in the same order.
    """

    name: str
    runs: tuple[RunResult, ...]
    values: NDArray[np.float64]

    def value(self, metric: str) -> float:
        """A metric over all frames of all seeds."""
        return float(METRICS[metric].statistic(self.values.sum(axis=(0, 1))))

    def by_seed(self, metric: str) -> NDArray[np.float64]:
        """(seeds,) a metric over all frames, of each seed."""
        return METRICS[metric].statistic(self.values.sum(axis=1))


@dataclass(frozen=True)
class Difference:
    """A model against the reference, in one metric.

    Attributes:
        model: its name.
        metric: a key of :data:`METRICS`.
        interval: of model less reference, paired and clustered by clip.
        p_holm: its p-value, adjusted for the number of models compared in this metric.
    """

    model: str
    metric: str
    interval: stats.Interval
    p_holm: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """Models against the first of them.

    Attributes:
        models: the first is the reference.
        differences: of each other model in each metric, in this order.
        clips: how many frames each clip has.
        threshold: ``run``, or ``leave-one-clip-out``: see :func:`compare`.
        without: how many frames were left out of each clip that was.
    """

    models: tuple[Model, ...]
    differences: tuple[Difference, ...]
    clips: Mapping[str, int]
    threshold: str
    without: Mapping[str, int]

    def rows(self) -> list[dict[str, Any]]:
        """One row a model and metric, as plain data for JSON or CSV; None where there is no value.

        The reference's own rows come first. ``value`` is over all seeds; ``seed_mean`` and ``seed_deviation`` (the
        sample's standard deviation) are of the seeds' own values.
        """
        found = {(d.model, d.metric): d for d in self.differences}
        return [
            table.plain(_row(model, key, self.models[0], found.get((model.name, key)), self.threshold))
            for model in self.models
            for key in METRICS
        ]

    def cells(self) -> list[list[str]]:
        """The differences as text, under :data:`HEADINGS`."""
        rows = [row for row in self.rows() if row["model"] != self.models[0].name]
        return [_cells(row) for row in rows]

    def sentences(self) -> list[str]:
        """What can be concluded, in words, and what cannot; then what to keep in mind."""
        return self.conclusions() + self.remarks()

    def conclusions(self) -> list[str]:
        """What can be concluded and what cannot: of a few models one by one, of many metric by metric."""
        reference, others = self.models[0].name, self.models[1:]
        if not others:
            return [f"There is nothing to compare {reference} with."]
        if len(self.clips) < stats.MINIMUM_CLIPS:
            return [
                f"Not enough data: {_count(len(self.clips), 'clip')}, and a conclusion wants {stats.MINIMUM_CLIPS}."
            ]
        if len(others) > FEW:
            return [_overview(key, reference, [d for d in self.differences if d.metric == key]) for key in METRICS]
        return [
            told
            for model in others
            for told in _conclusions(model.name, reference, [d for d in self.differences if d.model == model.name])
        ]

    def remarks(self) -> list[str]:
        """How the numbers came about, and what to keep in mind."""
        others, said = self.models[1:], []
        if others and len(self.clips) >= stats.MINIMUM_CLIPS:
            adjusted = (
                f"; p is after Holm's correction for {len(others)} models, within each metric, intervals are without"
                if len(others) > 1
                else ""
            )
            said.append(f"Intervals are of 95 %, by paired bootstrap over {len(self.clips)} clips{adjusted}.")
        if self.threshold == "leave-one-clip-out":
            said.append("Each run counts from the confidence that is best for it on all other clips.")
        said += [f"Left out: {_count(frames, 'frame')} of {clip}." for clip, frames in self.without.items()]
        said += [_seeds(model) for model in self.models if len(model.runs) > 1]
        return said + caution(self.models[0].runs[0]) + _moved(self.models)


def compare(
    results: Sequence[RunResult],
    threshold: Literal["run", "leave-one-clip-out"] = "run",
    without: Collection[str] = (),
    resamples: int = 10_000,
) -> Comparison:
    """Compare runs on the same frames with the first of them.

    Frames are paired by id. Runs that differ in nothing but their seed are gathered into one model: their counts are
    summed, and their PSNR and SSIM averaged, frame by frame. The intervals then say how sure a difference is over
    clips, with these seeds; how much the seeds matter is told beside them.

    Args:
        results: the first is what the others are compared with; the same run counts once.
        threshold: which detections count. ``run``: those from the runs' own ``conf`` on. ``leave-one-clip-out``: each
            model's from the confidence that is best for it on all other clips (:func:`leave_one_clip_out`), so that
            models are not ranked on one arbitrary confidence. That reads the runs' detections and wants them kept down
            to a low score.
        without: clips to leave out, such as one that holds most of the objects; ``leave-one-clip-out`` chooses on them
            all the same.
        resamples: of the bootstrap.

    Returns:
        The differences, with p-values adjusted by Holm's method over the models, for each metric.

    Raises:
        DetbenchError: no runs; runs that cannot be compared (the message names what differs in which); no such clip to
            leave out, or nothing left; detections that cannot be read, or only one clip, with ``leave-one-clip-out``.
    """
    if not results:
        raise DetbenchError("There is nothing to compare: give the directories of finished runs.")
    results = list({result.path: result for result in results}.values())
    for result in results[1:]:
        if differing := mismatches(results[0], result):
            raise DetbenchError(
                f"{result.path} cannot be compared with {results[0].path}: they differ in {'; '.join(differing)}."
                " Give runs on the same frames with the same detector and settings."
            )
    frames = Counter(score.clip for score in results[0].scores)
    if unknown := [clip for clip in without if clip not in frames]:
        names, more = sorted(frames), " ..." if len(frames) > 5 else ""
        raise DetbenchError(f"There is no clip {unknown[0]} to leave out: there are {', '.join(names[:5])}{more}.")
    if not frames.keys() - set(without):
        raise DetbenchError("There is nothing to compare without all clips.")
    whole = results
    results = [replace(r, scores=tuple(score for score in r.scores if score.clip not in without)) for r in whole]
    order = [score.id for score in results[0].scores]
    clips = [score.clip for score in results[0].scores]
    values = [scores(result, order) for result in results]
    if threshold == "leave-one-clip-out":
        for result, of_run in zip(whole, values, strict=True):
            of_run[:, :3] = _other_clips_counts(result, order)

    gathered = _gather(results)
    names = _names([results[members[0]] for members in gathered])
    models = tuple(
        Model(name, tuple(results[i] for i in members), np.stack([values[i] for i in members]))
        for name, members in zip(names, gathered, strict=True)
    )
    summed = np.stack([model.values.sum(axis=0) for model in models], axis=1)
    sums = stats.resampled_sums(summed, clips, resamples)
    differences = tuple(_differences(models, summed.sum(axis=0), sums))
    return Comparison(models, differences, Counter(clips), threshold, {clip: frames[clip] for clip in without})


def scores(result: RunResult, order: Sequence[str] | None = None) -> NDArray[np.float64]:
    """What the metrics sum up, one row a frame: columns tp, fp, fn, PSNR in dB, SSIM, 1.

    Args:
        result: a run.
        order: ids of all its frames, in the order that the rows shall have. None keeps the run's.

    Returns:
        (frames, 6) float64.
    """
    rows = {s.id: (s.tp, s.fp, s.fn, s.psnr_db, s.ssim, 1) for s in result.scores}
    return np.array([rows[id] for id in order or rows], np.float64).reshape(-1, 6)


def caution(result: RunResult) -> list[str]:
    """A warning if much of what is compared is of one clip: intervals over clips rest on their being many and alike."""
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
        f" too narrow. `detbench compare --without {largest}` leaves it out."
    ]


def mismatches(a: RunResult, b: RunResult) -> list[str]:
    """Why two runs cannot be compared: each thing that differs, with both values, the first run's first."""
    named = {"dataset_hash": "dataset", "detector_hash": "detector"}
    told = []
    for field in (*SAME, "input"):
        mine, its = getattr(a.spec, field), getattr(b.spec, field)
        if mine != its:
            words = [
                f"{value[:8] or 'unknown'} of {Path(getattr(spec, named[field])).name}" if field in named else value
                for value, spec in ((mine, a.spec), (its, b.spec))
            ]
            told.append(f"{field} ({words[0]} and {words[1]})")
    conventions = [_conventions(result) for result in (a, b)]
    if conventions[0] != conventions[1]:
        told.append(f"how scores are computed ({conventions[0]} and {conventions[1]})")
    ids = [[score.id for score in result.scores] for result in (a, b)]
    if not told and sorted(ids[0]) != sorted(ids[1]):
        lonely = sorted(set(ids[0]) ^ set(ids[1]))
        more = " ..." if len(lonely) > 5 else ""
        told.append(f"frames ({len(ids[0])} and {len(ids[1])}; in one only: {', '.join(lonely[:5])}{more})")
    return told


def counts_by_threshold(
    seen: Sequence[Detections], reference: Sequence[Detections], match_iou: float, thresholds: NDArray[Any]
) -> NDArray[np.int64]:
    """Count true and false detections and missed objects of each frame at each confidence threshold.

    COCO's matching is greedy in the order of falling score, so what a detection matches depends on those above it
    only. One matching, of all detections, therefore serves all thresholds.

    Args:
        seen: detections of each frame, down to a low score.
        reference: what counts as true in each frame, whatever its score.
        match_iou: IoU from which a detection is the reference object, in [0, 1].
        thresholds: (T,) rising; a detection counts when its score is at least this.

    Returns:
        (frames, T, 3) tp, fp, fn.
    """
    thresholds = np.asarray(thresholds, np.float32)  # as scores are: a score of 0.7 reaches a threshold of 0.7
    # How many detections, false and true, reach so many thresholds; summed up from above, how many reach each.
    reaching = np.zeros((len(seen), len(thresholds) + 1, 2), np.int64)
    for frame, (found, objects) in enumerate(zip(seen, reference, strict=True)):
        matched = match(found, objects, match_iou) >= 0
        reached = np.searchsorted(thresholds, found.score, side="right")
        np.add.at(reaching[frame], (reached, matched.astype(np.int64)), 1)
    counts = reaching[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    objects_ = np.array([len(objects) for objects in reference], np.int64).reshape(-1, 1)
    return np.stack([counts[..., 1], counts[..., 0], objects_ - counts[..., 1]], axis=-1)


def leave_one_clip_out(
    seen: Sequence[Detections],
    reference: Sequence[Detections],
    clips: Sequence[str],
    match_iou: float,
    thresholds: NDArray[Any] = THRESHOLDS,
) -> NDArray[np.int64]:
    """Count each frame's detections from a confidence that was chosen without its clip ("leave one clip out").

    For each clip, that is the threshold with the best F1 over all frames of the other clips; of equal ones the lowest.

    Args:
        seen: detections of each frame, down to a low score.
        reference: what counts as true in each frame.
        clips: (frames,) the clip of each frame.
        match_iou: IoU from which a detection is the reference object, in [0, 1].
        thresholds: (T,) confidences to choose from, rising.

    Returns:
        (frames, 3) tp, fp, fn.

    Raises:
        DetbenchError: there is only one clip, so there are no others to choose on.
    """
    names, clip = np.unique(np.asarray(clips), return_inverse=True)
    if len(names) < 2:
        raise DetbenchError("A threshold cannot be chosen on other clips: there is only one. Compare at the runs' own.")
    counts = counts_by_threshold(seen, reference, match_iou, thresholds)
    by_clip = np.zeros((len(names), *counts.shape[1:]), np.int64)
    np.add.at(by_clip, clip, counts)
    others = by_clip.sum(axis=0) - by_clip
    best = stats.f1(others.astype(np.float64)).argmax(axis=1)
    chosen: NDArray[np.int64] = counts[np.arange(len(counts)), best[clip]]
    return chosen


def _other_clips_counts(result: RunResult, order: Sequence[str]) -> NDArray[np.int64]:
    """A run's (frames, 3) counts from thresholds chosen on other clips, of some of its frames in the given order."""
    detections = store.read_detections(result.path)
    counts = leave_one_clip_out(
        detections["restored"], detections["sharp"], [s.clip for s in result.scores], result.spec.match_iou
    )
    place = {score.id: i for i, score in enumerate(result.scores)}
    return counts[[place[id] for id in order]]


def _gather(results: Sequence[RunResult]) -> list[list[int]]:
    """Indices of the runs of each model; a seed that a model has already begins another."""
    models: list[tuple[str, set[int], list[int]]] = []
    for i, result in enumerate(results):
        key, seed = replace(result.spec, seed=0).hash8, result.spec.seed
        for known, seeds, members in models:
            if known == key and seed not in seeds:
                seeds.add(seed)
                members.append(i)
                break
        else:
            models.append((key, {seed}, [i]))
    return [members for _, _, members in models]


def _names(firsts: Sequence[RunResult]) -> list[str]:
    """A unique name for each model, from its first run: its label, with its path where that does not tell."""
    labels = table.labels(firsts)
    names = [labels[result.path] for result in firsts]
    return [
        f"{name} ({result.path})" if names.count(name) > 1 else name for name, result in zip(names, firsts, strict=True)
    ]


def _differences(models: Sequence[Model], whole: NDArray[np.float64], sums: NDArray[np.float64]) -> list[Difference]:
    """All differences, from the sums (models, 6) of all frames and (resamples, models, 6) of the resamples."""
    intervals = {}
    for key, metric in METRICS.items():
        values, drawn = metric.statistic(whole).tolist(), metric.statistic(sums)
        intervals[key] = [
            stats.interval(values[i] - values[0], drawn[:, i] - drawn[:, 0]) for i in range(1, len(models))
        ]
    adjusted = {key: stats.holm([found.p for found in intervals[key]]).tolist() for key in METRICS}
    return [
        Difference(model.name, key, intervals[key][i], adjusted[key][i])
        for i, model in enumerate(models[1:])
        for key in METRICS
    ]


def _row(model: Model, key: str, reference: Model, found: Difference | None, threshold: str) -> dict[str, Any]:
    """A row of :meth:`Comparison.rows`."""
    seeds = model.by_seed(key)
    row = {
        "model": model.name,
        "metric": key,
        "threshold": threshold,
        "value": model.value(key),
        "seeds": len(seeds),
        "seed_mean": float(seeds.mean()),
        "seed_deviation": float(seeds.std(ddof=1)) if len(seeds) > 1 else None,
    }
    if found is None:
        return row | dict.fromkeys(("reference", "reference_value", "difference", "low", "high", "p", "p_holm"))
    gain = found.interval
    return row | {
        "reference": reference.name,
        "reference_value": reference.value(key),
        "difference": gain.estimate,
        "low": gain.low,
        "high": gain.high,
        "p": gain.p,
        "p_holm": found.p_holm,
    }


def _cells(row: Mapping[str, Any]) -> list[str]:
    """A row of :meth:`Comparison.cells`."""
    metric = METRICS[row["metric"]]

    def told(key: str, form: str) -> str:
        return "-" if row[key] is None else form.format(row[key])

    interval = "no interval" if row["low"] is None else f"[{row['low']:+.3g}, {row['high']:+.3g}]"
    return [
        row["model"],
        metric.heading,
        told("value", metric.form),
        told("seed_deviation", metric.form),
        told("reference_value", metric.form),
        told("difference", "{:+.3g}"),
        interval,
        told("p", "{:.4f}"),
        told("p_holm", "{:.4f}"),
    ]


def _conclusions(model: str, reference: str, found: Sequence[Difference]) -> list[str]:
    """A sentence for each difference that was shown, one for those that were not, and one for what has no interval."""
    said, unsure, mute = [], [], []
    for difference in found:
        metric, gain = METRICS[difference.metric], difference.interval
        p = "p < 0.001" if difference.p_holm < 0.001 else f"p = {difference.p_holm:.3f}"
        told = f"{metric.heading} {gain.told(metric.form)}, {p}"
        if difference.p_holm < LEVEL:
            verb = metric.more if gain.low > 0 else metric.less
            said.append(f"{model} {verb} than {reference}: {told}.")
        elif np.isnan(difference.p_holm):
            mute.append(metric.heading)
        else:
            unsure.append(told)
    if unsure:
        said.append(f"No difference could be shown between {model} and {reference}: {'; '.join(unsure)}.")
    if mute:
        why = "it is infinite where a frame equals the sharp one"
        said.append(f"{model} and {reference} cannot be compared in {', '.join(mute)}: {why}.")
    return said


def _overview(key: str, reference: str, found: Sequence[Difference]) -> str:
    """One sentence on one metric of many models: which are above the reference, which below, and which are not sure."""
    metric = METRICS[key]
    parts: dict[str, list[str]] = {"higher": [], "lower": [], "no difference shown": [], "no comparison possible": []}
    for difference in found:
        gain = difference.interval
        told = f"{difference.model} {gain.told(metric.form)}"
        if difference.p_holm < LEVEL:
            parts["higher" if gain.low > 0 else "lower"].append(told)
        elif np.isnan(difference.p_holm):
            parts["no comparison possible"].append(difference.model)
        else:
            parts["no difference shown"].append(difference.model)
    told = "; ".join(f"{word}: {', '.join(models)}" for word, models in parts.items() if models)
    return f"{metric.heading} against {reference}'s: {told}."


def _seeds(model: Model) -> str:
    """How much the seeds of a model matter, in words."""
    told = [
        f"{metric.heading} {metric.form.format(by.mean())} \N{PLUS-MINUS SIGN} {metric.form.format(by.std(ddof=1))}"
        for key, metric in METRICS.items()
        if np.isfinite(by := model.by_seed(key)).all()
    ]
    return (
        f"{model.name} over {len(model.runs)} seeds (mean \N{PLUS-MINUS SIGN} standard deviation): {', '.join(told)}."
    )


def _moved(models: Sequence[Model]) -> list[str]:
    """A warning for each model whose reference objects are not the first's, as with other versions of packages."""
    objects = [model.values[:, :, [0, 2]].sum(axis=2) for model in models]  # found and missed
    moved = [(objects[0][:1] != of_model).any(axis=0).sum() for of_model in objects]
    return [
        f"Caution: the detector saw other objects in the sharp frames when {model.name} was run than when"
        f" {models[0].name} was ({_count(int(frames), 'frame')}): were packages updated between? Run both again."
        for model, frames in zip(models, moved, strict=True)
        if frames
    ]


def _conventions(result: RunResult) -> str:
    """The part of a run's signature that says how its scores are computed."""
    parts = str(result.environment.get("signature", "")).split("|")
    return "|".join(part for part in parts if part.startswith(("p,r,f1", "psnr")))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
