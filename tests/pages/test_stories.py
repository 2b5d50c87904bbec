"""Whole stories in a real Chromium, against a real server with two workers: by mouse and by keys.

Each line has what every story needs: a version that prod served for nine days, the one that it
serves since just now, one that fails, and a request that waits for somebody else.
"""

import shutil
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.wire import PolicySet
from tests.fixtures.processes import Processes, until
from tests.fixtures.registries import SAMPLES, running
from tests.pages.chromium import Tab, find, started

DAY_US = 86_400_000_000
HANDS = ["mouse", "keys"]
BY = pytest.mark.parametrize("by", HANDS)
PROGRAM = str(Path(sys.executable).with_name("deltareg"))
PUSHED = [
    SAMPLES / "deltas" / "tinyllama" / "lora",
    SAMPLES / "deltas" / "tinyllama" / "lora_v2",
    SAMPLES / "bad" / "exploding",
]
OUTCOMES = ["pass", "pass", "fail"]
pytestmark = [pytest.mark.soak, pytest.mark.timeout(1_200)]


@pytest.fixture(scope="module")
def world(sqlite_template, tmp_path_factory):
    """Run a server and two workers, and let them judge what is pushed."""
    folder = tmp_path_factory.mktemp("world")
    shutil.copyfile(sqlite_template, folder / "registry.db")
    url = f"sqlite:///{folder / 'registry.db'}"
    find()  # so that nothing is pushed where there is no browser
    workers = Processes(folder)
    with running(url, (folder / "blobs").as_uri(), folder) as server:
        token = server.token("read", "verify", principal="worker", kind="wrk")
        environ = workers.environ("home", DELTAREG_SERVER=server.url, DELTAREG_TOKEN=token)
        for name in ("one", "two"):
            command = (PROGRAM, "worker", "run", "--name", name, "--gpu", "cpu")
            workers.start(name, *command, environ=environ)
        try:
            _fill(server)
            yield server
        finally:
            workers.end()


def _fill(server):
    maker = server.client(principal="maker")
    maker.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    lines = [f"team/{by}" for by in HANDS]
    for number, path in enumerate(PUSHED, 1):
        for line in lines:
            maker.push(path, line, base="tinyllama", message=f"try {number}")
        # One after the other: a version that is pushed takes the place of what waits of its line.
        outcomes = [_judged(maker, f"{line}:v{number}") for line in lines]
        assert outcomes == [OUTCOMES[number - 1]] * len(lines)
    for line in lines:
        _served_for_nine_days(server, line)
        maker.promote(f"{line}:v2", "prod", reason="better dates")
        _ask(server, maker, line)
    agent = server.http(server.token("read", "serve", principal="host-1"))
    serves = [{"channel": f"{line}@prod", "version": 2, "digest": "sha256:x"} for line in lines]
    agent.put("/fleet/agents/host-1", json={"engine": "vllm", "every_s": 3_000, "serves": serves})
    maker.push(SAMPLES / "deltas" / "tinyllama" / "full", "team/fat", base="tinyllama")


def _judged(maker, ref):
    return until(lambda: maker.show(ref).verdict, f"{ref} is judged", timeout_s=600, pause_s=0.5)


def _served_for_nine_days(server, line):
    """Write what the clock of a test cannot: a move nine days ago."""
    with write(server.registry.engine) as conn:
        of_line = sa.select(t.deltas.c.id).where(t.deltas.c.name == line.partition("/")[2])
        channel = conn.execute(
            sa.select(t.channels.c.id).where(
                t.channels.c.delta_id == of_line.scalar_subquery(), t.channels.c.name == "prod"
            )
        ).scalar_one()
        version = conn.execute(
            sa.select(t.versions).where(t.versions.c.delta_id == of_line.scalar_subquery(), t.versions.c.number == 1)
        ).one()
        maker = sa.select(t.principals.c.id).where(t.principals.c.name == "maker")
        follow = sa.update(t.channels).where(t.channels.c.id == channel)
        conn.execute(follow.values(revision=1))
        conn.execute(
            sa.insert(t.revisions).values(
                channel_id=channel,
                number=1,
                kind="promote",
                version_id=version.id,
                digest=version.manifest_digest,
                base_root=version.base_root,
                verdict_ids=[],
                actor_id=maker.scalar_subquery(),
                break_glass=True,
                reason="the first that passed",
                created_at=time.time_ns() // 1_000 - 9 * DAY_US,
            )
        )


def _ask(server, maker, line):
    admin, path = server.http(server.admin_token), f"/deltas/{line}/channels/staging"
    tag = admin.get(f"{path}/policy").headers["ETag"]
    policy = PolicySet(policy={"approvals": 1}, reason="two people").model_dump()
    admin.put(f"{path}/policy", headers={"If-Match": tag}, json=policy).raise_for_status()
    waits = server.http(maker.config.token).post(
        f"{path}/revisions",
        headers={"If-Match": '"r0"'},
        json={"kind": "promote", "version": 2, "reason": "for the weekend"},
    )
    assert waits.json()["code"] == "approval_due", waits.text


