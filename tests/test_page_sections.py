"""The page's tables and details in headless Chromium: sorted, searched, and opened where a link leads to them.

Skipped without Chromium, its driver or Selenium.
"""

import pytest
from browser import NEEDED, Browser, settle

from detbench.report import formats, page
from detbench.report.formats import Column, Part, Table

pytestmark = NEEDED


@pytest.fixture(scope="module")
def sheets(tmp_path_factory):
    """A page with a table of ten rows, and a detail that is folded."""
    out = tmp_path_factory.mktemp("sheets")
    rows = tuple((f"row{i}", None if i == 4 else (i * 7) % 10, f"+0.{i}00 [-0.1, +0.2]") for i in range(10))
    columns = (Column("name"), Column("n", "{:d}"), Column("gain"))
    table = Table("Many rows", columns, (Part((("floor", 3, None),), ranked=False), Part(rows)))
    sections = [
        page.Section("first", "First", ["Words."], [formats.html(table, "tables/many.csv")]),
        page.Section("detail", "A detail", ["Hidden words."], folded=True),
    ]
    return page.write(out, "Sheets", "", sections)


def names(browser):
    return browser.do(
        "return [...document.querySelectorAll('.table tbody:last-of-type tr')].filter(r => !r.hidden)"
        ".map(r => r.cells[0].textContent)"
    )


def test_tables_are_sorted_searched_and_to_be_had(chromium, sheets):
    browser = Browser(chromium).open(sheets)
    number, gain = browser.driver.find_elements("css selector", ".sort")[1:]
    number.click()
    values = [(i * 7) % 10 for i in range(10) if i != 4]
    by_value = {f"row{i}": (i * 7) % 10 for i in range(10) if i != 4}
    assert names(browser) == [*sorted(by_value, key=lambda name: -by_value[name]), "row4"]
    assert browser.do("return document.querySelectorAll('th')[1].ariaSort") == "descending"
    number.click()
    assert names(browser)[-1] == "row4"  # what is missing comes last, whichever way
    assert [by_value[name] for name in names(browser)[:-1]] == sorted(values)
    gain.click()
    assert names(browser)[0] == "row9"
    field = browser.element("input[type=search]")
    field.send_keys("ROW3")
    assert names(browser) == ["row3"]
    assert browser.element(".table a[download]").get_attribute("href").endswith("tables/many.csv")
    assert browser.errors() == []


def test_details_are_folded_and_open_where_a_link_leads_to_them(chromium, sheets):
    browser = Browser(chromium).open(sheets)
    assert not browser.do("return document.querySelector('details').open")
    browser.element("nav a[href='#detail']").click()
    assert settle(lambda: browser.do("return document.querySelector('details').open"))
