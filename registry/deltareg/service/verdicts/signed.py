"""Checking a signed verdict against the run that was leased: the report is what was signed.

A verdict is accepted if its envelope was signed with the key that took the lease, that key is still
the worker's, and the statement names this run, this lease, these bytes, this suite and this base.
Nothing that is sent beside the envelope is trusted.
"""

import hmac
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.runs.rows import RunRow
from deltareg.db.session import read
from deltareg.db.sql.row_protocols import present
from deltareg.db.verdicts import signing as queries
from deltareg.db.verdicts.signing_rows import KeyRow
from deltareg.errors import BadSignature
from deltareg.service.aliases import former_refs
from deltareg.service.describe import ref_of
from deltareg.service.ledger.references import references_of
from deltareg.service.registry import Registry
from deltareg.signing.keys import PublicKey
from deltareg.signing.signed_statements import SignedStatement, open_statement
from deltareg.wire import VerdictReport
from deltareg.wire.statements import VERDICT, VerdictPredicate, read_verdict

LOCAL = "local"
"""Of a run's request: the principal whose worker may take it, though nobody enrolled that."""
AGAIN = "claim the run again, with a worker of the server's release"


@dataclass(frozen=True, slots=True)
class SignedVerdict:
    """A verdict that was signed under a lease.

    Attributes:
        said: The statement of the worker.
        keyid: The key that signed it.
        key: The enrolled key; None for a worker that is not enrolled.
        envelope: The envelope as it was received.
    """

    said: VerdictPredicate
    keyid: str
    key: KeyRow | None
    envelope: bytes

    @property
    def host(self) -> str:
        """The machine that it was made on, as named at the enrolment of the worker."""
        return "" if self.key is None else self.key.host

    def keep(self, conn: sa.Connection, verdict_id: str) -> None:
        """Store the envelope beside its verdict."""
        queries.add_envelope(
            conn,
            verdict_id,
            key_id=None if self.key is None else self.key.id,
            keyid=self.keyid,
            host=self.host,
            labels=self.said.worker.labels,
            body=self.envelope,
        )


def open_verdict(conn: sa.Connection, run: RunRow, envelope: bytes, *, principal_id: int) -> SignedVerdict:
    """Open the envelope of a worker about a run that it holds.

    Raises:
        BadSignature: The envelope is not signed by the key that took the lease, that key is not the
            worker's (any more), or the statement is about something else.
    """
    lease = queries.lease_key(conn, run.id)
    if lease is None:  # it was claimed of a server of an older release
        raise BadSignature("nobody said with which key this run would be signed", fix=AGAIN)
    public = PublicKey.parse(lease.public)
    signed = open_statement(envelope, {public.keyid: public}, predicate_type=VERDICT)
    key = None
    if LOCAL not in run.request:
        key = queries.find_key(conn, public=str(public))
        check_key(key, principal_id)
    predicate = read_verdict(signed.statement)
    version = version_queries.version_by_id(conn, present(run.version_id))
    names = former_refs(conn, version)
    for what, is_right in _compare_bindings(run, version, signed, predicate, nonce=lease.nonce, names=names):
        if not is_right:
            raise BadSignature(f"the statement is not about this run: its {what}", fix=AGAIN)
    return SignedVerdict(predicate, signed.keyid, key, envelope)


def said_by_enrolled(registry: Registry, verdict_id: str) -> VerdictReport | None:
    """Return an enrolled worker's signed report for a verdict; None if no valid one exists.

    It is read from the stored envelope, so that nothing is trusted that was only sent.
    """
    with read(registry.engine) as conn:
        envelope = queries.envelope_row(conn, verdict_id)
        key = None if envelope is None else queries.find_key(conn, keyid=envelope.keyid)
    if envelope is None or envelope.key_id is None or key is None or key.revoked_at is not None:
        return None
    public = PublicKey.parse(key.public)
    signed = open_statement(envelope.body, {public.keyid: public}, predicate_type=VERDICT)
    return read_verdict(signed.statement).report()


def check_key(key: KeyRow | None, principal_id: int) -> None:
    """Refuse a signature by a key that is not the own key of a worker (any more).

    Raises:
        BadSignature: The key is not the worker's, or is retired or revoked.
    """
    if key is None or key.role != "worker" or key.principal_id != principal_id:
        raise BadSignature("the key is not enrolled for this worker", fix="deltareg worker keys")
    if not key.is_live:
        state = "retired" if key.revoked_at is None else "revoked"
        raise BadSignature(f"the key {key.keyid[:12]} of {key.name} is {state}", fix="deltareg worker keys")


def _digests(run: RunRow) -> dict[str, str]:
    return {key: one.digest for key, one in references_of(run.request).items() if one.digest}


def _compare_bindings(
    run: RunRow,
    version: VersionRow,
    signed: SignedStatement,
    said: VerdictPredicate,
    *,
    nonce: str,
    names: Collection[str],
) -> Iterator[tuple[str, bool]]:
    yield "run", said.run == run.id
    yield "lease", said.fence == run.fence
    yield "nonce", hmac.compare_digest(said.nonce.encode(), nonce.encode())
    yield "subject", signed.statement.name in {ref_of(version), *names}  # it may have been renamed since
    yield "digest", f"sha256:{signed.statement.sha256}" == version.manifest_digest
    yield "suite", said.suite.name == run.suite
    yield "base", said.base.root == run.request.get("base_root", version.base_root)
    yield "comparison", said.compared_with == run.request.get("promoted_digest", "")
    yield "references", said.references == _digests(run)
    yield "worker", said.worker.name == run.lease_holder
