"""Storing a version anew: smaller or flatter, the same to everybody, and never less than whole."""

import pytest
import sqlalchemy as sa

from deltareg.client.packs.pack_reader import PackReader
from deltareg.db import tables as t
from deltareg.db.runs.runs import enqueue
from deltareg.db.session import read, write
from deltareg.errors import Blocked, DeltaregError, Forbidden, InvalidInput, LeaseLost, NotFound
from deltareg.wire import LeaseHold, ReencodeReport, RunFailure
from tests.client.checkpoints import LINE, write_run
from tests.client.reencoding import WORKER, carry_out, claim, work
from tests.client.test_references import depths, live_bytes, pushed
from tests.e2e.test_data_path import same_files
from tests.fixtures.registries import BOTH_DATABASES, ONE_STACK
from tests.fixtures.registries import report as verdict_report
from tests.proving import prove_all, prove_one, prover_of


@pytest.fixture
def server(registry_server):
    return registry_server


@pytest.fixture
def run(server, tmp_path):
    """Push a base and four checkpoints, each stored against the one before it."""
    base, *checkpoints = write_run(tmp_path / "run", 4, late=True)
    server.pushed(base, *checkpoints, line=LINE)
    return checkpoints


@pytest.fixture
def early(server, tmp_path):
    """Push two checkpoints whose base is registered and nowhere to be found; give all three."""
    base, *checkpoints = write_run(tmp_path / "run", 2)
    hidden = tmp_path / "hidden"
    server.step("early", lambda: push_early(server, base, hidden, checkpoints))
    return base.rename(hidden), *checkpoints


def push_early(server, base, hidden, checkpoints):
    server.client().bases.register(base, "base")
    base.rename(hidden)
    for checkpoint in checkpoints:
        pushed(server.client(), [checkpoint])
    hidden.rename(base)


@pytest.fixture
def alone(server, early):
    """Push two checkpoints without their base, and store the base after that."""
    hidden, *checkpoints = early
    server.step("alone", lambda: push_base(server, hidden))
    return checkpoints


def push_base(server, folder):
    server.client().bases.push(folder, "base")


def worker_of(server):
    return server.client(WORKER, principal="worker", kind="wrk")


def actions(server):
    query = sa.select(t.audit.c.action, t.audit.c.subject).order_by(t.audit.c.id)
    with read(server.registry.engine) as conn:
        return [tuple(row) for row in conn.execute(query)]


def test_flattening_leaves_one_reference_and_the_same_version(server, run, tmp_path):
    client = server.client()
    before = client.show(f"{LINE}:v4")

    queued = client.versions.flatten(f"{LINE}:v4")
    done = work(worker_of(server), prover_of(server))
    after = client.show(f"{LINE}:v4")
    server.client().pull(f"{LINE}:v4", tmp_path / "out")

    assert (queued.what, queued.state, queued.against) == ("reencode", "queued", "base")
    assert (done.id, done.state, done.verdict) == (queued.id, "done", None)
    assert done.stored_bytes.before < done.stored_bytes.after == after.stored_bytes
    assert max(depths(server, f"{LINE}:v4")) == 1
    assert (after.digest, after.version) == (before.digest, before.version)
    assert same_files(tmp_path / "out", run[3])
    assert ("version.reencode", f"{LINE}:v4") in actions(server)


@BOTH_DATABASES
def test_what_a_flattened_version_needed_goes_with_collection(server, run, tmp_path):
    client = server.client()
    for number in (1, 2, 3):
        client.versions.delete(f"{LINE}:v{number}")
    client.storage.collect(dry_run=False, grace_s=0, keep_forms_s=0)
    before = live_bytes(server)

    client.versions.flatten(f"{LINE}:v4")
    work(worker_of(server), prover_of(server))
    client.storage.collect(dry_run=False, grace_s=0, keep_forms_s=0)
    server.client().pull(f"{LINE}:v4", tmp_path / "out")

    assert live_bytes(server) < before
    assert same_files(tmp_path / "out", run[3])
    assert client.storage.fsck(read_data=True).findings == []


@ONE_STACK
def test_a_version_below_may_be_flattened_without_those_above(server, run, tmp_path):
    client = server.client()
    client.versions.flatten(f"{LINE}:v3")

    work(worker_of(server), prover_of(server))
    client.storage.collect(dry_run=False, grace_s=0, keep_forms_s=0)

    for number, path in enumerate(run, 1):
        server.client().pull(f"{LINE}:v{number}", tmp_path / "out" / path.name)
        assert same_files(tmp_path / "out" / path.name, path)
    assert max(depths(server, f"{LINE}:v4")) == 4, "it has its own map"


