"""Two people, frozen channels, quarantine and broken glass on the command line, and their trail."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from tests.cli.steps import DELTAS, push
from tests.service import rows

PROD = ("me/chat", "--channel", "prod")
SCOPES = {
    "ana": ("read", "push", "promote", "approve", "admin"),
    "bob": ("read", "promote", "approve"),
    "cyd": ("read", "approve"),
    "oncall": ("read", "break-glass"),
}


@pytest.fixture
def crew(user, local_registry, monkeypatch):
    """Give a command line of each principal; ana's v1 is on prod, her v2 is verified."""
    tokens = user.step("crew", lambda: begin(user, local_registry))

    def run(name, *words):
        monkeypatch.setenv("DELTAREG_TOKEN", tokens[name])
        return user(*words)

    return run


def begin(user, registry):
    """Let ana, whose command line it is, push and promote; gives everybody's token."""
    tokens = {name: registry.token(*scopes, principal=name) for name, scopes in SCOPES.items()}
    registry.verified(push(user))
    assert user("promote", "me/chat:v1", "--channel", "prod").status == 0
    pushed = user("push", DELTAS / "lora_v2", "me/chat", "--base", "tinyllama", "--quiet")
    registry.verified(pushed.out.strip())
    return tokens


def asks(registry, **policy):
    with write(registry.registry.engine) as conn:
        own = sa.update(t.channels).where(t.channels.c.name == "prod")
        conn.execute(own.values(policy={"suites": ["smoke"], **policy}))


def trail(crew, *, newest):
    """List the newest rows of the audit trail as the command shows them: who did what to what."""
    shown = crew("ana", "audit", "ls", "--limit", newest, "--json").json
    return [(row["actor"], row["action"], row["subject"]) for row in shown["items"]]


def test_two_people(crew, local_registry):
    asks(local_registry, approvals=1)
    opened = crew("bob", "promote", "me/chat:v2", "--channel", "prod", "-m", "better")
    refused = {name: crew(name, "request", "approve", 1) for name in ("ana", "bob", "oncall")}
    shown = crew("cyd", "request", "show", 1)
    done = crew("cyd", "request", "approve", "1", "-m", "the diff looks right")

    assert (opened.status, done.status) == (9, 0), done.err
    assert "nothing has moved yet: me/chat:v2 waits for 1 approval on prod" in opened.err
    assert "somebody other than ana and bob" in opened.err
    assert {name: ended.status for name, ended in refused.items()} == dict.fromkeys(refused, 4)
    assert "ana pushed its version, so somebody else has to approve" in refused["ana"].err
    assert "bob opened it, so somebody else has to approve" in refused["bob"].err
    assert "1, not by ana or bob" in shown.out
    assert "promoted" in done.out
    assert crew("bob", "channel", "show", "me/chat", "prod", "--json").json["version"] == 2
    assert "request 1: better" in crew("bob", "channel", "history", "me/chat", "prod").out
    assert trail(crew, newest=4) == [
        ("cyd", "channel.promote", "me/chat@prod"),
        ("cyd", "request.promote", "me/chat@prod/request/1"),
        ("cyd", "request.approve", "me/chat@prod/request/1"),
        ("bob", "request.open", "me/chat@prod/request/1"),
    ]
    table = crew("ana", "audit", "ls", "--subject", "me/chat@prod/request/1").out
    assert "the diff looks right" in table


def test_to_wait_moves_what_was_approved_and_nothing_newer(crew, shell, local_registry):
    asks(local_registry, approvals=1)
    assert crew("bob", "promote", "me/chat", "--channel", "prod", "--yes").status == 9
    line = ("promote", "me/chat:v2", "--channel", "prod")
    waiting = shell.spawn(*line, "--wait", "--timeout", "60s")
    assert "request 1: open, 0 of 1 approvals" in waiting.stderr.readline()

    crew("ana", "push", DELTAS / "lora_rslora", "me/chat", "--base", "tinyllama")
    crew("ana", "channel", "freeze", "me/chat", "prod", "-m", "release week")
    stuck = crew("cyd", "request", "approve", 1)
    crew("ana", "channel", "unfreeze", "me/chat", "prod", "-m", "done")
    out, err = waiting.communicate(timeout=60)

    assert (stuck.status, waiting.returncode) == (9, 0), err
    assert "v2" in out
    assert crew("bob", "channel", "show", "me/chat", "prod", "--json").json["version"] == 2
    assert [r["id"] for r in crew("bob", "request", "ls", "--json").json["items"]] == [1]


