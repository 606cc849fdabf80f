"""The review page in headless Chromium, opened from disk."""

from __future__ import annotations

import json
import time
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from mose_med.io.case.folder import CaseFolder, open_folder
from mose_med.report.review import write_review
from tests.fixtures.report import ReportCase


class OpenPage(NamedTuple):
    """The page in the browser."""

    browser: webdriver.Chrome
    case: CaseFolder
    url: str

    def picture(self) -> np.ndarray:
        """Pixels of the slice with its outlines, once all is loaded and they no longer change."""
        self.browser.execute_async_script("moseReview.settled().then(arguments[0])")
        stage = self.browser.find_element(By.ID, "stage")
        before = None
        for _ in range(40):
            pixels = np.asarray(Image.open(BytesIO(stage.screenshot_as_png)).convert("RGB")).astype(int)
            if before is not None and np.array_equal(before, pixels):
                return pixels
            before = pixels
            time.sleep(0.1)
        raise AssertionError("the picture keeps changing")

    def script(self, text: str) -> Any:
        return self.browser.execute_script(text)

    def change(self, selector: str, value: str) -> None:
        self.script(
            f"const e = document.querySelector({selector!r}); e.value = {value!r};"
            "e.dispatchEvent(new Event('change', {bubbles: true}))"
        )

    def click(self, selector: str) -> None:
        self.script(f"document.querySelector({selector!r}).click()")

    def readout(self) -> str:
        return self.browser.find_element(By.ID, "readout").text

    def shown(self) -> int:
        """Number of the lesion in the viewer, once it is there."""
        return int(self.script("return moseReview.state.lesion.number"))


@pytest.fixture(scope="module")
def open_page(report_case: ReportCase, browser: webdriver.Chrome, tmp_path_factory: pytest.TempPathFactory) -> OpenPage:
    folder = tmp_path_factory.mktemp("page")
    case = open_folder(report_case.folder)
    page, *_ = write_review(folder, case, report_case.image.numpy()[0])
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.as_uri())
    WebDriverWait(browser, 60).until(lambda b: b.execute_script("return document.body.dataset.state") == "ready")
    return OpenPage(browser, case, page.as_uri())


@pytest.fixture
def page(open_page: OpenPage) -> OpenPage:
    """The page as it opens."""
    open_page.browser.execute_async_script("moseReview.reset().then(arguments[0])")
    return open_page


def changed(before: np.ndarray, after: np.ndarray) -> int:
    """Pixels that differ to the eye."""
    return int((np.abs(before - after).max(axis=2) > 30).sum())


def test_the_slice_is_drawn(page: OpenPage):
    picture = page.picture()
    assert picture.std() > 20
    assert page.browser.find_element(By.ID, "no-viewer").is_displayed() is False


def extent(pixels: np.ndarray) -> np.ndarray:
    """First and last row and column of the largest connected patch."""
    labels, _ = ndimage.label(pixels, structure=np.ones((3, 3)))
    rows, columns = np.nonzero(labels == np.bincount(labels[labels > 0]).argmax())
    return np.array([rows.min(), rows.max(), columns.min(), columns.max()])


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_outlines_lie_on_the_border_of_the_lesion(page: OpenPage, plane: int):
    page.click(f"input[name=plane][value='{plane}']")
    for expert in (0, 1):
        page.click(f"[data-expert='{expert}']")
    with_line = page.picture()
    page.click("[data-layer=consensus]")
    without = page.picture()
    line = extent(np.abs(with_line - without).max(axis=2) > 30)
    ball = extent(ndimage.binary_opening(without.mean(axis=2) > 130, np.ones((3, 3))))  # without the crosshair
    assert ball[1] - ball[0] > 80
    np.testing.assert_allclose(line, ball, atol=6)


@pytest.mark.parametrize("layer", ["consensus", "expert-1-sample-1", "expert-2-sample-3"])
def test_each_layer_can_be_switched(page: OpenPage, layer: str):
    for selector in ("[data-layer=consensus]", "[data-expert='0']", "[data-expert='1']"):
        page.click(selector)
    without = page.picture()
    page.click(f"[data-layer={layer}]")
    assert changed(without, page.picture()) > 50
    page.click(f"[data-layer={layer}]")
    assert changed(without, page.picture()) == 0


