"""The gate: past it, around it, with the word of one for that of two."""

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.errors import DeltaregError
from deltareg.wire import Comparison
from tests.folders import naming_base
from tests.hostile.table import attack, some
from tests.hostile.world import BASE, DELTAS, LINE

MOVERS = ("chief", "promoter")
KEEPERS = ("chief", "owner", "maintainer", "promoter")


def verdict_of(world, number):
    return world.owner.verdicts.list(f"{LINE}:v{number}", limit=1).items[0].id


def waive(me, verdict, check, **more):
    body = {"check": check, "channel": "prod", "reason": "because", **more}
    return me.does("POST", f"/verdicts/{verdict}/waivers", body)


def asks(world, channel, *, line=LINE, **policy):
    """Give a channel of a line a policy, as its owner, that asks for `smoke` only by name."""
    me = world.me("owner")
    me.ask("PUT", f"/deltas/{line}/channels/{channel}")
    if "smoke" not in policy.get("suites", ()):
        policy["smoke"] = False
    world.owner.channels.set_policy(line, channel, policy, reason="x")


@attack("a version that nobody verified is on prod", best=MOVERS)
def _(world, me):
    return me.move(world, version=2)


@attack("a version that failed is on prod", best=MOVERS)
def _(world, me):
    return me.move(world, version=3)


@attack("a move says that the gate is open", best=MOVERS)
def _(world, me):
    forced: tuple[dict[str, object], ...] = (
        {"skip_gate": True},
        {"verdict_ids": ["x"]},
        {"waived": True},
        {"force": True},
    )
    return some(*[me.move(world, version=3, **more) for more in forced])


@attack("a channel changes its base, and nobody said that it may", best=MOVERS)
def _(world, me):
    line = me.line(world)
    world.chief.bases.push(BASE.with_name("tinyllama_other"), "other")
    world.owner.push(DELTAS / "lora", line, base="tinyllama", golden=False)
    with TemporaryDirectory() as folder:
        renamed = naming_base(DELTAS / "lora", "other", Path(folder) / "lora")
        world.owner.push(renamed, line, base="other", golden=False)
    world.prove()
    asks(world, "dev", line=line)
    world.owner.promote(f"{line}:v1", "dev")
    forced: tuple[dict[str, object], ...] = (
        {},
        {"accept_warnings": True},
        {"new_base": "perhaps"},
        {"new_base": None},
        {"base": "other"},
    )
    return some(*[me.move(world, line=line, channel="dev", version=2, **more) for more in forced])


@attack("the glass is broken without the right", but={"breaker"}, best=("chief", "owner"))
def _(world, me):
    return me.move(world, version=2, break_glass=True)


@attack("the glass is broken without a reason", best=("breaker",))
def _(world, me):
    return me.move(world, version=2, break_glass=True, reason=" ")


@attack("a move without what was seen", best=MOVERS)
def _(world, me):
    before = world.revision()
    body = {"kind": "promote", "version": 1, "reason": "x"}
    path = f"/deltas/{LINE}/channels/prod/revisions"
    for headers in ({}, {"If_Match": "*"}, {"If_Match": '"r0"'}, {"If_Match": f'"r{before + 1}"'}):
        me.ask("POST", path, body, **headers)
    return world.revision() != before


@attack("back to what was never served", best=MOVERS)
def _(world, me):
    return me.move(world, kind="rollback", version=2)


@attack("a failure is waived by who pushed it", best=("owner",))
def _(world, me):
    """Of all that the token of the uploader allows."""
    if me.name in {"chief", "maintainer", "promoter"}:
        return False
    return waive(me, verdict_of(world, 4), "library_agrees")


@attack("what is never waived is waived", best=("promoter", "chief"))
def _(world, me):
    return some(*[waive(me, verdict_of(world, 3), name) for name in ("effect", "digests", "golden")])


@attack("a waiver opens the gate although the rest was skipped", best=("promoter", "maintainer"))
def _(world, me):
    verdict = verdict_of(world, 5)
    waive(me, verdict, "norm_ratio")
    found = me.move(world, version=5)
    world.me("chief").ask("DELETE", f"/verdicts/{verdict}/waivers/norm_ratio")
    world.stop_others()
    return found


