"""The publications' claims and our own, tested on our runs: what was printed, what we find, and a verdict.

A claim says that one deblurer is better than another in some measures. Ours are paired differences with 95 %
intervals over clips, from the same frames. Such an interval tells how far the frames matter; how far another training
of the same recipe would differ is told where there are further ones (:mod:`detbench.retrained`).
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detbench import quality, retrained, runner, stats
from detbench.compare import compare
from detbench.data import images
from detbench.lineup import FLOOR
from detbench.metrics import metric
from detbench.report.tables import caveat, printed
from detbench.results import Results
from detbench.signature import Signature
from detbench.types import DetectorSpec, RunResult, RunSpec

HOLDS, FAILS, UNDECIDED, UNTESTED = "holds", "does not hold", "undecided at this budget", "not tested"
SAME = "no difference that matters"
"""Verdicts: the interval lies above 0, below 0, around it; a deblurer has no weights; or all of the interval is too
near to 0 to matter."""


@dataclass(frozen=True)
class Finding:
    """One deblurer against another, in one measure, with one detector, on the frames with or without noise.

    Attributes:
        better: the deblurer that is claimed to be better.
        worse: the other.
        measure: key of a metric.
        noise: variance of the noise on the blurred frames.
        published: the two numbers as they were printed, in this order; empty if none were.
        ours: the two means or ratios over all frames; empty if one of the deblurers has no weights.
        gain: the first less the second (the second less the first where less is better), with its interval.
        margin: where it is claimed that the two are about equal, the largest difference that is still about equal.
        detector: which looked, and at which ``imgsz``.
        signature: what the numbers must be quoted with; empty where there are none.
        retrained: the same difference between two further trainings, of one seed each; empty if there are none.
    """

    better: str
    worse: str
    measure: str
    noise: float
    published: tuple[str, ...] = ()
    ours: tuple[float, ...] = ()
    gain: stats.Interval | None = None
    margin: float | None = None
    detector: tuple[str, int] = (RunSpec.detector, DetectorSpec.imgsz)
    signature: str = ""
    retrained: tuple[float, ...] = ()

    @property
    def over_trainings(self) -> stats.Interval | None:
        """The mean difference of the further trainings; None if there are none."""
        return stats.student(self.retrained) if self.retrained else None

    @property
    def verdict(self) -> str:
        """What this says of the claim: undecided where further trainings say otherwise than the frames do."""
        if self.gain is None:
            return UNTESTED
        found = self._judged(self.gain)
        again = self.over_trainings
        return found if again is None or self._judged(again) == found else UNDECIDED

    def _judged(self, gain: stats.Interval) -> str:
        """What an interval says."""
        if self.margin is not None:
            inside = max(-gain.low, gain.high) <= self.margin
            outside = max(gain.low, -gain.high) > self.margin
            return HOLDS if inside else FAILS if outside else UNDECIDED
        if max(-gain.low, gain.high) < min_effect(self.measure):
            return SAME
        return HOLDS if gain.low > 0 else FAILS if gain.high < 0 else UNDECIDED


@dataclass(frozen=True)
class Claim:
    """What a publication claims, or we do, and what we find.

    Attributes:
        key: short name.
        says: the claim in our words.
        source: where it is claimed; empty for a claim of our own.
        findings: one for each pair, measure, detector and noise.
        notes: how it is read here, and why the published numbers do not compare with ours to the digit.
    """

    key: str
    says: str
    source: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Of the deblurers that it is about, each once."""
        return list(dict.fromkeys(name for f in self.findings for name in (f.better, f.worse)))

    @property
    def verdict(self) -> str:
        """A claim holds if all of it does; it does not hold if any part of it does not."""
        verdicts = {finding.verdict for finding in self.findings}
        for verdict in (FAILS, UNTESTED, UNDECIDED, SAME):
            if verdict in verdicts:
                return verdict
        return HOLDS


