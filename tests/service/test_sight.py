"""Lists over all show what their caller may read: full pages, honest cursors, in one query."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.lines import deltas
from deltareg.db.lines.deltas import LineFilter
from deltareg.db.session import write
from deltareg.db.sql.document import pack_documents
from deltareg.digest import sha256_of
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Grant, NamespacePart, NonPrivateNamespaces, Reach, Right
from deltareg.service.authority.resources import Namespace
from deltareg.service.lines.versions import list_lines
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.queue import list_queue, list_workers
from deltareg.service.runs.runs import list_runs
from deltareg.service.verdicts.verdicts import list_verdicts
from deltareg.store.memory import MemoryStore
from deltareg.suites.suite import built_in
from deltareg.wire import Page
from tests.fixtures.databases import take_statistics
from tests.service import rows

_QUICK_S = 1.0
NAMESPACES = ("den", "hall", "lab")
LINES = ("bert-a", "bert_a", "gpt")
LISTS: dict[str, Callable[..., Page[Any]]] = {
    "runs": lambda registry, caller, **page: list_runs(registry, caller, state=None, what=None, ref=None, **page),
    "queue": lambda registry, caller, **page: list_queue(registry, caller, ref=None, **page),
    "verdicts": lambda registry, caller, **page: list_verdicts(registry, caller, None, suite=None, **page),
    "lines": lambda registry, caller, **page: list_lines(registry, caller, only=LineFilter(), **page),
}
SEEN = {
    "all": (Grant(Right.READ), 9),
    "one namespace": (Grant(Right.READ, Namespace("lab")), 3),
    "what is not private": (Grant(Right.READ, NonPrivateNamespaces(frozenset({"den"}))), 6),
    "some lines": (Grant(Right.READ, NamespacePart("den", "bert-*")), 1),
    "some lines by some channels": (Grant(Right.READ, NamespacePart("den", "bert*", "prod")), 2),
    "all lines by a pattern": (Grant(Right.READ, NamespacePart("den", "*")), 3),
    "none": (Grant(Right.READ, Namespace("none")), 0),
}


@pytest.fixture
def registry(engine):
    """Make three lines in each of three namespaces, with a version and a run; `den` is private."""
    maker = rows.caller(engine)
    rows.base(engine)
    with write(engine) as conn:
        for place in NAMESPACES:
            space = deltas.add_namespace(conn, place, created_by=maker.principal_id).id
            for name in LINES:
                deltas.add_delta(conn, space, name, created_by=maker.principal_id)
                line = deltas.delta_row(conn, place, name)
                assert line is not None
                version = rows.add_version(conn, line.id)
                run = {
                    "id": f"{place}-{name}",
                    "what": "verify",
                    "dedup_key": f"{place}{name}",
                    "version_id": version,
                    "suite": "smoke",
                    "labels": {},
                    "state": "queued",
                    "request": {"suite_digest": "sha256:s"},
                    "namespace_id": space,
                }
                conn.execute(sa.insert(t.runs).values(run))
        conn.execute(sa.update(t.namespaces).where(t.namespaces.c.name == "den").values(visibility="private"))
    return Registry(engine, MemoryStore())


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("what", ["runs", "queue", "lines"])
def test_a_list_shows_what_may_be_read_in_full_pages(registry, what, seen):
    grant, count = SEEN[seen]
    caller = Caller("ada", 1, None, frozenset({grant}))

    found, cursor, pages = [], None, 0
    while cursor is not None or pages == 0:
        page = LISTS[what](registry, caller, cursor=cursor, limit=2)
        pages += 1
        cursor = page.next_cursor
        found += [item.ref.partition(":")[0] for item in page.items]
        assert len(page.items) == 2 or cursor is None, "a page is full but for the last"

    assert len(found) == len(set(found)) == count
    assert all(caller.may(Right.READ, on=LineRef.parse(ref)) for ref in found)
    assert pages == max(1, -(-count // 2)), "no page is there for what is left out"


def test_what_a_worker_runs_is_shown_to_who_may_read_it(registry):
    with write(registry.engine) as conn:
        worker = {"name": "w", "principal_id": 1, "labels": {}, "last_seen_at": 0}
        conn.execute(sa.insert(t.workers).values(worker))
        held = {"state": "running", "lease_holder": "w", "lease_expires_at": 1 << 60, "fence": 1}
        conn.execute(sa.update(t.runs).where(t.runs.c.id == "den-gpt").values(held))

    (own,), (others,) = (
        list_workers(registry, Caller("ada", 1, None, frozenset({grant}))).items
        for grant in (Grant(Right.READ, Namespace("den")), Grant(Right.READ, Namespace("lab")))
    )

    assert (own.name, own.ref, own.run) == ("w", "den/gpt:v1", "den-gpt")
    assert (others.name, others.ref, others.run) == ("w", None, None)


@pytest.mark.soak
def test_lists_are_quick_where_little_of_much_is_seen(many):
    """100,000 versions in 1,000 namespaces, each with a run and most with a verdict."""
    reaches: dict[str, Reach] = {
        "one of the oldest": Namespace("n0"),
        "what is not private": NonPrivateNamespaces(frozenset()),
        "none": Namespace("none"),
    }
    took = {}
    for seen, reach in reaches.items():
        caller = Caller("ada", 1, None, frozenset({Grant(Right.READ, reach)}))
        for what, ask in LISTS.items():
            ask(many, caller, cursor=None, limit=50)
            begun = time.perf_counter()
            page = ask(many, caller, cursor=None, limit=50)
            took[what, seen] = time.perf_counter() - begun
            print(f"{what}, {seen}: {took[what, seen] * 1000:.0f} ms, {len(page.items)} rows")

    assert max(took.values()) < _QUICK_S


@pytest.fixture
def many(engine):
    """Make much; all but a tenth of the namespaces are private."""
    maker = rows.caller(engine)
    base = rows.base(engine)
    suite = {"suite": "smoke", "suite_digest": str(built_in("smoke").digest)}
    with write(engine) as conn:
        conn.execute(
            sa.insert(t.namespaces),
            [
                {
                    "name": f"n{n}",
                    "created_by": maker.principal_id,
                    "created_at": n,
                    "visibility": "internal" if n % 10 == 5 else "private",
                }
                for n in range(1000)
            ],
        )
        spaces = dict(conn.execute(sa.select(t.namespaces.c.name, t.namespaces.c.id)).all())
        conn.execute(
            sa.insert(t.deltas),
            [
                {"namespace_id": spaces[f"n{n // 10}"], "name": f"x{n % 10}", "next_version": 11, "created_at": n}
                for n in range(10_000)
            ],
        )
        lines = [row.id for row in conn.execute(sa.select(t.deltas.c.id).order_by(t.deltas.c.id))]
        documents = pack_documents(b"{}", b"{}")
        version = {
            "manifest": documents.manifest,
            "storage_map": documents.storage_map,
            "kind": "lora",
            "variant": "",
            "foldable": True,
            "base_root": rows.BASE_ROOT,
            "base_id": base,
            "labels": {},
            "logical_bytes": 1,
            "stored_bytes": 1,
            "uploaded_bytes": 1,
            "message": "",
        }
        digests = [str(sha256_of(str(n).encode())) for n in range(100_000)]
        for table, made in (
            (
                t.versions,
                lambda n: (
                    version
                    | {"delta_id": lines[n // 10], "number": n % 10 + 1, "manifest_digest": digests[n], "created_at": n}
                ),
            ),
            (
                t.runs,
                lambda n: {
                    "id": f"{n:08}",
                    "what": "verify",
                    "dedup_key": str(n),
                    "version_id": n + 1,
                    "suite": "smoke",
                    "request": suite,
                    "labels": {},
                    "created_at": n,
                    "state": "queued" if n % 10 == 0 else "done",
                    "namespace_id": spaces[f"n{n // 100}"],
                },
            ),
            (
                t.verdicts,
                lambda n: {
                    "id": f"{n:08}",
                    "run_id": f"{n:08}",
                    "version_id": n + 1,
                    "manifest_digest": digests[n],
                    "base_root": rows.BASE_ROOT,
                    **suite,
                    "verifier": "1",
                    "policy_digest": "",
                    "dtype": "f",
                    "seed": 0,
                    "verdict": "pass",
                    "base_evidence": "exact",
                    "checks": [{"name": "effect", "verdict": "pass"}],
                    "environment": {},
                    "sandbox": "",
                    "created_at": n,
                },
            ),
        ):
            numbers = [n for n in range(100_000) if table is not t.verdicts or n % 10]
            for start in range(0, len(numbers), 5_000):
                conn.execute(sa.insert(table), [made(n) for n in numbers[start : start + 5_000]])
    take_statistics(engine)
    return Registry(engine, MemoryStore())