@attack("an undecided comparison is accepted like a warning", best=MOVERS)
def _(world, me):
    channel = f"u{world.next()}"
    asks(world, channel, suites=["smoke"], protected=True)
    compared = Comparison(
        against="promoted", decision="undecided", low=0.7, high=0.9, confidence=0.95, margin=0.02, n=20
    )
    told = {"verdict": "warn", "code": "undecided", "comparison": compared}
    world.judge(f"{LINE}:v1", general_perplexity=told)
    found = me.move(world, channel=channel, version=1, accept_warnings=True)
    world.judge(f"{LINE}:v1")
    return found


@attack("a waiver for one channel opens another", best=("promoter", "maintainer"))
def _(world, me):
    verdict = verdict_of(world, 4)
    waive(me, verdict, "library_agrees", channel="dev")
    found = me.move(world, version=4)
    world.me("chief").ask("DELETE", f"/verdicts/{verdict}/waivers/library_agrees")
    return found


@attack("a waiver on a channel that is none, without a reason, or for ever", best=("promoter",))
def _(world, me):
    verdict = verdict_of(world, 4)
    wrong = (
        {"channel": "nowhere"},
        {"channel": ""},
        {"reason": ""},
        {"expires_in_s": 10**12},
        {"expires_in_s": -1},
        {"expires_at": "2001-01-01T00:00:00Z"},
        {"check": "accounting"},
    )
    return some(*[waive(me, verdict, more.pop("check", "library_agrees"), **more) for more in wrong])


def request_of(world, opener, channel):
    """Open a request for v4's way to a channel that asks for one approval; gives its number."""
    asks(world, channel, approvals=1)
    before = world.revision(LINE, channel)
    answer = opener.ask(
        "POST",
        f"/deltas/{LINE}/channels/{channel}/revisions",
        {"kind": "promote", "version": 4, "reason": "x"},
        If_Match=f'"r{before}"',
    )
    found = answer.json()
    return found["request"] if found.get("code") == "approval_due" else None


def moved_by(world, number, channel, *people):
    assert number is not None
    for one in people:
        one.ask("POST", f"/requests/{number}:approve", {"message": "fine"})
    return world.revision(LINE, channel) > 0


@attack("who opened a request approves of it", best=("chief", "maintainer"))
def _(world, me):
    channel = f"c{world.next()}"
    number = request_of(world, me, channel)
    return number is not None and moved_by(world, number, channel, me)


@attack("who pushed a version approves of it", best=("owner",))
def _(world, me):
    if me.name not in {"owner", "read-only", "limited", "revoked", "expired"}:
        return False
    channel = f"c{world.next()}"
    return moved_by(world, request_of(world, world.me("promoter"), channel), channel, me)


@attack("a program approves of what its maker pushed", best=("script",))
def _(world, me):
    if me.name not in {"pusher", "script"}:
        return False
    line, channel = me.line(world), "prod"
    world.client_of("pusher").push(world.fresh(), line, base="tinyllama")
    world.prove()
    policy = {"smoke": False, "approvals": 1}
    world.owner.channels.set_policy(line, channel, policy, reason="x")
    answer = world.me("promoter").ask(
        "POST",
        f"/deltas/{line}/channels/{channel}/revisions",
        {"kind": "promote", "version": 1, "reason": "x"},
        If_Match='"r0"',
    )
    me.ask("POST", f"/requests/{answer.json()['request']}:approve", {"message": "fine"})
    return world.revision(line, channel) > 0


@attack("somebody approves who may not", but={"chief", "maintainer", "approver"}, best=("script", "pusher"))
def _(world, me):
    if me.name == "owner":  # whose version it is
        return False
    channel = f"c{world.next()}"
    number = request_of(world, world.me("maintainer"), channel)
    return moved_by(world, number, channel, me)


@attack("one approval counts as two", best=("approver",))
def _(world, me):
    channel = f"c{world.next()}"
    asks(world, channel, approvals=2)
    answer = world.me("maintainer").ask(
        "POST",
        f"/deltas/{LINE}/channels/{channel}/revisions",
        {"kind": "promote", "version": 4, "reason": "x"},
        If_Match='"r0"',
    )
    number = answer.json()["request"]
    return moved_by(world, number, channel, *itertools.repeat(me, 3))


@attack("approvals hold for another version", best=("chief", "maintainer"))
def _(world, me):
    """Approved is v4; moved would be v1."""
    channel = f"c{world.next()}"
    asks(world, channel, approvals=1)
    number = request_of(world, world.me("promoter"), channel)
    world.me("approver").ask("POST", f"/requests/{number}:approve", {"message": "fine"})
    before = world.revision(LINE, channel)
    me.move(world, channel=channel, version=1)
    return world.revision(LINE, channel) > before


