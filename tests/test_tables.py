"""Tables against literal ones; published numbers against their own arithmetic; every format with nothing to show."""

import csv
import dataclasses
import io
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from detbench.metrics import METRICS
from detbench.report import formats, tables
from detbench.report.collect import Group
from detbench.report.formats import Column, Part, Table
from detbench.types import FrameScore, RunResult, RunSpec

FORMATS = [formats.markdown, formats.latex, formats.csv, formats.html]


def run(tmp_path, name, tp, fp, fn, psnr=30.0, ms=10.0, training=None, **spec):
    """A run of two frames, the second of them without any object."""
    counts = {"recovered": tp, "lost": 1, "hallucinated": 0}
    scores = (
        FrameScore("a", "a", tp, fp, fn, **counts, psnr_db=psnr, ssim=0.9, restore_ms=ms, detect_ms=1.0),
        FrameScore("b", "b", 0, 0, 0, 0, 0, 0, psnr_db=psnr, ssim=0.7, restore_ms=ms, detect_ms=1.0),
    )
    environment = {"dataset": "street", "conventions": "micro", "detbench": "1", "training": training or {}}
    return RunResult(RunSpec(name, **spec), environment, scores, tmp_path / f"{name}-{spec.get('seed', 0)}")


@pytest.fixture
def group(tmp_path):
    return Group(
        run(tmp_path, "identity", 4, 0, 6, psnr=22.0),
        (
            run(tmp_path, "dc0", 5, 0, 5, ms=2500.0),
            run(tmp_path, "dc250", 6, 2, 4, training={"images_seen": 60_000, "parameters": 2_403_456}),
        ),
        run(tmp_path, "jpeg95", 10, 0, 0, psnr=math.inf, input="sharp"),
    )


SMALL = Table(
    "A & B",
    (Column("name"), Column("F1", "{:.2f}", "highest"), Column("ms", "{:d}", "lowest"), Column("n", "{:,}")),
    (
        Part((("floor", 0.9, 1, None),), source="here", ranked=False),
        Part(
            (("a_b", 0.501, 20, 1000), ("<c>|", 0.499, 10, 2_000_000), ("d", math.nan, None, None)),
            "ours",
            "over there",
        ),
    ),
    ("A note.",),
)


def test_markdown():
    assert formats.markdown(SMALL) == (
        "**A & B**\n\n"
        "| name    |   F1 |     ms |         n |\n"
        "| ------- | ---: | -----: | --------: |\n"
        "| floor   | 0.90 |      1 |         - |\n"
        "| *ours*² |      |        |           |\n"
        "| a_b     | 0.50 |     20 |     1,000 |\n"
        "| \\<c>\\|  | 0.50 | **10** | 2,000,000 |\n"
        "| d       |    - |      - |         - |\n\n"
        "¹ here\n\n² over there\n\nA note.\n\nBold: the best, told apart from the second or not.\n"
    )


def test_three_signatures_are_folded_away_in_markdown():
    signatures = [f"street:{digit * 8}|yolo26n:9b09cc8b|imgsz:640|detbench:0.1.0" for digit in "abc"]
    parts = [Part((("x",),), heading=digit, source=its) for digit, its in zip("abc", signatures, strict=True)]
    for count in (2, 3):
        text = formats.markdown(Table("t", (Column(""),), tuple(parts[:count]), ("A note.",)))
        assert ("<summary>3 signatures</summary>" in text) == (count == 3)
        assert all(its in text for its in signatures[:count])
        assert text.endswith("A note.\n")


def test_latex():
    text = formats.latex(SMALL)
    assert r"\caption{A \& B}" in text
    assert r"a\_b & 0.50 & 20 & 1,000 \\" in text
    assert r"\textless{}c\textgreater{}\textbar{}\allowbreak{} & 0.50 & \textbf{10} & 2,000,000 \\" in text
    assert r"\multicolumn{4}{l}{\emph{ours}\textsuperscript{2}} \\" in text
    assert text.count(r"\midrule") == 2


