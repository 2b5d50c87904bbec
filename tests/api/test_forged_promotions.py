"""Promotions and reports that are not what they should be, by the API: each is refused.

Every mutation is one line of a table: what is done on a fresh line with an unverified v1, the code
of the problem, and what its fix has to say. None may move the channel. A report that is refused
must leave its version where it was: without a verdict, and kept out by the gate.
"""

import shutil

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.db.sql.clock import now_us
from deltareg.suites.suite import built_in
from tests.api.promotions import Promotions
from tests.fixtures.registries import running
from tests.service import rows

FIX = {
    "verify": "deltareg verify team/",
    "again": "--again --wait",
    "show": "deltareg verdict show",
    "clear": "deltareg channel clear",
    "unfreeze": "deltareg channel unfreeze",
    "look": "deltareg channel show",
    "etag": "read the channel first",
    "history": "deltareg channel history",
    "policy": "deltareg channel policy set",
    "scope": "deltareg token create",
}
DAY_US = 86_400_000_000
LONG_AGO = [{"from": "2000-01-01", "to": "2100-01-01", "zone": "UTC", "reason": "fair"}]


def without_some(table, left_out):
    return {what: row for what, row in table.items() if what not in left_out}


def on_two_lines(on):
    """Let a version stand on another line's version, which is revoked once all has passed."""
    below = on.world.fresh().push("full")
    upper = on.world.fresh().push(base=f"{below.name}:v2")
    upper.verify(2)
    on.client.versions.revoke(f"{below.name}:v2", reason="wrong data")
    return upper.promote(2)


def used_key(on):
    on.verify()
    key = {"If-Match": '"r0"', "Idempotency-Key": f"key of {on.name}"}
    path = f"{on.path}/staging/revisions"
    on.world.http.post(path, json={"kind": "promote", "version": 1}, headers=key)
    return on.push("lora_v2").promote(2, channel="staging", headers=key)


def given_up(on):
    for _ in range(3):
        grant = on.lease()
        on.world.worker.post(f"/runs/{on.run}:fail", json={"fence": grant["fence"], "error": "no memory"})
    return on.promote()


def old_verdict(on):
    on.asks(suites=[{"suite": "smoke", "max_age": "2d"}]).verify()
    engine = on.world.server.registry.engine
    with write(engine) as conn, rows.unguarded(conn, t.verdicts):
        version = sa.select(t.runs.c.version_id).where(t.runs.c.id == on.run).scalar_subquery()
        own = sa.update(t.verdicts).where(t.verdicts.c.version_id == version)
        conn.execute(own.values(created_at=now_us() - 3 * DAY_US))
    return on.promote()


def judged_twice(on):
    """Fail, and say then with the same lease that it passed."""
    grant = on.lease()
    on.complete(on.honest(grant, verdict="fail", checks=failing("effect")))
    on.complete(on.honest(grant))
    return on.promote()


