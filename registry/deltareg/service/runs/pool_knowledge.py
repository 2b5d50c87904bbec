"""Waiting runs that the workers of a pool do not know: they do not ask for more of these workers.

During an upgrade a pool of the release before may be the only one whose labels fit. Its workers are
given none of the new runs, so starting more of them helps nobody. What a pool's workers know is what
those said that were seen last. Kinds are looked at, codecs are not: a worker that lacks one alone counts.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.runs import needs as needs_queries
from deltareg.db.runs import workers as worker_queries
from deltareg.db.runs.worker_rows import PoolWorkerRow
from deltareg.db.sql.clock import US_PER_S
from deltareg.service.labels import POOL
from deltareg.service.runs.knowledge import words_asked
from deltareg.wire.knowledge import digest_words, own_knowledge, word_of_suite

_DAY_US = 86_400 * US_PER_S
_TOGETHER_US = 600 * US_PER_S
"""Workers of a pool that were seen within this time of the newest say what it knows. Where the newest was
not seen for as long, one more is asked for: it may be of a later release by now."""


@dataclass(frozen=True, slots=True)
class UnknownRuns:
    """Waiting runs of a kind with the same labels, which are JSON text, that a pool's workers do not know."""

    what: str
    labels: str
    waiting: int


@dataclass(frozen=True, slots=True)
class PoolLack:
    """What the workers of a pool do not know.

    Attributes:
        runs: The waiting runs that none of them could take.
        is_stale: Whether none of them was seen for a while, so one is started to ask again.
    """

    runs: Sequence[UnknownRuns]
    is_stale: bool


def what_pools_lack(conn: sa.Connection) -> dict[str, PoolLack]:
    """Return, for each pool whose workers know less than this server, which waiting runs they do not know."""
    pools = _short_pools(worker_queries.pool_workers(conn, label=POOL, seen_within_us=_DAY_US))
    if not pools:
        return {}
    said = {
        row.name: frozenset(row.knows or ())
        for row in worker_queries.knowledge_rows(conn, {row.name for rows in pools.values() for row in rows})
    }
    found: defaultdict[str, list[UnknownRuns]] = defaultdict(list)
    for need in needs_queries.waiting_needs(conn):
        words = words_asked(conn, need.what, need.suite, need.suite_digest)
        if words is None:
            continue
        words |= {f"kind {need.kind}"} if need.kind else frozenset()
        mark = word_of_suite(need.suite, need.suite_digest)
        for pool, rows in pools.items():
            if all(_lacks(row, words, mark, said) for row in rows):
                found[pool].append(UnknownRuns(need.what, need.labels, need.waiting))
    return {
        pool: PoolLack(found[pool], is_stale=min(row.age_us for row in rows) > _TOGETHER_US)
        for pool, rows in pools.items()
    }


def _short_pools(workers: Sequence[PoolWorkerRow]) -> dict[str, list[PoolWorkerRow]]:
    """Return the newest workers of each pool in which none knows all that this server knows."""
    pools: defaultdict[str, list[PoolWorkerRow]] = defaultdict(list)
    for row in workers:  # the newest first
        newest = pools[row.pool][0] if pools[row.pool] else row
        if row.age_us - newest.age_us <= _TOGETHER_US:
            pools[row.pool].append(row)
    own = digest_words(own_knowledge())
    knowing = {row.pool for rows in pools.values() for row in rows if row.knows_digest == own and not row.unknown}
    return {pool: rows for pool, rows in pools.items() if pool not in knowing}


def _lacks(row: PoolWorkerRow, words: frozenset[str], mark: str, said: Mapping[str, frozenset[str]]) -> bool:
    """Whether a worker does not know one of some words, or a suite; one that does not say what it knows may try."""
    knows = words if row.knows_digest is None else said.get(row.name, words)
    return bool(words - knows or (words | {mark}) & frozenset(row.unknown or ()))
