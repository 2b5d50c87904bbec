"""A pool is not asked for more workers by runs that its workers do not know."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.service.registry import Registry
from deltareg.service.runs.demand import PoolOffer, demand_of, read_queue_state
from deltareg.service.runs.leases import fail_run
from deltareg.service.runs.runs import queue_run
from deltareg.store.memory import MemoryStore
from deltareg.wire import RunCreate, RunFailure
from tests.service import rows
from tests.service.test_knowledge import AS_BEFORE, KNOWS, OLDER
from tests.service.work import claim

POOL = {"pool": "old"}
WITHOUT_LORA = [word for word in KNOWS if word != "kind lora"]


@pytest.fixture
def registry(engine):
    rows.base(engine)
    registry, ada = Registry(engine, MemoryStore()), rows.caller(engine, scopes={"read", "push"})
    rows.version(engine, rows.line(engine, maker=ada))
    queue_run(registry, ada, RunCreate(ref="lab/x:v1"))
    return registry


@pytest.fixture
def worker(engine):
    return rows.caller(engine, "gpu-1", kind="worker", scopes={"verify"})


def wanted(registry, pool="old"):
    return demand_of(read_queue_state(registry), PoolOffer(pool, {})).wanted


def unseen(registry, seconds):
    """Have all workers been seen so long ago."""
    with write(registry.engine) as conn:
        conn.execute(sa.update(t.workers).values(last_seen_at=t.workers.c.last_seen_at - seconds * 1_000_000))


@pytest.mark.parametrize("knows", [OLDER, WITHOUT_LORA])
def test_what_a_pools_workers_do_not_know_asks_for_none_of_them(registry, worker, knows):
    before = wanted(registry)
    claim(registry, worker, labels=POOL, knows=knows)

    assert (before, wanted(registry), wanted(registry, "another")) == (1, 0, 1)


def test_one_worker_that_knows_is_enough(registry, worker):
    claim(registry, worker, labels=POOL, knows=OLDER)
    grant = claim(registry, worker, name="w2", labels=POOL, knows=KNOWS)
    fail_run(registry, worker, grant.run, RunFailure(fence=grant.fence, error="the disk is full"))

    assert wanted(registry) == 1


def test_workers_of_before_that_say_nothing_are_known_by_what_they_failed_of(registry, worker):
    grant = claim(registry, worker, labels=POOL)
    fail_run(registry, worker, grant.run, RunFailure(fence=grant.fence, error=AS_BEFORE))

    assert (wanted(registry), wanted(registry, "another")) == (0, 1)


def test_a_pool_whose_workers_are_gone_gets_one_to_ask_again_and_what_came_last_counts(registry, worker):
    claim(registry, worker, labels=POOL, knows=OLDER)
    unseen(registry, 700)
    to_ask = wanted(registry)
    claim(registry, worker, name="w2", labels=POOL, knows=OLDER)
    still_old = wanted(registry)
    unseen(registry, 700)
    fail = claim(registry, worker, name="w3", labels=POOL, knows=KNOWS)
    fail_run(registry, worker, fail.run, RunFailure(fence=fail.fence, error="the disk is full"))

    assert (to_ask, still_old, wanted(registry)) == (1, 0, 1)