def test_requests_are_listed_rejected_and_withdrawn(crew, local_registry):
    asks(local_registry, approvals=1)
    promote = ("promote", "me/chat:v2", "--channel", "prod")
    document = crew("bob", *promote, "--json")
    rejected = crew("cyd", "request", "reject", 1, "-m", "worse on refunds")
    waiting = crew("bob", *promote, "--wait", "--timeout", "0s")
    withdrawn = crew("bob", "request", "withdraw", 2, "--json")

    assert (document.status, document.json["id"], document.json["state"]) == (9, 1, "open")
    assert (rejected.status, waiting.status, withdrawn.status) == (0, 124, 0)
    assert "rejected" in rejected.out
    assert "worse on refunds" in rejected.out
    assert "request 2: open, 0 of 1 approvals" in waiting.err
    assert withdrawn.json["state"] == "withdrawn"
    listed = crew("cyd", "request", "ls", "me/chat").out
    assert "worse on refunds" in listed
    assert crew("cyd", "request", "ls", "--state", "open").out.strip() == "no requests"
    assert crew("cyd", "request", "approve", 1).status == 5
    assert crew("cyd", "request", "show", 9).status == 3
    assert crew("cyd", "request", "reject", 1).status == 2


def test_a_request_for_what_was_rolled_back_elsewhere_says_so(crew, local_registry):
    for version in ("v1", "v2"):
        assert crew("ana", "promote", f"me/chat:{version}", "--channel", "staging").status == 0
    back = crew("ana", "rollback", "me/chat", "--channel", "staging", "-m", "it stutters")
    assert back.status == 0, back.err
    asks(local_registry, approvals=1)
    crew("bob", "promote", "me/chat:v2", "--channel", "prod")

    shown = crew("cyd", "request", "show", 1)
    document = crew("cyd", "request", "show", 1, "--json").json

    assert shown.status == 0, shown.err
    assert "rolled back  from @staging" in shown.out
    assert "by ana: it stutters" in shown.out
    told = [(one["channel"], one["version"], one["actor"]) for one in document["setbacks"]]
    assert told == [("staging", 2, "ana")]


def test_a_protected_channel(crew, local_registry):
    asks(local_registry, protected=True)

    refused = crew("bob", "promote", "me/chat:v2", "--channel", "prod")

    assert refused.status == 2
    assert "me/chat@prod is protected: every move takes a reason" in refused.err
    assert crew("bob", "promote", "me/chat:v2", "--channel", "prod", "-m", "better").status == 0


def test_a_frozen_channel_and_a_quarantine(crew):
    assert crew("bob", "promote", "me/chat:v2", "--channel", "prod").status == 0
    assert crew("bob", "channel", "freeze", "me/chat", "prod", "-m", "release week").status == 0
    frozen = crew("bob", "rollback", *PROD, "-m", "refunds broke")
    assert crew("bob", "channel", "unfreeze", "me/chat", "prod", "-m", "done").status == 0
    assert crew("bob", "rollback", *PROD, "-m", "refunds broke").status == 0
    quarantined = crew("bob", "promote", "me/chat:v2", "--channel", "prod")
    clear = ("channel", "clear", "me/chat", "prod", "v2", "-m", "the probe was wrong")
    assert crew("bob", *clear).status == 0
    assert crew("bob", "promote", "me/chat:v2", "--channel", "prod").status == 0

    assert (frozen.status, quarantined.status) == (13, 13)
    assert "release week" in frozen.err
    assert "is quarantined there" in quarantined.err
    assert [action for _, action, _ in trail(crew, newest=6)] == [
        "channel.promote",
        "channel.clear",
        "channel.rollback",
        "channel.unfreeze",
        "channel.freeze",
        "channel.promote",
    ]


