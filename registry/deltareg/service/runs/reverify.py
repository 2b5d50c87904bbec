"""Verifying again what is served, after the verifier or the workers' environment became another.

Verdicts of versions that a channel serves, or may be rolled back to, are looked at when the server
starts and when a worker appears that was not known as it is. Where the verdict of a suite that the
channel asks for is an older verifier's, or was made in another environment, a run is queued behind
all other work, once for each verifier and set of environments. The channels serve on meanwhile.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.runs import runs as queries
from deltareg.db.session import read, with_retry
from deltareg.db.upkeep import collection
from deltareg.db.verdicts.outcomes import newest_makings
from deltareg.db.verdicts.rows import MakingRow
from deltareg.gate.verifier import VERIFIER, environment_key, is_current_verifier
from deltareg.service.ledger.channel_policy import PIN_WINDOW, policy_of
from deltareg.service.priority import BACKGROUND
from deltareg.service.registry import Registry
from deltareg.service.runs.kinds.verify import WHAT
from deltareg.service.verdicts.environments import worker_environments
from deltareg.service.verdicts.facts import suite_facts

log = logging.getLogger(__name__)

MOST_RUNS = 1000


@dataclass(frozen=True, slots=True)
class _Due:
    """A verification that is due again: of which version, by which suite, since what changed."""

    version_id: int
    suite: str
    suite_digest: str
    marker: str

    @property
    def key(self) -> str:
        return f"reverify:{self.version_id}:{self.suite_digest}:{self.marker}"


def queue_reverification(registry: Registry, *, most: int = MOST_RUNS, new_id: Callable[[], UUID] = uuid4) -> int:
    """Queue what is due again and was not queued for the same reason before; say how many runs."""
    with read(registry.engine) as conn:
        found = list(_due(conn))
        known = queries.keys_queued(conn, {due.key: due.version_id for due in found})
    queued = 0
    for due in [due for due in found if due.key not in known]:
        if queued >= most:
            log.warning("more than %d verifications are due again, the rest waits", most)
            break
        queued += with_retry(registry.engine, partial(_queue, due=due, run_id=str(new_id())))
    return queued


def _due(conn: sa.Connection) -> Iterator[_Due]:
    environments = worker_environments(conn)
    told = "\n".join([VERIFIER, "signed", *sorted(environments)])
    marker = hashlib.sha256(told.encode()).hexdigest()[:16]
    wanted: dict[tuple[int, str], None] = {}  # in order, each once
    for pinned in collection.pinned_versions(conn, window=PIN_WINDOW):
        names = [suite.name for suite in policy_of(pinned).suites]
        wanted |= dict.fromkeys((pinned.version_id, name) for name in names)
    suites = suite_facts(conn, {name for _, name in wanted})
    newest = newest_makings(conn, {version_id for version_id, _ in wanted})
    for version_id, name in wanted:
        digest = str(suites[name].digest) if name in suites else ""
        verdict = newest.get((version_id, name, digest))
        if verdict is not None and _is_outdated(verdict, environments):
            why = f"{marker}:{verdict.revoked_keyid[:16]}" if verdict.revoked_keyid else marker
            yield _Due(version_id, name, digest, why)


def _is_outdated(verdict: MakingRow, environments: frozenset[str]) -> bool:
    """Whether a verdict is not signed, an older verifier's, or made elsewhere than workers are."""
    if not verdict.verifier:  # its run came to nothing, which is no upgrade's doing
        return False
    # Of a release that signed nothing, or by a key that nobody believes any more.
    if verdict.key_id is None or verdict.revoked_keyid is not None:
        return True
    is_elsewhere = environment_key(verdict.environment) not in environments
    return (bool(environments) and is_elsewhere) or not is_current_verifier(verdict.verifier)


def _queue(conn: sa.Connection, due: _Due, run_id: str) -> bool:
    if queries.keys_queued(conn, {due.key: due.version_id}):
        return False
    found = queries.enqueue(
        conn,
        run_id=run_id,
        what=WHAT,
        dedup_key=due.key,
        version_id=due.version_id,
        suite=due.suite,
        priority=BACKGROUND,
        request={"suite_digest": due.suite_digest, "policy_digest": ""},
    )
    return found == run_id
