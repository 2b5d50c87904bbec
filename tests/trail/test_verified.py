"""A verification that begins where the last one ended: it says what one of all rows says."""

import random
from dataclasses import replace

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.errors import BadSignature
from deltareg.service.registry import Registry
from deltareg.service.trail.proofs import read_log
from deltareg.signing.keys import SigningKey
from deltareg.store.memory import MemoryStore
from deltareg.trail.check import LogEvidence
from deltareg.trail.lines import check_lines
from deltareg.trail.verified import RowNumbers, VerifiedLog
from deltareg.wire.log_lines import log_lines
from tests.service import rows
from tests.trail.logs import ADMIN, KEYS, SERVER, fill, seal_all

_AT = 1_796_000_000


@pytest.fixture
def registry(sqlite_engine):
    made = Registry(sqlite_engine, MemoryStore(), signer=SERVER)
    grow(made, 300)
    return made


def grow(registry, number):
    fill(registry, number)
    seal_all(registry)


def check(registry, since=None, *, keys=KEYS):
    """Read what is behind the last verification, or all of it."""
    position = None if since is None else since.checkpoint.size
    read = lambda after: read_log(  # noqa: E731
        registry, ADMIN, after=after, limit=100, position=position if after is None else None
    )
    return check_lines(log_lines(read, server=""), keys, LogEvidence(), since=since)


def verified(registry, since=None):
    return check(registry, since).conclude(whole_at=_AT)


def changed(registry, table, position, **values):
    at = table.c.position if table is t.log_leaves else table.c.id
    with write(registry.engine) as conn, rows.unguarded(conn, table):
        conn.execute(sa.update(table).where(at == position).values(**values))


def test_parts_leave_what_all_rows_leave(registry):
    part = verified(registry)
    for number in (1, 255, 256, 3):  # over the edges of kept hashes
        grow(registry, number)
        part = verified(registry, verified(registry, part))
    fill(registry, 2)  # they wait, and are no part of what is kept

    last = check(registry, part)

    assert verified(registry, part) == verified(registry) == part
    assert (last.size, last.waiting, last.findings, last.notices) == (part.checkpoint.size, 2, [], [])
    assert VerifiedLog.decode(part.encode()) == part


def test_a_row_behind_it_that_was_changed_is_named(registry):
    since = verified(registry)
    grow(registry, 40)
    changed(registry, t.audit, since.checkpoint.size + 7, subject="lab/x@other")

    found = check(registry, since)

    assert [one.what for one in found.findings] == ["edited", "state"][: len(found.findings)]
    assert found.findings[0].row == since.checkpoint.size + 7
    assert found.conclude(whole_at=_AT) is None


def test_a_log_that_was_written_anew_by_the_servers_key_does_not_go_on(registry):
    since = verified(registry)
    changed(registry, t.log_leaves, 9, hash=b"\1" * 32)
    with write(registry.engine) as conn, rows.unguarded(conn, t.log_nodes):
        conn.execute(sa.update(t.log_nodes).values(hash=b"\2" * 32))
    grow(registry, 5)  # its checkpoint signs the changed tree

    assert [one.what for one in check(registry, since).findings] == ["forked"]


def test_an_end_that_was_cut_off_is_found(registry):
    since = verified(registry)
    with write(registry.engine) as conn, rows.unguarded(conn, t.log_leaves):
        conn.execute(sa.delete(t.log_leaves).where(t.log_leaves.c.position >= 290))

    assert "truncated" in [one.what for one in check(registry, since).findings]


def test_a_row_that_is_sealed_again_is_found(registry):
    since = verified(registry)
    numbers = RowNumbers(since.rows)

    assert not numbers.add(17)
    assert since.rows == [(1, since.checkpoint.size)]


def test_what_a_revoked_key_signed_is_no_beginning(registry):
    since = verified(registry)

    with pytest.raises(BadSignature):
        check(registry, since, keys=[SigningKey.of_seed(b"\5" * 32).public])


def test_what_was_changed_in_the_file_is_none(registry):
    since = verified(registry)
    other = replace(since, peaks=[since.peaks[0], *since.peaks[:-1]])

    assert VerifiedLog.decode(other.encode()) is None
    assert VerifiedLog.decode(replace(since, peaks=since.peaks[1:]).encode()) is None
    for text in ("", "{}", "[]", since.encode()[:-9], since.encode().replace('"rows":[[1', '"rows":[["1"')):
        assert VerifiedLog.decode(text) is None


@pytest.mark.parametrize("seed", range(5))
def test_row_numbers_are_a_set(seed):
    draw, kept, known = random.Random(seed), RowNumbers(), set()
    for _ in range(400):
        number = draw.randint(-5, 120)
        assert kept.add(number) == (number not in known)
        known.add(number)
        if draw.random() < 0.1:
            kept = RowNumbers(kept.ranges)

    assert [n for first, last in kept.ranges for n in range(first, last + 1)] == sorted(known)
    assert all(a[1] + 1 < b[0] for a, b in zip(kept.ranges, kept.ranges[1:], strict=False))
