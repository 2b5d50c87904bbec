"""The demand for workers of a pool: what such a worker could take now, and what those of the pool hold.

It needs no token, as metrics need none, and tells no more than they do: numbers.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from deltareg.db.runs import queue as queries
from deltareg.db.runs.rows import DepthRow
from deltareg.db.session import read
from deltareg.errors import InvalidInput
from deltareg.service.labels import POOL, PROMPTS, QUANTISED, RUNS, fits
from deltareg.service.registry import Registry
from deltareg.service.runs.pool_knowledge import PoolLack, UnknownRuns, what_pools_lack
from deltareg.wire import PoolDemand
from deltareg.words import RUN_KIND_NAMES, SCHEMES

_MOST_LABELS = 16
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class QueueState:
    """The queue at a moment.

    Attributes:
        depths: How many runs wait and are under way, by kind and by the labels that they ask for.
        pools: The pools of the workers that hold a run, one entry for each run.
        lacks: What the workers of pools do not know, by pool; pools that know all are left out.
    """

    depths: Sequence[DepthRow] = ()
    pools: Sequence[str] = ()
    lacks: Mapping[str, PoolLack] = field(default_factory=dict[str, PoolLack])


@dataclass(frozen=True, slots=True)
class PoolOffer:
    """What the workers of a pool are for.

    Attributes:
        pool: The pool's name, which its workers offer as the label `pool`.
        labels: What else they offer: `device`, `gpu`, `gpu_memory_gib` or labels of one's own.
        kinds: The kinds of runs that they take; empty for all.
        is_for_asked: Whether runs that ask for nothing are left to other pools.
    """

    pool: str
    labels: Mapping[str, str]
    kinds: Collection[str] = ()
    is_for_asked: bool = False


def read_queue_state(registry: Registry) -> QueueState:
    """Read the queue, as far as the demand of any pool depends on it."""
    with read(registry.engine) as conn:
        rows = queries.worker_rows(conn, seen_within_us=0)
        pools = [row.labels.get(POOL, "") for row in rows if row.run_id]
        return QueueState(queries.queue_depth(conn), pools, what_pools_lack(conn))


def read_labels(pairs: Sequence[str]) -> dict[str, str]:
    """Read labels that are written `name=value`.

    Raises:
        InvalidInput: One is not, or there are too many.
    """
    labels = {name: value for name, equals, value in (pair.partition("=") for pair in pairs) if equals and name}
    if len(labels) != len(pairs) or len(pairs) > _MOST_LABELS or any(len(pair) > _LONGEST for pair in pairs):
        raise InvalidInput("a label is written name=value, once each", fix="label=device=cuda")
    return labels


def demand_of(state: QueueState, offer: PoolOffer) -> PoolDemand:
    """Count the runs that want a worker of a pool.

    A run that fits several pools counts for each of them while it waits, and then for the one whose
    worker holds it. Runs that the pool's workers do not know do not count. Where none of these was
    seen lately they count as one, so that a worker of a later release can come.
    """
    kinds = offer.kinds or RUN_KIND_NAMES
    # What every worker of this release offers by itself.
    offered = {QUANTISED: ",".join(SCHEMES), PROMPTS: "plain,chat", RUNS: ",".join(kinds)}
    offered |= {**offer.labels, POOL: offer.pool}

    def count(rows: Iterable[DepthRow | UnknownRuns]) -> int:
        return sum(row.waiting for row in rows if row.what in kinds and _is_for(row.labels, offered, offer))

    waiting, lack = count(state.depths), state.lacks.get(offer.pool)
    if lack is not None and (unknown := count(lack.runs)):
        waiting -= unknown - lack.is_stale
    running = state.pools.count(offer.pool)
    return PoolDemand(pool=offer.pool, waiting=waiting, running=running, wanted=waiting + running)


def _is_for(labels: str, offered: Mapping[str, str], offer: PoolOffer) -> bool:
    asked: dict[str, str] = json.loads(labels)
    is_asking = any(name not in {QUANTISED, PROMPTS, RUNS} for name in asked)
    return fits(asked, offered) and (is_asking or not offer.is_for_asked)
