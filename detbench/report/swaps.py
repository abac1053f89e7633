"""Does it hold with another detector? In words and as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from detbench import stats
from detbench.lineup import Lineup, detector_title, labels
from detbench.lineup import name as called
from detbench.report.formats import Column, Part, Table
from detbench.swap import CARRIES, ONLY, TURNS, UNKNOWN, Pair, by_name, sizes

FEW = 4
"""Of more deblurers than this, only pairs with the blurred frames and those that turn round have a row of their own."""


GATHERED = BETTER, SOME, UNSURE, WORSE = (
    "Better than {} with every detector",
    "Better or worse than {} with some",
    "Not told from {} with any for sure",
    "Worse than {} with every detector",
)
"""How deblurers stand to the floor, where there are many."""


def tables(lineups: Sequence[Lineup], found: Sequence[Pair]) -> list[Table]:
    """The pairs, how alike detectors rank, and the gains over working sizes; what there is nothing of is left out.

    Args:
        lineups: on the same frames, one a detector and working size; two or more.
        found: their :func:`detbench.swap.pairs`.
    """
    signatures = tuple(str(lineup.signature) for lineup in lineups)
    made = [_pairs(found, called(lineups[0].floor), signatures)]
    if len(by_name(lineups)) > stats.MINIMUM_MODELS:
        made.append(_ranks(lineups, signatures))
    return made + _sizes(lineups, signatures)


def sentences(lineups: Sequence[Lineup], found: Sequence[Pair]) -> list[str]:
    """What carries over from one detector to the others, and what does not; arguments as of :func:`tables`."""
    floor = called(lineups[0].floor)
    with_floor = [pair for pair in found if floor in (pair.one, pair.other)]
    left_out = _left_out(lineups)
    if len(with_floor) <= FEW:
        return [*(_verdict(pair) for pair in found), *left_out]
    lines = [*_gathered(with_floor, floor), *left_out]
    others = Counter(pair.verdict for pair in found if pair not in with_floor)
    if others:
        words = {CARRIES: "carry over", ONLY: "hold only with some", TURNS: "turn round", UNKNOWN: "are not known"}
        counted = ", ".join(f"{others[verdict]} {word}" for verdict, word in words.items() if others[verdict])
        lines.append(f"Of {others.total()} pairs of deblurers {counted}.")
    return lines


def _left_out(lineups: Sequence[Lineup]) -> list[str]:
    """A sentence on those that stood with some of the detectors only."""
    somewhere = [labels([lineup.floor, *lineup.models]).values() for lineup in lineups]
    missing = sorted(set().union(*somewhere) - set(by_name(lineups)))
    return [f"Left out, for they did not run with every detector: {', '.join(missing)}."] if missing else []


def _verdict(pair: Pair) -> str:
    """A sentence on one pair."""
    verdict = pair.verdict
    if verdict == UNKNOWN:
        return f"{pair.one} against {pair.other}: not known with any of the detectors."
    if verdict == TURNS:
        return (
            f"{pair.one} against {pair.other} turns round: better with {', '.join(pair.better)}, worse with"
            f" {', '.join(pair.worse)}."
        )
    where = pair.better or pair.worse
    word = "better" if pair.better else "worse"
    if verdict == CARRIES:
        return f"{pair.one} is {word} than {pair.other} with every detector here: that carries over."
    return f"{pair.one} is {word} than {pair.other} only with {', '.join(where)}."


def _gathered(found: Sequence[Pair], floor: str) -> list[str]:
    """Which deblurers help with all detectors, which with some and which with none."""
    parts: dict[str, list[str]] = {}
    for pair in found:
        deblurer, gained = (pair.one, pair.better) if pair.other == floor else (pair.other, pair.worse)
        lost = pair.worse if pair.other == floor else pair.better
        if pair.verdict == CARRIES:
            parts.setdefault(BETTER if gained else WORSE, []).append(deblurer)
        elif pair.verdict == UNKNOWN:
            parts.setdefault(UNSURE, []).append(deblurer)
        else:
            where = {"better": gained, "worse": lost}
            words = [f"{word} with {', '.join(its)}" for word, its in where.items() if its]
            parts.setdefault(SOME, []).append(f"{deblurer} ({'; '.join(words)})")
    return [f"{words.format(floor)}: {', '.join(parts[words])}." for words in GATHERED if words in parts]


def _pairs(found: Sequence[Pair], floor: str, signatures: tuple[str, ...]) -> Table:
    """A row a pair; of many deblurers those with the floor, and those whose order changes."""
    with_floor = [pair for pair in found if floor in (pair.one, pair.other)]
    shown = list(found)
    notes = [
        "F1 of the first less that of the second, each detector against what it sees itself in the sharp frames; in"
        " brackets 95 % intervals, paired bootstrap over clips."
        + f" Verdicts are after Holm's correction for {len(found)} pairs with each detector."
        * (len(found) > 1),
    ]
    if len(with_floor) > FEW:
        shown = [*with_floor, *(pair for pair in found if pair.verdict == TURNS and pair not in with_floor)]
        notes.append("Of the pairs of deblurers only those are shown whose order changes from detector to detector.")
    detectors = list(found[0].gains) if found else []
    rows = tuple(
        (
            f"{pair.one} less {pair.other}",
            *(pair.gains[each].format("{:.3f}") for each in detectors),
            pair.verdict + (f" {', '.join(pair.better or pair.worse)}" if pair.verdict == ONLY else ""),
        )
        for pair in shown
    )
    columns = (Column("pair"), *map(Column, detectors), Column("verdict"))
    return Table("Does it hold with another detector?", columns, (Part(rows),), (*signatures, *notes), "swap")


def _ranks(lineups: Sequence[Lineup], signatures: tuple[str, ...]) -> Table:
    """Spearman's correlation of the deblurers' F1 between each two detectors."""
    runs = by_name(lineups)
    floor = called(lineups[0].floor)
    f1 = np.array([[its[i].f1 for name, its in runs.items() if name != floor] for i in range(len(lineups))])
    titles = [detector_title(lineup.floor.spec) for lineup in lineups]
    rows = tuple(
        (one, *(None if i == j else float(stats.rank_correlation(f1[i], f1[j])) for j in range(len(titles))))
        for i, one in enumerate(titles)
    )
    note = f"Spearman's rank correlation of F1 over {f1.shape[1]} deblurers."
    columns = (Column("detector"), *(Column(each, "{:+.2f}") for each in titles))
    return Table("Do detectors rank alike?", columns, (Part(rows),), (*signatures, note), "ranks")


def _sizes(lineups: Sequence[Lineup], signatures: tuple[str, ...]) -> list[Table]:
    """F1 gained over the working size, of each detector that stands here with several."""
    made = []
    for detector, rows in sizes(lineups).items():
        by = {(row.deblurer, row.imgsz): row for row in rows}
        widths = sorted({row.imgsz for row in rows}, reverse=True)
        columns = [Column("deblurer")]
        for imgsz in widths:
            columns += [Column(f"{imgsz} px"), Column(f"{imgsz} px, against {widths[0]} px's")]
        del columns[2]  # the largest against itself
        cells = tuple(
            (
                name,
                by[name, widths[0]].gain.format("{:.3f}"),
                *(g.format("{:.3f}") for w in widths[1:] for g in (by[name, w].gain, by[name, w].of_largest)),
            )
            for name in dict.fromkeys(row.deblurer for row in rows)
        )
        note = (
            "F1 less the blurred frames', at the same size. First against what the detector sees in the sharp frames at"
            f" this size, then against what it sees in them at {widths[0]} pixels. 95 % intervals, paired bootstrap"
            " over clips, not corrected."
        )
        made.append(
            Table(f"Over the working size: {detector}", tuple(columns), (Part(cells),), (*signatures, note), "sizes")
        )
    return made
