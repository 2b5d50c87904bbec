"""Moves, verdicts and approvals that are not what they claim, by the application's own SQL role.

On PostgreSQL that is a role with SELECT, INSERT, UPDATE and DELETE on every table, which owns none;
on SQLite whoever opens the file. Every mutation of a promotion that would be in order is tried by
itself, in a transaction that is rolled back.
"""

import itertools
import uuid
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import as_writer, write
from deltareg.db.sql.clock import now_us

HOUR_US = 3600 * 1_000_000
SMOKE, OTHER = f"sha256:{'5' * 64}", f"sha256:{'6' * 64}"
POLICY = f"sha256:{'a' * 64}"
_ids = itertools.count(1)


class World:
    """A line with versions v1 to v3 of ada's, verdicts, a channel that asks and one that does not.

    `prod` (1) asks for smoke and for two approvals, `dev` (2) asks for smoke alone.
    """

    def __init__(self, conn):
        self.conn = conn

    def build(self):
        people = {1: "ada", 2: "bob", 3: "cyd", 4: "dan", 5: "eve"}
        for number, name in people.items():
            self.add(t.principals, id=number, name=name, kind="user")
            self.add(t.grants, principal_id=number, role="approver")
            self.add(
                t.tokens,
                id=number,
                token_hash=name,
                display="drg",
                principal_id=number,
                kind="pat",
                scopes=["read"] if name == "eve" else ["read", "approve"],
            )
        self.add(t.namespaces, id=1, name="lab")
        for line in (1, 2):
            self.add(t.deltas, id=line, namespace_id=1, name=f"x{line}")
        for version in (1, 2, 3, 4):
            self.add(
                t.versions,
                id=version,
                delta_id=2 if version == 4 else 1,
                number=version,
                manifest_digest=digest(version),
                manifest=b"{}",
                storage_map=b"{}",
                kind="lora",
                variant="",
                foldable=True,
                base_root="blake3:aa",
                labels={},
                logical_bytes=1,
                stored_bytes=1,
                uploaded_bytes=1,
                created_by=1,
                proven_at=1,
                proven_revision=1,
            )
        asks = {"suites": ["smoke"]}
        self.add(t.channels, id=1, delta_id=1, name="prod", policy={**asks, "approvals": 2})
        self.add(t.channels, id=2, delta_id=1, name="dev", policy=asks)
        for channel in (1, 2):
            self.add(t.terms, channel_id=channel, policy_digest=POLICY, suites={"smoke": SMOKE})
        for version in (1, 2, 4):
            self.verdict(version, id=f"good-{version}")
        self.verdict(3, id="bad-3", verdict="fail", checks=[{"name": "effect", "verdict": "fail"}])

    def add(self, table, **values):
        self.conn.execute(sa.insert(table).values(**values))

    def change(self, table, row_id, **values):
        self.conn.execute(sa.update(table).where(table.c.id == row_id).values(**values))

    def run(self, version, **values):
        run_id = f"run-{next(_ids)}"
        made = {
            "id": run_id,
            "what": "verify",
            "dedup_key": run_id,
            "version_id": version,
            "suite": "smoke",
            "request": {"suite_digest": SMOKE},
            "labels": {},
            "state": "done",
        }
        self.add(t.runs, **(made | values))
        return run_id

    def verdict(self, version, *, run=None, **values):
        made = {
            "id": f"verdict-{next(_ids)}",
            "version_id": version,
            "suite": "smoke",
            "manifest_digest": digest(version),
            "base_root": "blake3:aa",
            "suite_digest": SMOKE,
            "verifier": "1",
            "policy_digest": "",
            "dtype": "float32",
            "seed": 0,
            "verdict": "pass",
            "base_evidence": "exact",
            "environment": {},
            "sandbox": "full",
            "checks": [{"name": "effect", "verdict": "pass"}],
        } | values
        if run is None:
            asked = {"suite_digest": made["suite_digest"]}
            run = self.run(version, suite=made["suite"], request=asked)
        self.add(t.verdicts, **made, run_id=run)
        return made["id"]

    def move(self, channel=2, version=1, **values):
        """Let a channel serve a version by all that the service itself would write."""
        own = sa.select(t.channels.c.revision).where(t.channels.c.id == channel)
        number = self.conn.execute(own).scalar_one() + 1
        self.change(t.channels, channel, revision=number)
        made = {
            "channel_id": channel,
            "number": number,
            "kind": "promote",
            "version_id": version,
            "digest": digest(version),
            "base_root": "blake3:aa",
            "actor_id": 2,
            "reason": "",
            "verdict_ids": [f"good-{version}"],
            "break_glass": False,
        } | values
        insert = sa.insert(t.revisions).values(**made).returning(t.revisions.c.id)
        return self.conn.execute(insert).scalar_one()

    def ask(self, version=1, *, channel=1, approvers=(), **values):
        """Open a request of bob's, and let others approve it."""
        made = {
            "channel_id": channel,
            "version_id": version,
            "digest": digest(version),
            "policy_digest": POLICY,
            "seen_revision": 0,
            "opener_id": 2,
            "reason": "",
        } | values
        insert = sa.insert(t.requests).values(**made).returning(t.requests.c.id)
        request = self.conn.execute(insert).scalar_one()
        for principal in approvers:
            self.approve(request, principal)
        return request

    def approve(self, request, principal, *, token=None):
        self.add(t.approvals, request_id=request, principal_id=principal, token_id=token or principal, message="")

    def asks(self, channel=2, **policy):
        self.change(t.channels, channel, policy={"suites": ["smoke"]} | policy)

    def age(self, **values):
        """Give a verdict that is two hours old."""
        return self.verdict(2, created_at=now_us() - 2 * HOUR_US, **values)


