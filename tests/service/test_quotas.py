"""Quotas: what does not fit is refused, at once and exactly, and room comes back."""

import threading
import uuid
from dataclasses import replace
from functools import partial

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.access import owners
from deltareg.db.access.namespaces import set_visibility
from deltareg.db.lines import deltas
from deltareg.db.quotas import limits
from deltareg.db.quotas.usage import usage_rows
from deltareg.db.session import read, with_retry, write
from deltareg.db.sql.clock import now_us, read_clock
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage import uploads
from deltareg.digest import sha256_of
from deltareg.errors import Forbidden, IntegrityFailure, OverQuota
from deltareg.service.authority.grants import Grant, NonPrivateNamespaces, Right
from deltareg.service.names.namespaces import rename_namespace
from deltareg.service.push.receive import receive_pack
from deltareg.service.push.uploads import abort_upload
from deltareg.service.quotas import quotas
from deltareg.service.quotas.holding import is_spent, within_quotas
from deltareg.service.quotas.shares import quota_shares
from deltareg.service.registry import Registry
from deltareg.service.upkeep import collect, fsck
from deltareg.store.memory import MemoryStore
from deltareg.wire import QuotaSet, Rename
from tests.fixtures.databases import BOTH
from tests.service import rows

PACK = b"p" * 1_000


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def registry(engine, store):
    return Registry(engine, store)


@pytest.fixture
def ada(engine):
    return rows.caller(engine)


@pytest.fixture
def delta(engine, ada):
    rows.base(engine)
    return rows.line(engine, maker=ada)


def limit(registry, ada, name="lab", **most):
    return quotas.set_quota(registry, ada, name, QuotaSet.model_validate({"limits": most}))


def used(engine, holder="ns:lab"):
    with read(engine) as conn:
        return usage_rows(conn)[holder]


def send(registry, caller, upload, *, number=0):
    data = bytes([number % 256]) * len(PACK)
    return receive_pack(
        registry, caller, upload, number=number, digest=sha256_of(data), body=[data], size_bytes=len(data)
    )


def state(engine, upload):
    with read(engine) as conn:
        return present(uploads.upload_row(conn, upload)).state


@pytest.mark.parametrize("database_url", BOTH, indirect=True)
def test_of_fifty_at_once_exactly_those_succeed_that_fit(registry, engine, ada, delta):
    """Each opens an upload of its own; of both limits there is room for ten."""
    people = [rows.caller(engine, f"p{number}") for number in range(50)]
    opened = [rows.upload(engine, one) for one in people]
    limit(registry, ada, bytes=10_500)
    done, refused = [], []
    begin = threading.Barrier(10)

    def push(mine):
        begin.wait()
        for one in mine:
            try:
                send(registry, people[one], opened[one], number=one)
            except OverQuota as error:
                refused.append(error)
            else:
                done.append(one)

    threads = [threading.Thread(target=push, args=[range(first, 50, 10)]) for first in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(done), len(refused)) == (10, 40)
    assert used(engine).bytes == 10_000
    assert {state(engine, opened[one]) for one in set(range(50)) - set(done)} == {"aborted"}
    assert used(engine).uploads == 10


def test_a_pack_that_does_not_fit_is_refused_before_its_first_byte(registry, engine, store, ada, delta):
    limit(registry, ada, bytes=1_500)
    upload = rows.upload(engine, ada)
    send(registry, ada, upload)

    def body():
        raise AssertionError("a byte was asked for")
        yield b""

    with pytest.raises(OverQuota, match=r"lab would have 2.0 kB, and its quota is 1.5 kB") as refused:
        receive_pack(registry, ada, upload, number=1, digest=sha256_of(PACK), body=body(), size_bytes=len(PACK))

    assert "an upload of ada to lab/x is open with 1.0 kB" in refused.value.fix
    assert "deltareg quota set lab bytes=" in refused.value.fix
    assert state(engine, upload) == "aborted"
    assert (used(engine).bytes, used(engine).uploads) == (0, 0)
    assert list(store.keys("blobs/")) == []


