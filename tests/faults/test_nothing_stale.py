"""Two servers of one database: what one of them changed, the other never answers from anything it kept.

A history is drawn: channels move, tokens come and are revoked, and every answer of either server is
held against a model of what was last said. Several histories run at once, each on a channel of its
own; a reader tells the server what it has seen, as a host does that serves.
"""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import pytest

from deltareg.wire import API
from tests.benchmarks.bench_rollback import prepare

HISTORIES = int(os.environ.get("DELTAREG_TEST_HISTORIES", "2000"))
SERVERS, AT_ONCE, STEPS = 2, 4, 12
LINE = "team/lora"  # which `prepare` fills: two versions with a verdict


@pytest.mark.soak  # `tests/api/test_resolve.py` shows one move of each kind
@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_no_server_answers_what_another_changed(processes, database_url, figures):
    shared = {
        "store_url": (processes.folder / "blobs").as_uri(),
        "signing_key": processes.folder / "key.pem",
        "requests_per_minute": 10**9,
        "behind_proxy": 1,  # so that each history has an address of its own, which may send bad tokens
    }
    servers = [processes.api(f"s{n}", database_url=database_url, **shared).start() for n in range(SERVERS)]
    with servers[0].client(processes.folder / "cache") as client:
        prepare(client)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        played = list(pool.map(lambda number: play(servers, number), range(HISTORIES)))

    figures("histories", f"{HISTORIES:,}, with {sum(one.asked for one in played):,} answers")
    assert [wrong for one in played for wrong in one.wrong] == []
    assert min(one.asked for one in played) > 0


@dataclass
class History:
    """One history: the model of what was said last, and what was answered otherwise."""

    number: int
    asked: int = 0
    wrong: list[str] = field(default_factory=list)

    def expect(self, what, found, right):
        self.asked += 1
        if found != right:
            self.wrong.append(f"history {self.number}: {what}: {found}, not {right}")


def play(servers, number):
    """Play the history of a number; give it."""
    drawn, history = random.Random(number), History(number)
    admins = [caller(server, servers[0].token, number) for server in servers]
    channel, serves, seen = f"h-{number}", 0, ["" for _ in servers]
    tokens = {}  # what each is, and whether it still lives
    try:
        admins[0].put(f"/deltas/{LINE}/channels/{channel}").raise_for_status()
        for _ in range(STEPS):
            changing, asked = drawn.choice(admins), drawn.randrange(SERVERS)
            match drawn.choice(("move", "move", "make", "revoke")):
                case "move":
                    serves = 2 if serves == 1 else 1
                    move(changing, channel, serves)
                case "make":
                    made = changing.post("/tokens", json={"principal": f"p{number}", "scopes": ["read"]})
                    tokens[made.raise_for_status().json()["token"]] = made.json()["id"], True
                case "revoke" if tokens:
                    token = drawn.choice(sorted(tokens))
                    changing.post(f"/tokens/{tokens[token][0]}:revoke").raise_for_status()
                    tokens[token] = tokens[token][0], False
            if serves:
                seen[asked] = resolve(history, admins[asked], channel, serves, seen[asked])
            for token, (_, lives) in tokens.items():
                answer = admins[asked].get("/whoami", headers=bearer(token))
                history.expect("a token", answer.status_code, 200 if lives else 401)
    finally:
        for admin in admins:
            admin.close()
    return history


def caller(server, token, number):
    """Make a client of the API of one server, with a token and the address of a history."""
    address = {"X-Forwarded-For": f"10.0.{number // 250}.{number % 250}"}
    return httpx.Client(base_url=f"{server.url}{API}", headers=address | bearer(token), timeout=60)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def move(admin, channel, version):
    """Promote a version to a channel, whatever it serves."""
    path = f"/deltas/{LINE}/channels/{channel}"
    seen = admin.get(path).raise_for_status().headers["ETag"]
    body = {"kind": "promote", "version": version, "reason": "drawn"}
    admin.post(f"{path}/revisions", json=body, headers={"If-Match": seen}).raise_for_status()


def resolve(history, admin, channel, right, seen):
    """Ask what a channel serves, as who has an answer of that server already; give the newest answer's tag."""
    answer = admin.get(f"/resolve?ref={LINE}@{channel}", headers={"If-None-Match": seen} if seen else {})
    if answer.status_code != 304:
        history.expect("a channel", answer.raise_for_status().json()["version"], right)
        return answer.headers["ETag"]
    whole = admin.get(f"/resolve?ref={LINE}@{channel}").raise_for_status()
    history.expect("a channel unchanged", whole.json()["version"], right)
    return seen