VERDICTS = {
    "none": (lambda on: on.promote(), "gate_pending", "verify"),
    "none, as a plan": (lambda on: on.promote(dry_run=True), "gate_pending", "verify"),
    "its run is under way": (lambda on: (on.lease(), on.promote())[1], "gate_pending", "verify"),
    "its run was cancelled": (lambda on: (on.world.empty_queue(), on.promote())[1], "gate_pending", "verify"),
    "its run was given up": (given_up, "inconclusive", "again"),
    "inconclusive": (lambda on: on.verify(verdict="inconclusive").promote(), "inconclusive", "again"),
    "inconclusive after a pass": (
        lambda on: on.verify().verify(verdict="inconclusive").promote(),
        "inconclusive",
        "again",
    ),
    "failed after a pass": (
        lambda on: on.verify().verify(verdict="fail", checks=failing("effect")).promote(),
        "gate_failed",
        "show",
    ),
    "failed, and then a pass by the same lease": (judged_twice, "gate_failed", "show"),
    "failed without saying what": (lambda on: on.verify(verdict="fail", checks=[]).promote(), "gate_failed", "show"),
    "of another version, with another digest": (
        lambda on: on.verify().push("lora_v2").promote(2),
        "gate_pending",
        "verify",
    ),
    "of the same bytes on another line": (
        lambda on: (on.verify(), on.world.fresh().promote())[1],
        "gate_pending",
        "verify",
    ),
    "of the same files on another base": (
        lambda on: on.verify().push(base="shifted").promote(2),
        "gate_pending",
        "verify",
    ),
    "of another suite": (lambda on: on.verify(suite="static").promote(), "gate_pending", "verify"),
    "of one suite of two": (
        lambda on: on.verify().asks(suites=["smoke", "static"]).promote(),
        "gate_pending",
        "verify",
    ),
    "of a suite that was pushed anew since": (
        lambda on: (
            on.world.push_suite("as it was"),
            on.asks(suites=["mine"]),
            on.verify().verify(suite="mine"),
            on.world.push_suite("as it is"),
            on.promote(),
        )[-1],
        "gate_pending",
        "again",
    ),
    "of an older verifier": (lambda on: on.verify(verifier="deltareg-verify/0").promote(), "gate_pending", "again"),
    "of no verifier of ours": (lambda on: on.verify(verifier="x deltareg-verify/3").promote(), "gate_pending", "again"),
    "made with another seed": (lambda on: on.verify(seed=8).promote(), "gate_pending", "again"),
    "asked for under a policy that was replaced": (
        lambda on: on.verify(channel="dev").asks(rollback={"days": 9}).promote(),
        "gate_pending",
        "again",
    ),
    "asked for another channel": (
        lambda on: on.asks(rollback={"days": 9}).verify(channel="prod").promote(),
        "gate_pending",
        "again",
    ),
    "too old": (old_verdict, "gate_pending", "again"),
    "made in no sandbox": (lambda on: on.asks(sandbox=["network"]).verify().promote(), "gate_pending", "again"),
    "made in a sandbox that lacks a layer": (
        lambda on: on.asks(sandbox=["network", "calls"]).verify(sandbox="network files").promote(),
        "gate_pending",
        "again",
    ),
    "made in a sandbox whose name holds the layer's": (
        lambda on: on.asks(sandbox=["calls"]).verify(sandbox="nocalls").promote(),
        "gate_pending",
        "again",
    ),
    "with too little evidence of the base": (
        lambda on: on.asks(evidence="exact").verify(base_evidence="shapes").promote(),
        "gate_pending",
        "again",
    ),
    "with evidence of the base that was only declared": (
        lambda on: on.asks(evidence="shapes").verify(base_evidence="declared").promote(),
        "gate_pending",
        "again",
    ),
    "made elsewhere than today's workers are": (
        lambda on: on.asks(environment="strict").verify(environment={"torch": "1"}).promote(),
        "gate_pending",
        "again",
    ),
} | {
    f"failed: {spec.name}": (
        lambda on, name=spec.name: on.verify(verdict="fail", checks=failing(name)).promote(),
        "gate_failed",
        "show",
    )
    for spec in built_in("smoke").checks
}
# The gate takes every check that failed alike: some are tried, and all in the soak.
FAILED = [what for what in VERDICTS if what.startswith("failed: ")]
VERDICTS_QUICKLY = without_some(VERDICTS, set(FAILED) - set(FAILED[::4]))


def failing(name):
    return [
        {"name": spec.name, "verdict": "fail" if spec.name == name else "pass"} for spec in built_in("smoke").checks
    ]


def served(on, *versions):
    on.serve(1).push("lora_v2").serve(2)
    return on


def frozen(on, **more):
    on.verify().client.channels.freeze(on.name, "dev", reason="release", **more)
    return on


def with_token(on, *scopes, **how):
    return on.verify().promote(by=on.world.server.http(on.world.server.token(*scopes, **how)))


def with_revoked_token(on):
    by = on.world.server.http(on.world.server.token("promote", principal="gone"))
    (token,) = [one for one in on.client.tokens.list(limit=200).items if one.principal == "gone"]
    on.client.tokens.revoke(token.id)
    return on.verify().promote(by=by)


def headers(value):
    return lambda on: on.verify().promote(headers={} if value is None else {"If-Match": value})


