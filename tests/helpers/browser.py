"""A real browser, without a window, for tests of the pages that people see."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
    *("disable-background-networking", "disable-component-update", "disable-sync"),
    "disable-dev-shm-usage",
)


@contextmanager
def open_browser(
    profile: Path, *, width: int = 1280, height: int = 900, dark: bool = False
) -> Iterator[Any]:
    """A Selenium driver of a headless Chromium, or a skipped test where there is none.

    Args:
        profile: a new folder for its user data.
        width, height: of the page in CSS pixels.
        dark: whether pages are told that people want them dark.
    """
    selenium = pytest.importorskip("selenium", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("Chromium and chromedriver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = selenium.webdriver.chrome.service.Service(driver)
    browser = webdriver.Chrome(options=options, service=service)
    try:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        browser.get("about:blank")  # what the first tab of a new browser loads is not the page's
        requested(browser)
        yield browser
    finally:
        browser.quit()


def complaints(browser: Any) -> list[str]:
    """What the console has said since it was last asked: errors and warnings."""
    entries = browser.get_log("browser")
    return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]


def requested(browser: Any) -> list[str]:
    """The addresses that pages have asked for since it was last asked, data: left out."""
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    asked = (m["params"]["request"]["url"] for m in messages if _is_request(m))
    return [address for address in asked if not address.startswith(("data:", "chrome:"))]


def _is_request(message: dict[str, Any]) -> bool:
    return message["method"] == "Network.requestWillBeSent"