@ONE_STACK
def test_a_push_without_the_base_at_hand_is_stored_anew_with_it(server, alone, tmp_path):
    client, worker = server.client(), worker_of(server)
    stored = [client.show(f"{LINE}:v{n}").stored_bytes for n in (1, 2)]
    before = live_bytes(server)

    first = work(worker)
    prove_all(prover_of(server))  # nothing is encoded against a claim
    second = work(worker, prover_of(server))
    client.storage.collect(dry_run=False, grace_s=0, keep_forms_s=0)

    assert [run.ref for run in (first, second)] == [f"{LINE}:v1", f"{LINE}:v2"]
    assert first.stored_bytes.after < stored[0] * 0.6
    assert second.stored_bytes.after < stored[1] * 0.6
    assert live_bytes(server) < before - sum(stored) * 0.3
    assert max(depths(server, f"{LINE}:v2")) in {1, 2}
    for number, path in enumerate(alone, 1):
        server.client().pull(f"{LINE}:v{number}", tmp_path / f"out{number}")
        assert same_files(tmp_path / f"out{number}", path)
    assert claim(worker) is None


@ONE_STACK
def test_a_form_that_is_not_smaller_changes_nothing(server, alone):
    worker = worker_of(server)
    for _ in range(2):  # the runs that the pushes queued
        work(worker)
        prove_all(prover_of(server))
    revision = storage_revision(server)
    with read(server.registry.engine) as conn:
        version_id = conn.execute(sa.select(t.versions.c.id)).scalars().first()
    queue_smallest(server, version_id)

    done = work(worker)

    assert done.state == "done"
    assert done.stored_bytes.before == done.stored_bytes.after
    assert storage_revision(server) == revision


def storage_revision(server):
    with read(server.registry.engine) as conn:
        query = sa.select(sa.func.sum(t.versions.c.storage_revision))
        return conn.execute(query).scalar_one()


def queue_smallest(server, version_id):
    with write(server.registry.engine) as conn:
        enqueue(
            conn,
            run_id="again",
            what="reencode",
            dedup_key="again",
            version_id=version_id,
            request={"against": "smallest"},
        )


@BOTH_DATABASES
def test_runs_of_verification_and_of_encoding_are_not_confused(server, alone):
    client, worker = server.client(), worker_of(server)

    server.verified(f"{LINE}:v1")
    runs = {(run.what, run.state) for run in client.runs.list().items}
    grant = claim(worker)
    with pytest.raises(InvalidInput):
        worker.complete_run(grant.run, verdict_report_of(grant))

    assert client.show(f"{LINE}:v1").verdict == "pass"
    assert {what for what, _ in runs} == {"prove", "verify", "reencode"}
    assert claim(worker, name="w2").run != grant.run


def verdict_report_of(grant):
    made = verdict_report(grant.model_copy(update={"suite": "smoke"}))
    return made.model_copy(update={"fence": grant.fence})


@ONE_STACK
def test_a_dead_run_says_nothing_about_the_version(server, alone):
    client, worker = server.client(), worker_of(server)
    server.verified(f"{LINE}:v1")

    give_up(worker, 5)  # the two take turns, so the first has had its three attempts

    (dead,) = client.runs.list(state="dead").items
    assert (dead.what, dead.verdict) == ("reencode", None)
    assert client.show(f"{LINE}:v1").verdict == "pass"
    assert client.gate(f"{LINE}:v1", "prod").allowed


def reencodes(client):
    runs = [run for run in client.runs.list().items if run.what == "reencode"]
    return sorted((run.ref, run.state) for run in runs)


def give_up(client, times):
    for _ in range(times):
        grant = claim(client)
        client.fail_run(grant.run, RunFailure(fence=grant.fence, error="no base here"))


@BOTH_DATABASES
def test_what_no_worker_could_do_without_the_base_is_queued_when_it_comes(server, early, tmp_path):
    client, worker = server.client(), worker_of(server)
    hidden, *checkpoints = early
    give_up(worker, 6)
    dead = reencodes(client)

    client.bases.push(hidden, "base")
    client.bases.push(hidden, "base")
    queued = reencodes(client)
    runs = [work(worker)]
    prove_all(prover_of(server))
    runs.append(work(worker, prover_of(server)))

    refs = [f"{LINE}:v1", f"{LINE}:v2"]
    assert dead == [(ref, "dead") for ref in refs]
    assert queued == sorted(dead + [(ref, "queued") for ref in refs]), "once, not twice"
    for ref, run, folder in zip(refs, runs, checkpoints, strict=True):
        assert run.stored_bytes.after < run.stored_bytes.before * 0.6
        server.client().pull(ref, tmp_path / run.id)
        assert same_files(tmp_path / run.id, folder)


@BOTH_DATABASES
def test_a_run_on_its_last_attempt_when_the_base_comes_is_given_more(server, early):
    client, worker = server.client(), worker_of(server)
    hidden, *_ = early
    client.versions.delete(f"{LINE}:v2")
    (other,) = (run for run in client.runs.list().items if (run.what, run.ref) == ("reencode", f"{LINE}:v2"))
    client.runs.cancel(other.id)
    give_up(worker, 2)
    last = claim(worker)

    client.bases.push(hidden, "base")
    worker.fail_run(last.run, RunFailure(fence=last.fence, error="no base here"))
    done = work(worker)

    assert (done.id, done.state) == (last.run, "done")


