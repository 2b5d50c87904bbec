"""A registry with something on every page, and browsers that are logged in to it.

On the desk are the base `tinyllama`, `team/lora:v1` to `v3` (the second is on `prod`, the third
fails), an open request for `v2` on `staging`, which asks for an approval, and an agent that is
behind.
"""

import shutil
from contextlib import contextmanager

import httpx
import pytest

from deltareg.wire import PolicySet
from tests.fixtures.registries import SAMPLES, running

DELTAS = SAMPLES / "deltas" / "tinyllama"
FROM_OURS = {"Sec-Fetch-Site": "same-origin"}


def fill(server):
    """Lay on the desk what the docstring of this module says."""
    maker = server.line("lora", "lora_v2")
    server.step("desk", lambda: _fill(server, maker))


def _fill(server, maker):
    maker.push(DELTAS / "lora_qv", "team/lora", base="tinyllama", message="attention alone")
    server.verified("team/lora:v3", verdict="fail")
    admin = server.http(server.admin_token)
    path = "/deltas/team/lora/channels/staging"
    asked = admin.get(f"{path}/policy")
    policy = PolicySet(policy={"approvals": 1}, reason="two people")
    admin.put(
        f"{path}/policy", headers={"If-Match": asked.headers["ETag"]}, json=policy.model_dump()
    ).raise_for_status()
    http = server.http(maker.config.token)
    waits = http.post(
        f"{path}/revisions",
        headers={"If-Match": '"r0"'},
        json={"kind": "promote", "version": 2, "reason": "for the weekend"},
    )
    assert waits.json()["code"] == "approval_due", waits.text
    agent = server.http(server.token("read", "serve", principal="host-1"))
    serves = [{"channel": "team/lora@prod", "revision": 1, "version": 1, "digest": "sha256:x"}]
    report = {"engine": "vllm", "every_s": 3_000, "serves": serves}
    agent.put("/fleet/agents/host-1", json=report).raise_for_status()


@contextmanager
def browser(server, token):
    """Log a plain client in as a browser would be: by a one-time code, of a token."""
    http = server.http(token)
    code = http.post("/sessions").raise_for_status().json()["code"]
    headers = {"Accept": "text/html", **FROM_OURS}
    with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
        answer = client.post("/ui/login", data={"code": code})
        assert answer.status_code == 303, answer.text
        yield client


def word_of(client):
    """Read the word that the forms of a session hold."""
    text = client.get("/ui/sessions").text
    return text.partition('name="word" value="')[2].partition('"')[0]


@pytest.fixture(scope="module")
def desk(sqlite_template, tmp_path_factory, local_stock):
    """Run a registry for a module with something on every page."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copyfile(sqlite_template, folder / "registry.db")
    url = f"sqlite:///{folder / 'registry.db'}"
    with running(url, (folder / "blobs").as_uri(), folder, stock=local_stock) as server:
        fill(server)
        yield server


@pytest.fixture(scope="module")
def pages(desk):
    """Give a browser of the admin."""
    with browser(desk, desk.admin_token) as client:
        yield client
