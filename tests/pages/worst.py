"""A registry that holds the worst of everything that pages show.

Names as long as they may be, reasons of foreign and long text, each state of each thing that has states, numbers of
twenty digits, and thousands of rows. What the API allows is done through it; the states that only time or a broken disk
brings are written to the rows.
"""

import json
from itertools import count, product
from typing import get_args
from uuid import uuid4

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.service.ledger.references_document import REFERENCES
from deltareg.words import (
    CHECK_OUTCOMES,
    ENGINE_NAMES,
    FORM_STATES,
    OPERATION_NAMES,
    OUTCOMES,
    REQUEST_STATES,
    RUN_KIND_NAMES,
    RUN_STATES,
    BaseState,
)
from tests.pages.conftest import DELTAS, fill

LONG = "w" * 64
NAMESPACE, CHANNEL = "n" * 64, "c" * 64
NAME = f"{NAMESPACE}/{LONG}"
LINE = f"/ui/deltas/{NAME}"
TEXT = (
    "<b>bold</b><script>alert(1)</script> & \"quoted\" 'twice' \N{RIGHT-TO-LEFT OVERRIDE}"
    "\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET}\N{HEBREW LETTER GIMEL} \N{ARABIC LETTER SEEN}\N{ARABIC LETTER LAM}"
    " \N{FIRECRACKER}\N{SNAKE}\N{CRAB} " + "Donaudampfschifffahrtsgesellschaft" * 6
)
HUGE = (1 << 62) - 1
ROWS = 1_200
_numbers = count(1)


def lay_worst(server):
    """Lay all of it in a registry that is empty."""
    fill(server)
    _push(server)
    with write(server.registry.engine) as conn:
        for write_rows in (_versions, _runs, _verdicts, _requests, _agents, _operations, _tokens, _forms, _others):
            write_rows(conn)


def _push(server):
    admin = server.client(("admin", "read", "push", "promote", "approve"), principal="p" * 64)
    http = server.http(server.admin_token)
    for number, folder in enumerate(("lora", "lora_v2", "lora_qv"), 1):
        admin.push(
            DELTAS / folder,
            NAME,
            base="tinyllama",
            message=TEXT[:400],
            labels={"k" * 60: "v" * 200, "metric.loss": f"-{number}.234e-300"},
        )
        server.verified(f"{NAME}:v{number}", verdict=("pass", "fail", "pass")[number - 1])
    http.put(f"/deltas/{NAME}/channels/{CHANNEL}").raise_for_status()
    for channel, version in (("dev", 1), (CHANNEL, 1), (CHANNEL, 3), ("prod", 1), ("prod", 3)):
        admin.promote(f"{NAME}:v{version}", channel, reason=TEXT[:400])
    admin.rollback(NAME, "prod", reason=TEXT[:400])
    http.post(
        f"/deltas/{NAME}/channels/{CHANNEL}/revisions",
        headers={"If-Match": '"r2"'},
        json={"kind": "freeze", "reason": TEXT[:400]},
    ).raise_for_status()
    admin.versions.revoke(f"{NAME}:v3", reason=TEXT[:400], even_if_served=True)
    admin.versions.deprecate(f"{NAME}:v1", reason=TEXT[:400])


def _row(conn, table, *where):
    return dict(conn.execute(sa.select(table).where(*where).limit(1)).mappings().one())


def _line_id(conn):
    return conn.execute(sa.select(t.deltas.c.id).where(t.deltas.c.name == LONG)).scalar_one()


def _version(conn, number=1):
    return _row(conn, t.versions, t.versions.c.delta_id == _line_id(conn), t.versions.c.number == number)


def _versions(conn):
    like = _version(conn, 2)
    del like["id"]
    rows = [
        like | {"number": 10 + number, "manifest_digest": f"sha256:{number:064x}", "message": TEXT[:200]}
        for number in range(ROWS)
    ]
    conn.execute(sa.insert(t.versions), rows)
    own = t.versions.c.delta_id == _line_id(conn)
    conn.execute(sa.update(t.versions).where(own, t.versions.c.number == 11).values(deleted_at=1))
    conn.execute(sa.update(t.versions).where(own, t.versions.c.number == 12).values(corrupt_at=1))
    conn.execute(sa.update(t.versions).where(own, t.versions.c.number == 13).values(proven_at=None))


def _runs(conn):
    version = _version(conn)
    like = _row(conn, t.runs, t.runs.c.version_id == version["id"], t.runs.c.what == "verify")
    states = [(what, state) for what, state in product(RUN_KIND_NAMES, RUN_STATES)]
    rows = []
    for what, state in states + [("verify", "done")] * ROWS:
        is_active = state in {"queued", "running"}
        rows.append(
            like
            | {
                "id": str(uuid4()),
                "dedup_key": f"worst:{next(_numbers)}",
                "what": what,
                "state": state,
                "error": TEXT,
                "labels": {"gpu": "g" * 200},
                "lease_holder": LONG if state == "running" else None,
                "lease_expires_at": HUGE if state == "running" else None,
                "finished_at": None if is_active else like["finished_at"],
                "result": None,
                "request": like["request"] | {REFERENCES: json.dumps({"a": {"ref": f"{NAME}:v2", "digest": ""}})},
            }
        )
    conn.execute(sa.insert(t.runs), rows)


