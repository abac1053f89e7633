"""The findings: prose with a blank for each number and verdict, which is looked up when the page is written.

The prose is a template in Jinja's language, ``reports/findings.jinja``. What it may ask for are the public members of
:class:`Findings`; what it says in words it ties to the numbers by :meth:`Findings.so`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypedDict, Unpack

import jinja2
import numpy as np

from detbench import alternatives, retrained, stats, store
from detbench.claims import Claim
from detbench.compare import LEVEL, compare
from detbench.lineup import CEILING, FLOOR, detector_title
from detbench.metrics import Sums, metric
from detbench.report import breakdown
from detbench.report.collect import Group
from detbench.report.scatter import ranked_alike
from detbench.signature import Signature
from detbench.stats import Interval
from detbench.swap import Pair
from detbench.types import DetbenchError, RunResult
from detbench.verdict import HARMS, HELPS, verdicts

PROSE = "findings.jinja"
"""The template, beside the page that is made of it."""

UNTRUE = " **(no longer so)**"
"""What follows a sentence that the numbers do not bear out any more: it is to be written anew."""


class Where(TypedDict, total=False):
    """Which of the runs, where a function takes it.

    Attributes:
        before: the detector; the leaderboard's by default.
        noise: with noise on the frames.
        severity: on the frames whose blur is of that severity.
        sharp: what the deblurer makes of frames that are sharp already.
    """

    before: str
    noise: bool
    severity: str
    sharp: bool


def page(template: str, found: Findings) -> str:
    """The page.

    Args:
        template: in Jinja's language, asking for members of :class:`Findings`.
        found: what they are looked up in.

    Raises:
        DetbenchError: it asks for what is not there.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    members = {name: getattr(found, name) for name in dir(found) if not name.startswith("_")}
    try:
        return environment.from_string(template).render(members)
    except jinja2.TemplateError as error:
        raise DetbenchError(f"The findings cannot be written: {error}.") from error