@attack("the policy of a channel is replaced", but={"chief", "owner"}, best=("maintainer",))
def _(world, me):
    path = f"/deltas/{LINE}/channels/prod/policy"
    tag = world.me("owner").http.get(path).headers["ETag"]
    return me.does("PUT", path, {"policy": {"smoke": False}, "reason": "x"}, If_Match=tag)


@attack("a channel is content with a quick look", best=("chief", "owner"))
def _(world, me):
    """By a policy that asks for the suite `fast` in place of all others."""
    path = f"/deltas/{LINE}/channels/prod/policy"
    tag = world.me("owner").http.get(path).headers["ETag"]
    return me.does("PUT", path, {"policy": {"suites": ["fast"]}, "reason": "x"}, If_Match=tag)


@attack("what a namespace asks of all its channels is replaced", but={"chief", "owner"}, best=("maintainer", "worker"))
def _(world, me):
    path = f"/namespaces/{LINE.partition('/')[0]}/policy"
    tag = world.me("owner").http.get(path).headers["ETag"]
    return me.does("PUT", path, {"policy": {}, "reason": "x"}, If_Match=tag)


@attack("what the server asks of all channels is replaced", but={"chief"}, best=("owner", "worker"))
def _(world, me):
    tag = world.me("owner").http.get("/policy").headers["ETag"]
    return me.does("PUT", "/policy", {"policy": {"approvals": 0}, "reason": "x"}, If_Match=tag)


@attack("figures of a base come from who is no worker", best=("owner", "pusher", "chief"))
def _(world, me):
    """Signed with a key of one's own, so that deltas are held against easier ones."""
    return me.does("POST", "/bases/tinyllama/figures", {"envelope": "{}"})


@attack("a quarantine is cleared", but={*KEEPERS}, best=("pusher", "approver"))
def _(world, me):
    path = f"/deltas/{LINE}/channels/prod/quarantine/2"
    answer = me.http.request("DELETE", path, params={"reason": "x"})
    return answer.is_success


@attack("a channel is frozen", but={*KEEPERS}, best=("pusher", "approver"))
def _(world, me):
    return me.move(world, kind="freeze")


@attack("a version is revoked", but={*KEEPERS}, best=("pusher", "approver"))
def _(world, me):
    path = f"/deltas/{LINE}/versions/2:revoke"
    return me.does("POST", path, {"reason": "x", "dry_run": True})


@attack("a deleted version is pulled", best=("chief",))
def _(world, me):
    ref = deleted(world)
    number = ref.partition(":v")[2]
    packs = [digest for (digest,) in world.engine.connect().execute(sa.select(t.packs.c.digest).limit(50))]
    path = f"/deltas/{ref.partition(':')[0]}/versions/{number}/storage"
    return me.gets(path) or any(me.gets(f"/blobs/{digest}", of=ref) for digest in packs)


@attack("a deleted version comes back", but={"chief", "owner"}, best=("maintainer", "pusher"))
def _(world, me):
    line = deleted(world).partition(":")[0]
    return me.does("POST", f"/deltas/{line}/versions/1:restore")


@attack("a deleted version is served", best=MOVERS)
def _(world, me):
    line = deleted(world).partition(":")[0]
    world.owner.channels.set_policy(line, "dev", {"smoke": False}, reason="x")
    return me.move(world, line=line, channel="dev", version=1)


def deleted(world):
    """Give a version that its owner has deleted."""
    known = world.__dict__.setdefault("gone", {})
    if "ref" not in known:
        ref = world.owner.push(world.fresh(), f"team/y{world.next()}", base="tinyllama").version.ref
        world.prove()
        world.owner.versions.delete(ref)
        known["ref"] = ref
    try:
        if not world.owner.show(known["ref"]).is_deleted:
            world.owner.versions.delete(known["ref"])
    except DeltaregError:
        pass
    return known["ref"]


@attack("a rule promotes what nobody verified", best=("owner", "pusher"))
def _(world, me):
    line = me.line(world)
    world.owner.push(DELTAS / "lora", line, base="tinyllama", golden=False)
    asks(world, "dev", line=line, suites=["smoke"], auto_promote=True)
    return world.owner.channels.show(line, "dev").version is not None


@attack("a rule promotes although nobody approved", best=("owner", "pusher"))
def _(world, me):
    line = me.line(world)
    world.owner.push(DELTAS / "lora", line, base="tinyllama", golden=False)
    asks(world, "dev", line=line, auto_promote=True, approvals=1)
    return world.owner.channels.show(line, "dev").version is not None