def _verdicts(conn):
    version = _version(conn)
    checks = [
        {"name": "x" * 64, "verdict": outcome, "code": "", "detail": TEXT, "value": 1.7e308, "threshold": -1e-300}
        for outcome in CHECK_OUTCOMES
    ]
    like = _row(conn, t.verdicts, t.verdicts.c.version_id == version["id"])
    ended = sa.select(t.runs.c.id).where(t.runs.c.dedup_key.like("worst:%"), t.runs.c.what == "verify")
    ended = ended.where(t.runs.c.state.in_(["done", "dead"])).limit(200)
    for number, run_id in enumerate(conn.execute(ended).scalars().all()):
        shown = {"id": str(uuid4()), "run_id": run_id, "verdict": OUTCOMES[1 + number % 2], "checks": checks}
        conn.execute(sa.insert(t.verdicts).values(like | shown | {"verifier": "v" * 100}))


def _requests(conn):
    like = _row(conn, t.requests)
    del like["id"]
    channel = _row(conn, t.channels, t.channels.c.delta_id == _line_id(conn), t.channels.c.name == CHANNEL)["id"]
    version = _version(conn)
    like |= {"channel_id": channel, "version_id": version["id"], "digest": version["manifest_digest"]}
    revision = _row(conn, t.revisions, t.revisions.c.channel_id == channel)["id"]
    ended = {"decided_at": version["created_at"], "decided_by": like["opener_id"], "decision": TEXT}
    for state in (*["stale"] * 300, *sorted(REQUEST_STATES, key="open".__eq__)):
        shown = like | {"state": "open", "reason": TEXT}
        made = conn.execute(sa.insert(t.requests).values(shown).returning(t.requests.c.id)).scalar_one()
        if state != "open":
            promoted = {"revision_id": revision} if state == "promoted" else {}
            end = sa.update(t.requests).where(t.requests.c.id == made)
            conn.execute(end.values({"state": state} | ended | promoted))


def _agents(conn):
    agent, follower = _row(conn, t.agents), _row(conn, t.followers)
    del agent["id"], follower["id"]
    states = list(product(ENGINE_NAMES, ("ok", "pulling", "failed"), get_args(BaseState))) * 5
    for number, (engine, state, base) in enumerate(states):
        name = f"{'a' * 60}{number:04}"
        added = sa.insert(t.agents).values(agent | {"name": name, "engine": engine, "seen_at": agent["seen_at"]})
        agent_id = conn.execute(added.returning(t.agents.c.id)).scalar_one()
        shown = follower | {"agent_id": agent_id, "state": state, "base": base, "error": TEXT, "trouble": TEXT}
        conn.execute(sa.insert(t.followers).values(shown))
    conn.execute(sa.update(t.agents).where(t.agents.c.name.like("%0001")).values(seen_at=1))


def _operations(conn):
    columns: dict[str, object] = {
        "done": HUGE,
        "total": HUGE,
        "counts": {"bytes": HUGE, "versions": HUGE},
        "place": {"at": 1},
    }
    for number, kind in enumerate(OPERATION_NAMES):
        row: dict[str, object] = {
            "kind": kind,
            "held_until": 0,
            "fence": 0,
            "done": 0,
            "failure": TEXT if number == 1 else None,
        }
        row |= columns if number == 2 else {}
        row |= {"paused_at": 1} if number == 3 else {"due_at": HUGE >> 12} if number > 4 else {}
        conn.execute(sa.insert(t.operations).values(row))


def _tokens(conn):
    like = _row(conn, t.tokens)
    del like["id"]
    now = like["created_at"]
    ends = ({"revoked_at": now}, {"expires_at": now}, {"expires_at": now + 60_000_000 * 30}, {"expires_at": None})
    for end in (*ends, *[{"revoked_at": now}] * 300):
        shown = {"token_hash": f"{next(_numbers):064x}", "note": TEXT, "revoked_at": None, "expires_at": None} | end
        conn.execute(sa.insert(t.tokens).values(like | shown))


def _forms(conn):
    version = _version(conn)
    for state in FORM_STATES:
        conn.execute(
            sa.insert(t.forms).values(
                version_id=version["id"],
                why="reencode",
                storage_map=version["storage_map"],
                stored_bytes=HUGE,
                revision=1,
                state=state,
                ended_at=None if state in {"proposed", "former"} else version["created_at"],
            )
        )


def _others(conn):
    line = _row(conn, t.deltas, t.deltas.c.id == _line_id(conn))
    del line["id"]
    conn.execute(sa.insert(t.deltas), [line | {"name": f"{'l' * 56}{number:08}"} for number in range(300)])
    base = _row(conn, t.bases)
    del base["id"]
    bases = [
        base | {"name": f"{'b' * 60}/{'b' * 55}{number:04}", "root": f"blake3:{number:064x}", "logical_bytes": HUGE}
        for number in range(80)
    ]
    conn.execute(sa.insert(t.bases), bases)
    worker = _row(conn, t.workers)
    del worker["id"]
    workers = [worker | {"name": f"{LONG}{n}", "labels": {"gpu": "g" * 120, "device": "cuda"}} for n in range(60)]
    conn.execute(sa.insert(t.workers), workers)