def waived(w, *, channel=None, is_complete=True):
    """Give a failed verdict of v3 whose one failure somebody answers for."""
    verdict = w.verdict(3, verdict="fail", checks=[{"name": "spectral", "verdict": "fail"}], created_at=now_us())
    w.add(
        t.waivers,
        id=f"of {verdict}",
        verdict_id=verdict,
        check_name="spectral",
        reason="known",
        expires_at=now_us() + HOUR_US,
        actor_id=2,
    )
    if channel is not None:
        w.add(t.waiver_channels, waiver_id=f"of {verdict}", channel_id=channel)
    if is_complete:
        w.add(t.complete_verdicts, verdict_id=verdict)
    return verdict


def digest(version):
    return f"sha256:{version}"


def frozen(w, **values):
    w.move(kind="freeze", version_id=None, digest=None, base_root=None, reason="x", **values)


def ended_freeze(w):
    number = w.move(kind="freeze", version_id=None, digest=None, base_root=None, reason="x")
    w.add(t.freezes, revision_id=number, ends_at=now_us() - HOUR_US)


def lied_below(w, *, at="top"):
    """Let v1 stand on a version that is a base, one of the two bases below being corrupt."""
    for number, name in ((1, "bottom"), (2, "top")):
        w.add(
            t.bases,
            id=number,
            name=name,
            root=f"blake3:{name}",
            manifest_digest=name,
            manifest=b"{}",
            logical_bytes=1,
            corrupt_at=1 if name == at else None,
        )
    w.add(t.version_bases, base_id=2, version_id=4, bottom_id=1, depth=1, recipe="x")
    w.change(t.versions, 1, base_id=2)


def floored(w):
    w.add(t.floors, namespace_id=1, policy={"approvals": 2}, reason="x", created_by=1)


def used(w):
    w.ask(approvers=(3, 4))
    w.move(1)
    w.verdict(2, id="again")
    w.ask(2, approvers=(3, 4))
    w.move(1, 2)


IN_ORDER = {
    "a promotion": lambda w: w.move(),
    "a promotion that two others approved": lambda w: (w.ask(approvers=(3, 4)), w.move(1)),
    "two promotions, each approved": used,
    "an old verdict where its age is not asked": lambda w: w.move(2, 2, verdict_ids=[w.age()]),
    "an old verdict that may be a day old": lambda w: (
        w.asks(suites=[{"suite": "smoke", "max_age": "1d"}]),
        w.move(2, 2, verdict_ids=[w.age()]),
    ),
    "a verdict asked for under this policy": lambda w: w.move(2, 2, verdict_ids=[w.verdict(2, policy_digest=POLICY)]),
    "a failure that is waived on the channel, with all else shown": lambda w: w.move(
        2, 3, verdict_ids=[waived(w, channel=2)]
    ),
    "a failure that was waived before waivers named a channel": lambda w: w.move(2, 3, verdict_ids=[waived(w)]),
    "after a freeze that has ended": lambda w: (ended_freeze(w), w.move()),
    "back to what was served": lambda w: (w.move(), w.move(2, 2), w.move(kind="rollback")),
    "the glass broken in a freeze": lambda w: (frozen(w), w.move(break_glass=True, reason="fire", verdict_ids=[])),
    "the glass broken where approvals are due": lambda w: w.move(1, break_glass=True, reason="fire", verdict_ids=[]),
    "a reason where the channel is protected": lambda w: (w.asks(protected=True), w.move(reason="better")),
    "a channel that asks for no suite": lambda w: (w.asks(suites=[]), w.move(verdict_ids=[])),
    "a review by somebody else": lambda w: w.add(
        t.reviews, revision_id=w.move(break_glass=True, reason="fire"), principal_id=3, message=""
    ),
}

