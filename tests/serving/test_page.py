"""The page in a real browser: found by typing, chosen by keys, answered, and never taken in."""

import threading
import time

import pytest

import genrec
from browser import open_browser
from genrec.serving.app import create_app
from genrec.serving.options import Options
from genrec.serving.service import Service
from small_serving import UNSAFE, wait

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def address(other_bundle):
    import uvicorn

    service = Service(other_bundle, Options(max_batch=1))
    service.start()
    config = uvicorn.Config(create_app(service), port=0, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait(lambda: server.started and service.ready and not service.compiling)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
    service.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


def test_a_person_types_chooses_and_sees_what_comes(browser, address, other_bundle):
    from selenium.webdriver.common.keys import Keys

    def all_of(selector):
        return browser.find_elements("css selector", selector)

    def texts(selector):
        return browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map(each => each.textContent)",
            selector,
        )

    browser.get(address)
    typed = browser.switch_to.active_element
    assert typed.accessible_name == "Add an item"
    assert typed.aria_role == "combobox"
    typed.send_keys("film 1")
    wait(lambda: texts("#found li"))
    assert typed.get_attribute("aria-expanded") == "true"
    assert all("Film 1" in each for each in texts("#found li"))

    # Down, down, up: the first is marked, and chosen by Enter.
    typed.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP)
    (marked,) = all_of('#found li[aria-selected="true"]')
    assert typed.get_attribute("aria-activedescendant") == marked.get_attribute("id")
    first = marked.text.split()[-1]
    typed.send_keys(Keys.ENTER)
    wait(lambda: len(texts("tbody tr")) == 10)
    assert all_of("#found")[0].get_attribute("hidden")

    bundle = genrec.load_bundle(other_bundle)

    def shown(history, k=10, **how):
        ids, scores = bundle.recommend([history], k, **how)
        expected = [f"{score:.3f}" for score in scores[0]]
        return (
            texts("tbody td:nth-child(3)") == ids[0]
            and texts("tbody td:nth-child(4)") == expected
            and texts("tbody td:nth-child(2)") == [bundle.titles[each] for each in ids[0]]
        )

    wait(lambda: shown([first]))
    codes = [
        [int(each.text) for each in row.find_elements("css selector", ".codes span")]
        for row in all_of("tbody tr")
    ]
    ids = texts("tbody td:nth-child(3)")
    assert codes == [bundle.codes[bundle.item_ids.index(each)].tolist() for each in ids]
    shared = sum(any(own[0] == other[0] for other in codes if other is not own) for own in codes)
    assert len(all_of("tbody .codes span.shared:first-child")) == shared

    # A second one by mouse; then how many, and the chosen ones again.
    typed.send_keys("film 9")
    wait(lambda: texts("#found li"))
    all_of("#found li")[0].click()
    wait(lambda: shown([first, "i009"]))
    browser.execute_script(
        "const k = document.getElementById('k'); k.value = 4;k.dispatchEvent(new Event('change'))"
    )
    wait(lambda: shown([first, "i009"], 4))
    all_of("#again")[0].click()
    wait(lambda: shown([first, "i009"], 4, exclude_history=False))

    # What is wrong is said; what is removed is gone.
    browser.execute_script(
        "const k = document.getElementById('k'); k.value = 99;k.dispatchEvent(new Event('change'))"
    )
    wait(lambda: "k is 99" in all_of("#status")[0].text)
    remove = all_of("#history button")
    assert [each.accessible_name for each in remove][1] == "Remove Film 9"
    remove[1].click()
    wait(lambda: len(texts("#history li")) == 1)
    assert not [each for each in browser.get_log("browser") if "422" not in each["message"]]


def test_titles_are_never_taken_for_html(browser, address):
    browser.get(address)
    typed = browser.switch_to.active_element
    typed.send_keys("i007")
    script = "return [...document.querySelectorAll('#found li')].map(each => each.textContent)"
    wait(lambda: browser.execute_script(script))
    assert browser.execute_script(script) == [f"{UNSAFE} i007"]
    browser.find_element("css selector", "#found li").click()
    wait(lambda: browser.find_elements("css selector", "tbody tr"))
    browser.find_element("id", "again").click()  # so that it may be in the table too
    time.sleep(0.3)
    assert UNSAFE in browser.find_element("id", "history").text
    assert browser.find_elements("css selector", "img") == []
    assert browser.title == "genrec"


def test_the_interface_is_shown_without_a_network(browser, address):
    browser.get(f"{address}/docs")
    wait(lambda: "/recommend" in browser.find_element("id", "swagger-ui").text)
    script = "return performance.getEntriesByType('resource').map(each => each.name)"
    asked = browser.execute_script(script)
    assert asked
    assert all(each.startswith((address, "data:")) for each in asked), asked
