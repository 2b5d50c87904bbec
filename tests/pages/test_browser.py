"""Pages in a real Chromium: nothing complains, all fits, keys lead everywhere, stories end well."""

import hashlib
import tomllib
from pathlib import Path

import pytest

from tests.pages.chromium import Tab, started
from tests.pages.test_live import Worked
from tests.pages.test_pages import LINE, PATHS, PROD

WIDTHS = (390, 1_280, 2_560)
SLICE = ["/ui/", f"{LINE}/v3", f"{PROD}/rollback"]
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])


@pytest.fixture(scope="module")
def chromium():
    with started() as browser:
        yield browser


@pytest.fixture
def tab(chromium, desk):
    """Open tabs that are logged in as the admin; gives what opens one."""
    opened = []

    def open_tab(**options):
        opened.append(Tab(chromium, desk, options.pop("token", desk.admin_token), **options))
        return opened[-1].log_in()

    yield open_tab
    for each in opened:
        each.close()


def test_nothing_complains_of_the_pages_that_matter_most(tab):
    narrow = tab(scheme="dark")
    for path, width in zip(SLICE, (390, 1_280, 390), strict=True):
        narrow.page.set_viewport_size({"width": width, "height": 900})
        narrow.go(path)
        assert narrow.complaints() == [], path


@pytest.mark.soak
@SCHEMES
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_complains_of_any_page(tab, scheme, width):
    wide = tab(scheme=scheme)
    wide.page.set_viewport_size({"width": width, "height": 900})
    found = {}
    for path in [*PATHS, "/ui/login", "/ui/nowhere"]:
        wide.go(path)
        complaints = [one for one in wide.complaints() if "404 (Not Found)" not in one]
        if complaints:
            found[path] = complaints

    assert found == {}


def test_a_page_keeps_its_title_when_parts_of_it_arrive(tab):
    lively = tab()
    for path in ("/ui/", LINE):
        page = lively.go(path)

        assert page.locator("[data-hx-get][data-hx-trigger^=load] *").count() > 0, path
        assert page.title() == page.evaluate(
            "async () => new DOMParser().parseFromString(await (await fetch(location)).text(), 'text/html').title"
        )


@pytest.mark.soak
def test_every_page_is_whole_without_scripts(tab):
    plain, lively = tab(scripts=False), tab()
    for path in PATHS:
        before, after = plain.go(path).inner_text("h1"), lively.go(path).inner_text("h1")
        assert before == after
        assert plain.page.locator("main").inner_text().strip()


@pytest.mark.soak
def test_a_rollback_takes_four_clicks_from_the_first_page(tab, desk):
    page = tab(token=desk.token("read", "promote", principal="night")).page
    clicks = 0

    page.click(f'a[href="{PROD}/rollback"] >> nth=0')
    clicks += 1
    page.wait_for_selector("text=What it changes")
    assert page.locator("#lights").inner_text().count("ok") >= 4
    assert page.locator("text=1 agent follows").count() == 1
    page.fill("#reason", "p95 doubled")
    page.click("button.danger")
    clicks += 1
    page.wait_for_url("**/channels/prod?done=3")

    assert clicks <= 4
    assert page.locator("#r3").inner_text().startswith("#3")
    assert "p95 doubled" in page.locator("#r3").inner_text()


@pytest.mark.soak
def test_a_request_is_approved_by_keys_alone(tab, desk):
    page = tab(token=desk.token("read", "approve", principal="mara")).page
    press = page.keyboard.press

    press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    press("Enter")
    press("g")
    press("r")
    page.wait_for_url("**/ui/requests")
    _tab_to(page, "1")
    press("Enter")
    page.wait_for_selector("text=Your decision")
    _tab_to(page, "Approve")
    press("Enter")
    page.wait_for_selector("text=You approved it")

    assert page.locator("h1 + .st").inner_text() == "promoted"


def _tab_to(page, text):
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").strip() == text:
            return
    raise AssertionError(f"the Tab key does not lead to {text!r}")


