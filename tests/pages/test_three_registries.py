"""Every page of three registries: of one that is fresh, of one with one of everything, of one with the worst of it.

In a real browser, as wide as a desk and as narrow as a telephone: nothing complains, nothing fails, nothing is wider
than the screen, and every link leads somewhere.
"""

import re
import shutil
from contextlib import ExitStack, contextmanager
from functools import cache

import pytest

from deltareg.db.session import write
from deltareg.db.upkeep.operations import add_operation
from deltareg.service.operations.kinds import all_operations
from tests.fixtures.registries import running
from tests.pages.chromium import Tab, started
from tests.pages.conftest import browser, fill
from tests.pages.routes import READ
from tests.pages.worst import CHANNEL, NAME, NAMESPACE, lay_worst

WIDTHS = (400, 1_280)
OF_A_THING = re.compile(
    r"/ui/(deltas/team|requests/\d|runs/\{|verdicts/|bases/t|suites/hostile|access.*namespace|policy\?|storage\?|lineage\?)"
)
"""Addresses of what a fresh registry does not have."""
CUT_OFF = """() => [...document.querySelectorAll("svg.plot text")].filter((text) => {
  const own = text.getBBox(), box = text.ownerSVGElement.viewBox.baseVal;
  return own.width && (own.x < box.x - 1 || own.x + own.width > box.x + box.width + 1);
}).slice(0, 3).map((text) => `cut off: ${text.textContent}`)"""
LINKS = """() => [...document.querySelectorAll("a[href], [data-hx-get]")]
  .flatMap((node) => [node.getAttribute("href"), node.getAttribute("data-hx-get")])
  .filter((to) => to && !to.startsWith("#"))"""


@contextmanager
def _running(sqlite_template, folder, stock, lay):
    shutil.copyfile(sqlite_template, folder / "registry.db")
    with running(f"sqlite:///{folder / 'registry.db'}", (folder / "blobs").as_uri(), folder, stock=stock) as server:
        lay(server)
        yield server


def lay_nothing(server):
    """Lay what a first start lays: operations, of which some are off."""
    with write(server.registry.engine) as conn:
        for kind, operation in all_operations().items():
            add_operation(conn, kind, due_in_us=round(operation.every_s * 1e6) if operation.every_s else None)


LAYS = {"nothing": lay_nothing, "one of everything": fill, "the worst of everything": lay_worst}
SCOPES = {"reader": ("read",), "developer": ("read", "push", "promote"), "admin": ()}
SHOWN = [
    pytest.param(lay, who, marks=[] if who == "admin" and lay != "one of everything" else pytest.mark.soak)
    for lay in LAYS
    for who in SCOPES
]
"""What is looked at as whom. Other tests see one of everything as the admin; the soak sees all."""


@pytest.fixture(scope="module")
def laid(sqlite_template, tmp_path_factory, local_stock):
    """Give a registry by what is laid in it; each is laid once."""
    with ExitStack() as stack:

        def lay(name):
            folder = tmp_path_factory.mktemp("laid")
            return stack.enter_context(_running(sqlite_template, folder, local_stock, LAYS[name]))

        yield cache(lay)


@pytest.fixture(scope="module")
def chromium():
    with started() as opened:
        yield opened


def addresses(laid, server):
    """Give an address of every page, by route; those of a thing that is not there answer 404."""
    http = server.http(server.admin_token)
    runs = http.get("/runs").raise_for_status().json()["items"]
    verdicts = http.get("/verdicts").raise_for_status().json()["items"]
    some = "00000000-0000-4000-8000-000000000000"
    run = next((each["id"] for each in runs if each["what"] == "verify"), some)
    verdict = next((each["id"] for each in verdicts if each["verdict"] == "fail"), some)
    of_worst = (("team/x", NAME), ("channels/dev", f"channels/{CHANNEL}"), ("namespace=team", f"namespace={NAMESPACE}"))
    others = (("team/x", "team/lora"), ("channels/dev", "channels/prod"))
    found = {}
    for path, to in READ.items():
        address = to.format(run=run, verdict=verdict).replace("suites/hostile", "suites/smoke")
        for old, new in of_worst if laid == "the worst of everything" else others:
            address = address.replace(old, new)
        found[path] = address
    return found


class Watched(Tab):
    """A tab that notes each answer that failed."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.failed = []
        self.under_way = set()
        self.page.on("request", self._begin)
        self.page.on("requestfinished", self._end)
        self.page.on("response", self._answer)
        self.page.on("requestfailed", self._fail)

    def _begin(self, asked):
        if "/stream" not in asked.url:  # which goes on for as long as its run
            self.under_way.add(asked)

    def _end(self, asked):
        self.under_way.discard(asked)

    def _answer(self, answer):
        if answer.status >= 400:
            self.failed.append(f"{answer.status} {answer.url}")

    def _fail(self, asked):
        self.under_way.discard(asked)
        if "ERR_ABORTED" not in str(asked.failure):  # which a page that is left does to what it still loads
            self.failed.append(f"{asked.failure} {asked.url}")

    def go(self, path):
        """Open an address and wait until all that it loads is there."""
        self.under_way.clear()
        self.page.goto(self._server.url + path)
        for _ in range(600):
            self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 20)))")
            if not self.under_way and not self.page.locator(".htmx-request").count():
                return self.page
        raise AssertionError(f"{path} goes on loading {[each.url for each in self.under_way]}")

    def look(self, path):
        """Open a page in each width; give what is wrong with it, and where it leads."""
        self.page.set_viewport_size({"width": WIDTHS[0], "height": 900})
        self.go(path)
        wrong = self.too_wide()
        self.page.set_viewport_size({"width": WIDTHS[1], "height": 900})
        wrong += self.too_wide()
        wrong += self.page.evaluate(CUT_OFF)
        links = self.page.evaluate(LINKS)
        wrong += [*self.failed, *self.wrong]
        self.failed.clear()
        self.wrong.clear()
        return wrong, links


@pytest.mark.parametrize(("name", "who"), SHOWN)
def test_every_page_is_sound_in_both_widths_and_leads_somewhere(laid, chromium, name, who):
    server = laid(name)
    token = server.token(*SCOPES[who], principal=who) if SCOPES[who] else server.admin_token
    tab = Watched(chromium, server, token).log_in()
    wrong, links = dict[str, list[str]](), dict[str, str]()
    with browser(server, token) as pages:
        for path, address in addresses(name, server).items():
            status = pages.get(address, follow_redirects=True).status_code
            is_missing = name == "nothing" and OF_A_THING.match(READ[path])
            if status in ({404, 403} if is_missing else {403} if who != "admin" else ()):
                continue  # as it has to be
            found, led = tab.look(address)
            wrong |= {address: found} if found else {}
            links |= dict.fromkeys(led, address)
        for to, at in sorted(links.items()):
            if to.startswith("/ui/") and (status := pages.get(to).status_code) >= 400:
                wrong.setdefault(at, []).append(f"{to[:200]} answers {status}")
    tab.close()

    assert wrong == {}