@pytest.fixture(scope="module")
def chromium():
    with started() as browser:
        yield browser


class Hand:
    """Somebody at a page, by mouse or by keys alone, and how often they acted."""

    def __init__(self, page, by):
        self.page, self.by, self.acts = page, by, 0

    def take(self, text, *, within="main"):
        """Follow the first link, or press the first button, that says so."""
        self.acts += 1
        where = self.page.locator(f"{within} :is(a, button, summary)")
        target = where.filter(has_text=text).first
        target.wait_for()
        if self.by == "mouse":
            target.click()
            return
        for _ in range(120):
            self.page.keyboard.press("Tab")
            if target.evaluate("node => node === document.activeElement"):
                self.page.keyboard.press("Enter")
                return
        raise AssertionError(f"the Tab key does not lead to {text!r}")

    def write(self, field, text):
        """Write into a field."""
        if self.by == "mouse":
            self.page.click(field)
        else:
            self._tab_to(field)
        self.page.keyboard.type(text)

    def _tab_to(self, field):
        for _ in range(120):
            self.page.keyboard.press("Tab")
            if self.page.locator(field).evaluate("node => node === document.activeElement"):
                return
        raise AssertionError(f"the Tab key does not lead to {field}")

    def reads(self, text):
        """Wait until the page says something, for whoever looks at it."""
        self.page.locator("main").filter(has_text=text).wait_for()


@pytest.fixture
def at_home(chromium, world):
    """Open the first page as somebody who may do some things; gives what opens it."""
    opened = []

    def open_tab(by, *scopes, principal="mara"):
        token = world.token("read", *scopes, principal=principal)
        tab = Tab(chromium, world, token)
        opened.append(tab)
        return Hand(tab.log_in().page, by)

    yield open_tab
    for each in opened:
        assert each.wrong == []
        each.close()


@BY
def test_a_second_person_approves_and_the_channel_moves(at_home, world, by):
    hand = at_home(by, "approve")
    request = next(r for r in world.client().requests.list() if r.line == f"team/{by}")
    hand.take(f"Review request {request.id}")
    hand.reads("Nothing is missing but approvals")
    hand.reads("Yours is the last that is due")
    hand.write("#reason", "read the diff")
    hand.take("Approve")
    hand.reads("You approved it. @staging was moved to v2")

    assert world.client().channels.show(f"team/{by}", "staging").version == 2
    assert hand.acts == 2


@BY
def test_what_prod_was_a_day_last_week_and_why(at_home, by):
    hand = at_home(by)
    day = time.strftime("%a ", time.gmtime(time.time() - 3 * 86_400))
    hand.take(f"team/{by}@prod")
    hand.take(day)
    hand.reads("it served v1, by entry 1 of maker: the first that passed.")

    assert hand.acts == 2


@BY
def test_a_failed_verdict_is_understood(at_home, by):
    hand = at_home(by)
    hand.take("Newest versions that failed")
    hand.page.wait_for_url("**/ui/deltas?verdict=fail")
    hand.take(f"team/{by}")
    hand.take("v3")
    hand.reads("not met")
    hand.take("Verdicts")
    failed = hand.page.locator("tr").filter(has_text="fail").first
    failed.wait_for()
    told = failed.locator("td[data-label='What was seen']").inner_text()

    assert len(told.split()) >= 5, told
    assert hand.acts == 4


@BY
def test_a_base_is_found_by_a_wrong_spelling(at_home, by):
    hand = at_home(by)
    hand.write(".find input", "tinylama") if by == "mouse" else hand.page.keyboard.press("/")
    if by == "keys":
        hand.page.keyboard.type("tinylama")
    hand.page.keyboard.press("Enter")
    hand.take("Bases called like it")
    hand.reads("Did you mean")
    hand.take("tinyllama")
    hand.page.wait_for_url("**/ui/bases/tinyllama")


@BY
def test_which_delta_fills_the_disk(at_home, by):
    hand = at_home(by, "admin", principal="mara-admin")
    hand.take("Where it went")
    hand.take("team")
    hand.page.wait_for_url("**/ui/storage?of=team")
    first = hand.page.locator("section").filter(has_text="Where the bytes are").locator("tbody tr")

    assert first.first.inner_text().split()[0] == "team/fat"
    assert hand.acts == 2


@BY
def test_a_rollback_at_three_in_the_morning(at_home, world, by):
    hand = at_home(by, "promote", principal="night")
    hand.take(f"Roll back… team/{by}@prod")
    hand.reads("1 agent follows this channel and will load v1")
    hand.page.locator("#lights").filter(has_text="ready").wait_for()
    hand.write("#reason", "p95 doubled")
    hand.take("Roll back", within="form")
    hand.page.wait_for_url("**/channels/prod?done=3")
    hand.reads("Done. @prod serves v1 again")
    hand.reads("host-1 serves v2, last seen")
    hand.reads("p95 doubled")

    assert hand.acts <= 4
    assert world.client().channels.show(f"team/{by}", "prod").version == 1