@pytest.mark.soak
def test_a_map_is_one_stop_and_arrows_move_in_it(tab):
    page = tab().go(f"{LINE}/diff?a=v2&b=v3")
    first = page.locator("table[role=grid] td[tabindex='0']")
    assert first.count() == 1

    first.focus()
    told = ""
    for key in ("ArrowRight", "ArrowDown", "End", "Home", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
        told = page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert page.locator("#told-map").inner_text() == told
    assert told.startswith("layer 0, ")


@pytest.mark.soak
def test_the_search_is_a_key_away_and_finds_what_a_reference_names(tab):
    page = tab().go("/ui/")
    page.keyboard.press("/")
    page.keyboard.type("team/lora@prod")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{PROD}")


@pytest.mark.soak
def test_a_filter_keeps_its_state_in_the_address(tab):
    page = tab().go("/ui/deltas")
    page.select_option("select[name=verdict]", "fail")
    page.wait_for_url("**/ui/deltas?verdict=fail")

    assert page.locator("tbody tr").count() == 1
    page.go_back()
    assert page.url.endswith("/ui/deltas")


@pytest.mark.soak
def test_a_line_is_bisected_by_hand(tab):
    page = tab().go(f"{LINE}/bisect")
    page.select_option("select[name=v1]", "good")
    page.wait_for_url("**/bisect?v1=good")
    page.click("text=Yes, v3 is bad")
    page.wait_for_selector("text=Try v2")
    page.click("text=v2 is good")
    page.wait_for_selector("text=v3 is the first bad version")
    page.wait_for_selector("#try .figures")

    assert page.url.endswith("?v1=good&v2=good&v3=bad")
    page.go_back()
    page.wait_for_selector("text=Try v2")


@pytest.mark.soak
def test_a_lineage_opens_by_clicks_and_by_keys(tab):
    page = tab().go("/ui/lineage?at=base:tinyllama")
    page.click("svg.graph a:has-text('3 versions')")
    page.wait_for_selector("svg.graph a:has-text('team/lora:v3')")
    assert page.url.endswith("open=team%2Flora")

    page.focus("svg.graph a:has-text('team/lora:v2')")
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/lineage?at=team%2Flora%3Av2")
    assert page.locator("svg.graph .node.this").count() == 1


@pytest.mark.soak
def test_columns_sort_by_their_heads(tab):
    page = tab().go(LINE)
    page.click("th:has-text('Stored') button")

    sizes = page.eval_on_selector_all(
        "td[data-label=Stored]", "cells => cells.map((cell) => Number(cell.dataset.value))"
    )
    assert sizes == sorted(sizes, reverse=True)
    assert page.get_attribute("th:has-text('Stored')", "aria-sort") == "descending"


def test_what_tests_use_of_others_is_what_it_says():
    vendor = Path(__file__).parent / "vendor"
    listed = tomllib.loads((vendor / "vendor.toml").read_text())

    for name, facts in listed.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == facts["sha256"]
        assert (vendor / facts["licence_file"]).is_file()


@pytest.mark.soak
def test_a_log_comes_line_by_line_and_the_page_is_whole_at_its_end(tab, desk):
    worked = Worked(desk)
    worked.say("first")
    opened = tab()
    page = opened.page
    page.goto(desk.url + worked.path)
    page.wait_for_selector("#log-poll", state="detached")  # it is streamed, and not asked for
    worked.say("second")
    page.wait_for_selector("#log >> text=second", timeout=60_000)
    worked.end()
    page.wait_for_selector("h2:has-text('Checks')", timeout=60_000)

    assert page.locator("h1 + .st").inner_text() == "done"
    assert page.locator("[data-stream]").count() == 0
    assert opened.complaints() == []


@pytest.mark.soak
@pytest.mark.parametrize("scripts", [True, False])
def test_a_scheme_is_chosen_and_kept(tab, scripts):
    page = tab(scheme="light", scripts=scripts).go(LINE)
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    before = page.evaluate(ground)

    page.click("text=Dark")
    page.wait_for_selector("html[data-theme=dark]")
    dark = page.evaluate(ground)
    page.click("text=System")
    page.wait_for_selector("html:not([data-theme])")

    assert page.url.endswith(LINE)
    assert dark != before == page.evaluate(ground)


@pytest.mark.soak
def test_a_policy_is_tried_by_keys_alone(tab):
    page = tab().go(f"{PROD}/policy")
    page.focus("#text")
    page.keyboard.press("Control+A")
    page.keyboard.type("kinds: [ia3]\n")
    _tab_to(page, "What would it say?")
    page.keyboard.press("Enter")
    page.wait_for_selector("#trial")

    assert "prod takes ia3" in page.locator("#trial").inner_text()
    assert page.input_value("#text") == "kinds: [ia3]\n"
