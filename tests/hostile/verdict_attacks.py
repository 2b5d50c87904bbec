"""Verdicts: forged, unsigned, replayed, of another run, another key, another's eyes."""

from contextlib import suppress

from deltareg.db import tables as t
from deltareg.errors import DeltaregError
from deltareg.wire import LeaseGrant, LeaseRequest, RunCreate
from tests.fixtures.registries import report
from tests.hostile.table import attack
from tests.hostile.world import LINE
from tests.signers import key_of, sign

V2 = f"{LINE}:v2"
VERIFIERS = ("chief", "worker")


def lease(me, run="", key=None, what="verify"):
    """Ask for a run, as a worker with some key would; gives the lease, or None."""
    body = LeaseRequest(
        worker=me.name,
        key=str((key or key_of(me.name)).public),
        run=run,
        what=[what],
        host="rack",
        labels={"worker": me.name},
    )
    answer = me.ask("POST", "/leases", body.model_dump(mode="json"))
    return LeaseGrant.model_validate(answer.json()) if answer.is_success and answer.json() else None


def complete(me, run, body):
    return me.does("POST", f"/runs/{run}:complete", body.model_dump(mode="json"))


def honest_lease(world, run):
    """Let the honest worker hold a run, so that there is something to forge about."""
    grant = world.worker.lease(LeaseRequest(worker="worker", what=["verify"]))
    assert grant.run == run
    return grant


def passes(world):
    """Whether the gate of prod lets v2 through, by the server's word: clients verify it again."""
    path = f"/deltas/{LINE}/versions/2/gate"
    return world.me("owner").http.get(path, params={"channel": "prod"}).json()["allowed"]


@attack("a pass that nobody signed", best=VERIFIERS)
def _(world, me):
    run = world.queued()
    grant = lease(me, run) or honest_lease(world, run)
    complete(me, run, report(grant))
    return passes(world)


@attack("a pass signed with a key that nobody enrolled", best=VERIFIERS)
def _(world, me):
    run = world.queued()
    key = key_of(f"{me.name}'s own")
    grant = lease(me, run, key)
    if grant is None:
        grant = honest_lease(world, run)
    complete(me, run, sign(grant, report(grant), key, worker=me.name))
    return passes(world)


@attack("a pass about a lease of another", best=("owner", "chief"), but={"worker"})
def _(world, me):
    run = world.queued()
    grant = honest_lease(world, run)
    complete(me, run, sign(grant, report(grant), key_of(me.name), worker="worker"))
    return passes(world)


@attack("a pass signed with the worker's key, which was stolen, by another", but={"worker"})
def _(world, me):
    run = world.queued()
    grant = lease(me, run, key_of("worker")) or honest_lease(world, run)
    complete(me, run, sign(grant, report(grant), key_of("worker"), worker="worker"))
    return passes(world)


@attack("an old pass is told again in a new run", best=("worker", "owner"))
def _(world, me):
    first = honest_lease(world, world.queued(f"{LINE}:v1"))
    said = sign(first, report(first), key_of("worker"), worker="worker")
    assert complete(world.me("worker"), first.run, said)
    run = world.queued()
    second = honest_lease(world, run)
    complete(me, run, said.model_copy(update={"fence": second.fence}))
    return passes(world)


@attack("the pass of one version counts for another", best=("worker",))
def _(world, me):
    run = world.queued()
    grant = honest_lease(world, run)
    other = grant.model_copy(update={"ref": f"{LINE}:v1", "digest": world.owner.show(V2).digest})
    complete(me, run, sign(other, report(grant), key_of("worker"), worker="worker"))
    return passes(world)


@attack("a pass without its nonce", best=("worker",))
def _(world, me):
    run = world.queued()
    grant = honest_lease(world, run)
    blind = grant.model_copy(update={"nonce": "0" * 64})
    complete(me, run, sign(blind, report(grant), key_of("worker"), worker="worker"))
    return passes(world)