MOVES = {
    "quarantined": (
        lambda on: (served(on), on.move(kind="rollback"), on.changed.clear(), on.promote(2))[-1],
        "blocked",
        "clear",
    ),
    "revoked": (
        lambda on: (on.verify().client.versions.revoke(f"{on.name}:v1", reason="x"), on.promote())[1],
        "blocked",
        "deltareg unrevoke",
    ),
    "standing on a revoked version": (on_two_lines, "blocked", "push one that is made without it"),
    "deleted": (
        lambda on: (on.verify().client.versions.delete(f"{on.name}:v1"), on.promote())[1],
        "blocked",
        "push it again",
    ),
    "frozen": (lambda on: frozen(on).promote(), "blocked", "unfreeze"),
    "frozen until a time": (lambda on: frozen(on, until="2099-01-01T00:00:00Z").promote(), "blocked", "unfreeze"),
    "frozen, and back instead": (
        lambda on: (served(on), on.client.channels.freeze(on.name, "dev", reason="x"), on.move(kind="rollback"))[-1],
        "blocked",
        "unfreeze",
    ),
    "in a freeze window": (lambda on: on.verify().asks(freeze=LONG_AGO).promote(), "blocked", "policy"),
    "of a kind that is not taken": (lambda on: on.verify().asks(kinds=["ia3"]).promote(), "blocked", "policy"),
    "for a base that is not taken": (lambda on: on.verify().asks(bases=["shifted"]).promote(), "blocked", "policy"),
    "without approvals": (lambda on: on.verify().asks(approvals=2).promote(), "approval_due", "request approve"),
    "there already": (lambda on: on.serve(1).promote(), "conflict", "nothing to do"),
    "back to what was never served": (
        lambda on: on.serve(1).push("lora_v2").move(kind="rollback", version=2),
        "not_found",
        "history",
    ),
    "back where nothing was": (lambda on: on.verify().move(kind="rollback"), "not_found", "deltareg promote"),
    "back to a revision of what is not served": (
        lambda on: served(on).move(kind="rollback", revision=9),
        "not_found",
        "history",
    ),
    "back to what was revoked": (
        lambda on: (served(on).client.versions.revoke(f"{on.name}:v1", reason="x"), on.move(kind="rollback"))[-1],
        "blocked",
        "deltareg rollback",
    ),
    "seen before it moved": (lambda on: served(on).promote(1, seen=1), "stale_revision", "look"),
    "seen before there was anything": (lambda on: on.verify().promote(seen=5), "stale_revision", "look"),
    "a channel that is none": (
        lambda on: on.verify().promote(channel="absent", seen=0),
        "not_found",
        "deltareg channel create",
    ),
    "a version that is none": (lambda on: on.verify().promote(9), "not_found", "deltareg log"),
    "version 0": (lambda on: on.verify().promote(0), "not_found", "deltareg log"),
    "a version below 0": (lambda on: on.verify().promote(-1), "not_found", "deltareg log"),
    "the number of another line's version": (
        lambda on: (on.verify().push("lora_v2").verify(2), on.world.fresh().promote(2))[1],
        "not_found",
        "deltareg log",
    ),
    "no version": (lambda on: on.verify().move(), "invalid_input", "version"),
    "with a time to end": (lambda on: on.verify().promote(until="2099-01-01T00:00:00Z"), "invalid_input", "until"),
    "with a field that would skip the gate": (lambda on: on.promote(force=True), "invalid_input", "openapi"),
    "with verdicts of the caller's choice": (lambda on: on.promote(verdicts=["x"]), "invalid_input", "openapi"),
    "of a kind of move that is none": (lambda on: on.move(kind="put", version=1), "invalid_input", "openapi"),
    "with a key that was used for another": (used_key, "invalid_input", "key"),
    "with a token that may not": (lambda on: with_token(on, "read", "push", "verify"), "forbidden", "scope"),
    "with a worker's token": (
        lambda on: with_token(on, "read", "verify", principal="w", kind="wrk"),
        "forbidden",
        "scope",
    ),
    "with no token": (
        lambda on: on.verify().promote(by=on.world.server.http()),
        "unauthenticated",
        "deltareg auth login",
    ),
    "with a token of nobody's": (
        lambda on: on.verify().promote(by=on.world.server.http("drg_pat_nobody")),
        "unauthenticated",
        "",
    ),
    "with a revoked token": (with_revoked_token, "unauthenticated", ""),
} | {
    f"seen: {value}": (headers(value), "precondition_required", "etag")
    for value in (None, "", "*", '"r"', "r0", '"r0', 'W/"r0"', '"r-1"', '"x0"', '"r0", "r1"')
}