@pytest.mark.parametrize("name", ["probability", "entropy", "expert-2_foreground_probability"])
def test_each_map_covers_the_ct(page: OpenPage, name: str):
    before = page.picture()
    page.change("#map", name)
    assert changed(before, page.picture()) > 50
    assert page.browser.find_element(By.ID, "legend").is_displayed()
    covered = page.picture()
    page.script("const o=document.getElementById('opacity'); o.value='100'; o.dispatchEvent(new Event('input'))")
    assert changed(covered, page.picture()) > 50


def test_windows_change_the_grey_of_the_ct(page: OpenPage):
    before = page.picture()
    page.change("#window", "2")
    assert changed(before, page.picture()) > 1000


def test_keys_and_slider_change_the_slice(page: OpenPage):
    slices = page.browser.find_element(By.ID, "slices")
    before = page.script("return document.getElementById('slice').value")
    slices.send_keys(Keys.ARROW_UP)
    assert page.script("return document.getElementById('slice').value") == str(int(before) + 1)
    page.script("const s=document.getElementById('slice'); s.value='0'; s.dispatchEvent(new Event('input'))")
    assert page.browser.find_element(By.ID, "slice-place").text == "1 of 14"
    slices.send_keys("1")
    assert page.script("return document.querySelector('[data-expert=\"0\"]').checked") is False


def test_a_click_jumps_to_the_other_lesion(page: OpenPage):
    before = page.picture()
    page.click("#lesion-2 [data-lesion='2']")
    WebDriverWait(page.browser, 20).until(lambda _: page.shown() == 2)
    assert changed(before, page.picture()) > 1000
    assert page.browser.find_element(By.ID, "shown-lesion").text == "Lesion 2"


def test_the_readout_is_the_lesions_place_and_the_values_there(page: OpenPage, report_case: ReportCase):
    lesion = page.case.lesions[0]
    page.change("#map", "probability")
    page.picture()
    i, j, k = np.rint(np.linalg.inv(page.case.affine) @ [*lesion.place_mm, 1])[:3].astype(int)
    x, y, z = (page.case.affine @ [i, j, k, 1])[:3]
    hu = float(report_case.image[0, i, j, k])
    assert page.readout().startswith(f"L {-x:.1f}, P {-y:.1f}, S {z:.1f} mm · {hu:.0f} HU · drawn by ")
    assert "probability, all experts" in page.readout()


def test_all_three_planes_are_shown(page: OpenPage):
    page.click("input[name=plane][value='3']")
    page.picture()
    planes = page.script("return moseReview.viewer.screenSlices.map((tile) => tile.axCorSag)")
    assert sorted(planes) == [0, 1, 2]


def test_nothing_leaves_the_page_and_nothing_is_complained_about(page: OpenPage):
    page.change("#map", "entropy")
    page.picture()
    entries = [json.loads(entry["message"])["message"] for entry in page.browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in entries if e["method"] == "Network.requestWillBeSent"]
    of_page = [url for url in asked if not url.startswith(("chrome:", "data:", "blob:null/"))]
    assert of_page == [page.url]
    assert page.browser.get_log("browser") == []


def test_a_browser_without_webgl_says_so_and_shows_the_numbers(open_page: OpenPage):
    browser = open_page.browser
    no_webgl = "HTMLCanvasElement.prototype.getContext = () => null"
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": no_webgl})
    try:
        browser.get(open_page.url)
        message = browser.find_element(By.ID, "no-viewer")
        WebDriverWait(browser, 30).until(lambda _: message.is_displayed())
        assert "they need WebGL 2" in message.text
        assert not browser.find_element(By.ID, "stage").is_displayed()
        assert "Volume, median" in browser.find_element(By.ID, "lesion-1").text
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": added["identifier"]})