@attack("a pass whose checks do not show it", best=("worker",))
def _(world, me):
    run = world.queued()
    grant = honest_lease(world, run)
    few = report(grant)
    few = few.model_copy(update={"checks": few.checks[:1]})
    complete(me, run, sign(grant, few, key_of("worker"), worker="worker"))
    return passes(world)


@attack("a pass of another suite", best=("worker",))
def _(world, me):
    run = world.queued()
    grant = honest_lease(world, run)
    other = report(grant).model_copy(update={"suite_digest": f"sha256:{'0' * 64}"})
    complete(me, run, sign(grant, other, key_of("worker"), worker="worker"))
    return passes(world)


@attack("a pass after the run was cancelled", best=("worker",))
def _(world, me):
    run = world.queued()
    grant = honest_lease(world, run)
    world.owner.runs.cancel(run)
    complete(me, run, sign(grant, report(grant), key_of("worker"), worker="worker"))
    return passes(world)


@attack("a pass on one's own machine counts", best=("pusher", "owner", "chief"))
def _(world, me):
    world.stop_others()
    body = RunCreate(ref=V2, again=True, local=True, labels={"worker": me.name})
    answer = me.ask("POST", "/runs", body.model_dump(mode="json", exclude_defaults=True))
    if not answer.is_success:
        return False
    run = answer.json()["id"]
    grant = lease(me, run)
    if grant is not None:
        complete(me, run, sign(grant, report(grant), key_of(me.name), worker=me.name))
    found = passes(world)
    with suppress(DeltaregError):
        world.owner.runs.cancel(run)
    return found


@attack("a run that another queued for their own eyes is taken", best=("worker", "chief"))
def _(world, me):
    world.stop_others()
    if me.name == "owner" or me.name in {"read-only", "limited", "revoked", "expired"}:
        return False
    run = world.owner.runs.create(RunCreate(ref=V2, again=True, local=True, labels={"worker": "owner"})).id
    grant = lease(me, run)
    world.owner.runs.cancel(run)
    return grant is not None


@attack("a worker is enrolled", but={"chief"})
def _(world, me):
    key = key_of(f"key {world.next()}").public
    return me.does("POST", "/keys", {"name": f"gpu{world.next()}", "key": str(key)})


@attack("a key of a worker is revoked", but={"chief"})
def _(world, me):
    path = f"/keys/{key_of('worker').keyid}:revoke"
    return me.does("POST", path, {"reason": "because"})


@attack("a worker's key is replaced by one's own", but={"chief"}, best=("worker", "owner"))
def _(world, me):
    body = {"name": "worker", "key": str(key_of(f"key {world.next()}").public), "replaces": True}
    return me.does("POST", "/keys", body)


@attack("the built-in suite is replaced by one that asks nothing", best=("chief", "owner"))
def _(world, me):
    before = world.owner.suites.show("smoke").digest
    me.ask("POST", "/suites", {"document": "name: smoke\nchecks: [resources]\n"})
    return world.owner.suites.show("smoke").digest != before


@attack("the log of a run is written by another", but={"worker"})
def _(world, me):
    run = world.queued()
    grant = honest_lease(world, run)
    body = {"fence": grant.fence, "after": 0, "lines": [{"text": "all is well"}]}
    me.ask("POST", f"/runs/{run}/log", body)
    found = [line.text for line in world.owner.runs.log(run).items]
    world.owner.runs.cancel(run)
    return "all is well" in found


@attack("verdicts are rewritten by a route", best=("chief",))
def _(world, me):
    verdict = world.owner.verdicts.list(f"{LINE}:v3", limit=1).items[0].id
    tries = [
        me.does(method, f"/verdicts/{verdict}", {"verdict": "pass"}) for method in ("PUT", "PATCH", "POST", "DELETE")
    ]
    return any(tries) or world.count(t.verdicts, t.verdicts.c.id == verdict) != 1
