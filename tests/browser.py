"""A page in headless Chromium as its reader meets it; what the tests of pages in a browser share."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from detbench.data import images

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
NEEDED = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"),
    pytest.mark.slow("drives a browser"),
]
"""Marks of a module that uses it."""

RED, GREEN, BLUE = (200, 40, 40), (40, 160, 40), (40, 40, 200)
"""The blurred, restored and sharp pictures."""


def launch():
    """Headless Chromium with its logs; quit it when done."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))


class Browser:
    """A page as its reader meets it."""

    def __init__(self, driver):
        self.driver = driver
        self.do = driver.execute_script

    def open(self, path, width=1280, height=900, dark=False):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, still]})
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(path.as_uri())
        return self

    def element(self, selector):
        return self.driver.find_element("css selector", selector)

    def text(self, selector):
        return self.element(selector).text

    def listed(self):
        """What the list of frames names: frame and run."""
        found = self.do("return [...document.querySelectorAll('#list button')].map(b => b.ariaLabel)")
        return [label.partition(":")[0] for label in found]

    def choose(self, selector, text):
        self.do(
            "const s = document.querySelector(arguments[0]); s.value = [...s.options]"
            ".find(o => o.text === arguments[1]).value; s.dispatchEvent(new Event('change'))",
            selector,
            text,
        )

    def press(self, *keys):
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def drawn(self):
        """Outcomes of the boxes on the stage, sorted."""
        return sorted(self.do("return [...document.querySelectorAll('#boxes g')].map(g => g.classList[0])"))

    def colour(self, share):
        """The nearest of the three pictures' colours in the stage's lower third, at a share of its width."""
        self.do("document.getElementById('stage').scrollIntoView({block: 'center'})")
        self.do("for (const image of document.querySelectorAll('#stage img')) if (!image.complete) throw 'not loaded'")
        path = Path("stage.png").absolute()
        self.element("#stage").screenshot(str(path))
        frame = images.read_image(path)
        pixel = frame[int(frame.shape[0] * 0.7), int((frame.shape[1] - 1) * share)].astype(int)
        return min((RED, GREEN, BLUE), key=lambda colour: np.abs(pixel - colour).sum())

    def errors(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]


def settle(condition, seconds=5.0):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return True
        except Exception:
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
