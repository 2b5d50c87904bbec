"""Pages in a real browser: nothing is fetched, nothing is wider than the screen, both schemes."""

from pathlib import Path

import pytest

from deltareg.client.report_files.behavior_html import to_html as behavior_to_html
from deltareg.client.report_files.difference_html import to_html as diff_to_html
from deltareg.client.report_files.facts import ReportComparison
from deltareg.client.report_files.html import to_html
from tests.client.behavior_values import behavior
from tests.client.report_values import HOSTILE, HUGE, NOW, diff, hostile, report, weights

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
pytestmark = pytest.mark.slow
CHROMIUM = Path("/usr/bin/chromium")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
PAGES = {
    "gate": lambda: to_html(report(compared=ReportComparison("what prod serves", diff(weights(48))))),
    "diff": lambda: diff_to_html(diff(weights(2)), now=NOW),
    "behavior": lambda: behavior_to_html(behavior(samples=300), now=NOW),
    "hostile behavior": lambda: behavior_to_html(behavior(HOSTILE), now=NOW),
    "huge behavior": lambda: behavior_to_html(behavior(HUGE), now=NOW),
    "hostile": lambda: to_html(hostile()),
    "huge": lambda: to_html(hostile(HUGE)),
}


@pytest.fixture(scope="module")
def browser():
    """Start the system's Chromium, or say that there is none."""
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=str(CHROMIUM), args=OPTIONS)
        yield chromium
        chromium.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_and_asks_no_network(browser, tmp_path, name, scheme, width):
    path = tmp_path / "page.html"
    path.write_text(PAGES[name](), encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, asked, said = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))

    page.goto(path.as_uri())

    wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    ink, ground = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    context.close()
    assert asked == [path.as_uri()]
    assert said == []
    assert wider <= 0
    assert (ink < ground) == (scheme == "light")
