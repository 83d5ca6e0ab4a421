"""The page in headless Chromium: no console messages, sorting, filtering, and the dialog of a card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsmt_nnunet.report.page import write_report
from tests.unit.report.cohort import explain_case, make_cohort, page_options

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (pip install selenium)")
KEYS = pytest.importorskip("selenium.webdriver.common.keys").Keys
WAIT = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1400,1000"
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="chromium and chromedriver are not installed (Debian: apt-get install chromium chromium-driver)",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cohort = make_cohort(tmp_path_factory.mktemp("page"))
    explain_case(cohort, 8)
    return write_report([cohort.metrics], cohort.metrics.parent / "page.html", page_options(cohort))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    """The page as just loaded; a browser that has only started may still show, or go back to, a page of its own."""
    loaded = "return document.URL === arguments[0] && !window.before && document.readyState === 'complete'"

    def ours(driver: Any) -> bool:
        if driver.current_url != page.as_uri():
            driver.get(page.as_uri())
        return bool(driver.execute_script(loaded, page.as_uri()))

    browser.execute_script("window.before = true")
    browser.get(page.as_uri())
    WAIT(browser, 30).until(ours, "the page was not loaded")
    return browser


def choose(browser: Any, name: str, value: str) -> None:
    browser.execute_script(
        "const item = document.querySelector(`.tools [name=${arguments[0]}]`);"
        "item.value = arguments[1]; item.dispatchEvent(new Event('input', {bubbles: true}));",
        name,
        value,
    )


def shown(browser: Any) -> list[str]:
    """Names of the cases on the wall, in order."""
    return browser.execute_script(
        "return [...document.querySelectorAll('.card:not([hidden]) .case')].map((item) => item.textContent)"
    )


def press(browser: Any, key: str) -> None:
    webdriver.ActionChains(browser).send_keys(key).perform()


def test_page_loads_without_messages_or_requests(opened: Any, page: Path) -> None:
    assert opened.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    urls = [item["params"]["request"]["url"] for item in messages if item["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in urls
    own_pages = ("chrome:", "chrome-untrusted:")  # the browser's, of the tab before it was asked for ours
    assert [url for url in urls if not url.startswith(("data:", *own_pages, page.as_uri()))] == []


def test_mistakes_come_first_and_sorting_changes_the_order(opened: Any) -> None:
    assert shown(opened)[:2] == ["case_08", "case_03"]
    choose(opened, "sort", "case")
    assert shown(opened) == sorted(shown(opened))
    choose(opened, "sort", "low")
    assert shown(opened)[0] == "case_10"
    choose(opened, "task", "texture")
    choose(opened, "sort", "error")
    assert shown(opened)[0] == "case_05"


def test_filters_and_reset(opened: Any) -> None:
    choose(opened, "outcome", "mistakes")
    assert shown(opened) == ["case_08", "case_03", "case_11", "case_11"]
    choose(opened, "group", "external")
    assert shown(opened) == ["case_03"]
    assert opened.execute_script("return document.querySelector('.tools .count').textContent") == "1 of 13 nodules"
    opened.execute_script("document.querySelector('.tools').reset()")
    opened.execute_async_script("setTimeout(arguments[0], 50)")
    assert len(shown(opened)) == 13
    choose(opened, "search", "CASE_07")
    assert shown(opened) == ["case_07"]


def test_card_opens_slices_that_keys_scroll(opened: Any) -> None:
    def state(script: str) -> Any:
        return opened.execute_script(f"const viewer = document.getElementById('viewer'); return {script}")

    opened.execute_script("document.querySelector('.card .open').focus(); document.activeElement.click()")
    assert state("viewer.open") is True
    assert "case_08" in state("viewer.querySelector('h2').textContent")
    first = state("viewer.querySelector('.slider output').textContent")
    path = state("viewer.querySelector('.viewer-main .contour.truth').getAttribute('d')")
    assert path.startswith("M")
    for _ in range(6):
        press(opened, KEYS.ARROW_DOWN)
    assert state("viewer.querySelector('.slider output').textContent") != first
    assert state("viewer.querySelector('.viewer-main .contour.truth').getAttribute('d')") != path
    press(opened, "p")
    assert state("getComputedStyle(viewer.querySelector('.viewer-main .contour.predicted')).display") == "none"
    assert "image 20 of 32" in state("viewer.querySelector('.slider output').textContent")
    assert "1.2.3.4.15" in state("viewer.querySelector('.viewer-place').textContent")
    scan = "getComputedStyle(viewer.querySelector('.viewer-main image.scan')).filter"
    assert "window-0" in state(scan)
    press(opened, "2")
    assert "window-1" in state(scan)
    assert state("[...document.querySelectorAll('.windows input:checked')].map((item) => item.value)") == ["1", "1"]
    press(opened, KEYS.ARROW_RIGHT)
    assert "case_03" in state("viewer.querySelector('h2').textContent")
    press(opened, KEYS.ESCAPE)
    assert state("viewer.open") is False
    focused = "return document.activeElement.closest('.card')?.querySelector('.case').textContent === 'case_03'"
    # A dialog tells of its closing in a task of its own, a moment after it has closed.
    WAIT(opened, 10).until(lambda browser: browser.execute_script(focused), "the last card shown has no focus")
    assert opened.get_log("browser") == []


def test_what_drove_the_score_is_shown_on_request(opened: Any) -> None:
    def state(script: str) -> Any:
        return opened.execute_script(f"const viewer = document.getElementById('viewer'); return {script}")

    def display(selector: str) -> str:
        return state(f"getComputedStyle(viewer.querySelector('{selector}')).display")

    opened.execute_script("document.querySelector('.card .open').click()")
    for name in ("main", "coronal", "sagittal"):
        assert display(f".viewer-{name} image.drove") == "none"
    press(opened, "e")
    for name in ("main", "coronal", "sagittal"):
        assert display(f".viewer-{name} image.drove") == "inline"
    assert "what drove the score" in state("viewer.querySelector('.viewer-main svg').getAttribute('aria-label')")
    assert "lowers the log-odds of <b>invasive</b>" in state("viewer.querySelector('.drove-local').textContent")
    assert "160 mm" in state("viewer.querySelector('.drove-context svg').getAttribute('aria-label')")
    sheet = "viewer.querySelector('.viewer-main image.drove')"
    before = state(f"[{sheet}.getAttribute('x'), {sheet}.getAttribute('y')]")
    for _ in range(4):
        press(opened, KEYS.ARROW_DOWN)
    assert state(f"[{sheet}.getAttribute('x'), {sheet}.getAttribute('y')]") != before
    press(opened, KEYS.ARROW_RIGHT)
    assert state("viewer.querySelector('image.drove')") is None
    assert display(".drove-text") == display(".drove-choice") == "none"
    press(opened, "e")
    press(opened, KEYS.ARROW_LEFT)
    assert display(".viewer-main image.drove") == "inline"
    press(opened, "e")
    assert display(".viewer-main image.drove") == "none"
    press(opened, KEYS.ESCAPE)
    assert opened.get_log("browser") == []


@pytest.mark.parametrize("width", [1400, 420])
def test_nothing_is_wider_than_the_window(opened: Any, width: int) -> None:
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    )
    opened.execute_script("for (const item of document.querySelectorAll('details')) item.open = true")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
