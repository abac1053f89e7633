"""Names of classes: two of one name became one column, and a dollar began mathematics."""

import numpy as np
from conftest import boxes

from detbench.report import breakdown, plots, style


def test_two_classes_of_one_name_stay_two():
    seen = [boxes((0, 0, 10, 10), (20, 20, 30, 30), (40, 0, 50, 10), label=[0, 1, 2])]
    run = breakdown.matches(seen, seen, 0.5, 0.25)
    cells = breakdown.by_class(run, {0: "car", 1: "person", 2: "car"})
    assert sorted(cell.name for cell in cells) == ["car #0", "car #2", "person"]


def test_any_letters_can_be_drawn(tmp_path):
    seen = [boxes(*((20 * i, 0, 20 * i + 10, 10) for i in range(5)), label=np.arange(5))]
    run = breakdown.matches(seen, seen, 0.5, 0.25)
    names = {0: "$unclosed", 1: "\\frac{", 2: "汽车", 3: "😀", 4: "100 %"}
    cells = breakdown.by_class(run, names)
    drawn = plots.cell_bars({"$a_b$": cells}, cells, cells)
    for path in style.save(drawn, tmp_path, "classes"):
        assert path.stat().st_size > 1000
    assert any("$unclosed" in text.get_text() for axes in drawn.axes for text in axes.get_yticklabels())