def verify(results: Results, base: RunSpec, runnable: Collection[str]) -> list[Claim]:
    """Test all claims, running what is not run yet.

    Args:
        results: where runs come from.
        base: dataset, detector and settings; its deblurer and noise do not count.
        runnable: names of the deblurers that can run.

    Raises:
        DetbenchError: something went wrong in a run.
    """
    there = {*runnable, FLOOR}
    settled = results.run(replace(base, deblurer=FLOOR)).spec
    claims = []
    for entry in _entries():
        findings = []
        table = entry.get("table")
        for detector, names, (part, noise), measure in itertools.product(
            map(tuple, entry.get("detectors", [(settled.detector, settled.imgsz)])),
            entry["pairs"],
            entry["parts"].items(),
            entry["measures"],
        ):
            published = tuple(printed(table, part, name, measure) for name in names) if table else ()
            margin = entry.get("margins", {}).get(measure)
            finding = Finding(names[0], names[1], measure, noise, published, margin=margin, detector=detector)
            if there.issuperset(names):
                asked = replace(base, noise=noise, detector=detector[0], imgsz=detector[1])
                better, worse = (results.run(replace(asked, deblurer=name)) for name in names)
                signature = str(Signature.of(better))
                again = retrained.differences(names[0], names[1], measure, signature)
                if metric(measure).better == "lower":
                    first, second = (
                        grid_artefacts(results, replace(base, deblurer=name, noise=noise)) for name in names
                    )
                    again = tuple(-difference for difference in again)
                    ours, gain = _less((first, second), [score.clip for score in better.scores])
                else:
                    ours, gain = _more((better, worse), measure)
                finding = replace(finding, ours=ours, gain=gain, signature=signature, retrained=again)
            findings.append(finding)
        notes = [entry["note"]] if "note" in entry else []
        if table:
            notes.append(f"Published numbers and ours do not compare to the digit: {caveat(table)}.")
        claims.append(Claim(entry["key"], entry["says"], entry.get("source", ""), tuple(findings), tuple(notes)))
    return claims


def min_effect(measure: str) -> float:
    """The least difference in a measure that matters."""
    return metric(measure).min_effect or 0.0


def _more(pair: tuple[RunResult, RunResult], measure: str) -> tuple[tuple[float, ...], stats.Interval]:
    """The first's and the second's value of a metric, and the first's less the second's."""
    better, worse = pair
    compared = compare([worse, better])
    (found,) = [difference for difference in compared.differences if difference.metric == measure]
    second, first = compared.models
    return (first.value(measure), second.value(measure)), found.interval


def _less(
    values: tuple[NDArray[np.float64], NDArray[np.float64]], clips: Sequence[str]
) -> tuple[tuple[float, ...], stats.Interval]:
    """The means of two deblurers' (frames,) values, and the second's less the first's."""
    first, second = (np.stack([value, np.ones_like(value)], axis=1) for value in values)
    ours = tuple(float(value.mean()) for value in values)
    return ours, stats.bootstrap_difference(second, first, stats.mean, clips)


def grid_artefacts(results: Results, spec: RunSpec) -> NDArray[np.float64]:
    """(frames,) grid artefacts in dB of what a run restores, measured once (:func:`detbench.quality.grid_db`)."""
    weights = results.run(spec).spec.deblurer_hash[:8]
    key = f"grid artefacts of {spec.deblurer} {weights}{f', noise {spec.noise:g}' * bool(spec.noise)}"
    return results.measured(key, lambda: _grid(spec))


def _grid(spec: RunSpec) -> NDArray[np.float64]:
    """(frames,) the same, measured."""
    frames = runner.restored_frames(spec)
    return np.array([quality.grid_db(frame, images.read_image(pair.sharp)) for pair, frame in frames])


def _entries() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = tomllib.loads((files("detbench") / "claims.toml").read_text("utf-8"))["claim"]
    return entries