def checks(change):
    """Report a pass whose checks were changed."""

    def act(on):
        body = on.honest(on.lease())
        body["checks"] = change(body["checks"])
        return on.complete(body)

    return act


def fields(**changes):
    return lambda on: on.complete(on.honest(on.lease(), **changes))


def without(name):
    return checks(lambda found: [one for one in found if one["name"] != name])


def with_one(name, verdict):
    return checks(lambda found: [one | {"verdict": verdict} if one["name"] == name else one for one in found])


def fenced(difference):
    def act(on):
        body = on.honest(on.lease())
        return on.complete(body | {"fence": body["fence"] + difference})

    return act


def cancelled(on):
    body = on.honest(on.lease())
    on.world.empty_queue()
    return on.complete(body)


def taken_over(on):
    body = on.honest(on.lease())
    with write(on.world.server.registry.engine) as conn:
        own = sa.update(t.runs).where(t.runs.c.id == on.run)
        conn.execute(own.values(lease_expires_at=now_us() - 1))
    on.lease(on.world.other_worker)
    return on.complete(body)


def on_a_queued_run(on, **changes):
    """Report what was found in a run of another line on this one's, which nobody has leased."""
    other = on.world.fresh()
    body = other.honest(other.lease(), **changes)
    on.run = on.client.verify(f"{on.name}:v1", again=True).id
    return on.complete(body)


REQUIRED = [spec for spec in built_in("smoke").checks if spec.required]
REPORTS = (
    {
        "no check at all": (checks(lambda _: []), "invalid_input", "inconclusive"),
        "a check that nobody knows": (
            checks(lambda found: [*found, {"name": "vibes", "verdict": "pass"}]),
            "invalid_input",
            "worker",
        ),
        "a check twice": (checks(lambda found: [*found, found[0]]), "invalid_input", "worker"),
        "a check skipped and then passed": (
            checks(lambda found: [found[0] | {"verdict": "skipped"}, *found]),
            "invalid_input",
            "worker",
        ),
        "a check failed and then passed": (
            checks(lambda found: [found[0] | {"verdict": "fail"}, *found]),
            "invalid_input",
            "",
        ),
        "201 checks": (checks(lambda found: found[:1] * 201), "invalid_input", "worker"),
        "the digest of another suite": (fields(suite_digest=str(built_in("deep").digest)), "invalid_input", "worker"),
        "no digest of a suite": (fields(suite_digest=""), "invalid_input", "worker"),
        "a verdict that is none": (fields(verdict="passed"), "invalid_input", "worker"),
        "evidence that is none": (fields(base_evidence="sure"), "invalid_input", "worker"),
        "a digest of its own choice": (fields(digest="sha256:x"), "invalid_input", "worker"),
        "a base of its own choice": (fields(base_root="blake3:x"), "invalid_input", "worker"),
        "a policy of its own choice": (fields(policy_digest="sha256:x"), "invalid_input", "worker"),
        "a lower fence": (fenced(-1), "lease_lost", "claim another run"),
        "a higher fence": (fenced(1), "lease_lost", "claim another run"),
        "by another principal": (
            lambda on: on.complete(on.honest(on.lease()), by=on.world.other_worker),
            "lease_lost",
            "claim another run",
        ),
        "by whoever pushed it": (
            lambda on: on.complete(on.honest(on.lease()), by=on.world.http),
            "lease_lost",
            "claim another run",
        ),
        "by a token that may not verify": (
            lambda on: on.complete(
                on.honest(on.lease()), by=on.world.server.http(on.world.server.token("read", "push", "promote"))
            ),
            "forbidden",
            "scope",
        ),
        "by nobody": (
            lambda on: on.complete(on.honest(on.lease()), by=on.world.server.http()),
            "unauthenticated",
            "deltareg auth login",
        ),
        "on a run that nobody leased": (lambda on: on_a_queued_run(on, fence=0), "lease_lost", "claim another run"),
        "on a run that is none": (
            lambda on: on.complete(on.honest(on.lease()), run="00000000-0000-4000-8000-000000000000"),
            "not_found",
            "claim",
        ),
        "on another version's run": (on_a_queued_run, "lease_lost", "claim another run"),
        "after the run was cancelled": (cancelled, "lease_lost", "claim another run"),
        "after another worker took over": (taken_over, "lease_lost", "claim another run"),
    }
    | {
        f"{how}: {spec.name}": (make(spec.name), "invalid_input", "inconclusive")
        for spec in REQUIRED
        for how, make in {
            "missing": without,
            "failed": lambda name: with_one(name, "fail"),
            "skipped": lambda name: with_one(name, "skipped"),
        }.items()
    }
    | {
        f"n/a, which always applies: {spec.name}": (with_one(spec.name, "n/a"), "invalid_input", "inconclusive")
        for spec in REQUIRED
        if not spec.may_not_apply
    }
)
# Every fourth, and all in the soak.
MOVES_QUICKLY = without_some(MOVES, set(MOVES) - set(list(MOVES)[::8]))
# Each way with many checks, most checks in one way; the soak has all.
FORGED = [what for what in REPORTS if ": " in what]
REPORTS_QUICKLY = without_some(REPORTS, set(FORGED) - set(FORGED[::16]))