def test_broken_glass(crew):
    assert crew("bob", "promote", "me/chat:v2", "--channel", "prod").status == 0
    assert crew("bob", "channel", "freeze", "me/chat", "prod", "-m", "release week").status == 0
    back = ("rollback", *PROD, "--break-glass")
    refused = {name: crew(name, *back, "-m", "fire").status for name in ("ana", "bob", "cyd")}
    wordless = crew("oncall", *back)
    done = crew("oncall", *back, "-m", "outage 4711")
    shown = crew("bob", "channel", "show", "me/chat", "prod")

    assert refused == {"ana": 4, "bob": 4, "cyd": 4}, "an admin has to make a token for it"
    assert (wordless.status, done.status) == (2, 0), done.err
    assert "breaking the glass takes a reason" in wordless.err
    assert "\nfrozen: " in shown.out, "it is frozen still"
    assert "break-glass: #4 by oncall, review due in 1 day: outage 4711" in shown.out
    assert "review due in 1 day" in crew("bob", "channel", "ls", "me/chat").out
    assert "break-glass, not reviewed: outage 4711" in (crew("bob", "channel", "history", "me/chat", "prod").out)
    review = ("channel", "review", "me/chat", "prod")
    assert crew("oncall", *review, 4, "-m", "mine").status == 4
    assert crew("cyd", *review, 2, "-m", "none").status == 3
    assert crew("cyd", *review, "#4", "-m", "agreed").status == 0
    assert crew("cyd", *review, "#4", "-m", "agreed").status == 0
    assert crew("bob", *review, "#4", "-m", "as well").status == 5
    assert "break-glass" not in crew("bob", "channel", "show", "me/chat", "prod").out
    assert "reviewed by cyd" in crew("bob", "channel", "history", "me/chat", "prod").out
    trailed = crew("ana", "audit", "ls", "--subject", "me/chat@prod", "--limit", 3, "--json").json
    assert [(row["actor"], row["action"]) for row in trailed["items"]] == [
        ("cyd", "channel.review"),
        ("oncall", "channel.freeze"),
        ("oncall", "channel.rollback"),
    ]
    assert trailed["items"][2]["after"]["break_glass"] is True


def test_broken_glass_goes_past_the_gate_but_not_to_what_was_revoked(crew, local_registry):
    asks(local_registry, approvals=2)
    local_registry.verified("me/chat:v2", verdict="fail", again=True)
    to_v2 = ("promote", "me/chat:v2", "--channel", "prod")

    assert crew("bob", *to_v2).status == 8
    assert crew("oncall", *to_v2, "--break-glass", "-m", "fire").status == 0
    assert crew("ana", "revoke", "me/chat:v1", "-m", "wrong data").status == 0
    refused = crew("oncall", "rollback", *PROD, "--break-glass", "-m", "fire")
    assert refused.status == 13
    assert "wrong data" in refused.err


def test_a_review_that_is_overdue_is_shown(crew, local_registry):
    assert crew("oncall", "promote", "me/chat:v2", "--channel", "prod", "--break-glass", "-m", "fire").status == 0
    with write(local_registry.registry.engine) as conn, rows.unguarded(conn, t.revisions):
        earlier = int((datetime.now(UTC) - timedelta(days=3)).timestamp() * 1_000_000)
        conn.execute(sa.update(t.revisions).values(created_at=earlier))

    assert "review OVERDUE since 2 days ago" in crew("bob", "channel", "show", "me/chat@prod").out
    assert "OVERDUE" in crew("bob", "channel", "ls", "me/chat").out


def test_readiness_is_shown_all_the_time(crew, local_registry):
    nowhere = crew("bob", "channel", "show", "me/chat", "prod", "--json").json["readiness"]
    assert (nowhere["ref"], nowhere["ready"]) == (None, "no")
    assert crew("bob", "promote", "me/chat:v2", "--channel", "prod").status == 0

    ready = crew("bob", "channel", "show", "me/chat", "prod")
    assert "can be rolled back to v1" in ready.out
    lights = crew("bob", "channel", "show", "me/chat", "prod", "--json").json["readiness"]
    assert (lights["ref"], lights["ready"], lights["revision"]) == ("me/chat:v1", "ok", 1)
    assert [light["name"] for light in lights["lights"]] == ["version", "bytes", "base", "verdict", "window"]

    local_registry.verified("me/chat:v1", verdict="fail", again=True)
    failed = crew("bob", "channel", "show", "me/chat", "prod", "--json").json["readiness"]
    assert (failed["ready"], failed["lights"][3]["light"]) == ("no", "no")
    assert "break-glass goes back to it" in failed["lights"][3]["message"]
    assert crew("bob", "rollback", *PROD, "-m", "does it?").status == 8
    for key, _ in list(local_registry.registry.store.keys("blobs/")):
        local_registry.registry.store.delete(key)
    lost = crew("bob", "channel", "show", "me/chat", "prod", "--json").json["readiness"]
    assert (lost["ready"], lost["lights"][1]["light"]) == ("no", "no")
    assert "the store lacks" in lost["lights"][1]["message"]
    assert crew("bob", "revoke", "me/chat:v1", "-m", "wrong data").status == 0
    gone = crew("bob", "channel", "show", "me/chat", "prod", "--json").json["readiness"]
    assert gone["ref"] == "me/chat:v1"
    assert "wrong data" in gone["lights"][0]["message"]
