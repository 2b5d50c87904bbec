"""A real Chromium, driven by playwright, and what is asked of every page that it shows.

The browser is the system's (Debian's package `chromium`), or the one that DELTAREG_TEST_CHROMIUM
names.
"""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

AXE = (Path(__file__).parent / "vendor" / "axe-core-4.14.1.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_PATIENCE_MS = 60_000
_NOTE_VIOLATIONS = """
window.refusedByPolicy = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.refusedByPolicy.push(`${event.violatedDirective} ${event.blockedURI}`));
"""
_AXE = """async (tags) => (await axe.run(document, {runOnly: tags})).violations.map(
  (each) => [each.id, each.nodes.slice(0, 3).map((node) => node.html.slice(0, 160))])"""
_OVERFLOW = """() => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  return wide <= 0 ? [] : [...document.querySelectorAll("body *")]
    .filter((node) => node.getBoundingClientRect().right > innerWidth + 1)
    .slice(0, 5).map((node) => node.outerHTML.slice(0, 120));
}"""


def find():
    """Give the path of the browser; skips where there is none."""
    named = os.environ.get("DELTAREG_TEST_CHROMIUM")
    found = named or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("needs Chromium: apt-get install chromium, or DELTAREG_TEST_CHROMIUM")
    pytest.importorskip("playwright.sync_api", reason="needs playwright")
    return found


@contextmanager
def started():
    """Start the browser until the block ends."""
    path = find()
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"{path} does not start here: {error.message[:200]}")
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page of the browser that is logged in, and what went wrong in it."""

    def __init__(self, browser, server, token, *, scheme="light", scripts=True):
        self._server, self._token = server, token
        self.context = browser.new_context(
            color_scheme=scheme, java_script_enabled=scripts, viewport={"width": 1_280, "height": 900}
        )
        self.context.set_default_timeout(_PATIENCE_MS)
        self.page = self.context.new_page()
        self.page.add_init_script(_NOTE_VIOLATIONS)
        self.wrong: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.has_scripts = scripts

    def _note(self, message):
        if message.type in {"error", "warning"}:
            self.wrong.append(message.text)

    def log_in(self, path="/ui/"):
        """Log in as `deltareg open` does, or without scripts by pasting the token."""
        if not self.has_scripts:
            self.page.goto(f"{self._server.url}/ui/login?next={path}")
            self.page.fill("#token", self._token)
            self.page.click("text=Log in >> nth=-1")
            return self
        code = self._server.http(self._token).post("/sessions").json()["code"]
        self.page.goto(f"{self._server.url}/ui/login?next={path}#{code}")
        self.page.wait_for_url(f"**{path}")
        return self

    def go(self, path):
        """Open an address and wait until all that it loads is there."""
        self.page.goto(self._server.url + path)
        if self.has_scripts:
            self.page.wait_for_load_state("networkidle")
        return self.page

    def complaints(self):
        """Give what is wrong with what is shown: errors, the policy, its width, accessibility."""
        found = [*self.wrong, *self.page.evaluate("() => window.refusedByPolicy"), *self.too_wide()]
        self.page.evaluate(AXE)
        found += [f"axe: {rule} {nodes}" for rule, nodes in self.page.evaluate(_AXE, RULES)]
        self.wrong.clear()
        return found

    def too_wide(self):
        """Give what sticks out of the screen, if the page is wider than it."""
        return [f"too wide: {node}" for node in self.page.evaluate(_OVERFLOW)]

    def close(self):
        """Close it."""
        self.context.close()
