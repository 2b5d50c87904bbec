"""All ways to a channel, as docs/howto/ways-to-prod.md tells them: each cell is tried."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.db.sql.clock import now_us
from deltareg.suites.suite import built_in
from deltareg.wire.evidence import EvaluationAdd, OutsideEvidence
from tests.api.promotions import Promotions
from tests.fixtures.registries import running

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "ways-to-prod.md"
NAMES = [spec.name for spec in built_in("smoke").checks]
HELD = "held"
TEXTS = ", ".join(f"text {number}" for number in range(20))
HELD_SUITE = f"""\
name: {HELD}
sets: {{texts: {{text: [{TEXTS}]}}}}
checks:
  - effect
  - check: perplexity
    name: kept
    probes: texts
    threshold: {{min_relative_change: -0.1, greater_is_better: false}}
"""
ALWAYS = [{"from": "2000-01-01", "to": "2100-01-01", "zone": "UTC", "reason": "fair"}]


def judged(on, **outcomes):
    """Let the version that is tried have a verdict with these outcomes of checks; give its id."""
    checks = [{"name": name, "verdict": outcomes.get(name, "pass")} for name in NAMES]
    verdict = "fail" if "fail" in outcomes.values() else "pass"
    on.verify(on.tried, verdict=verdict, checks=checks)
    return on.client.verdicts.list(f"{on.name}:v{on.tried}", limit=1).items[0].id


def undecided(on):
    """Let a check of the version that is tried be a comparison that its samples do not decide."""
    compared = {
        "against": "base",
        "decision": "undecided",
        "low": 0.8,
        "high": 0.95,
        "confidence": 0.95,
        "margin": 0.02,
        "n": 40,
        "needs": 900,
    }
    checks: list[dict[str, object]] = [{"name": "effect", "verdict": "pass"}]
    checks.append({"name": "kept", "verdict": "warn", "code": "undecided", "comparison": compared})
    on.verify(on.tried, suite=HELD, verdict="pass", seed=0, checks=checks)


def waived(on, *, check="library_agrees", channel="dev", **outcomes):
    verdict = judged(on, **{check: "fail", **outcomes})
    bob = on.world.server.client(("read", "promote"), principal="bob")
    bob.verdicts.waive(verdict, check, channel=channel, reason="known")
    return bob, verdict


def waived_before(on):
    """Let a check be waived by a row of a release that let it be."""
    verdict = judged(on, idle="fail")
    with write(on.world.server.registry.engine) as conn:
        conn.execute(
            sa.insert(t.waivers).values(
                id=f"old-{verdict}",
                verdict_id=verdict,
                check_name="idle",
                reason="before",
                expires_at=now_us() + 10**9,
                actor_id=1,
            )
        )


def ended(on):
    bob, verdict = waived(on)
    bob.verdicts.unwaive(verdict, "library_agrees")


def rolled_back(on):
    """Roll back from the version that is tried, so that it is quarantined on the channel."""
    on.move(version=on.tried, break_glass=True, reason="x")
    on.move(kind="rollback", version=on.tried + 1, break_glass=True, reason="x")


def deleted(on):
    """Delete a version that others were made from, which the service refuses."""
    with write(on.world.server.registry.engine) as conn:
        own = sa.select(t.deltas.c.id).where(t.deltas.c.name == on.name.partition("/")[2])
        gone = sa.update(t.versions).where(t.versions.c.delta_id.in_(own), t.versions.c.number == on.tried)
        conn.execute(gone.values(deleted_at=now_us()))


def standing(on, **values):
    """Change what is known of the bytes of the version that is tried."""
    with write(on.world.server.registry.engine) as conn:
        own = sa.select(t.deltas.c.id).where(t.deltas.c.name == on.name.partition("/")[2])
        tried = (t.versions.c.delta_id.in_(own), t.versions.c.number == on.tried)
        conn.execute(sa.update(t.versions).where(*tried).values(**values))


def lied_below(on, table, where):
    """Let what the version that is tried stands on be known as corrupt."""
    with write(on.world.server.registry.engine) as conn:
        changed = conn.execute(sa.update(table).where(where).values(corrupt_at=now_us()))
    assert changed.rowcount == 1


def measured(on):
    """Let somebody report a low metric of the version that is tried."""
    brought = EvaluationAdd(body='{"metrics": {"acc": 0.4}}')
    version = f"/deltas/{on.name}/versions/{on.tried}"
    on.client._context.api.post(f"{version}/evaluations", brought, OutsideEvidence)


def trained_on_a_lie(on):
    """Let the version that is tried be trained on a variant that is known as corrupt."""
    with write(on.world.server.registry.engine) as conn:
        own = sa.select(t.deltas.c.id).where(t.deltas.c.name == on.name.partition("/")[2])
        tried = (t.versions.c.delta_id.in_(own), t.versions.c.number == on.tried)
        version = conn.execute(sa.select(t.versions.c.id, t.versions.c.base_id).where(*tried)).one()
        base = conn.execute(sa.select(t.bases).where(t.bases.c.id == version.base_id)).one()
        few_bits = base._asdict() | {
            "name": f"few-bits-{version.id}",
            "corrupt_at": now_us(),
            "proven_at": None,
            "proven_revision": None,
            "root": "blake3:" + f"{version.id:064x}",
        }
        del few_bits["id"]
        made = conn.execute(sa.insert(t.bases).values(few_bits).returning(t.bases.c.id)).scalar()
        variant = {"base_id": made, "root_id": base.id, "scheme": "fp8"}
        conn.execute(sa.insert(t.base_variants).values(variant))
        conn.execute(sa.insert(t.version_variants).values(version_id=version.id, base_id=made))


def below_of(on):
    line, _, number = on.below.partition(":v")
    own = sa.select(t.deltas.c.id).where(t.deltas.c.name == line.partition("/")[2])
    return sa.and_(t.versions.c.delta_id.in_(own), t.versions.c.number == int(number))


@dataclass(frozen=True)
class Row:
    """What is wrong, done to a line whose `dev` served a version and serves the next one.

    `first` is what its first verdict has that an honest pass has not; None is no verdict. `policy`
    is there from the first, `late` comes with what is wrong, `accepts` with each promotion.
    """

    act: Callable = lambda _: None
    policy: Mapping = field(default_factory=dict)
    late: Mapping = field(default_factory=dict)
    accepts: Mapping = field(default_factory=dict)
    first: Mapping | None = field(default_factory=dict)
    is_stacked: bool = False
    is_merged: bool = False


ROWS = {
    "has a verdict that passes": Row(),
    "has no verdict": Row(first=None),
    "has a verdict that failed": Row(lambda on: judged(on, effect="fail")),
    "has one that failed what is never waived, and a waiver from before": Row(waived_before),
    "has one that failed, waived for this channel, all else shown": Row(waived),
    "has one that failed, waived, and checks that did not run": Row(
        lambda on: waived(on, check="norm_ratio", golden="skipped")
    ),
    "has one that failed, waived for another channel": Row(lambda on: waived(on, channel="prod")),
    "has one that failed, and a waiver that has ended": Row(ended),
    "has one that failed and a later pass, and no third run": Row(lambda on: (judged(on, effect="fail"), judged(on))),
    "has an inconclusive verdict": Row(lambda on: on.verify(on.tried, verdict="inconclusive")),
    "has a verdict of another verifier alone": Row(first={"verifier": "deltareg-verify/0"}),
    "passes with a warning, and the channel is protected": Row(
        lambda on: judged(on, library_agrees="warn"), policy={"protected": True}
    ),
    "passes with a warning that is accepted": Row(
        lambda on: judged(on, library_agrees="warn"), policy={"protected": True}, accepts={"accept_warnings": True}
    ),
    "passes with a required comparison undecided": Row(undecided, policy={"suites": ["smoke", HELD]}),
    "passes with one undecided that is accepted": Row(
        undecided, policy={"suites": ["smoke", HELD]}, accepts={"accept_undecided": True}
    ),
    "has bytes that nobody has proven": Row(lambda on: standing(on, proven_at=None, proven_revision=None)),
    "has bytes that are not what it says": Row(lambda on: standing(on, corrupt_at=now_us())),
    "stands on a base that is not what it says": Row(
        lambda on: lied_below(on, t.bases, t.bases.c.name == on.below), is_stacked=True
    ),
    "stands on a version that is not what it says": Row(
        lambda on: lied_below(on, t.versions, below_of(on)), is_stacked=True
    ),
    "was trained on a variant of its base that is not what it says": Row(trained_on_a_lie),
    "was rolled back from the channel": Row(rolled_back),
    "was revoked": Row(lambda on: on.client.versions.revoke(f"{on.name}:v{on.tried}", reason="x")),
    "stands on a version that was revoked": Row(
        lambda on: on.client.versions.revoke(on.below, reason="wrong data"), is_stacked=True
    ),
    "was merged from a version that was revoked": Row(
        lambda on: on.client.versions.revoke(f"{on.name}:v1", reason="wrong data"), is_merged=True
    ),
    "was deleted": Row(deleted),
    "is for another base than the channel serves": Row(is_stacked=True),
    "is for another base, and that is accepted": Row(is_stacked=True, accepts={"new_base": True}),
    "would go to a frozen channel": Row(lambda on: on.client.channels.freeze(on.name, "dev", reason="release")),
    "would go in a freeze window of the policy": Row(late={"freeze": ALWAYS}),
    "lacks a signature that the policy asks for": Row(late={"signatures": [{"key": "a" * 64}]}),
    "lacks an attestation that the policy asks for": Row(
        late={"attestations": [{"type": "https://slsa.dev/provenance/v1", "from": {"key": "a" * 64}}]}
    ),
    "has a metric, as others measured it, beyond what the policy asks": Row(
        measured, late={"metrics": [{"name": "acc", "at_least": 0.6, "from": "anyone"}]}
    ),
    "names a licence, or none, that the policy does not allow": Row(late={"licences": ["mit"]}),
    "lacks an approval": Row(late={"approvals": 1}),
}
OUTSIDE = {"rollback": {"revisions": 0, "days": 0}}


def table():
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


@pytest.fixture(scope="module")
def world(sqlite_template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ways")
    shutil.copyfile(sqlite_template, folder / "registry.db")
    url = f"sqlite:///{folder / 'registry.db'}"
    with running(url, (folder / "blobs").as_uri(), folder) as server:
        made = Promotions(server)
        answer = made.http.post("/suites", json={"document": HELD_SUITE})
        assert answer.status_code == 200, answer.text
        yield made


def begun(world, row, **policy):
    """Give a line whose `dev` served the version that is tried, and serves the next one."""
    on = world.fresh()
    on.tried = 1
    on.policy = {"suites": ["smoke"], **row.policy, **policy}
    on.client.channels.set_policy(on.name, "dev", on.policy, reason="x")
    if row.is_stacked:
        on.below = f"{world.fresh().push('full').name}:v2"
        on.push(base=on.below)
        on.tried = 2
    if row.is_merged:
        on.client.merge([(f"{on.name}:v1", 0.5)], on.name)
        on.tried = 2
    if row.first is not None:
        on.verify(on.tried, **row.first)
    if HELD in on.policy["suites"]:
        shown = [{"name": name, "verdict": "pass"} for name in ("effect", "kept")]
        on.verify(on.tried, suite=HELD, seed=0, checks=shown)
    on.move(version=on.tried, break_glass=True, reason="x")
    on.push("lora_v2").verify(on.tried + 1)
    on.move(version=on.tried + 1, break_glass=True, reason="x")
    return on


def spoil(on, row):
    row.act(on)
    if row.late:
        on.client.channels.set_policy(on.name, "dev", {**on.policy, **row.late}, reason="x")


def word(answer):
    return "goes" if answer.status_code == 200 else answer.json()["code"]


def at_once(world, row):
    """Give the answer of each way that is one request, as a plan that changes nothing."""
    near, far = begun(world, row), begun(world, row, **OUTSIDE)
    spoil(near, row)
    spoil(far, row)
    plan = {"version": near.tried, "reason": "x", "dry_run": True}
    back = plan | {"kind": "rollback"}
    return {
        "promote": word(near.move(**plan, **row.accepts)),
        "roll back, in the window": word(near.move(**back)),
        "roll back, outside it": word(far.move(**back)),
        "break the glass": word(near.move(**plan, break_glass=True)),
        "break the glass back": word(near.move(**back, break_glass=True)),
    }


def at_last(world, row):
    """Give what the last approval of a request comes to, that was opened before what is wrong."""
    on = begun(world, row, approvals=1)
    if row.accepts:
        spoil(on, row)
    asked = row.accepts or {"new_base": row.is_stacked}
    answer = on.move(version=on.tried, reason="x", **asked)
    assert answer.json()["code"] == "approval_due", answer.text
    request = answer.json()["request"]
    if not row.accepts:
        spoil(on, row)
    cyd = world.server.client(("read", "approve"), principal="cyd")
    state = cyd.requests.show(request).state
    if state == "open":
        state = cyd.requests.approve(request).state
    return {"open": "held", "promoted": "goes"}.get(state, state)


# Each row takes three lines of a registry: one of each sort here, all of them in `make soak`.
OFTEN = {
    "was revoked",
    "has one that failed, waived, and checks that did not run",
    "passes with a warning that is accepted",
    "is for another base than the channel serves",
    "passes with one undecided that is accepted",
}


@pytest.mark.parametrize(
    "name", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.soak) for name in ROWS]
)
def test_each_way_goes_where_the_page_says_so(world, name):
    told = table()[name]

    found = at_once(world, ROWS[name])
    if told["last approval"] != "-":
        found["last approval"] = at_last(world, ROWS[name])

    assert found == {way: told[way] for way in found}


def test_the_page_has_a_row_for_each_and_no_other():
    assert list(table()) == list(ROWS)