@dataclass(frozen=True, eq=False)
class Findings:
    """What the prose may ask for. Deblurers are named as on the leaderboard, detectors as ``yolo11n 640``.

    Functions raise :class:`DetbenchError` where there is no such run.

    Attributes:
        groups: one a detector, on the same frames; the first is the leaderboard's.
        noisy: that one's with noise on the frames.
        pairs: of deblurers, with all detectors.
        weighed: what else the effort could go into.
        tested: all claims.
        families: of the deblurers, by their names.
    """

    groups: Sequence[Group]
    noisy: Group
    pairs: Sequence[Pair]
    weighed: alternatives.Table
    tested: Sequence[Claim]
    families: Mapping[str, str]

    def value(self, name: str, measure: str = "f1", **where: Unpack[Where]) -> str:
        """A run's value of a metric (:data:`detbench.metrics.METRICS`), as tables print it."""
        run, of = self._run(name, **where), metric(measure)
        return of.form.format(of.of(Sums.of(run.scores).total()).item())

    def difference(self, name: str, over: str = FLOOR, measure: str = "f1", **where: Unpack[Where]) -> Interval:
        """A run's value less another's on the same frames, paired over clips; of one comparison, not corrected.

        On sharp frames the other is the ceiling, whatever ``over`` says.
        """
        run, other = self._run(name, **where), self._run(CEILING if where.get("sharp") else over, **where)
        (found,) = [each for each in compare([other, run]).differences if each.metric == measure]
        return found.interval

    def gain(self, name: str, over: str = FLOOR, measure: str = "f1", **where: Unpack[Where]) -> str:
        """The :meth:`difference` as text, with its interval."""
        found = self.difference(name, over, measure, **where)
        return found.format(metric(measure).form)

    def of_sizes(self, name: str) -> dict[str, float]:
        """A run's F1 on the objects of each of :data:`detbench.report.breakdown.SIZES`."""
        run = self._run(name)
        found = store.read_detections(run.path)
        matches = breakdown.matches(found["restored"], found["sharp"], run.spec.match_iou, run.spec.conf)
        return {cell.name: float(cell.counts.f1) for cell in breakdown.by_size(matches)}

    def surely(self, name: str, over: str = FLOOR, measure: str = "f1", **where: Unpack[Where]) -> str:
        """Whether it is ``above`` the other for sure, or ``below``, or neither: empty."""
        found = self.difference(name, over, measure, **where)
        return "above" if found.low > 0 else "below" if found.high < 0 else ""

    def gap(self, name: str, before: str = "") -> str:
        """The share of the way from the blurred frames' F1 to the ceiling's that a deblurer goes, in per cent."""
        floor, run, ceiling = (self._run(each, before).f1 for each in (FLOOR, name, CEILING))
        return f"{(run - floor) / (ceiling - floor):.0%}".replace("%", " %")

    def judged(self, word: str, before: str = "", noise: bool = False) -> list[str]:
        """The deblurers whose verdict, after Holm's correction for all, begins with a word: ``helps``, say."""
        group = self._group(before, noise)
        found = verdicts(group.compared)
        return [run.spec.deblurer for run in group.ranked if str(found[run.spec.deblurer]).startswith(word)]

    def above(self, measure: str) -> list[str]:
        """The deblurers that are above the blurred frames in a metric for sure, after the same correction."""
        found = self.groups[0].compared.differences
        return [
            each.model for each in found if each.metric == measure and each.interval.low > 0 and each.p_holm < LEVEL
        ]

    def helped(self, name: str) -> list[str]:
        """The detectors with which a deblurer helps, after the same correction."""
        return [title for title in self._titles if name in self.judged("helps", title)]

    def everywhere(self) -> list[str]:
        """The deblurers that help before every detector."""
        helped = [self.judged("helps", title) for title in self._titles]
        return [name for name in self.deblurers if all(name in names for names in helped)]

    def over_trainings(
        self, name: str, over: str, measure: str = "f1", before: str = "", noise: bool = False
    ) -> Interval:
        """A recipe's trainings less another's of the same seed: the mean, with Student's interval.

        Raises:
            DetbenchError: they were not trained again.
        """
        found = retrained.differences(name, over, measure, self._signature(before, noise))
        if not found:
            raise DetbenchError(f"No training of {name} stands beside one of {over}.")
        return stats.student(found)

    def spread(self, measure: str = "f1", before: str = "", noise: bool = False) -> float:
        """The standard deviation of deblurers' trainings that only their seed tells apart, pooled over deblurers."""
        signature = retrained.timeless(self._signature(before, noise))
        found = (each for each in retrained.scores() if each.signature == signature and each.recipe in self.families)
        return retrained.spread(found, measure)

    def claim(self, key: str) -> str:
        """A claim's verdict.

        Raises:
            DetbenchError: there is no such claim.
        """
        found = [claim.verdict for claim in self.tested if claim.key == key]
        if not found:
            raise DetbenchError(f"There is no claim {key}.")
        return found[0]

    def claims(self, published: bool = True) -> str:
        """How many claims of the publications, or of this project, have which verdict."""
        found = Counter(claim.verdict for claim in self.tested if bool(claim.source) == published)
        return ", ".join(f"{verdict}: {count}" for verdict, count in found.most_common())

    def carried(self, verdict: str = "") -> int:
        """How many pairs of deblurers have a verdict over all detectors (:mod:`detbench.swap`); any, by default."""
        deblurers = [pair for pair in self.pairs if "blurred" not in (pair.one, pair.other)]
        return sum(verdict in ("", pair.verdict) for pair in deblurers)

    def ranked_alike(self, measure: str = "psnr_db", noise: bool = False) -> Interval:
        """Spearman's correlation of the ranks by F1 and by another metric, over the deblurers."""
        return ranked_alike(self._group(noise=noise).models, "f1", measure)

    def surer(self) -> tuple[int, int]:
        """Of the runs that help or harm for sure, how often the detector's confidences add up to more or less as well.

        That sum is what decides where there are no sharp frames (:mod:`detbench.unreferenced`).

        Returns:
            How many of them, and how many such runs there are, of all deblurers with all detectors.
        """
        signs = []
        for group in self.groups:
            judged = verdicts(group.compared)
            gains = {run.path: judged[run.spec.deblurer] for run in group.models}
            sure = [run for run in group.models if gains[run.path].word in (HELPS, HARMS)]
            before = _sure_of(group.floor)
            signs += [(_sure_of(run) > before) == (gains[run.path].word == HELPS) for run in sure]
        return sum(signs), len(signs)

    def instead(self, what: str, severity: str = "") -> str:
        """F1 gained by an alternative (the name of a row of :mod:`detbench.alternatives`, or how it begins)."""
        rows = [row for row in self.weighed.rows if row.name.startswith(what)]
        if not rows:
            raise DetbenchError(f"There is no alternative {what}.")
        frames = np.array([severity in ("", its) for its in self.weighed.severity])
        return self.weighed.gain(rows[0], frames).format("{:.3f}")

    @property
    def deblurers(self) -> list[str]:
        """All of them, the best F1 first."""
        return [run.spec.deblurer for run in self.groups[0].ranked]

    def of(self, *families: str) -> list[str]:
        """The deblurers of some families, likewise."""
        return [name for name in self.deblurers if self.families[name] in families]

    @property
    def clips(self) -> int:
        """How many there are."""
        return len({score.clip for score in self.groups[0].floor.scores})

    @property
    def frames(self) -> int:
        """How many there are."""
        return len(self.groups[0].floor.scores)

    @property
    def objects(self) -> int:
        """How many the leaderboard's detector sees in the sharp frames."""
        return int(self.groups[0].floor.counts.objects)

    @staticmethod
    def names(of: Iterable[str]) -> str:
        """In code's letters, as a list in a sentence; none for none."""
        *most, last = [f"`{name}`" for name in of] or ["none"]
        return f"{', '.join(most)} and {last}" if most else last

    @staticmethod
    def interval(of: Interval) -> str:
        """As text, to two digits."""
        return of.format("{:.2f}")

    @staticmethod
    def so(condition: object) -> str:
        """Nothing where the words before it are true, and else :data:`UNTRUE`."""
        return "" if condition else UNTRUE

    @cached_property
    def _titles(self) -> Mapping[str, Group]:
        return {detector_title(group.floor.spec): group for group in self.groups}

    def _group(self, before: str = "", noise: bool = False) -> Group:
        if before and before not in self._titles:
            raise DetbenchError(f"There is no detector {before}: there are {', '.join(self._titles)}.")
        return self.noisy if noise else self._titles[before] if before else self.groups[0]

    def _signature(self, before: str, noise: bool) -> str:
        return str(Signature.of(self._group(before, noise).floor))

    def _run(
        self, name: str, before: str = "", noise: bool = False, severity: str = "", sharp: bool = False
    ) -> RunResult:
        group = self._group(before, noise)
        ends = {FLOOR: group.floor, CEILING: group.ceiling}
        runs = {run.spec.deblurer: run for run in (group.harm if sharp else group.models)} | ends
        if name not in runs:
            raise DetbenchError(f"There is no run of {name}{' on sharp frames' * sharp} here.")
        if not severity:
            return runs[name]
        chosen = {
            score.id
            for score, its in zip(group.floor.scores, breakdown.severities(group.floor.scores), strict=True)
            if its == severity
        }
        return replace(runs[name], scores=tuple(score for score in runs[name].scores if score.id in chosen))


def _sure_of(run: RunResult) -> float:
    """The sum of the confidences of what a run's detector finds in the restored frames."""
    frames = store.read_detections(run.path)["restored"]
    return sum(float(frame.above(run.spec.conf).score.sum(dtype=np.float64)) for frame in frames)