@pytest.fixture(scope="module")
def world(sqlite_template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("forged")
    shutil.copyfile(sqlite_template, folder / "registry.db")
    url = f"sqlite:///{folder / 'registry.db'}"
    with running(url, (folder / "blobs").as_uri(), folder) as server:
        yield Promotions(server)


def test_what_is_in_order_moves(world):
    line = world.fresh().verify()

    assert line.promote().json()["version"] == 1
    assert line.changed


def test_a_refusal_lists_every_rule_that_is_not_met(world):
    line = world.fresh().asks(suites=["smoke", "static"], kinds=["ia3"], bases=["shifted"])
    line.client.versions.revoke(f"{line.name}:v1", reason="wrong data")
    line.client.channels.freeze(line.name, "dev", reason="release")

    problem = line.promote().json()

    assert [one["code"] for one in problem["errors"]] == [
        "revoked",
        "frozen",
        "kind",
        "base",
        "missing",
        "missing",
        "proven",
    ]
    assert all("deltareg " in one["fix"] for one in problem["errors"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "VERDICTS_QUICKLY",
        "MOVES_QUICKLY",
        *[pytest.param(name, marks=pytest.mark.soak) for name in ("VERDICTS", "MOVES")],
    ],
)
def test_promotions_that_are_not_in_order_are_refused(world, figures, name):
    table = globals()[name]

    wrong = {what: told for what, row in table.items() if (told := tried(world.fresh(), *row))}

    figures(f"refused by the API, {name.lower()}", f"{len(table) - len(wrong)} of {len(table)}")
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.parametrize("table", [REPORTS_QUICKLY, pytest.param(REPORTS, marks=pytest.mark.soak)], ids=len)
def test_reports_that_are_not_in_order_are_refused(world, figures, table):
    """And their versions are left where they were, without a verdict and outside."""
    wrong = {}
    line = world.fresh()

    for what, row in table.items():
        line.ask_again()
        if told := tried(line, *row, is_report=True):
            wrong[what] = told
            line = world.fresh()  # this one may have a verdict now

    figures("refused by the API, reports", f"{len(table) - len(wrong)} of {len(table)}")
    assert wrong == {}


def tried(line, mutate, code, fix, *, is_report=False):
    """Try a mutation; say what is wrong with the answer, or nothing."""
    told = refusal(mutate(line), code, FIX.get(fix, fix))
    if not told and is_report:
        told = refusal(line.promote(), "gate_pending", FIX["verify"])
    return told or (f"moved: {line.changed}" if line.changed else "")


def refusal(answer, code, fix):
    """Say what is wrong with an answer that ought to be a problem, or nothing."""
    problem = answer.json()
    if not 400 <= answer.status_code < 500 or problem.get("code") != code:
        return f"{answer.status_code} {problem}"
    return "" if problem["fix"] and fix in problem["fix"] else f"its fix is {problem['fix']!r}"
