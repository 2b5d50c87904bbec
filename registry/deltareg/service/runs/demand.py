"""The demand for workers of a pool: what such a worker could take now, and what those of the pool hold.

It needs no token, as metrics need none, and tells no more than they do: numbers.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from deltareg.db.runs import queue as queries
from deltareg.db.runs.rows import DepthRow
from deltareg.db.session import read
from deltareg.errors import InvalidInput
from deltareg.service.labels import POOL, PROMPTS, QUANTISED, RUNS, fits
from deltareg.service.registry import Registry
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
    """

    depths: Sequence[DepthRow] = ()
    pools: Sequence[str] = ()


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
        return QueueState(queries.queue_depth(conn), [row.labels.get(POOL, "") for row in rows if row.run_id])


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
    worker holds it.
    """
    kinds = offer.kinds or RUN_KIND_NAMES
    # What every worker of this release offers by itself.
    offered = {QUANTISED: ",".join(SCHEMES), PROMPTS: "plain,chat", RUNS: ",".join(kinds)}
    offered |= {**offer.labels, POOL: offer.pool}
    waiting = sum(row.waiting for row in state.depths if row.what in kinds and _is_for(row, offered, offer))
    running = state.pools.count(offer.pool)
    return PoolDemand(pool=offer.pool, waiting=waiting, running=running, wanted=waiting + running)


def _is_for(row: DepthRow, offered: Mapping[str, str], offer: PoolOffer) -> bool:
    asked: dict[str, str] = json.loads(row.labels)
    is_asking = any(name not in {QUANTISED, PROMPTS, RUNS} for name in asked)
    return fits(asked, offered) and (is_asking or not offer.is_for_asked)
