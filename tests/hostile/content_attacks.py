"""What verdicts are made of, and who is told: suites, continuations, recorded outputs, events."""

from deltareg.db import tables as t
from deltareg.service.telling.number import number_all
from deltareg.suites.golden_file import GOLDEN_FILE
from deltareg.suites.suite import built_in
from tests.fixtures.registries import report
from tests.hostile.gate_attacks import verdict_of
from tests.hostile.right_attacks import OWNERS, READERS, secrets
from tests.hostile.table import attack, some
from tests.hostile.verdict_attacks import honest_lease
from tests.hostile.world import LINE, SECRET

SUITE = "name: {name}\nchecks:\n  - digests\n"


def pushes_suite(world, me, name):
    before = world.count(t.suites, t.suites.c.name == name)
    me.ask("POST", "/suites", {"document": SUITE.format(name=name)})
    return world.count(t.suites, t.suites.c.name == name) != before


@attack("a suite is made, or another one put in its place", but={"chief"})
def _(world, me):
    return pushes_suite(world, me, f"mine-{world.next()}")


@attack("the suite that everything is judged by is replaced", best=("chief", "owner"))
def _(world, me):
    before = world.chief.suites.show("smoke").digest
    me.ask("POST", "/suites", {"document": SUITE.format(name="smoke")})
    return world.chief.suites.show("smoke").digest != before != str(built_in("smoke").digest)


@attack("a continuation of a verdict of the vault is queued", but=OWNERS, best=("maintainer", "foreign"))
def _(world, me):
    secrets(world)
    return me.does("POST", f"/verdicts/{world.__dict__['secrets']['verdict']}/continuations")


@attack("a continuation that nobody waived the failure for opens the gate", best=("owner", "chief"))
def _(world, me):
    """What was skipped runs and passes; the check that failed still has nobody to answer for it."""
    world.stop_others()
    asked = me.ask("POST", f"/verdicts/{verdict_of(world, 5)}/continuations")
    if asked.is_success:
        run = asked.json()["id"]
        world.worker.complete_run(run, report(honest_lease(world, run), fail=""))
    return me.move(world, channel=f"c{world.next()}", version=5)


@attack("the outputs recorded of a version are exchanged for others", best=("owner", "pusher"))
def _(world, me):
    """By any route that takes bytes under the names of what is there."""
    shown = world.owner.versions.show(f"{LINE}:v1")
    path = f"/deltas/{LINE}/versions/1"
    body = {"path": GOLDEN_FILE, "content": "e30="}
    tried = some(
        *[
            me.does(method, f"{path}{end}", body)
            for method in ("PUT", "PATCH", "POST")
            for end in ("", "/files", f"/files/{GOLDEN_FILE}", "/golden", "/manifest", "/storage")
        ]
    )
    after = world.owner.versions.show(f"{LINE}:v1")
    return tried or (after.digest, after.golden) != (shown.digest, shown.golden)


@attack("what happens in the vault is told", but=READERS, best=("maintainer", "foreign"))
def _(world, me):
    """In lists, by name or without one, of some types or all."""
    number_all(world.server.registry)
    asked: list[dict[str, str]] = [{}, {"of": "vault"}, {"of": SECRET}, {"type": "channel.*"}, {"newest": "true"}]
    answers = [me.http.get("/events", params={"limit": "200", **one}) for one in asked]
    told = [event for one in answers if one.is_success for event in one.json()["items"]]
    return any("vault" in str(event) for event in told)


@attack("what happens in the vault is sent away", but=OWNERS, best=("maintainer", "foreign"))
def _(world, me):
    hook = {"url": f"https://127.0.0.1/{world.next()}", "namespace": "vault"}
    everything = {"url": f"https://127.0.0.1/{world.next()}"}
    before = world.count(t.webhooks)
    me.ask("POST", "/webhooks", hook)
    if me.name != "owner":
        me.ask("POST", "/webhooks", everything)
    return world.count(t.webhooks) != before


@attack("events are sent into the network of the server", best=("chief", "owner"))
def _(world, me):
    """To what nobody listed; the servers of tests list 127.0.0.0/8."""
    before = world.count(t.webhooks)
    for host in (
        "169.254.169.254",
        "[::1]",
        "10.0.0.1",
        "0xa000001",
        "[::ffff:10.0.0.1]",
        "100.64.0.1",
        "0.0.0.0",
        "[fd00::1]",
    ):
        me.ask("POST", "/webhooks", {"url": f"https://{host}/x", "namespace": "team"})
    return world.count(t.webhooks) != before


@attack("the webhook of others is read, tested or turned", but=OWNERS, best=("maintainer", "foreign"))
def _(world, me):
    hook = world.__dict__.get("hook")
    if hook is None:
        made = world.me("owner").ask("POST", "/webhooks", {"url": "https://127.0.0.1/own", "namespace": "team"})
        hook = world.__dict__["hook"] = made.json()["webhook"]["id"]
    path = f"/webhooks/{hook}"
    return some(
        me.gets(path),
        me.gets(f"{path}/deliveries"),
        me.does("POST", f"{path}:test"),
        me.does("POST", f"{path}:rotate", {}),
        me.does("POST", f"{path}:redeliver", {}),
        me.does("DELETE", path),
    )