def test_csv():
    assert list(csv.reader(io.StringIO(formats.csv(SMALL)))) == [
        ["part", "name", "F1", "ms", "n", "source"],
        ["", "floor", "0.9", "1", "", "here"],
        ["ours", "a_b", "0.501", "20", "1000", "over there"],
        ["ours", "<c>|", "0.499", "10", "2000000", "over there"],
        ["ours", "d", "", "", "", "over there"],
    ]


class Cells(HTMLParser):
    """What a table holds, with each cell's scope; complains of tags that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.scopes = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.scopes.append(dict(attributes).get("scope"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += f"**{data}**" if "b" in self.open else data


def test_html():
    text = formats.html(SMALL)
    cells = Cells(text)
    assert cells.rows == [
        ["name", "F1", "ms", "n"],
        ["floor", "0.90", "1", "-"],
        ["ours2"],
        ["a_b", "0.50", "20", "1,000"],
        ["<c>|", "0.50", "**10**", "2,000,000"],
        ["d", "-", "-", "-"],
    ]
    assert cells.scopes[:6] == ["col"] * 4 + ["row", None]
    assert "<caption>A &amp; B</caption>" in text
    assert "tabular-nums" in text


def test_cells_in_html_break_before_brackets():
    table = Table("t", (Column("method"), Column("gain [95 %]")), (Part((("a", "not known (9 > 8 clips)"),)),))
    text = formats.html(table)
    assert '<th scope="col">gain <wbr>[95&nbsp;%]</th>' in text
    assert "<td>not known <wbr>(9 &gt; 8 clips)</td>" in text


@pytest.mark.parametrize(
    ("values", "best", "bold"),
    [
        ((1, 3, 2), "highest", [3]),
        ((1, 3, 2), "lowest", [1]),
        ((1, 3, 2), "", []),
        ((1.001, 1.002, 0.5), "highest", ["1.00", "1.00"]),  # equal as printed
        ((2, 2, 2), "highest", []),  # nobody is best
        ((2, None, math.nan), "highest", []),  # nobody to beat
        ((None, 5, 4), "highest", [5]),
        ((-0.5, 0.0, -0.1), "highest", ["0.00"]),
        ((1.0, math.inf, 2.0), "highest", ["inf"]),
        (("28.3", "29.1", "9"), "highest", ["29.1"]),  # numbers as they were printed
        (("much", 2, 3), "highest", [3]),
    ],
)
def test_the_best_is_bold(values, best, bold):
    form = "{:.2f}" if any(isinstance(v, float) for v in values) else "{}"
    rows = tuple((name, value) for name, value in zip("abc", values, strict=True))
    text = formats.markdown(Table("t", (Column(""), Column("x", form, best)), (Part(rows),)))
    assert re.findall(r"\*\*([^*]+)\*\* \|", text) == [str(value) for value in bold]


def test_the_leaderboard(group):
    (floor,), runs, (ceiling,) = (part.rows for part in tables.leaderboard(group).parts)
    headings = [column.heading for column in tables.leaderboard(group).columns]
    assert headings[:7] == ["method", "verdict", "F1", "F1 gained [95 %]", "gap closed", "precision", "recall"]
    assert headings[-2:] == ["parameters", "images seen"]
    assert floor[:7] == ("blurred", None, pytest.approx(8 / 14), None, 0.0, 1.0, 0.4)
    assert ceiling[:7] == ("sharp, JPEG 95", None, 1.0, None, 1.0, 1.0, 1.0)
    # The rest by falling F1: 10 / 15 and 12 / 18 are equal, so the names decide.
    assert [row[0] for row in runs] == ["dc0", "dc250"]
    gap = (2 / 3 - 8 / 14) / (1 - 8 / 14)
    assert runs[1] == (
        "dc250",
        "not known",  # of two frames
        pytest.approx(2 / 3),
        "+0.095",
        pytest.approx(gap),
        0.75,
        0.6,
        6,
        1,
        0,
        30.0,
        0.8,
        10.0,
        2_403_456,
        60_000,
    )
    assert runs[0][-2:] == (None, None)
    assert str(group.signature) in formats.markdown(tables.leaderboard(group))


@pytest.mark.parametrize(("deblurers", "said"), [(1, False), (2, True)])
def test_of_one_deblurer_nothing_is_corrected(group, deblurers, said):
    some = dataclasses.replace(group, models=group.models[:deblurers])
    assert ("after Holm's correction for 2 deblurers" in formats.markdown(tables.leaderboard(some))) == said
    assert ("Holm" in formats.markdown(tables.leaderboard(some))) == said


def test_a_gap_that_is_hardly_there_has_no_sign():
    assert METRICS["gap_closed"].form.format(-0.0004) == "0.0%"


def test_the_leaderboard_without_costs(group):
    whole, short = tables.leaderboard(group), tables.leaderboard(group, costs=False)
    headings = [column.heading for column in short.columns]
    assert headings == [column.heading for column in whole.columns][:-3]
    assert "SSIM" in headings
    assert "ms/frame" not in formats.markdown(short)


def test_times_of_another_machine_are_said_to_be(group):
    usual = "an unknown processor, ? threads, no GPU"
    assert f"Times are of {usual}. Those of" not in formats.markdown(tables.leaderboard(group))
    first, second = group.models
    other = dataclasses.replace(second, environment=second.environment | {"cpu": "Abacus", "threads": 10})
    noted = formats.markdown(tables.leaderboard(dataclasses.replace(group, models=(first, other))))
    assert f"Times are of {usual}. Those of dc250 are of Abacus, 10 threads, no GPU." in noted


def test_the_better_f1_comes_first_on_the_leaderboard(group, tmp_path):
    better = run(tmp_path, "srn", 8, 0, 2)
    group = dataclasses.replace(group, models=(*group.models, better))
    text = formats.markdown(tables.leaderboard(group))
    assert [line.split()[1] for line in text.splitlines() if line.startswith("| ")][2:] == [
        "blurred",
        "srn",
        "dc0",
        "dc250",
        "sharp,",
    ]
    assert "0.889" in text
    assert "**0.889**" not in text  # two frames do not tell it from the second


@pytest.mark.parametrize("second, bold", [(0.4, True), (0.74, False)])
def test_the_best_is_bold_only_where_it_is_told_from_the_second(run, second, bold):
    runs = (run("dc250", 0.75, 26), run("dc0", second, 24))
    group = Group(run(), runs, run("jpeg95", 0.95, 40, input="sharp"))
    f1 = f"{runs[0].f1:.3f}"
    text = formats.markdown(tables.leaderboard(group))
    assert (f"**{f1}**" in text) == bold
    assert (f"**{runs[0].mean('psnr_db'):.2f}**" in text) == bold or second != 0.4


def test_published_tables():
    found = {table.key: table for table in tables.published()}
    assert list(found) == [f"deblurgan-{i}" for i in (1, 2, 3)] + ["dark-channel-1"] + [f"lenka-{i}" for i in (1, 2, 3)]
    rows = [sum(len(part.rows) for part in table.parts) for table in found.values()]
    assert rows == [7, 6, 5, 8, 5, 2, 3]
    for table in found.values():
        assert all("Table" in part.source for part in table.parts)
        assert "do not compare" in table.notes[0]
    noise = found["dark-channel-1"].parts[1]
    assert noise.heading == "GoPro-noise, as published"
    assert noise.rows[2] == ("dc250", "26.83", "0.8707")
    text = formats.markdown(found["dark-channel-1"])
    assert "**27.01**" in text and "**26.83**" in text  # the paper's own bold
    assert "| DeblurGAN SYNTH       |     23.6 |     0.884 |        - |" in formats.markdown(found["deblurgan-1"])


def test_published_f1_follows_from_precision_and_recall():
    """To the rounding of the three, which have three digits each."""
    detection = next(table for table in tables.published() if table.key == "deblurgan-3")
    for part in detection.parts:
        for _, *numbers in part.rows:
            precision, recall, f1 = map(float, numbers)
            low, high = (2 / (1 / (precision + e) + 1 / (recall + e)) for e in (-0.0005, 0.0005))
            assert low - 0.0005 <= f1 <= high + 0.0005


def test_ours_stand_below_the_published_ones(group, tmp_path):
    twice = dataclasses.replace(group.models[1], path=tmp_path / "again", spec=RunSpec("dc250", seed=7))
    group = dataclasses.replace(group, models=(*group.models, twice))
    found = {table.key: table for table in tables.published(group)}
    parts = found["dark-channel-1"].parts
    assert [part.heading for part in parts] == [
        "GoPro, as published",
        "GoPro-noise, as published",
        "street, detbench",
        "",
        "",
    ]
    assert parts[3].rows == (
        ("dc0", 30.0, 0.8),
        ("dc250 (seed 0)", 30.0, 0.8),
        ("dc250 (seed 7)", 30.0, 0.8),
    )
    assert parts[3].source == str(group.signature)
    assert found["dark-channel-1"].notes[1] == "Not run here: deblurgan_wild, deblurgan_comb, dc250p."
    # A table without a list of deblurers takes all; time is in seconds; none run leaves floor and ceiling.
    assert [row[0] for row in found["deblurgan-3"].parts[3].rows] == ["dc0", "dc250 (seed 0)", "dc250 (seed 7)"]
    framing = [row for part in found["deblurgan-1"].parts[1:] for row in part.rows]
    assert [row[:3] for row in framing] == [("blurred", 22.0, 0.8), ("sharp, JPEG 95", math.inf, 0.8)]
    assert all(math.isnan(row[3]) for row in framing)  # nobody deblurs with these
    assert [key for key, table in found.items() if tables.has_several(table, group)] == ["dark-channel-1"]


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_to_show_renders(form, group):
    alone = dataclasses.replace(group, models=())
    for table in [
        Table("t", (Column("name"), Column("x")), ()),
        Table("t", (Column("name"), Column("x")), (Part(()),)),
        tables.leaderboard(alone),
        *tables.published(alone),
    ]:
        assert form(table).endswith("\n")
        assert "None" not in form(table)


@pytest.mark.parametrize("form", FORMATS)
def test_equal_runs_give_equal_bytes(form, group):
    def everything():
        return [form(table) for table in (tables.leaderboard(group), *tables.published(group))]

    assert everything() == everything()


def test_html_and_markdown_of_hostile_names():
    table = Table("t", (Column("x"),), (Part((("<script>alert(1)</script> *a* _b_ | `c`",),)),))
    assert "<script>" not in formats.html(table)
    assert r"\<script>alert(1)\</script> \*a\* \_b\_ \| \`c\`" in formats.markdown(table)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex")
def test_latex_compiles_with_article(group, tmp_path):
    odd = Table(r"50 % of $x_1^2$ #~\{} → Köhler ≥ ½ żółć 日", (Column('"x"'),), (Part((("a|b;c",),), "& so", "s"),))
    both = [tables.leaderboard(group), *tables.published(group), odd]
    text = "\n".join(map(formats.latex, both))
    document = tmp_path / "tables.tex"
    document.write_text(
        rf"\documentclass{{article}}\usepackage{{booktabs,graphicx}}\begin{{document}}{text}\end{{document}}", "utf-8"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", document.name],
        cwd=tmp_path,
        capture_output=True,
        encoding="latin-1",
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "tables.pdf").stat().st_size > 10_000
