"""The publications' claims and our own, tested on our runs: what was printed, what we find, and a verdict.

A claim says that one deblurer is better than another in some measures. Ours are paired differences with 95 %
intervals over clips, from the same frames. Such an interval tells how far the frames matter; how far another training
of the same recipe would differ is told where there are further ones (:mod:`detbench.retrained`).
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detbench import quality, registry, retrained, runner, stats
from detbench.compare import compare
from detbench.data import images
from detbench.files import write_file
from detbench.gan.recipe import Recipe
from detbench.lineup import FLOOR
from detbench.metrics import metric
from detbench.report import origins
from detbench.report.conclusions import caution
from detbench.report.formats import Column, Part, Table, markdown
from detbench.report.retrained import tables
from detbench.report.tables import caveat, printed
from detbench.results import Results
from detbench.signature import Signature
from detbench.types import DetectorSpec, RunResult, RunSpec
from detbench.weights import read_record

HOLDS, FAILS, UNDECIDED, UNTESTED = "holds", "does not hold", "undecided at this budget", "not tested"
SAME = "no difference that matters"
"""Verdicts: the interval lies above 0, below 0, around it; a deblurer has no weights; or all of the interval is too
near to 0 to matter."""


@dataclass(frozen=True)
class Finding:
    """One deblurer against another, in one measure, before one detector, on the frames with or without noise.

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
        if max(-gain.low, gain.high) < _min_effect(self.measure):
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


def write(target: Path, results: Results, base: RunSpec, runnable: Collection[str]) -> list[Claim]:
    """Test all claims, and write the page that tells of it.

    Args:
        target: the page.
        results: as for :func:`verify`, and so are ``base`` and ``runnable``.
        base: dataset, detector and settings.
        runnable: names of the deblurers that can run.

    Returns:
        What was found.
    """
    found = verify(results, base, runnable)
    write_file(target, page(found, results.run(replace(base, deblurer=FLOOR))))
    return found


def page(claims: Sequence[Claim], floor: RunResult) -> str:
    """``reports/claims.md``.

    Args:
        claims: as tested.
        floor: a run with the settings of the tests.
    """
    parts = [
        _intro(floor),
        markdown(summary(claims)),
    ]
    for claim in claims:
        source = f"Claimed in: {claim.source}." if claim.source else "A claim of this project, of no publication."
        parts.append(f"## {claim.says}\n\n{source} **Verdict: {claim.verdict}.**\n")
        parts.append(markdown(_table(claim)))
    parts.append(_budget(claims))
    if again := retrained.scores():
        parts += [_TRAINED_AGAIN, *map(markdown, tables(again))]
    return "\n".join(parts)


_TRAINED_AGAIN = """## Trained again

Means of several trainings, and the least and the greatest of them. The trainings of one recipe differ in nothing but
their seed; all of a table begin with the same weights, which ship. They are scored as the leaderboard's are, and none
of them ships. Made by `python -m detbench.gan.retrain`.
"""


_OVER_TRAININGS = """How far the *trainings* do stands beside them where recipes were
trained again with other seeds, as the mean difference and Student's 95 % interval of it; a row of which the two say
different things is undecided. Elsewhere a recipe is judged by one training, and another may differ by more."""

_ONE_TRAINING = "Each recipe is judged by one training with one seed, and another\nmay differ by more."


def _intro(floor: RunResult) -> str:
    """How to read the page."""
    cautions = "".join(f"\n{text}\n" for text in caution(floor))
    return f"""# The publications' claims and ours, tested

Made by `detbench claims`, which makes it again. Differences are paired, of the first deblurer less the second, with
95 % intervals by bootstrap over clips. A row of a table

- makes *no difference that matters* where its interval is within {_min_effect("f1"):g} of F1, recall or precision,
  {_min_effect("psnr_db"):g} dB of PSNR, {_min_effect("ssim"):g} of SSIM or {_min_effect("grid_db"):g} dB of grid;
- else *holds* where the interval lies above 0, *does not hold* where it lies below, and is *undecided at this budget*
  where 0 is in it (where two are claimed to be about equal: inside a margin, beyond it, or across its ends);
- is *not tested* where a deblurer has no weights.

Intervals tell how far the *frames* matter. {_OVER_TRAININGS if retrained.scores() else _ONE_TRAINING}

A claim has its rows' least favourable verdict: *does not hold*, before *not tested*, *undecided*, *no difference that
matters* and *holds*.

Intervals are not corrected for the number of claims, as the leaderboard's p-values are for the number of deblurers:
what is shown here may not be there. The frames are ours, not the publications', and so are the sizes of the networks
and of their trainings ([below](#what-was-compared)): what does not hold here may hold there.
{cautions}"""


def summary(claims: Sequence[Claim]) -> Table:
    """One row a claim, the publications' above our own."""
    parts = []
    for heading, published in (("the publications'", True), ("this project's", False)):
        rows = tuple((claim.key, claim.says, claim.verdict) for claim in claims if bool(claim.source) == published)
        parts += [Part(rows, heading, ranked=False)] if rows else []
    return Table("Claims", (Column("claim"), Column("in words"), Column("verdict")), tuple(parts))


