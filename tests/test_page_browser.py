"""The page in headless Chromium: it must work from disk, by hand, by key and on a phone.

Skipped without Chromium, its driver or Selenium. Screenshots go to the folder that ``DETBENCH_SCREENSHOTS`` names.
"""

import dataclasses
import itertools
import json
import os
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
from browser import BLUE, GREEN, NEEDED, RED, Browser, settle, webdriver

from detbench.data import images
from detbench.report import formats, page
from detbench.report.formats import Column, Part, Table
from detbench.report.style import OUTLINES

pytestmark = NEEDED

MODELS = ["alpha", "beta", "old"]
CLASSES = ["car", "person"]
NAMES = list(OUTLINES)


def box(outcome, kind=0, x=10.0):
    score = None if outcome in ("lost", "missed") else 0.5
    return [x, 20.0, 15.0, 30.0, kind, NAMES.index(outcome), score]


BOXES = {
    # By (frame, model).
    (0, 0): [box("recovered"), box("recovered", 1, 30.0), box("found", 1, 60.0)],
    (0, 1): [box("lost"), box("missed", 1, 50.0)],
    (1, 0): [box("lost"), box("lost", 0, 30.0), box("lost", 1, 50.0), box("false", 0, 70.0)],
    (1, 1): [],
    (2, 0): [box("hallucinated", 1)],
    (2, 2): [box("found")],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A page with three frames and three runs, one of which kept no restored frames."""
    out = tmp_path_factory.mktemp("page")
    for name, colour in (("blurred", RED), ("restored", GREEN), ("sharp", BLUE)):
        images.write_image(out / "gallery" / f"{name}.png", np.full((120, 160, 3), colour, np.uint8))
    files = {"blurred": "gallery/blurred.png", "sharp": "gallery/sharp.png"}
    frames = [{"id": f"f{i}", "clip": "ab"[i // 2], "number": i, "width": 160, "height": 120} | files for i in range(3)]
    views = [
        {
            "frame": frame,
            "model": model,
            "restored": None if MODELS[model] == "old" else "gallery/restored.png",
            "psnr": 20.0 + frame - 2 * model,
            "boxes": boxes,
        }
        for (frame, model), boxes in BOXES.items()
    ]
    wide = Table(
        "A wide table",
        (Column("name"), *(Column(f"a long heading {i}", "{:.2f}", "highest") for i in range(24))),
        (Part(tuple((name, *np.linspace(0, 1, 24)) for name in "ab"), source="where|it;comes|from"),),
    )
    matplotlib.figure.Figure(figsize=(7, 1)).savefig(out / "wide.svg")
    sections = [page.Section(f"s{i}", f"Section {i}", ["Some words. " * 30]) for i in range(5)]
    figures = [page.Figure("wide.svg", "a wide figure")]
    sections[0] = dataclasses.replace(sections[0], tables=[formats.html(wide)], figures=figures)
    page.write(out, "A page", "An introduction.", sections, page.Gallery(MODELS, CLASSES, frames, views, 9))
    return out


@pytest.fixture
def browser(chromium, folder):
    return Browser(chromium).open(folder / "index.html")


def test_it_loads_from_disk_alone(browser):
    assert browser.text("#name") == "f1, alpha (1 of 6)"
    browser.colour(0.1)
    assert browser.errors() == []
    asked = []
    for entry in browser.driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"])
    assert any(url.endswith("index.html") for url in asked)
    assert all(url.startswith(("file:", "data:")) for url in asked), asked


def test_the_slider_moves_the_wipe(browser):
    assert settle(lambda: browser.colour(0.3) == RED)
    assert browser.colour(0.9) == GREEN
    browser.do("const w = document.getElementById('wipe'); w.value = 20; w.dispatchEvent(new Event('input'))")
    assert browser.colour(0.3) == GREEN
    assert browser.colour(0.05) == RED
    assert browser.element("#wipe").get_attribute("aria-valuetext") == "20 percent"
    assert "blurred on the left and restored on the right" in browser.element("#wipe").get_attribute("aria-label")


def test_the_wipe_can_be_dragged(browser):
    browser.do("document.getElementById('stage').scrollIntoView({block: 'center'})")
    stage = browser.element("#stage")
    half = stage.size["width"] / 2
    actions = webdriver.ActionChains(browser.driver, duration=20)
    actions.move_to_element_with_offset(stage, 0, 20).click_and_hold()
    actions.move_to_element_with_offset(stage, int(half * 0.6), 20).release().perform()
    assert abs(int(browser.element("#wipe").get_property("value")) - 80) <= 1
    actions.move_to_element_with_offset(stage, 0, 20).perform()  # without a button pressed
    assert abs(int(browser.element("#wipe").get_property("value")) - 80) <= 1


def test_any_two_of_the_three_can_be_compared(browser):
    browser.element("#pair label:nth-of-type(2)").click()
    assert settle(lambda: (browser.colour(0.3), browser.colour(0.9)) == (GREEN, BLUE))
    assert (browser.text("#left-label"), browser.text("#right-label")) == ("alpha", "sharp")
    browser.element("#pair label:nth-of-type(3)").click()
    assert settle(lambda: (browser.colour(0.3), browser.colour(0.9)) == (RED, BLUE))
    assert browser.element("#right").get_attribute("alt") == "f1, sharp"


def test_without_restored_frames_blurred_and_sharp_are_shown(browser):
    assert not browser.element("#missing").is_displayed()
    browser.choose("#by-model", "old")
    assert browser.listed() == ["f2, old"]
    assert browser.element("#missing").is_displayed()
    assert settle(lambda: (browser.colour(0.3), browser.colour(0.9)) == (RED, BLUE))
    usable = browser.do("return [...document.querySelectorAll('#pair input')].map(i => !i.disabled)")
    assert usable == [False, False, True]


def test_filters(browser):
    assert browser.text("#count") == (
        "6 of 6 restored frames (3 frames by 3 deblurers), in them 2 recovered, 4 lost, 1 hallucinated, 2 found,"
        " 1 missed, 1 other false"
    )
    assert browser.text("#signs") == "+ recovered, − lost, ! hallucinated"
    browser.choose("#by-outcome", "lost")
    assert browser.listed() == ["f1, alpha", "f0, beta"]
    assert browser.text("#count") == "2 of 6 restored frames (2 frames by 2 deblurers), in them 4 lost"
    assert browser.drawn() == ["lost"] * 3
    browser.choose("#by-class", "person")
    assert browser.listed() == ["f1, alpha"]
    assert browser.drawn() == ["lost"]
    browser.choose("#by-model", "beta")
    assert browser.listed() == []
    assert browser.element("#none").is_displayed()
    assert not browser.element("#stage").is_displayed()
    browser.choose("#by-outcome", "all")
    assert browser.listed() == ["f0, beta"]
    assert browser.drawn() == ["missed"]
    for selector in ("#by-class", "#by-model"):
        browser.choose(selector, "all")
    assert len(browser.listed()) == 6
    assert not browser.element("#none").is_displayed()
    browser.choose("#by-clip", "b")
    assert browser.listed() == ["f2, alpha", "f2, old"]
    browser.choose("#by-clip", "all")
    browser.choose("#by-size", "small (below 32² pixels)")  # a box is 24 pixels wide and 36 high: 864
    assert len(browser.listed()) == 5  # and a view without boxes has nothing of that size
    browser.choose("#by-size", "medium")
    assert browser.listed() == []


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("most changed", ["f1 alpha", "f0 alpha", "f0 beta", "f2 alpha", "f1 beta", "f2 old"]),
        ("net gain", ["f0 alpha", "f1 beta", "f2 alpha", "f2 old", "f0 beta", "f1 alpha"]),
        ("net loss", ["f1 alpha", "f0 beta", "f1 beta", "f2 alpha", "f2 old", "f0 alpha"]),
        ("hallucinated", ["f2 alpha", "f0 alpha", "f0 beta", "f1 alpha", "f1 beta", "f2 old"]),
        ("lowest PSNR", ["f0 beta", "f2 old", "f1 beta", "f0 alpha", "f1 alpha", "f2 alpha"]),
        ("frame by frame", ["f0 alpha", "f0 beta", "f1 alpha", "f1 beta", "f2 alpha", "f2 old"]),
    ],
)
def test_sorting(browser, order, expected):
    browser.choose("#sort", order)
    assert [label.replace(",", "") for label in browser.listed()] == expected


NAMES_DRAWN = """
return [...document.querySelectorAll('#boxes > text')].map(t => {
  const b = t.getBoundingClientRect();
  return [t.textContent, b.left, b.top, b.right, b.bottom];
})
"""


def test_no_name_covers_another(chromium, tmp_path):
    heap = [box("recovered", i % 2, 40.0) for i in range(4)] + [box("lost", 0, 41.0), box("found", 0, 42.0)]
    frame = {"id": "f", "clip": "a", "number": 0, "width": 160, "height": 120, "blurred": "", "sharp": ""}
    corner = [90.0, 0.0, 10.0, 100.0, 1, NAMES.index("hallucinated"), 0.5]
    view = {"frame": 0, "model": 0, "restored": None, "psnr": None, "boxes": [*heap, corner]}
    gallery = page.Gallery(["m"], CLASSES, [frame], [view], 1)
    browser = Browser(chromium).open(page.write(tmp_path, "A page", "", [], gallery))
    stage = browser.do("const b = document.getElementById('stage').getBoundingClientRect(); return [b.left, b.right]")
    found = browser.do(NAMES_DRAWN)
    assert [name for name, *_ in found][:2] == ["+ car", "+ person"]
    assert "! person" in [name for name, *_ in found]
    for (_, *one), (_, *other) in itertools.combinations(found, 2):
        assert one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
    assert all(stage[0] <= left and right <= stage[1] for _, left, _, right, _ in found)
    browser.element("#show-boxes").click()
    assert browser.do(NAMES_DRAWN) == []
    browser.element("#show-boxes").click()
    assert len(browser.do(NAMES_DRAWN)) == len(found)


def test_what_is_cut_off_says_so(chromium, folder):
    """A shade that scrolls along stands over the right edge until there is no more."""
    browser = Browser(chromium).open(folder / "index.html", width=500)
    picture = browser.element("figure img")
    assert picture.size["width"] == picture.get_property("naturalWidth") == 672
    for selector in (".table .scroll", ".figures .scroll", "nav ul"):
        scroll = browser.element(selector)
        assert scroll.get_property("scrollWidth") > scroll.get_property("clientWidth"), selector
        start, end = (shade(browser, scroll, left) for left in (0, 10_000))
        assert start < 235 < end, (selector, start, end)


def shade(browser, scroll, left):
    """The brightness of the upper right corner of what is scrolled so far."""
    browser.do("arguments[0].scrollIntoView({block: 'center'}); arguments[0].scrollLeft = arguments[1]", scroll, left)
    path = Path("scroll.png").absolute()
    scroll.screenshot(str(path))
    return images.read_image(path)[3, -2].mean()


def test_keys(browser):
    browser.press("j", "j")
    assert browser.text("#name") == "f0, beta (3 of 6)"
    browser.press("k")
    assert browser.text("#name") == "f0, alpha (2 of 6)"
    assert browser.text("#list [aria-current]").startswith("f0")
    wipe = browser.element("#wipe")
    browser.press("\ue014", "\ue014")  # right
    assert wipe.get_property("value") == "60"
    browser.press("\ue012")  # left
    assert wipe.get_property("value") == "55"
    assert browser.element("#boxes").is_displayed()
    browser.press("b")
    assert not browser.element("#boxes").is_displayed()
    browser.press("j")
    assert not browser.element("#boxes").is_displayed()
    browser.press("b")
    assert browser.element("#boxes").is_displayed()
    browser.press("3")
    assert browser.text("#right-label") == "sharp"
    browser.press("?")
    assert browser.element("#help").is_displayed()
    browser.press("j")  # not while the help is read
    assert browser.text("#name").startswith("f0, beta")
    browser.press("\ue00c")  # Escape
    assert not browser.element("#help").is_displayed()
    browser.press(*"jjjjjjjj")
    assert browser.text("#name") == "f2, old (6 of 6)"
    assert not browser.element("#next").is_enabled()


def test_keys_are_left_to_what_has_the_focus(browser):
    browser.do("document.querySelector('.scroll').focus()")
    browser.press("j", "\ue014")
    assert browser.text("#name").startswith("f1, alpha")
    assert browser.element("#wipe").get_property("value") == "50"
    browser.do("document.querySelector('#wipe').focus()")
    browser.press("\ue014")
    assert browser.element("#wipe").get_property("value") == "51"  # its own step


def test_what_a_screen_reader_is_told(browser):
    assert browser.element("#boxes").get_attribute("aria-label") == (
        "Boxes of f1: 3 lost (car, car, person); 1 other false (car)"
    )
    nameless = browser.do(
        "return [...document.querySelectorAll('button, input, select, [tabindex]')].filter(e => !(e.ariaLabel"
        " || e.textContent.trim() || e.labels?.length)).map(e => e.outerHTML)"
    )
    assert nameless == []
    assert browser.do("return [...document.images].every(image => image.hasAttribute('alt'))")
    assert browser.do("return document.documentElement.lang") == "en"


def test_the_focus_is_seen(browser):
    seen = set()
    for _ in range(45):
        browser.press("\ue004")  # Tab
        tag, id, outline = browser.do(
            "const e = document.activeElement, s = getComputedStyle(e.matches('#pair input') ? e.nextSibling : e);"
            "return [e.tagName, e.id, s.outlineStyle + s.outlineWidth]"
        )
        seen.add(id or tag)
        if tag != "BODY":
            assert outline == "solid3px", (tag, id, outline)
    assert {"A", "DIV", "by-model", "sort", "next", "wipe", "show-boxes", "ask"} <= seen


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_nothing_is_wider_than_the_screen(chromium, folder, width):
    browser = Browser(chromium).open(folder / "index.html", width=width, height=812)
    assert browser.do("return document.documentElement.scrollWidth") <= width
    browser.choose("#by-outcome", "lost")
    assert browser.do("return document.documentElement.scrollWidth") <= width
    scroll = browser.element(".scroll")
    assert scroll.get_property("scrollWidth") > scroll.get_property("clientWidth")  # the table does, in its own box


def test_it_is_ready_within_a_second(chromium, tmp_path):
    """With 20 runs of 12 frames and 30 boxes each, from the start of loading until the gallery answers."""
    files = {"blurred": "b.webp", "sharp": "s.webp"}
    frames = [{"id": f"f{i}", "clip": "a", "number": i, "width": 160, "height": 120} | files for i in range(12)]
    boxes = [box(NAMES[i % 6], i % 2, i) for i in range(30)]
    views = [
        {"frame": f, "model": m, "restored": "r.webp", "psnr": 20.0, "boxes": boxes}
        for f in range(12)
        for m in range(20)
    ]
    for name in ("b", "s", "r"):
        images.write_image(tmp_path / f"{name}.webp", np.full((120, 160, 3), RED, np.uint8))
    gallery = page.Gallery([f"m{i}" for i in range(20)], CLASSES, frames, views, 75)
    path = page.write(tmp_path, "A page", "", [], gallery)
    browser = Browser(chromium)
    times = []
    for _ in range(3):  # the machine may be busy with something else
        browser.open(path)
        assert len(browser.listed()) == 240
        times.append(browser.do("return performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"))
    assert min(times) < 1000


@pytest.mark.parametrize(
    ("name", "width", "dark"), [("desktop", 1280, False), ("desktop-dark", 1280, True), ("phone", 375, False)]
)
def test_screenshots(chromium, folder, tmp_path, name, width, dark):
    target = Path(os.environ.get("DETBENCH_SCREENSHOTS", tmp_path))
    target.mkdir(parents=True, exist_ok=True)
    browser = Browser(chromium).open(folder / "index.html", width=width, height=900, dark=dark)
    browser.do("document.getElementById('gallery').scrollIntoView()")
    assert settle(lambda: browser.colour(0.1) == RED)
    browser.driver.save_screenshot(str(target / f"page-{name}.png"))
    frame = images.read_image(target / f"page-{name}.png")
    assert frame.shape == (900, width, 3)
    ground = np.median(frame[:, :8].reshape(-1, 3), axis=0).mean()
    assert (ground < 60) if dark else (ground > 200)


def test_an_address_names_a_frame(chromium, folder, browser):
    browser.press("j")
    assert browser.do("return location.hash") == "#frame=f0&deblurer=alpha"
    other = Browser(chromium)
    other.driver.get("about:blank")
    other.driver.get((folder / "index.html").as_uri() + "#frame=f0&deblurer=beta")
    assert settle(lambda: other.text("#name").startswith("f0, beta"))
    assert other.errors() == []