MOVES = {
    "no verdict": lambda w: w.move(verdict_ids=[]),
    "a verdict that is none": lambda w: w.move(verdict_ids=["good-7"]),
    "a failed verdict": lambda w: w.move(2, 3, verdict_ids=["bad-3"]),
    "an inconclusive verdict": lambda w: w.move(2, 3, verdict_ids=[w.verdict(3, verdict="inconclusive", checks=[])]),
    "the verdict of another version": lambda w: w.move(2, 3, verdict_ids=["good-1"]),
    "the verdict of another line": lambda w: w.move(2, 3, verdict_ids=["good-4"]),
    "the digest of another version": lambda w: w.move(digest=digest(2)),
    "the digest of another version and its verdict": lambda w: w.move(2, 3, digest=digest(2), verdict_ids=["good-2"]),
    "another base": lambda w: w.move(base_root="blake3:bb"),
    "a version of another line": lambda w: w.move(2, 4),
    "a verdict of another suite": lambda w: w.move(verdict_ids=[w.verdict(1, suite="deep", suite_digest=OTHER)]),
    "the suite as it was": lambda w: w.move(2, 3, verdict_ids=[w.verdict(3, suite_digest=OTHER)]),
    "the suite has changed since": lambda w: (
        w.add(t.terms, channel_id=2, policy_digest=POLICY, suites={"smoke": OTHER}),
        w.move(),
    ),
    "one suite of two": lambda w: (w.asks(suites=["smoke", "deep"]), w.move()),
    "another policy": lambda w: w.move(2, 3, verdict_ids=[w.verdict(3, policy_digest="sha256:b")]),
    "a waiver that skipped what came after it": lambda w: w.move(
        2, 3, verdict_ids=[waived(w, channel=2, is_complete=False)]
    ),
    "a waiver for another channel": lambda w: w.move(2, 3, verdict_ids=[waived(w, channel=1)]),
    "a waiver for the channel of another line": lambda w: (
        w.add(t.channels, id=3, delta_id=2, name="dev", policy={"suites": ["smoke"]}),
        waived(w, channel=3),
    ),
    "a waiver that was moved to another channel": lambda w: (
        waived(w, channel=1),
        w.conn.execute(sa.update(t.waiver_channels).values(channel_id=2)),
    ),
    "a verdict that became complete": lambda w: (
        waived(w, channel=2),
        w.conn.execute(sa.update(t.complete_verdicts).values(verdict_id="bad-3")),
    ),
    "a pass before a failure": lambda w: (
        w.verdict(1, verdict="fail", checks=[{"name": "effect", "verdict": "fail"}]),
        w.move(),
    ),
    "a verdict that is too old": lambda w: (
        w.asks(suites=[{"suite": "smoke", "max_age": "90m"}]),
        w.move(2, 3, verdict_ids=[w.verdict(3, created_at=now_us() - 2 * HOUR_US)]),
    ),
    "a deleted version": lambda w: (w.change(t.versions, 1, deleted_at=1), w.move()),
    "a revoked version": lambda w: (w.change(t.versions, 1, revoked_at=1), w.move()),
    "a claimed version": lambda w: (w.change(t.versions, 1, proven_revision=None), w.move()),
    "a version proven in another form": lambda w: (w.change(t.versions, 1, storage_revision=2), w.move()),
    "a corrupt version": lambda w: (w.change(t.versions, 1, corrupt_at=1), w.move()),
    "a corrupt version, the glass broken": lambda w: (
        w.change(t.versions, 1, corrupt_at=1),
        w.move(break_glass=True, reason="fire"),
    ),
    "a version on a corrupt base": lambda w: (lied_below(w), w.move()),
    "a version on a corrupt base, the glass broken": lambda w: (lied_below(w), w.move(break_glass=True, reason="fire")),
    "a version on a corrupt base, far below": lambda w: (lied_below(w, at="bottom"), w.move()),
    "a floor that was rewritten": lambda w: (floored(w), w.conn.execute(sa.update(t.floors).values(policy={}))),
    "a floor that is gone": lambda w: (floored(w), w.conn.execute(sa.delete(t.floors))),
    "a revoked version, the glass broken": lambda w: (
        w.change(t.versions, 1, revoked_at=1),
        w.move(break_glass=True, reason="fire"),
    ),
    "a deleted version, the glass broken": lambda w: (
        w.change(t.versions, 1, deleted_at=1),
        w.move(break_glass=True, reason="fire"),
    ),
    "the glass broken without a reason": lambda w: w.move(break_glass=True),
    "a freeze that breaks the glass": lambda w: frozen(w, break_glass=True),
    "a frozen channel": lambda w: (frozen(w), w.move()),
    "a rollback of a frozen channel": lambda w: (
        w.move(),
        w.move(2, 2),
        w.move(2, 2, kind="freeze", reason="x"),
        w.move(kind="rollback"),
    ),
    "a quarantined version": lambda w: (
        w.add(t.quarantines, channel_id=2, version_id=1, revision_id=w.move(2, 2)),
        w.move(),
    ),
    "a rollback to what was never served": lambda w: (w.move(), w.move(2, 2, kind="rollback")),
    "a rollback to what was only frozen elsewhere": lambda w: (
        w.ask(2, approvers=(3, 4)),
        w.move(1, 2),
        w.move(),
        w.move(2, 2, kind="rollback"),
    ),
    "a freeze that serves something else": lambda w: (w.move(), w.move(2, 2, kind="freeze")),
    "an unfreeze that serves something else": lambda w: w.move(kind="unfreeze", reason="x"),
    "no reason on a protected channel": lambda w: (w.asks(protected=True), w.move()),
    "a revision ahead of its channel": lambda w: w.move(number=7),
    "a revision in the past": lambda w: (w.move(), w.move(2, 2), w.move(number=1)),
    "a pointer that goes back": lambda w: (w.move(), w.move(2, 2), w.change(t.channels, 2, revision=1)),
    "a pointer that leaps": lambda w: w.change(t.channels, 2, revision=2),
    "a revision rewritten": lambda w: w.change(t.revisions, w.move(), version_id=2),
    "no approvals": lambda w: w.move(1),
    "a request without approvals": lambda w: (w.ask(), w.move(1)),
    "one approval of two": lambda w: (w.ask(approvers=(3,)), w.move(1)),
    "approvals of another version": lambda w: (w.ask(2, approvers=(3, 4)), w.move(1)),
    "approvals for another channel": lambda w: (w.ask(channel=2, approvers=(3, 4)), w.move(1)),
    "approvals of a request that was rejected": lambda w: (
        w.change(t.requests, w.ask(approvers=(3, 4)), state="rejected"),
        w.move(1),
    ),
    "approvals of a request that was withdrawn": lambda w: (
        w.change(t.requests, w.ask(approvers=(3, 4)), state="withdrawn"),
        w.move(1),
    ),
    "approvals under another policy": lambda w: (
        w.ask(approvers=(3, 4)),
        w.asks(1, approvals=2, protected=True),
        w.move(1, reason="x"),
    ),
    "approvals from before the policy changed to and fro": lambda w: (
        w.ask(approvers=(3, 4)),
        w.asks(1),
        w.asks(1, approvals=2),
        w.move(1),
    ),
    "approvals that were used": lambda w: (used(w), w.move(1, 2)),
    "approvals from before the channel moved on": lambda w: (
        w.ask(2, approvers=(3, 4)),
        w.ask(approvers=(3, 4)),
        w.move(1),
        w.move(1, 2),
    ),
    "one approval more than there was": lambda w: (w.asks(1, approvals=3), w.ask(approvers=(3, 4)), w.move(1)),
}

