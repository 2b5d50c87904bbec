"""Rows of an audit trail, and the log over them as whoever verifies it reads it."""

import json

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.db.sql.clock import read_clock
from deltareg.service.authority.grants import grants_of
from deltareg.service.registry import Caller
from deltareg.service.trail.proofs import read_log
from deltareg.service.trail.seal import seal_some
from deltareg.trail.check import LogEvidence
from deltareg.trail.lines import check_lines, write_line
from deltareg.trail.log_copy import KeptLog
from deltareg.wire.log_lines import log_lines
from tests.signers import key_of

ADMIN = Caller("root", 0, None, grants_of(["read", "admin"]))
SERVER = key_of("the server")
KEYS = [SERVER.public]


def seal_all(registry, *, tell=None):
    """Seal all that waits now, batch by batch; says how many rows that were."""
    total = 0
    while sealed := seal_some(registry, tell=tell):
        total += sealed
    return total


def fill(registry, number):
    """Add rows; each tenth is a move that the server signs."""
    with write(registry.engine) as conn:
        at, first = read_clock(conn), (conn.execute(sa.func.max(t.audit.c.id)).scalar() or 0) + 1
        values = [_row(each, at) for each in range(first, first + number)]
        conn.execute(sa.insert(t.audit), values)


def _row(number, at):
    is_move = number % 10 == 0
    after = {"revision": number, "digest": f"sha256:{number:064x}"} if is_move else {"n": number}
    return {
        "created_at": at,
        "actor": "ada",
        "action": "channel.clear" if is_move else "run.queue",
        "subject": f"lab/x@prod{number}",
        "before": None,
        "after": after,
        "request_id": f"r{number}",
    }


def lines_of(registry, *, limit=1_000):
    """Read a log as a client does, and as its file has it."""
    part = lambda after: read_log(registry, ADMIN, after=after, limit=limit)  # noqa: E731
    return [json.loads(write_line(line)) for line in log_lines(part, server="here")]


def check(registry, *, kept="", known=None):
    """Verify the log of a registry."""
    found = known or LogEvidence()
    if kept:
        found = KeptLog.read(kept, KEYS, where="the file").known
    return check_lines(lines_of(registry), KEYS, found)


def rows_in(registry, table):
    with read(registry.engine) as conn:
        return conn.execute(sa.select(table).order_by(*table.primary_key)).all()
