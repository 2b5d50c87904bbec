"""Channels that promote by themselves what passes, and label what they promote."""

import threading
import time

import pytest
import sqlalchemy as sa

from deltareg.api.promoting import promoting
from deltareg.db.channels import auto_promotions
from deltareg.db.session import read, write
from deltareg.db.tables import channels, grants, principals
from deltareg.errors import Forbidden, InvalidInput
from deltareg.service.channels.auto_promote import promote_what_passes
from tests.fixtures.registries import SAMPLES

DEV = ("team/lora", "dev")
DELTAS = SAMPLES / "deltas" / "tinyllama"
RULE = {"auto_promote": True}


@pytest.fixture
def line(registry_server):
    """Promote v1 and v2 to `prod`; `dev` has served nothing."""
    return registry_server.line("lora", "lora_v2")


def third(client, folder="lora_qv"):
    return client.push(DELTAS / folder, "team/lora", base="tinyllama").version.ref


def unpromoted(client, server, **policy):
    """Leave `dev` as a server does that is killed between its policy and the promotion."""
    client.channels.set_policy(*DEV, policy)
    with write(server.registry.engine) as conn:
        channel = conn.execute(sa.select(channels.c.id).where(channels.c.name == "dev")).scalar_one()
        owner = conn.execute(
            sa.select(principals.c.id).where(principals.c.name == client.whoami().principal)
        ).scalar_one()
        stored = {"suites": ["smoke"], **policy, **RULE}
        conn.execute(channels.update().where(channels.c.id == channel).values(policy=stored))
        auto_promotions.set_rule(conn, channel, principal_id=owner)


def wait_for(is_so):
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def sweep(server):
    return promote_what_passes(server.registry)


def test_what_passes_is_promoted_at_once_and_says_why(line, registry_server):
    line.channels.set_policy(*DEV, RULE)
    ref = third(line)
    assert line.channels.show(*DEV).version == 2

    registry_server.verified(ref)

    assert line.channels.show(*DEV).version == 3
    newest = line.channels.history(*DEV).items[0]
    assert (newest.kind, newest.version, newest.break_glass) == ("promote", 3, False)
    assert newest.actor == line.whoami().principal
    assert newest.reason == f"auto_promote: it passes what dev asks; {newest.actor} set that"
    assert sweep(registry_server) == 0, "once is enough"


def test_what_fails_is_not_promoted(line, registry_server):
    line.promote("team/lora:v2", "dev")
    line.channels.set_policy(*DEV, RULE)
    registry_server.verified(third(line), verdict="fail")

    assert sweep(registry_server) == 0
    assert line.channels.show(*DEV).version == 2


def test_what_has_passed_already_is_promoted_with_the_rule(line, registry_server):
    trial = line.channels.set_policy(*DEV, RULE, dry_run=True)
    assert (trial.is_changed, line.channels.show(*DEV).version) == (True, None)

    line.channels.set_policy(*DEV, RULE)

    assert line.channels.show(*DEV).version == 2
    assert len(line.channels.history(*DEV).items) == 1


def test_a_server_that_was_killed_catches_up(line, registry_server):
    unpromoted(line, registry_server)

    with promoting(registry_server.registry):
        wait_for(lambda: line.channels.show(*DEV).version == 2)
    assert sweep(registry_server) == 0


def test_an_older_version_never_replaces_a_newer_one(line, registry_server):
    refs = [third(line), third(line, "lora_rslora")]
    line.channels.set_policy(*DEV, RULE)
    registry_server.verified(refs[1])
    registry_server.verified(refs[0])

    assert line.channels.show(*DEV).version == 4
    line.promote("team/lora:v1", "dev")
    assert sweep(registry_server) == 0
    assert line.channels.show(*DEV).version == 1, "who puts an older one there means it"


def test_what_was_rolled_back_does_not_return(line, registry_server):
    line.promote("team/lora:v1", "dev")
    line.promote("team/lora:v2", "dev")
    line.rollback(*DEV, reason="worse")
    line.channels.set_policy(*DEV, RULE)

    assert sweep(registry_server) == 0
    assert line.channels.show(*DEV).version == 1


def test_a_frozen_channel_waits_for_the_end_of_the_freeze(line, registry_server):
    line.promote("team/lora:v1", "dev")
    line.channels.freeze(*DEV, reason="fair")
    line.channels.set_policy(*DEV, RULE)

    assert sweep(registry_server) == 0
    line.channels.unfreeze(*DEV, reason="over")
    assert sweep(registry_server) == 1
    assert line.channels.show(*DEV).version == 2


