"""Runs on the same frames → what differs between them, and how sure that is.

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

from detbench import metrics, stats, store, thresholds
from detbench.counts import Counts
from detbench.lineup import labels, role, shown
from detbench.metrics import Sums
from detbench.signature import Signature
from detbench.types import DetbenchError, FrameScore, RunResult

SAME = (
    *("dataset_hash", "limit", "skipped", "noise", "classes", "truth_hash"),
    *("detector_hash", "conf", "nms_iou", "imgsz", "match_iou"),
)
"""Fields of a run's spec that must agree for its numbers to be compared with another's."""

LEVEL = 0.05
"""A difference is called one when its p-value, after Holm's correction, is below this."""


@dataclass(frozen=True, eq=False)
class Model:
    """One run, or several that differ in nothing but their seed.

    Attributes:
        name: unique within a comparison.
        runs: one a seed.
        frames: (seeds, frames) the numbers of each frame, all runs' frames in the same order.
    """

    name: str
    runs: tuple[RunResult, ...]
    frames: Sums

    def value(self, metric: str) -> float:
        """A metric over all frames of all seeds."""
        return float(metrics.metric(metric).of(Sums(self.frames.values.sum(axis=(0, 1)))))

    def by_seed(self, metric: str) -> NDArray[np.float64]:
        """(seeds,) a metric over all frames, of each seed."""
        return metrics.metric(metric).of(Sums(self.frames.values.sum(axis=1)))


@dataclass(frozen=True)
class Difference:
    """A model against the reference, in one metric.

    Attributes:
        model: its name.
        metric: a key of :func:`detbench.metrics.compared`.
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
            metrics.plain(_row(model, key, self.models[0], found.get((model.name, key)), self.threshold))
            for model in self.models
            for key in metrics.compared()
        ]


def compare(
    results: Sequence[RunResult],
    threshold: Literal["run", "leave-one-clip-out"] = "run",
    without: Collection[str] = (),
    resamples: int = 10_000,
) -> Comparison:
    """Compare runs on the same frames with the first of them.

    Frames are paired by id. Runs that differ in nothing but their seed are gathered into one model: their counts are
    summed, and their PSNR and SSIM averaged, frame by frame. The intervals then say how sure a difference is over
    clips, with these seeds; how much the seeds matter is given beside them.

    Args:
        results: the first is what the others are compared with; the same run counts once.
        threshold: which detections count. ``run``: those from the runs' own ``conf`` on. ``leave-one-clip-out``: each
            model's from the confidence that is best for it on all other clips
            (:func:`detbench.thresholds.leave_one_clip_out`), so that models are not ranked on one arbitrary confidence.
            That reads the runs' detections and wants them kept down to a low score.
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
    frames_of = Counter(score.clip for score in results[0].scores)
    if unknown := [clip for clip in without if clip not in frames_of]:
        names, more = sorted(frames_of), " ..." if len(frames_of) > 5 else ""
        raise DetbenchError(f"There is no clip {unknown[0]} to leave out: there are {', '.join(names[:5])}{more}.")
    if not frames_of.keys() - set(without):
        raise DetbenchError("There is nothing to compare without all clips.")
    whole = results
    results = [replace(r, scores=tuple(score for score in r.scores if score.clip not in without)) for r in whole]
    order = [score.id for score in results[0].scores]
    clips = [score.clip for score in results[0].scores]
    frames = [Sums.of(in_order(result, order)) for result in results]
    if threshold == "leave-one-clip-out":
        chosen = [_other_clips_counts(result, order) for result in whole]
        frames = [
            of_run.replaced(tp=counts.tp, fp=counts.fp, fn=counts.fn)
            for of_run, counts in zip(frames, chosen, strict=True)
        ]

    gathered = _gather(results)
    names = _names([results[members[0]] for members in gathered])
    models = tuple(
        Model(name, tuple(results[i] for i in members), Sums(np.stack([frames[i].values for i in members])))
        for name, members in zip(names, gathered, strict=True)
    )
    by_frame = np.stack([model.frames.values.sum(axis=0) for model in models], axis=1)
    drawn = Sums(stats.resampled_sums(by_frame, clips, resamples))
    differences = tuple(_differences(models, Sums(by_frame.sum(axis=0)), drawn))
    return Comparison(models, differences, Counter(clips), threshold, {clip: frames_of[clip] for clip in without})


def in_order(result: RunResult, order: Sequence[str]) -> list[FrameScore]:
    """A run's scores of the frames of these ids, in their order."""
    scores = {score.id: score for score in result.scores}
    return [scores[id] for id in order]


def mismatches(a: RunResult, b: RunResult) -> list[str]:
    """Why two runs cannot be compared: each thing that differs, with both values, the first run's first."""
    named = {"dataset_hash": "dataset", "detector_hash": "detector"}
    differing = []
    for field in (*SAME, "input"):
        mine, its = getattr(a.spec, field), getattr(b.spec, field)
        if mine != its:
            words = [
                f"{value[:8] or 'unknown'} of {Path(getattr(spec, named[field])).name}"
                if field in named
                else shown(spec, field)
                if field == "skipped"
                else value
                for value, spec in ((mine, a.spec), (its, b.spec))
            ]
            differing.append(f"{field} ({words[0]} and {words[1]})")
    conventions = [Signature.of(result).conventions for result in (a, b)]
    if conventions[0] != conventions[1]:
        differing.append(f"how scores are computed ({conventions[0]} and {conventions[1]})")
    ids = [[score.id for score in result.scores] for result in (a, b)]
    if not differing and sorted(ids[0]) != sorted(ids[1]):
        lonely = sorted(set(ids[0]) ^ set(ids[1]))
        more = " ..." if len(lonely) > 5 else ""
        differing.append(f"frames ({len(ids[0])} and {len(ids[1])}; in one only: {', '.join(lonely[:5])}{more})")
    return differing


def _other_clips_counts(result: RunResult, order: Sequence[str]) -> Counts:
    """A run's (frames,) counts from thresholds chosen on other clips, of some of its frames in the given order."""
    detections = store.read_detections(result.path)
    counts = thresholds.leave_one_clip_out(
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
    named = labels(firsts)
    names = [named[result.path] for result in firsts]
    return [
        f"{name} ({result.path})" if names.count(name) > 1 else name for name, result in zip(names, firsts, strict=True)
    ]


def _differences(models: Sequence[Model], whole: Sums, drawn: Sums) -> list[Difference]:
    """All differences, from the sums (models,) of all frames and (resamples, models) of the resamples."""
    intervals = {}
    compared = metrics.compared()
    for key, metric in compared.items():
        values, of_draws = metric.of(whole).tolist(), metric.of(drawn)
        intervals[key] = [
            stats.interval(values[i] - values[0], of_draws[:, i] - of_draws[:, 0]) for i in range(1, len(models))
        ]
    adjusted = {key: stats.holm([found.p for found in intervals[key]]).tolist() for key in compared}
    return [
        Difference(model.name, key, intervals[key][i], adjusted[key][i])
        for i, model in enumerate(models[1:])
        for key in compared
    ]


def _row(model: Model, key: str, reference: Model, found: Difference | None, threshold: str) -> dict[str, Any]:
    """A row of :meth:`Comparison.rows`."""
    seeds = model.by_seed(key)
    row = {
        "model": model.name,
        "role": role(model.runs[0].spec),
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