VERDICTS = {
    "other bytes": lambda w: w.verdict(1, manifest_digest=digest(2)),
    "another base": lambda w: w.verdict(1, base_root="blake3:bb"),
    "no run": lambda w: w.verdict(1, run="none"),
    "the run of another version": lambda w: w.verdict(1, run=w.run(2)),
    "the run of another suite": lambda w: w.verdict(1, run=w.run(1, suite="deep")),
    "the run of another suite digest": lambda w: w.verdict(1, run=w.run(1, request={"suite_digest": OTHER})),
    "a run that asked for no suite digest": lambda w: w.verdict(1, run=w.run(1, request={})),
    "a run that nobody has begun": lambda w: w.verdict(1, run=w.run(1, state="queued")),
    "a run that goes on": lambda w: w.verdict(1, run=w.run(1, state="running", lease_expires_at=1)),
    "a run that verifies nothing": lambda w: w.verdict(1, run=w.run(1, what="reencode")),
    "a second verdict of a run": lambda w: (
        run := w.run(1),
        w.verdict(1, run=run, verdict="inconclusive"),
        w.verdict(1, run=run),
    ),
    "a pass with a failed check": lambda w: w.verdict(
        1, checks=[{"name": "a", "verdict": "pass"}, {"name": "b", "verdict": "fail"}]
    ),
    "a pass without a check": lambda w: w.verdict(1, checks=[]),
    "a failure that became a pass": lambda w: w.change(t.verdicts, "bad-3", verdict="pass"),
    "a pass of a version that became another's": lambda w: w.change(
        t.verdicts, "good-1", version_id=3, manifest_digest=digest(3)
    ),
    "a failure that is gone": lambda w: w.conn.execute(sa.delete(t.verdicts)),
    "a version that took the digest of another": lambda w: w.change(t.versions, 3, manifest_digest=digest(9)),
    "a version that took another base": lambda w: w.change(t.versions, 3, base_root="blake3:bb"),
    "a version that moved to another line": lambda w: w.change(t.versions, 4, delta_id=1),
    "terms that were rewritten": lambda w: w.change(t.terms, 1, suites={"smoke": OTHER}),
    "terms that are gone": lambda w: w.conn.execute(sa.delete(t.terms)),
}

