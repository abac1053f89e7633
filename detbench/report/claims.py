"""The publications' claims and our own, as a page: what was printed, what was found, and a verdict each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from detbench import quality, registry, retrained
from detbench.claims import Claim, Finding, min_effect, verify
from detbench.files import write_file
from detbench.gan.recipe import Recipe
from detbench.lineup import FLOOR
from detbench.metrics import metric
from detbench.report import origins
from detbench.report.conclusions import caution
from detbench.report.formats import Column, Part, Table, markdown
from detbench.report.retrained import tables
from detbench.results import Results
from detbench.types import RunResult, RunSpec
from detbench.weights import read_record


def write(target: Path, results: Results, base: RunSpec, runnable: Collection[str]) -> list[Claim]:
    """Test all claims, and write the page that tells of it.

    Args:
        target: the page.
        results: as for :func:`detbench.claims.verify`, and so are ``base`` and ``runnable``.
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
their seed; all of a table begin with the same weights, which shipped then. They are scored as the leaderboard's are,
and none of them ships. Made by `python -m detbench.gan.retrain`.
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

- makes *no difference that matters* where its interval is within {min_effect("f1"):g} of F1, recall or precision,
  {min_effect("psnr_db"):g} dB of PSNR, {min_effect("ssim"):g} of SSIM or {min_effect("grid_db"):g} dB of grid;
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
        rows = tuple((c.key, c.says, _measures(c), c.verdict) for c in claims if bool(c.source) == published)
        parts += [Part(rows, heading, ranked=False)] if rows else []
    return Table("Claims", (Column("claim"), Column("in words"), Column("by"), Column("verdict")), tuple(parts))


def _measures(claim: Claim) -> str:
    """What it is judged by: what harms PSNR need not harm a detector."""
    return ", ".join(dict.fromkeys(metric(finding.measure).heading for finding in claim.findings))


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
    names = {name for finding in claim.findings if finding.retrained for name in (finding.better, finding.worse)}
    if not names:
        return []
    told = {
        f"{score.recipe} {score.iterations:,} from {score.start}'s weights of that day on": None
        for score in retrained.scores()
        if score.recipe in names
    }
    count = max(len(finding.retrained) for finding in claim.findings)
    return [
        f"Over trainings: {count} of each recipe, with another seed each, of its own losses' iterations alone:"
        f" {', '.join(told)} (`python -m detbench.gan.retrain`)."
    ]


def _unequal(claim: Claim) -> list[str]:
    """A warning where a claim compares trainings of unequal length, those of their first weights included."""
    seen = {name: _images(record) for name in claim.names if (record := _record(name))}
    if len(set(seen.values())) < 2:
        return []
    of_each = ", ".join(f"{name} {images:,}" for name, images in seen.items())
    return [f"The trainings are not of equal length (images seen: {of_each}): that may decide more than the recipes."]


def _images(record: Mapping[str, Any]) -> int:
    """How many images weights have seen here, with those that they began with."""
    first = _record(record["init"]["from"]) if record.get("init") else None
    return int(record["images_seen"]) + (_images(first) if first else 0)


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