def test_approvals_are_still_asked_for_and_a_no_is_a_no(line, registry_server):
    line.channels.set_policy(*DEV, RULE | {"approvals": 1})
    cyd = registry_server.client(("read", "approve"), principal="cyd")

    assert sweep(registry_server) == 0, "one request is enough"
    (request,) = line.requests.list().items
    assert (request.version, request.state, request.opener) == (2, "open", line.whoami().principal)
    with pytest.raises(Forbidden):
        line.requests.approve(request.id)
    cyd.requests.reject(request.id, reason="not this one")
    assert sweep(registry_server) == 0
    assert line.channels.show(*DEV).version is None
    registry_server.verified(third(line))
    (newer, _) = line.requests.list().items
    assert newer.version == 3
    assert cyd.requests.approve(newer.id).state == "promoted"


def test_whoever_promotes_sets_no_rule(line, registry_server):
    member = registry_server.client(("read", "push", "promote", "approve"), principal="member")

    for rule in (RULE, {"label": {"released": "{date}"}}):
        with pytest.raises(Forbidden):
            member.channels.set_policy(*DEV, rule)
    assert line.channels.policy(*DEV).policy == {"suites": ["smoke"]}
    assert sweep(registry_server) == 0


def test_a_warning_on_a_protected_channel_waits_for_a_person(line, registry_server):
    line.promote("team/lora:v2", "dev")
    line.channels.set_policy(*DEV, RULE | {"protected": True}, reason="careful")
    registry_server.verified(third(line), warn="effect")

    assert sweep(registry_server) == 0
    assert line.channels.show(*DEV).version == 2


def test_the_rule_ends_with_the_rights_of_whoever_set_it(line, registry_server):
    owner = registry_server.client(("read", "push", "promote", "admin"), principal="leaver")
    owner.channels.set_policy(*DEV, RULE)
    with write(registry_server.registry.engine) as conn:
        (rule,) = auto_promotions.rule_rows(conn)
        conn.execute(grants.update().where(grants.c.principal_id == rule.principal_id).values(ended_at=1))

    registry_server.verified(third(line))

    assert sweep(registry_server) == 0
    assert line.channels.show(*DEV).version == 2
    line.channels.set_policy(*DEV, RULE | {"kinds": ["lora"]})
    newest = line.channels.history(*DEV).items[0]
    assert (newest.version, newest.actor) == (3, line.whoami().principal), "somebody else answers for it now"


def test_two_servers_promote_once(line, registry_server):
    unpromoted(line, registry_server)
    done = []
    workers = [threading.Thread(target=lambda: done.append(sweep(registry_server))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert line.channels.show(*DEV).version == 2
    assert len(line.channels.history(*DEV).items) == 1
    assert sum(done) == 1


def test_a_rule_that_was_taken_away_does_nothing(line, registry_server):
    line.channels.set_policy(*DEV, RULE)
    line.channels.set_policy(*DEV, {})
    registry_server.verified(third(line))

    with read(registry_server.registry.engine) as conn:
        assert auto_promotions.rule_rows(conn) == []
    assert sweep(registry_server) == 0
    assert line.channels.show(*DEV).version == 2


def test_a_promotion_labels_what_it_promotes(line, registry_server):
    line.channels.set_policy(*DEV, {"label": {"released": "{date}", "on": "{channel}"}})
    line.versions.label("team/lora:v2", {"lang": "py"})

    line.promote("team/lora:v2", "dev")

    labels = line.show("team/lora:v2").labels
    assert labels == {"lang": "py", "on": "dev", "released": line.channels.history(*DEV).items[0].at[:10]}
    assert [hit.ref for hit in line.versions.search(labels={"released": None}).items] == ["team/lora:v2"]
    assert line.audit.list(subject="team/lora:v2", action="version.label").items[0].after == {"labels": labels}


def test_a_version_full_of_labels_is_promoted_without(line):
    line.versions.label("team/lora:v2", {f"l{number}": "" for number in range(64)})
    line.channels.set_policy(*DEV, {"label": {"released": "{date}"}})

    line.promote("team/lora:v2", "dev")

    assert len(line.show("team/lora:v2").labels) == 64


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"auto_promote": "yes"}, "auto_promote: takes true or false"),
        ({"label": {"released": "{day}"}}, "label.released: names {day}"),
        ({"label": {"released": 3}}, "label.released: is no text"),
        ({"label": []}, "label: takes up to 8 labels"),
        ({"label": {"a b": ""}}, "no key of a label"),
    ],
)
def test_a_slip_of_the_pen_is_refused(line, policy, message):
    with pytest.raises(InvalidInput, match=message):
        line.channels.set_policy(*DEV, policy)


def test_no_floor_promotes_anything(line, registry_server):
    with pytest.raises(InvalidInput, match="for a channel to say"):
        registry_server.client(principal="root").floors.set(RULE, reason="everywhere")