APPROVALS = {
    "by who pushed it": lambda w: w.approve(w.ask(), 1),
    "by who opened it": lambda w: w.approve(w.ask(), 2),
    "by who pushed it, with the token of another": lambda w: w.approve(w.ask(), 1, token=3),
    "in the name of another": lambda w: w.approve(w.ask(), 3, token=1),
    "twice by one": lambda w: w.approve(w.ask(approvers=(3,)), 3),
    "without the scope": lambda w: w.approve(w.ask(), 5),
    "with a token that is none": lambda w: w.approve(w.ask(), 3, token=99),
    "with a revoked token": lambda w: (w.change(t.tokens, 3, revoked_at=1), w.approve(w.ask(), 3)),
    "with an expired token": lambda w: (w.change(t.tokens, 3, expires_at=1), w.approve(w.ask(), 3)),
    "by a principal that is disabled": lambda w: (w.change(t.principals, 3, disabled_at=1), w.approve(w.ask(), 3)),
    "of a request that is none": lambda w: w.approve(99, 3),
    "of a request that was rejected": lambda w: (
        request := w.ask(),
        w.change(t.requests, request, state="rejected"),
        w.approve(request, 3),
    ),
    "of a request that is stale": lambda w: (request := w.ask(), w.asks(1, approvals=1), w.approve(request, 3)),
    "after it was given to another": lambda w: (
        w.ask(approvers=(3,)),
        w.conn.execute(sa.update(t.approvals).values(principal_id=4)),
    ),
    "taken back": lambda w: (w.ask(approvers=(3,)), w.conn.execute(sa.delete(t.approvals))),
    "after another had pushed it": lambda w: (w.change(t.versions, 1, created_by=5), w.approve(w.ask(), 1)),
    "after nobody had pushed it": lambda w: (w.change(t.versions, 1, created_by=None), w.approve(w.ask(), 1)),
    "after another had opened it": lambda w: (
        request := w.ask(),
        w.change(t.requests, request, opener_id=5),
        w.approve(request, 2),
    ),
    "after it was for another version": lambda w: w.change(
        t.requests, w.ask(approvers=(3, 4)), version_id=2, digest=digest(2)
    ),
    "after it was for another channel": lambda w: w.change(
        t.requests, w.ask(channel=2, approvers=(3, 4)), channel_id=1
    ),
    "a request that was opened again": lambda w: (
        request := w.ask(),
        w.change(t.requests, request, state="withdrawn"),
        w.change(t.requests, request, state="open"),
    ),
    "a request that is gone": lambda w: (w.ask(), w.conn.execute(sa.delete(t.requests))),
    "a request that begins decided": lambda w: w.ask(state="rejected"),
    "a request that was promoted without a move": lambda w: w.change(t.requests, w.ask(), state="promoted"),
    "a request with the digest of another version": lambda w: w.ask(digest=digest(2)),
    "a request for a version of another line": lambda w: w.ask(4),
    "a second open request": lambda w: (w.ask(), w.ask()),
    "a review by who broke the glass": lambda w: w.add(
        t.reviews, revision_id=w.move(break_glass=True, reason="fire"), principal_id=2, message=""
    ),
    "a review of a move that broke none": lambda w: w.add(t.reviews, revision_id=w.move(), principal_id=3, message=""),
    "a review that is gone": lambda w: (IN_ORDER["a review by somebody else"](w), w.conn.execute(sa.delete(t.reviews))),
}
MUTATIONS = {
    f"{kind}: {name}": act
    for kind, acts in (("move", MOVES), ("verdict", VERDICTS), ("approval", APPROVALS))
    for name, act in acts.items()
}


