"""What must hold when the shooting is over: all there, all judged once, nothing left over."""

from dataclasses import dataclass

from deltareg.db.runs.superseding import BY
from tests.faults.payloads import objects
from tests.fixtures.processes import until

_ACTIVE = {"queued", "running"}


@dataclass(frozen=True)
class Aftermath:
    """What was found at the end.

    Attributes:
        versions: Versions that were visible; each was pulled and compared.
        runs: Verifications, by their state.
        left: Objects that no version needed: what kills left.
        freed: Objects that collection freed: those, and of the third that was deleted.
    """

    versions: int
    runs: dict
    left: int
    freed: int


def settle(harness):
    """Wait for the queue, collect with no grace, and check everything; adds to violations."""
    ledger, server = harness.ledger, harness.server
    until(lambda: not any(run.state in _ACTIVE for run in ledger.runs()), "all runs have ended")
    states: dict[str, int] = {}
    newer = {f"{row.line}:v{row.number}": row.id for row in ledger.versions()}
    for run in ledger.runs():
        states[run.state] = states.get(run.state, 0) + 1
        # A version whose turn never came leaves that to one that was pushed after it.
        by = (run.result or {}).get(BY) if run.state == "cancelled" else None
        is_superseded = newer.get(by or "", 0) > run.version_id
        if run.verdicts != (0 if is_superseded else 1):
            harness.violations.append(f"run {run.id} ended {run.state}, {run.verdicts} verdicts")
    lost = set(harness.verdicts) - ledger.verdict_ids()
    harness.violations += [f"lost: the acknowledged verdict {found}" for found in lost]
    count = _check_versions(harness)
    server.kill()
    server.start()  # drops what killed writers left in tmp/
    harness.proxy.target = server.port
    left = len(objects(server.blobs) - ledger.needed_keys())
    with harness.client() as client:
        for row in ledger.versions()[::3]:
            client.versions.delete(f"{row.line}:v{row.number}")
        kept = len(objects(server.blobs))
        client.storage.collect(dry_run=False, grace_s=0)
        found = client.storage.fsck(read_data=True).findings
    harness.violations += [f"fsck: {finding}" for finding in found]
    _check_store(harness)
    freed = kept - len(objects(server.blobs))
    return Aftermath(count, states, left, freed)


def _check_versions(harness):
    visible = harness.ledger.versions()
    for row in visible:
        harness.check_version(row)
    lost = set(harness.acknowledged.values()) - {row.digest for row in visible}
    harness.violations += [f"lost: the acknowledged version {digest}" for digest in lost]
    return len(visible)


def _check_store(harness):
    needed, kept = harness.ledger.needed_keys(), objects(harness.server.blobs)
    harness.violations += [f"missing: {key}" for key in needed - kept]
    harness.violations += [f"left over after collection: {key}" for key in kept - needed]
    remains = sorted(path.name for path in (harness.server.blobs / "tmp").iterdir())
    harness.violations += [f"left over in tmp: {name}" for name in remains]
