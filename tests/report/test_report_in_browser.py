"""The page in a real browser: nothing fails, nothing is fetched, and the tree opens by the keys."""

import pytest

from browser import complaints, open_browser, requested
from genrec.report import write_report
from genrec.runs.folder import config_of
from hostile_run import TITLES, hostile_run

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def page(tiny_run, tmp_path_factory):
    run = hostile_run(tiny_run, tmp_path_factory.mktemp("shown") / "run")
    write_report(run, config_of(run), run / "report.html")
    return run / "report.html"


def rows(browser):
    return browser.find_elements("css selector", "#explorer .branches > li")


def state(browser):
    return browser.find_element("css selector", "#explorer .state").text


def press(browser, key):
    browser.switch_to.active_element.send_keys(key)


def test_nothing_fails_and_nothing_is_fetched(page, tmp_path):
    with open_browser(tmp_path) as browser:
        browser.get(page.as_uri())
        assert requested(browser) == [page.as_uri()]
        assert complaints(browser) == []
        assert browser.execute_script("return window.harmed") is None
        # The browser stops what the page's policy does not allow, and says so.
        browser.execute_script("new Image().src = 'http://localhost:1/x.png'")
        assert any("Content Security Policy" in message for message in complaints(browser))


def test_the_tree_opens_by_mouse_and_by_keys(page, tmp_path):
    with open_browser(tmp_path) as browser:
        browser.get(page.as_uri())
        from selenium.webdriver.common.keys import Keys

        assert state(browser).startswith("40 items, ")
        first = rows(browser)[0].find_element("tag name", "button")
        code = first.find_element("class name", "code").text
        size = int(first.find_element("class name", "size").text.split()[0])
        first.click()
        assert state(browser).startswith(f"{code}: {size} items")
        crumbs = browser.find_element("css selector", ".crumbs")
        assert crumbs.text.split() == ["All", "items", code]
        titles = [row.text for row in rows(browser) if row.find_elements("class name", "item")]
        assert all(any(title in text for title in TITLES[:3]) or "film" in text for text in titles)
        press(browser, Keys.ARROW_LEFT)
        assert state(browser).startswith("40 items, ")
        active = browser.switch_to.active_element
        assert active.find_element("class name", "code").text == code
        press(browser, Keys.ARROW_DOWN)
        second = browser.switch_to.active_element.find_element("class name", "code").text
        assert second == rows(browser)[1].find_element("class name", "code").text
        press(browser, Keys.ENTER)
        assert state(browser).startswith(f"{second}: ")
        crumbs.find_element("tag name", "button").click()
        assert state(browser).startswith("40 items, ")
        find = browser.find_element("id", "find")
        find.send_keys("<svg onload")
        assert state(browser).startswith("10 titles with “<svg onload”")
        assert len(rows(browser)) == 10
        find.send_keys(Keys.ESCAPE)
        assert state(browser).startswith("40 items, ")
        assert complaints(browser) == []
        assert browser.execute_script("return window.harmed") is None


def test_the_map_is_read_by_keys_and_the_colours_change(page, tmp_path):
    with open_browser(tmp_path) as browser:
        browser.get(page.as_uri())
        from selenium.webdriver.common.keys import Keys

        browser.execute_script("document.getElementById('items').focus()")
        press(browser, Keys.ARROW_RIGHT)
        reading = browser.find_element("class name", "reading")
        before = reading.text
        assert "First code " in before
        press(browser, Keys.ARROW_RIGHT)
        press(browser, Keys.ARROW_LEFT)
        press(browser, Keys.ARROW_UP)
        assert reading.text and reading.text != before
        reading.find_element("tag name", "button").click()
        code = reading.text.split("First code ")[1].split(";")[0]
        assert state(browser).startswith(f"{code}: ")

        def paper():
            script = "return getComputedStyle(document.body).backgroundColor"
            return browser.execute_script(script)

        light, button = paper(), browser.find_element("id", "theme")
        browser.execute_script("arguments[0].click()", button)
        assert paper() != light and button.text == "Light"
        browser.execute_script("arguments[0].click()", button)
        assert paper() == light and button.text == "Dark"
        assert complaints(browser) == []


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_stands_out_of_the_page(page, tmp_path, width):
    with open_browser(tmp_path, width=width, dark=width == 360) as browser:
        browser.get(page.as_uri())
        script = "return document.documentElement.scrollWidth"
        assert browser.execute_script(script) <= width


def test_without_a_script_all_but_the_exploring_is_there(page, tmp_path):
    with open_browser(tmp_path) as browser:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        browser.get(page.as_uri())
        # page_source is asked of a script, which a busy browser may have stopped already
        notice = browser.find_element("css selector", ".noscript").text
        assert notice == "Zooming into a branch needs JavaScript."
        assert rows(browser)
        assert not browser.find_element("id", "theme").is_displayed()
        assert browser.find_element("id", "items").is_displayed()
        assert requested(browser) == [page.as_uri()]