def _table(claim: Claim) -> Table:
    """Published numbers and ours, one row a finding, a part for each detector, without noise and with it."""
    again = any(finding.retrained for finding in claim.findings)
    headings = ["first, second", "measure", "published", "ours", "difference", "verdict"]
    if again:
        headings.insert(-1, "over trainings")
    parts = []
    several = len({finding.detector for finding in claim.findings}) > 1
    for detector, noise in dict.fromkeys((finding.detector, finding.noise) for finding in claim.findings):
        findings = [finding for finding in claim.findings if (finding.detector, finding.noise) == (detector, noise)]
        who = f"{detector[0]} at {detector[1]} pixels, " if several else ""
        heading = f"{who}with noise of variance {noise:g}" if noise else f"{who}without noise"
        signature = next((finding.signature for finding in findings if finding.signature), "")
        parts.append(Part(tuple(_cells(finding, again) for finding in findings), heading, signature, ranked=False))
    notes = [*claim.notes, *_in_the_loss(claim), *_unequal(claim), *_retrained(claim)]
    if any(metric(finding.measure).better == "lower" for finding in claim.findings):
        notes.append(
            "Grid artefacts: the power of the error (restored less sharp) at the frequencies of a grid of up to"
            f" {quality.GRID} pixels over that of neighbouring frequencies, in dB, mean over frames; errors"
            " without a preferred frequency give 0 to 1. The difference is the second less the first, so that above 0"
            " the first is better. An interpretation: the paper shows grids in pictures only."
        )
    return Table(claim.key, tuple(map(Column, headings)), tuple(parts), tuple(notes))


def _min_effect(measure: str) -> float:
    """The least difference in a measure that matters."""
    return metric(measure).min_effect or 0.0


def _cells(finding: Finding, again: bool) -> tuple[str | None, ...]:
    """A finding's row, with or without a cell for further trainings."""
    of = metric(finding.measure)
    over = finding.over_trainings
    return (
        ", ".join("blurred" if name == FLOOR else name for name in (finding.better, finding.worse)),
        of.heading,
        ", ".join(finding.published) or None,
        ", ".join(of.form.format(value) for value in finding.ours) or None,
        finding.gain.format(of.form) if finding.gain else None,
        *([over.format(of.form) if over else None] if again else []),
        finding.verdict,
    )


def _record(name: str) -> Mapping[str, Any] | None:
    """How a deblurer was trained, from the record in its weights; None if it has none, or is not there at all."""
    entry = registry.entries().get(name)
    return read_record(entry.weights) if entry and entry.weights.exists() else None


def _in_the_loss(claim: Claim) -> list[str]:
    """Which detectors the deblurers of a claim were trained through: of these it says less than of others."""
    through = origins.in_the_loss({name: _record(name) or {} for name in (*claim.names, *registry.entries())})
    return [f"In the loss of {name}: {', '.join(through[name])}." for name in claim.names if name in through]


def _retrained(claim: Claim) -> list[str]:
    """What was trained again for a claim, and from where on."""
    if not any(finding.retrained for finding in claim.findings):
        return []
    told = {
        f"{score.recipe} {score.iterations:,} from {score.start}'s weights on": None
        for score in retrained.scores()
        if score.recipe in claim.names
    }
    count = max(len(finding.retrained) for finding in claim.findings)
    return [
        f"Over trainings: {count} of each recipe, with another seed each, of its own losses' iterations alone:"
        f" {', '.join(told)} (`python -m detbench.gan.retrain`)."
    ]


def _unequal(claim: Claim) -> list[str]:
    """A warning where a claim compares trainings of unequal length."""
    seen = {name: record["images_seen"] for name in claim.names if (record := _record(name))}
    if len(set(seen.values())) < 2:
        return []
    of_each = ", ".join(f"{name} {images:,}" for name, images in seen.items())
    return [f"The trainings are not of equal length (images seen: {of_each}): that may decide more than the recipes."]


def _budget(claims: Sequence[Claim]) -> str:
    """How the deblurers were trained."""
    names, runnable = dict.fromkeys(name for claim in claims for name in claim.names), registry.runnable()
    lines = ["## What was compared", ""]
    for name in names:
        if name == FLOOR:
            continue
        if not (record := _record(name)):
            lines.append(f"- `{name}`: " + ("not trained here." if name in runnable else "has no weights yet."))
            continue
        recipe, done = Recipe(**record["recipe"]), record["iterations"]
        shared = min(done, recipe.shared_iterations)
        against = max(0, done - max(shared, round(recipe.adversarial_from * recipe.iterations)))
        lines.append(
            f"- `{name}`: {record['preset']} preset, {record['images_seen']:,} images seen, seed {record['seed']}; of"
            f" {done:,} iterations {shared:,} with L1 alone, {done - shared:,} with its own losses"
            + (f", of these {against:,} against its discriminator." if recipe.adversarial else ".")
        )
    return "\n".join(lines) + "\n"


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
