"""Verifying served versions again, after the verifier or the workers' environment has changed.

Verdicts of versions that a channel serves, or may be rolled back to, are examined when the server
starts and when a worker appears that is new or has changed. If the verdict of a suite that the
channel asks for comes from an older verifier or another environment, a run is queued behind all
other work, once for each verifier and set of environments. The channels continue to serve
meanwhile.
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
from deltareg.db.upkeep import pins
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
    """A verification that is due again: the version, the suite, and the reason."""

    version_id: int
    suite: str
    suite_digest: str
    marker: str

    @property
    def key(self) -> str:
        return f"reverify:{self.version_id}:{self.suite_digest}:{self.marker}"


def queue_reverification(registry: Registry, *, most: int = MOST_RUNS, new_id: Callable[[], UUID] = uuid4) -> int:
    """Queue verifications that are due again, each once for the same reason; return how many."""
    with read(registry.engine) as conn:
        due_list = list(_due(conn))
        queued_keys = queries.keys_queued(conn, {due.key: due.version_id for due in due_list})
    count = 0
    for due in [due for due in due_list if due.key not in queued_keys]:
        if count >= most:
            log.warning("more than %d verifications are due again, the rest waits", most)
            break
        count += with_retry(registry.engine, partial(_queue, due=due, run_id=str(new_id())))
    return count


def _due(conn: sa.Connection) -> Iterator[_Due]:
    environments = worker_environments(conn)
    surroundings = "\n".join([VERIFIER, "signed", *sorted(environments)])
    marker = hashlib.sha256(surroundings.encode()).hexdigest()[:16]
    pairs: dict[tuple[int, str], None] = {}  # in order, each once
    for pinned in pins.pinned_versions(conn, window=PIN_WINDOW):
        names = [suite.name for suite in policy_of(pinned).suites]
        pairs |= dict.fromkeys((pinned.version_id, name) for name in names)
    suites = suite_facts(conn, {name for _, name in pairs})
    newest = newest_makings(conn, {version_id for version_id, _ in pairs})
    for version_id, name in pairs:
        digest = str(suites[name].digest) if name in suites else ""
        verdict = newest.get((version_id, name, digest))
        if verdict is not None and _is_outdated(verdict, environments):
            why = f"{marker}:{verdict.revoked_keyid[:16]}" if verdict.revoked_keyid else marker
            yield _Due(version_id, name, digest, why)


def _is_outdated(verdict: MakingRow, environments: frozenset[str]) -> bool:
    """Whether a verdict is unsigned, from an older verifier, or from another environment."""
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
    queued_id = queries.enqueue(
        conn,
        run_id=run_id,
        what=WHAT,
        dedup_key=due.key,
        version_id=due.version_id,
        suite=due.suite,
        priority=BACKGROUND,
        request={"suite_digest": due.suite_digest, "policy_digest": ""},
    )
    return queued_id == run_id