def test_more_than_was_announced_is_not_taken(registry, engine, store, ada, delta):
    upload = rows.upload(engine, ada)
    with pytest.raises(IntegrityFailure, match="announced with 10 bytes"):
        receive_pack(registry, ada, upload, number=0, digest=sha256_of(PACK), body=[PACK], size_bytes=10)

    assert used(engine).bytes == 0
    assert list(store.keys("blobs/")) == []


def test_room_comes_back_from_what_is_aborted_and_collected(registry, engine, store, ada, delta):
    upload = rows.upload(engine, ada)
    send(registry, ada, upload)
    first = used(engine).bytes
    abort_upload(registry, ada, upload)
    aborted = used(engine).bytes
    version = rows.push(engine, store, ada, delta, PACK)
    rows.delete(engine, version)
    deleted = used(engine)
    collect.run(engine, store, grace_s=0)

    assert (first, aborted) == (1_000, 0)
    assert (deleted.bytes, deleted.versions) == (1_000, 0)
    assert used(engine).bytes == 0


def test_scripts_count_with_their_person_and_workers_with_nobody(registry, engine, ada, delta):
    ci, worker = rows.caller(engine, "ci", kind="service"), rows.caller(engine, "w", kind="worker")
    with write(engine) as conn:
        owners.set_owner(conn, ci.principal_id, ada.principal_id, created_by=None)
    limit(registry, ada, "@ada", bytes=1_500)
    limit(registry, ada, "@*", bytes=1_500)
    for one in (ada, worker, worker):
        send(registry, one, rows.upload(engine, one), number=one.principal_id)

    with pytest.raises(OverQuota, match=r"@ada would have 2.0 kB"):
        send(registry, ci, rows.upload(engine, ci))

    shown = quotas.show_quota(registry, ada, "@ada")
    assert next(use for use in shown.uses if use.resource == "bytes").used == 1_000


def test_own_limits_come_before_those_of_all_and_none_is_none(registry, engine, ada, delta):
    limit(registry, ada, "*", bytes=10, versions=5)
    limit(registry, ada, "lab", bytes=None, lines=9)

    uses = {use.resource: use for use in quotas.show_quota(registry, ada, "lab").uses}

    assert {name: use.limit for name, use in uses.items()} == {
        "bytes": None,
        "versions": 5,
        "lines": 9,
        "drafts": None,
        "uploads": None,
        "minutes": None,
    }
    assert {name for name, use in uses.items() if use.is_own} == {"bytes", "lines"}
    assert quota_shares(registry) == {("lab", "versions"): 0.0, ("lab", "lines"): 1 / 9}


def test_what_is_over_a_new_limit_stays_and_nothing_is_added(registry, engine, store, ada, delta):
    rows.push(engine, store, ada, delta, PACK)
    limit(registry, ada, versions=0, bytes=1)

    with (
        pytest.raises(OverQuota, match="lab would have 2 versions, and its quota is 0"),
        write(engine) as conn,
        within_quotas(conn, "ns:lab", ada.principal_id),
    ):
        rows.add_version(conn, delta)
    with write(engine) as conn, within_quotas(conn, "ns:lab", ada.principal_id):
        deltas.set_deleted(conn, delta, read_clock(conn))  # takes away, and may

    assert (used(engine).versions, used(engine).lines) == (1, 0)


def test_near_a_limit_is_told_once_and_again_after_it_was_far(registry, engine, store, ada, delta):
    limit(registry, ada, versions=5)

    def push():
        with write(engine) as conn, within_quotas(conn, "ns:lab", ada.principal_id):
            return rows.add_version(conn, delta)

    def told():
        return [(row.subject, row.after["used"]) for row in rows.rows(engine, t.audit) if row.action == "quota.near"]

    made = [push() for _ in range(3)]
    before = told()
    made += [push(), push()]
    at_limit = told()
    for version in made[:3]:
        rows.delete(engine, version)
    push()
    push()

    assert before == []
    assert at_limit == [("quota/lab", 4)]
    assert told() == [("quota/lab", 4), ("quota/lab", 4)]


