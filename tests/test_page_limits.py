"""A report's page in headless Chromium: how long, how heavy and how legible it is, at three widths in both modes.

Skipped without Chromium, its driver or Selenium.
"""

import re

import pytest
from browser import NEEDED, Browser

from detbench import benchmarks
from detbench.report import groups
from detbench.report.collect import collect
from detbench.types import RunSpec

pytestmark = NEEDED

HEIGHT = 6000
"""Of the page in pixels, on a screen of 1440, as long as its details are folded."""

BYTES = 3_000_000
"""Of the page and its figures, without frames."""

LEGIBLE, LARGE = 4.5, 3.0
"""Contrasts that WCAG 2.2 wants at level AA (1.4.3): of text, and of text from 24 pixels on, or 18.66 in bold."""

CONTRASTS = """
const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
  const s = c[i] / 255;
  return sum + weight * (s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4);
}, 0);
const parse = (text) => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 });
  const pen = canvas.getContext('2d');
  pen.fillStyle = text;
  pen.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const ground = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor);
    if (c[3] > 0.99) return c;
  }
  return parse(getComputedStyle(document.documentElement).getPropertyValue('--ground') || 'white');
};
const told = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || element.closest('script, style, noscript, svg, #stage')) continue;
  if (!element.checkVisibility()) continue;
  const style = getComputedStyle(element);
  const [a, b] = [light(parse(style.color)), light(ground(element))];
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  told.push([ratio, large, walker.currentNode.textContent.trim().slice(0, 40), style.color]);
}
return told;
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of one deblurer on twelve clips."""
    return tmp_path_factory.mktemp("limits")


@pytest.fixture
def page(report, data):
    if not (report / "index.html").exists():
        benchmarks.benchmark(RunSpec("unsharp", dataset=str(data), conf=0.7, device="cpu"), report / "runs")
        groups.write(collect([report / "runs"]), report)
    return report / "index.html"


def test_it_is_short_and_light(chromium, page):
    browser = Browser(chromium).open(page, width=1440)
    assert browser.do("return document.documentElement.scrollHeight") <= HEIGHT
    shown = {page, *(page.parent / name for name in re.findall(r'src="(figures/[^"]+)"', page.read_text()))}
    assert len(shown) > 5
    assert sum(path.stat().st_size for path in shown) <= BYTES


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 768, 1440])
def test_it_is_legible_and_fits(chromium, page, width, dark):
    browser = Browser(chromium).open(page, width=width, dark=dark)
    browser.do("for (const details of document.querySelectorAll('details')) details.open = true")
    assert browser.do("return document.documentElement.scrollWidth") <= width
    told = browser.do(CONTRASTS)
    assert len(told) > 100
    ground = browser.do("return getComputedStyle(document.body).backgroundColor")
    faint = [each for each in told if each[0] < (LARGE if each[1] else LEGIBLE)]
    assert not faint, (ground, faint[:10])


def test_the_test_of_contrast_can_fail(chromium, page):
    browser = Browser(chromium).open(page)
    browser.do("document.querySelector('h1').style.color = '#eee'")
    assert min(each[0] for each in browser.do(CONTRASTS)) < LARGE
