"""The health of a registry, in figures that are cheap to look up: for metrics, and for who looks for a cause."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.db.session import read
from deltareg.db.sql.clock import US_PER_S
from deltareg.db.upkeep import health as queries
from deltareg.service.events import Action
from deltareg.service.registry import Registry

HOUR_US, DAY_US = 3_600 * US_PER_S, 86_400 * US_PER_S


@dataclass(frozen=True, slots=True)
class RegistryHealth:
    """What is there, and what came of the work.

    Attributes:
        database_bytes: How much room the database takes.
        stored: Bytes, versions and lines, of all namespaces and the bases.
        verdicts: The verdicts of the last hour, by outcome.
        dead: The runs of the last day that were given up, by kind.
        proven_at: When the newest proof ended, seconds since 1970; 0 if there is none.
        collected_at: When what nothing needs was last collected, seconds since 1970; 0 if it never was.
        unsealed_s: How long the oldest row of the audit trail has waited to be sealed.
        pending_deliveries: What webhooks have not been told yet.
        tasks: Of each operation that keeps the registry in order, when it last ended, seconds since 1970, and
            whether it failed then.
    """

    database_bytes: int
    stored: Mapping[str, int]
    verdicts: Mapping[str, int]
    dead: Mapping[str, int]
    proven_at: float
    collected_at: float
    unsealed_s: float
    pending_deliveries: int
    tasks: Mapping[str, tuple[float, bool]]


def registry_health(registry: Registry) -> RegistryHealth:
    """Look up the health of a registry."""
    with read(registry.engine) as conn:
        return RegistryHealth(
            database_bytes=queries.database_bytes(conn),
            stored=queries.count_stored(conn),
            verdicts=queries.verdicts_within(conn, HOUR_US),
            dead=queries.dead_within(conn, DAY_US),
            proven_at=(queries.newest_proof_us(conn) or 0) / US_PER_S,
            collected_at=(queries.newest_action_us(conn, Action.COLLECT_RUN) or 0) / US_PER_S,
            unsealed_s=(queries.oldest_unsealed_us(conn) or 0) / US_PER_S,
            pending_deliveries=queries.pending_deliveries(conn),
            tasks={
                kind: ((ended or 0) / US_PER_S, is_failing)
                for kind, (ended, is_failing) in queries.operations_now(conn).items()
            },
        )
