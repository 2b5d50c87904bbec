"""Cold pulls from a server: what it says is what travels, and channels serve what is cheap to pull."""

import pytest
import sqlalchemy as sa

from deltareg.client.packs import cold_bound
from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.identity.pack_spans import MOST_TIMES
from deltareg.service.upkeep.unmeasured import measure_some_versions
from tests.client.checkpoints import LINE, write_run
from tests.client.grids import Traffic
from tests.client.reencoding import WORKER, work
from tests.client.test_references import depths, pushed
from tests.e2e.test_data_path import same_files
from tests.fixtures.registries import BOTH_DATABASES, ONE_STACK
from tests.proving import prover_of


@pytest.fixture
def server(registry_server):
    return registry_server


def cold_pull(server, ref, base, to):
    """Pull on a machine that has the base alone; gives what travelled."""
    client = server.client(("read",))
    client.bases.fingerprint(base)
    traffic = Traffic(client)
    report = client.pull(ref, to)
    assert report.fetched_bytes == traffic.bytes
    return traffic.bytes


@pytest.mark.parametrize("late", [False, True])
def test_a_cold_pull_fetches_what_push_and_show_say(server, tmp_path, late):
    base, *run = write_run(tmp_path / "run", 4, late=late)
    client = server.client()
    client.bases.push(base, "base")
    reports = pushed(client, run)
    alone = [server.client().push(path, f"alone/v{n}", base="base") for n, path in enumerate(run)]

    for report, by_itself, path in zip(reports, alone, run, strict=True):
        ref = report.version.ref
        fetched = cold_pull(server, ref, base, tmp_path / "out" / path.name)

        assert fetched == report.version.cold_bytes == client.show(ref).cold_bytes
        assert fetched <= MOST_TIMES * by_itself.uploaded_bytes
        assert same_files(tmp_path / "out" / path.name, path)


@pytest.fixture
def chained(server, tmp_path, monkeypatch):
    """Push checkpoints as the release before did: each against the one before, whatever that costs."""
    base, *run = write_run(tmp_path / "run", 3)
    with monkeypatch.context() as before:
        before.setattr(cold_bound, "MOST_TIMES", 9.0)
        before.setattr(cold_bound, "_WORTH", 1.0)
        client = server.client()
        client.bases.push(base, "base")
        pushed(client, run)
    assert max(depths(server, f"{LINE}:v3")) == 3
    return base, run


def promote(server, version):
    ref = f"{LINE}:v{version}"
    server.verified(ref)
    return server.client().channels.promote(ref, "prod")


def reencodes(server):
    return [run for run in server.client().runs.list(limit=200).items if run.what == "reencode"]


@BOTH_DATABASES
def test_what_a_channel_serves_is_stored_for_cold_pulls(server, chained, tmp_path):
    base, run = chained
    before = server.client().show(f"{LINE}:v3")
    promote(server, 3)

    (queued,) = reencodes(server)
    work(server.client(WORKER, principal="worker", kind="wrk"), prover_of(server))
    after = server.client().show(f"{LINE}:v3")

    assert queued.state == "queued"
    assert (after.digest, after.version) == (before.digest, before.version)
    assert cold_pull(server, after.ref, base, tmp_path / "out") == after.cold_bytes < 0.7 * before.cold_bytes
    assert max(depths(server, after.ref)) == 1
    assert same_files(tmp_path / "out", run[2])


@BOTH_DATABASES
def test_it_is_stored_anew_once_however_often_a_channel_moves(server, chained):
    worker, prover = server.client(WORKER, principal="worker", kind="wrk"), prover_of(server)
    promote(server, 2)
    promote(server, 3)
    work(worker, prover)
    work(worker, prover)

    server.client().channels.rollback(LINE, "prod")

    assert sorted(run.ref for run in reencodes(server)) == [f"{LINE}:v2", f"{LINE}:v3"]


@ONE_STACK
def test_what_is_within_the_bound_stays_as_it_is(server, tmp_path):
    base, *run = write_run(tmp_path / "run", 2, late=True)
    client = server.client()
    client.bases.push(base, "base")
    pushed(client, run)
    promote(server, 1)
    assert reencodes(server) == []
    promote(server, 2)

    done = work(server.client(WORKER, principal="worker", kind="wrk"))

    assert done.proof_run == ""
    assert max(depths(server, f"{LINE}:v2")) == 2
    assert server.client().show(f"{LINE}:v2").stored_bytes == done.stored_bytes.before


@BOTH_DATABASES
def test_what_an_older_release_stored_is_measured_and_mended(server, chained):
    said = {n: server.client().show(f"{LINE}:v{n}").cold_bytes for n in (1, 2, 3)}
    promote(server, 3)
    with write(server.registry.engine) as conn:
        conn.execute(sa.update(t.versions).values(cold_bytes=None))
        conn.execute(sa.delete(t.runs).where(t.runs.c.what == "reencode"))
    assert server.client().show(f"{LINE}:v1").cold_bytes is None

    measured = [measure_some_versions(server.registry), measure_some_versions(server.registry)]

    assert measured == [3, 0]
    assert {n: server.client().show(f"{LINE}:v{n}").cold_bytes for n in (1, 2, 3)} == said
    assert [run.ref for run in reencodes(server)] == [f"{LINE}:v3"]


@ONE_STACK
def test_a_damaged_map_stops_neither_a_promotion_nor_upkeep(server, chained):
    server.verified(f"{LINE}:v3")
    with write(server.registry.engine) as conn:
        conn.execute(sa.update(t.versions).where(t.versions.c.number == 3).values(storage_map=b"?", cold_bytes=None))

    measured = [measure_some_versions(server.registry), measure_some_versions(server.registry)]
    server.client().channels.promote(f"{LINE}:v3", "prod")

    assert measured == [1, 0]
    with read(server.registry.engine) as conn:
        served = sa.select(t.channels.c.name).where(t.channels.c.name == "prod")
        assert conn.execute(served).scalar() == "prod"
