"""Lines that somebody looks for: in one order whatever the page, by all that they are known by."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.lines import deltas
from deltareg.db.lines.deltas import LineFilter
from deltareg.db.session import read, write
from deltareg.service.overview.deltas import look_for_lines
from deltareg.service.registry import Registry
from deltareg.store.memory import MemoryStore
from tests.service import rows

PLACES = [("lab", "x"), ("lab", "x-1"), ("lab", "x.2"), ("lab-2", "a"), ("lab.3", "b"), ("z", "y")]


@pytest.fixture
def registry(engine):
    maker = rows.caller(engine)
    rows.base(engine)
    with write(engine) as conn:
        for namespace, name in reversed(PLACES):
            owner = deltas.add_namespace(conn, namespace, created_by=maker.principal_id).id
            deltas.add_delta(conn, owner, name, created_by=maker.principal_id)
            row = deltas.delta_row(conn, namespace, name)
            assert row is not None
            for _ in range(2):
                rows.add_version(conn, row.id)
    return Registry(engine, MemoryStore())


def found(registry, text=None, *, limit=30, cursor=None, **only):
    caller = rows.caller(registry.engine)
    asked = LineFilter(text=text, **only)
    return look_for_lines(registry, caller, only=asked, cursor=cursor, limit=limit).found


def names(registry, text=None, **asked):
    return [each.line for each in found(registry, text, **asked).items]


def test_pages_of_any_length_give_each_line_once_and_in_one_order(registry):
    whole = names(registry)

    for limit in (1, 2, 5):
        listed, cursor, is_more = [], None, True
        while is_more:
            page = found(registry, limit=limit, cursor=cursor)
            listed += [each.line for each in page.items]
            cursor = page.next_cursor
            is_more = cursor is not None
        assert listed == whole
    assert len(whole) == len(PLACES)
    assert set(whole) == {"/".join(place) for place in PLACES}


def test_a_word_is_looked_for_in_names_and_in_what_is_said_of_the_newest_version(registry):
    with write(registry.engine) as conn:
        newest = sa.select(sa.func.max(t.versions.c.id)).scalar_subquery()
        of_newest = sa.update(t.versions).where(t.versions.c.id == newest)
        conn.execute(of_newest.values(message="Attention alone", labels={"team": "Blue"}))

    assert names(registry, "LAB/X") == ["lab/x", "lab/x-1", "lab/x.2"]
    assert names(registry, "attention") == names(registry, "blue") == ["lab/x"]
    assert len(names(registry, "TIN")) == len(PLACES)  # the base, by a part of its name
    assert names(registry, "zebra") == names(registry, "%") == []


def test_the_digest_of_any_version_leads_to_its_line(registry):
    with read(registry.engine) as conn:
        digests = list(
            conn.execute(
                sa.select(t.versions.c.manifest_digest)
                .join(t.deltas, t.deltas.c.id == t.versions.c.delta_id)
                .where(t.deltas.c.name == "y")
                .order_by(t.versions.c.id)
            ).scalars()
        )
    rows.delete(registry.engine, row_of(registry, digests[0]))

    for digest in digests:
        for text in (digest, digest[:20], digest.removeprefix("sha256:")[:12]):
            assert names(registry, text) == ["z/y"], text


def row_of(registry, digest):
    with read(registry.engine) as conn:
        of_it = sa.select(t.versions.c.id).where(t.versions.c.manifest_digest == digest)
        return conn.execute(of_it).scalar_one()