def test_minutes_are_those_of_runs_that_people_asked_for_in_this_month(registry, engine, store, ada, delta):
    version = rows.push(engine, store, ada, delta, PACK)
    month_us = 40 * 86_400 * 1_000_000

    def run(what, *, took_min, ago_us=0):
        run_id = str(uuid.uuid4())
        with write(engine) as conn:
            namespace = deltas.namespace_id(conn, "lab")
            values = {"id": run_id, "what": what, "dedup_key": run_id, "request": {}, "labels": {}, "state": "running"}
            values |= {"version_id": version, "namespace_id": namespace, "created_by": ada.principal_id}
            values |= {"lease_expires_at": 0, "started_at": now_us() - ago_us - took_min * 60_000_000}
            conn.execute(sa.insert(t.runs).values(values))
            ended = sa.update(t.runs).where(t.runs.c.id == run_id)
            conn.execute(ended.values(state="done", finished_at=now_us() - ago_us))

    limit(registry, ada, minutes=10)
    run("verify", took_min=6)
    run("prove", took_min=600)
    run("verify", took_min=600, ago_us=month_us)
    early = spent(engine, ada)
    run("compare", took_min=5)

    assert (early, spent(engine, ada)) == (False, True)
    minutes = next(use for use in quotas.show_quota(registry, ada, "lab").uses if use.resource == "minutes")
    assert (minutes.used, minutes.frees) == (11, ["they begin anew with the next month (UTC)"])
    assert used(engine, f"by:{ada.principal_id}").run_us // 60_000_000 == 11
    assert fsck.check(engine, store, read_data=False).findings == ()


def spent(engine, who):
    return with_retry(engine, partial(is_spent, scope="ns:lab", principal_id=who.principal_id))


def test_fsck_finds_a_wrong_count_and_a_repair_mends_it(registry, engine, store, ada, delta):
    rows.push(engine, store, ada, delta, PACK)
    kept = used(engine)
    with write(engine) as conn:
        planted = sa.update(t.quota_usage).where(t.quota_usage.c.holder == "ns:lab")
        conn.execute(planted.values(bytes=7, versions=3))
        conn.execute(sa.delete(t.quota_usage).where(t.quota_usage.c.holder == f"by:{ada.principal_id}"))

    found = [f for f in fsck.check(engine, store, read_data=False).findings if f.kind == "count"]
    repaired = fsck.run_fsck(registry, ada, read_data=False, repairs=True)
    mended = [f for f in repaired.findings if f.kind == "count"]

    assert {f.subject for f in found} == {f.subject for f in mended} == {"ns:lab", f"by:{ada.principal_id}"}
    assert "bytes 7 and not 1000, versions 3 and not 1" in " ".join(f.detail for f in found)
    assert used(engine) == kept
    assert fsck.check(engine, store, read_data=False).findings == ()


def test_only_admins_set_and_the_former_limits_are_in_the_trail(registry, engine, ada, delta):
    limit(registry, ada, bytes=5)
    limit(registry, ada, bytes=6)
    pusher = rows.caller(engine, "bo", scopes=["read", "push"])

    with pytest.raises(Forbidden):
        limit(registry, pusher, bytes=10**12)

    changes = [(row.before, row.after) for row in rows.rows(engine, t.audit) if row.action == "quota.set"]
    assert changes == [({}, {"bytes": 5}), ({"bytes": 5}, {"bytes": 6})]
    with read(engine) as conn:
        assert [(row.holder, row.most) for row in limits.limit_rows(conn)] == [("ns:lab", 6)]


def test_others_are_told_of_no_name_that_a_private_namespace_had_or_is_to_have(registry, ada):
    rows.line(registry.engine, maker=ada)
    with write(registry.engine) as conn:
        set_visibility(conn, present(deltas.namespace_id(conn, "lab")), "private")
    rename_namespace(registry, ada, "lab", Rename(to="den"))
    quotas.set_quota(registry, ada, "secret", QuotaSet(limits={"versions": 1}))
    reads = frozenset({Grant(Right.READ, NonPrivateNamespaces(frozenset({"den"})))})
    other = replace(rows.caller(registry.engine, "eve"), grants=reads)

    shown = quotas.list_quotas(registry, other, cursor=None, limit=50)

    assert [info.name for info in shown.items] == ["@eve"]
