"""Runs go to workers that know what they need; what none knows waits, says for what, and costs no attempt."""

import json

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.db.verdicts import suites as suite_queries
from deltareg.digest import sha256_of
from deltareg.errors import Unavailable
from deltareg.identity.manifest import canonical_json
from deltareg.service.registry import Registry
from deltareg.service.runs.kinds.verify import complete_run
from deltareg.service.runs.leases import fail_run
from deltareg.service.runs.runs import queue_run, show_run
from deltareg.service.runs.unknown_again import queue_unknown_again
from deltareg.service.verdicts.suites import show_suite
from deltareg.store.memory import MemoryStore
from deltareg.wire import RunCreate, RunFailure
from deltareg.wire.knowledge import list_known
from tests.service import rows
from tests.service.work import SMOKE, audited, claim, reader, report

KNOWS = list(list_known())
OLDER = [word for word in KNOWS if not word.startswith("check idle")]
# As a worker of a release that does not say what it knows failed when smoke had a new parameter.
AS_BEFORE = "check 10 (whole_training): parameters: has no key 'most_rate'; did you mean 'x'?; see docs/howto/suites.md"


@pytest.fixture
def registry(engine):
    rows.base(engine)
    return Registry(engine, MemoryStore())


@pytest.fixture
def ada(engine):
    return rows.caller(engine, scopes={"read", "push"})


@pytest.fixture
def worker(engine):
    return rows.caller(engine, "gpu-1", kind="worker", scopes={"verify"})


@pytest.fixture
def queued(registry, ada):
    rows.version(registry.engine, rows.line(registry.engine, maker=ada))
    return queue_run(registry, ada, RunCreate(ref="lab/x:v1")).id


def test_a_run_waits_for_a_worker_that_knows_it_and_says_for_what(registry, worker, queued):
    refused = claim(registry, worker, knows=OLDER)
    waits = show_run(registry, reader(worker), queued)
    grant = claim(registry, worker, name="w2", knows=KNOWS)

    assert refused is None
    assert (waits.state, waits.attempt) == ("queued", 0)
    assert waits.unserved.startswith("no worker that runs now knows check idle")
    assert grant.run == queued


def test_a_worker_that_lacks_a_kind_or_a_codec_is_given_what_has_none_of_it(registry, worker, queued):
    without = {word for word in KNOWS if not word.startswith("kind ")}

    assert claim(registry, worker, knows=[*without, "kind bitfit"]) is None
    assert claim(registry, worker, name="w2", knows=[*without, "kind lora"]).run == queued


def test_what_a_worker_of_before_does_not_know_is_no_attempt_and_does_not_come_to_it_again(registry, worker, queued):
    for name in ("w1", "w2", "w3", "w4"):
        grant = claim(registry, worker, name=name)
        fail_run(registry, worker, grant.run, RunFailure(fence=grant.fence, error=AS_BEFORE))

    again = [claim(registry, worker, name=name) for name in ("w1", "w4")]
    waits = show_run(registry, reader(worker), queued)
    grant = claim(registry, worker, name="w5", knows=KNOWS)

    assert again == [None, None]
    assert (waits.state, waits.attempt) == ("queued", 0)
    assert waits.unserved == "no worker that runs now knows check whole_training with most_rate"
    assert (grant.run, grant.attempt) == (queued, 1)
    assert complete_run(registry, worker, queued, report(grant)).verdict == "pass"


def test_a_worker_says_itself_what_it_did_not_know(registry, worker, queued):
    grant = claim(registry, worker, knows=KNOWS)
    fail_run(registry, worker, queued, RunFailure(fence=grant.fence, error="no", unknown="a document of tomorrow"))

    assert claim(registry, worker, knows=KNOWS) is None
    assert claim(registry, worker, knows=[*KNOWS, "one word more"]).attempt == 1, "it is of another release now"


def test_a_failure_of_another_kind_is_an_attempt(registry, worker, queued):
    grant = claim(registry, worker, knows=KNOWS)

    fail_run(registry, worker, queued, RunFailure(fence=grant.fence, error="the disk is full"))

    assert claim(registry, worker, knows=KNOWS).attempt == 2


def test_what_died_of_ignorance_is_verified_again_once(registry, worker, queued):
    for _ in range(3):  # as a server of before counted it
        grant = claim(registry, worker)
        fail_run(registry, worker, grant.run, RunFailure(fence=grant.fence, error="an error"))
    with write(registry.engine) as conn:
        conn.execute(sa.update(t.runs).values(error=AS_BEFORE))

    grant = claim(registry, worker, name="w2", knows=KNOWS)

    assert grant.run != queued
    assert (grant.ref, grant.suite, grant.attempt) == ("lab/x:v1", "smoke", 1)
    assert queue_unknown_again(registry) == 0
    assert ("registry", "run.queue", f"run/{grant.run}") in audited(registry)


def test_a_server_leaves_the_runs_of_a_later_release_to_it(registry, worker, queued):
    later = json.loads(SMOKE.document)
    later["checks"][0]["check"] = "telepathy"
    document = canonical_json(later)
    digest = str(sha256_of(document))
    with write(registry.engine) as conn:
        suite_queries.keep_release_suites(conn, {digest: ("smoke", document)})
    grant = claim(registry, worker, knows=[*KNOWS, "check telepathy"])
    with write(registry.engine) as conn:
        conn.execute(sa.update(t.runs).values(request={"suite_digest": digest}))

    with pytest.raises(Unavailable, match="does not know check telepathy"):
        complete_run(registry, worker, queued, report(grant))
    with pytest.raises(Unavailable, match="suite smoke is of a later release"):
        show_suite(registry, reader(worker), "smoke", digest=digest)
    with write(registry.engine) as conn:
        conn.execute(sa.update(t.runs).values(state="queued", lease_holder=None))

    assert claim(registry, worker, knows=[*KNOWS, "check telepathy"]) is None
    assert show_run(registry, reader(worker), queued).unserved == (
        "it waits for a server of a later release: this one does not know check telepathy"
    )


def test_a_run_of_a_release_whose_suite_nobody_kept_is_carried_out_as_the_suite_is_now(registry, worker, queued):
    with write(registry.engine) as conn:
        conn.execute(sa.update(t.runs).values(request={"suite_digest": "sha256:" + "0" * 64}))

    claim(registry, worker, knows=KNOWS)

    assert claim(registry, worker, knows=KNOWS).suite_digest == str(SMOKE.digest)