@pytest.fixture
def world(engine):
    """Build the world, and give a way into it as the application's own role."""
    with write(engine) as conn:
        World(conn).build()
    role = f"app_{uuid.uuid4().hex[:12]}"
    is_postgresql = engine.dialect.name == "postgresql"
    if is_postgresql:
        with write(engine) as conn:
            conn.exec_driver_sql(f"CREATE ROLE {role} NOLOGIN")
            for things, rights in (("TABLES", "SELECT, INSERT, UPDATE, DELETE"), ("SEQUENCES", "USAGE")):
                conn.exec_driver_sql(f"GRANT {rights} ON ALL {things} IN SCHEMA public TO {role}")
            raise_sequences(conn)

    @contextmanager
    def enter():
        with engine.connect() as conn:
            as_writer(conn)
            with conn.begin() as transaction:
                if is_postgresql:
                    conn.exec_driver_sql(f"SET LOCAL ROLE {role}")
                yield World(conn)
                transaction.rollback()

    yield enter
    if is_postgresql:
        with write(engine) as conn:
            conn.exec_driver_sql(f"DROP OWNED BY {role}")
            conn.exec_driver_sql(f"DROP ROLE {role}")


def raise_sequences(conn):
    """Let PostgreSQL count on after the ids that the world has chosen."""
    for table in (t.principals, t.tokens, t.namespaces, t.deltas, t.versions, t.channels):
        conn.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), 1000)")


@pytest.mark.parametrize("name", IN_ORDER)
def test_what_is_in_order_is_taken(world, name):
    with world() as w:
        IN_ORDER[name](w)


def test_every_mutation_is_refused_by_the_database(world):
    survivors = []
    for name, act in MUTATIONS.items():
        with world() as w:
            try:
                act(w)
            except sa.exc.IntegrityError:
                continue
            survivors.append(name)

    assert survivors == []
    assert len(MUTATIONS) == 113


def test_a_move_answers_its_request_and_ends_the_others(world):
    with world() as w:
        answered, other = w.ask(approvers=(3, 4)), w.ask(2)
        elsewhere = w.ask(2, channel=2)
        revision = w.move(1)

        found = {row.id: row for row in w.conn.execute(sa.select(t.requests))}

    assert (found[answered].state, found[answered].revision_id) == ("promoted", revision)
    assert (found[other].state, found[other].decision) == ("stale", "the channel moved on")
    assert found[elsewhere].state == "open"
    assert found[answered].decided_by == 2


def test_only_the_owner_of_the_tables_can_take_the_rules_away(world, engine):
    if engine.dialect.name == "sqlite":
        pytest.skip("needs PostgreSQL: who opens a SQLite file owns it")
    for statement in (
        "ALTER TABLE approvals DISABLE TRIGGER USER",
        "DROP TRIGGER revisions_gated ON revisions",
        "TRUNCATE approvals",
        "SET session_replication_role = replica",
    ):
        with world() as w, pytest.raises(sa.exc.ProgrammingError, match=r"owner|permission"):
            w.conn.exec_driver_sql(statement)
