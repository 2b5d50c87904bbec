"""Verifying again, behind all other work and once, what channels serve, after an upgrade."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.gate.verifier import VERIFIER
from deltareg.service.priority import BACKGROUND
from deltareg.service.runs.reverify import queue_reverification
from deltareg.wire import LeaseRequest
from tests.fixtures.registries import SAMPLES
from tests.service import rows

NEW = {"device": "cpu", "torch": "3.0.0", "verifier": VERIFIER}


@pytest.fixture
def two(registry_server):
    """Promote v1 and v2 to `prod`, one after the other."""
    return registry_server.line("lora", "lora_v2")


def queued(registry):
    with read(registry.engine) as conn:
        query = sa.select(t.runs.c.version_id, t.runs.c.priority, t.runs.c.dedup_key).where(
            t.runs.c.state == "queued", t.runs.c.what == "verify"
        )
        return conn.execute(query.order_by(t.runs.c.version_id)).all()


def outdate(registry, **values):
    with write(registry.engine) as conn, rows.unguarded(conn, t.verdicts):
        conn.execute(sa.update(t.verdicts).values(**values))


def test_an_older_verifiers_verdicts_are_asked_for_again_once(two, registry_server):
    registry = registry_server.registry
    assert queue_reverification(registry) == 0

    outdate(registry, verifier="deltareg-verify/0 deltareg/0.1")

    assert queue_reverification(registry, most=1) == 1
    assert queue_reverification(registry) == 1
    assert queue_reverification(registry) == 0
    runs = queued(registry)
    assert [run.priority for run in runs] == [BACKGROUND, BACKGROUND]
    assert len({run.version_id for run in runs}) == 2, "the served one, and the one in the window"
    assert two.channels.show("team/lora", "prod").version == 2, "it serves on"
    assert [rule.rule for rule in two.gate("team/lora:v2", "dev").unmet] == ["verifier"]
    with write(registry.engine) as conn:
        conn.execute(sa.update(t.runs).values(state="dead"))
    assert queue_reverification(registry) == 0, "what came to nothing is not tried for ever"


def test_what_was_asked_for_again_is_looked_up_at_once(two, registry_server):
    registry = registry_server.registry
    outdate(registry, verifier="deltareg-verify/0")
    assert queue_reverification(registry) == 2

    with rows.asked(registry.engine) as asked:
        assert queue_reverification(registry) == 0

    assert len([one for one in asked if "FROM runs" in one]) == 1


def test_a_worker_in_another_environment_has_served_versions_verified_there(two, registry_server):
    registry = registry_server.registry
    worker = registry_server.client(("read", "verify"), principal="worker", kind="wrk")

    granted = worker.lease(LeaseRequest(worker="new", labels=NEW))

    assert granted is not None
    assert granted.ref in {"team/lora:v1", "team/lora:v2"}
    assert len(queued(registry)) == 1
    worker.lease(LeaseRequest(worker="newer", labels=NEW))
    assert queued(registry) == []
    assert two.gate("team/lora:v2", "dev").allowed, "not asked for strictly, it goes on counting"


def test_what_nothing_serves_is_left_alone(registry_server):
    client = registry_server.line("lora")
    path = SAMPLES / "deltas" / "tinyllama" / "lora_v2"
    registry_server.verified(client.push(path, "team/lora", base="tinyllama").version.ref)
    registry = registry_server.registry

    outdate(registry, verifier="deltareg-verify/0")

    assert queue_reverification(registry) == 1
    (run,) = (run for run in client.runs.queue().items if run.what == "verify")
    assert run.ref == "team/lora:v1", "v2 was verified, and no channel ever served it"