@BOTH_DATABASES
def test_a_base_that_comes_leaves_alone_what_does_not_wait_for_it(server, early):
    client = server.client()
    hidden, *_ = early
    client.versions.delete(f"{LINE}:v2")
    (run,) = (run for run in client.runs.list().items if run.ref == f"{LINE}:v1" and run.what == "reencode")
    client._api.send("POST", f"/runs/{run.id}:cancel")

    client.bases.push(hidden, "base")

    assert (f"{LINE}:v1", "queued") not in reencodes(client), "somebody did not want it"


@BOTH_DATABASES
def test_flattening_twice_is_one_run(server, run):
    client = server.client()

    first, second = client.versions.flatten(f"{LINE}:v2"), client.versions.flatten(f"{LINE}:v2")

    assert first.id == second.id


@ONE_STACK
def test_who_may_not_flatten_and_what_cannot_be(server, run):
    reader = server.client(("read", "verify"), principal="reader")
    client = server.client()
    client.versions.delete(f"{LINE}:v4")

    with pytest.raises(Forbidden):
        reader.versions.flatten(f"{LINE}:v1")
    with pytest.raises(InvalidInput):
        client.versions.flatten(LINE)
    with pytest.raises(Blocked):
        client.versions.flatten(f"{LINE}:v4")


@BOTH_DATABASES
def test_without_the_lease_nothing_is_sent_and_nothing_replaced(server, run):
    client, worker = server.client(), worker_of(server)
    client.versions.flatten(f"{LINE}:v4")
    grant = claim(worker)
    report = carry_out(worker, grant)
    other = server.client(WORKER, principal="other", kind="wrk")

    with pytest.raises(DeltaregError):
        other.complete_reencode(grant.run, report)
    with pytest.raises(LeaseLost):
        worker.complete_reencode(grant.run, stale(report))
    client._api.send("POST", f"/runs/{grant.run}:cancel")
    with pytest.raises(LeaseLost):
        worker.complete_reencode(grant.run, report)

    assert max(depths(server, f"{LINE}:v4")) == 4


def stale(report):
    return ReencodeReport(fence=report.fence + 1, upload=report.upload, storage_map=report.storage_map)


@BOTH_DATABASES
def test_a_lost_lease_takes_no_packs(server, run):
    client, worker = server.client(), worker_of(server)
    client.versions.flatten(f"{LINE}:v4")
    grant = claim(worker)
    hold = LeaseHold(run=grant.run, fence=grant.fence)
    upload = worker._api.send("POST", f"/runs/{grant.run}:upload", body=hold).json()["id"]
    client._api.send("POST", f"/runs/{grant.run}:cancel")

    with pytest.raises(LeaseLost):
        worker._api.upload(f"/uploads/{upload}/packs/0", memoryview(b"x"), digest=DIGEST, meter=print)


DIGEST = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


@BOTH_DATABASES
def test_the_same_report_again_is_answered_alike(server, run):
    client, worker = server.client(), worker_of(server)
    client.versions.flatten(f"{LINE}:v4")
    grant = claim(worker)
    report = carry_out(worker, grant)

    first = worker.complete_reencode(grant.run, report)
    second = worker.complete_reencode(grant.run, report)

    assert first == second
    prove_one(prover_of(server), first.proof_run)
    assert [action for action, _ in actions(server)].count("version.reencode") == 1


@BOTH_DATABASES
def test_a_pull_under_way_survives_the_replacement(server, run, tmp_path, monkeypatch):
    client, worker = server.client(), worker_of(server)
    for number in (1, 2, 3):
        client.versions.delete(f"{LINE}:v{number}")
    client.storage.collect(dry_run=False, grace_s=0, keep_forms_s=0)
    client.versions.flatten(f"{LINE}:v4")
    enter = PackReader.__enter__
    times: list[int] = []

    def replaced_first(reader):
        # The map has been read and no pack yet.
        if not times:
            times.append(1)
            with monkeypatch.context() as undone:
                undone.setattr(PackReader, "__enter__", enter)
                work(worker, prover_of(server))
            client.storage.collect(dry_run=False, grace_s=0, keep_forms_s=0)
        return enter(reader)

    monkeypatch.setattr(PackReader, "__enter__", replaced_first)
    server.client().pull(f"{LINE}:v4", tmp_path / "out")

    assert times == [1]
    assert same_files(tmp_path / "out", run[3])


def test_a_pack_that_is_gone_for_good_is_an_error(server, run, tmp_path):
    for key, _ in list(server.registry.store.keys("blobs/")):
        server.registry.store.delete(key)

    with pytest.raises(NotFound):
        server.client(retries=0).pull(f"{LINE}:v4", tmp_path / "out")
