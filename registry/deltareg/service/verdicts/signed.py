"""What a worker signed, held against the run that it was leased: the report is what it signed.

A verdict is taken when its envelope was signed with the key that took the lease, that key is still
the worker's, and the statement names this run, this lease, these bytes, this suite and this base.
Nothing that is sent beside the envelope is believed.
"""

import hmac
from collections.abc import Iterator
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
from deltareg.service.describe import ref_of
from deltareg.service.ledger.references import references_of
from deltareg.service.registry import Registry
from deltareg.signing.keys import PublicKey
from deltareg.signing.signed import SignedStatement, open_statement
from deltareg.wire import VerdictReport
from deltareg.wire.statements import VERDICT, VerdictPredicate, read_verdict

LOCAL = "local"
"""Of a run's request: the principal whose worker may take it, though nobody enrolled that."""
AGAIN = "claim the run again, with a worker of the server's release"


@dataclass(frozen=True, slots=True)
class SignedVerdict:
    """A verdict that was signed under a lease.

    Attributes:
        said: What the worker says.
        keyid: The key that signed it.
        key: The key as it is enrolled; None for a worker that nobody enrolled.
        envelope: What was signed, as it came.
    """

    said: VerdictPredicate
    keyid: str
    key: KeyRow | None
    envelope: bytes

    @property
    def host(self) -> str:
        """The machine that it was made on, as whoever enrolled the worker said."""
        return "" if self.key is None else self.key.host

    def keep(self, conn: sa.Connection, verdict_id: str) -> None:
        """Keep the envelope beside its verdict."""
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
    """Open what a worker signed about a run that it holds.

    Raises:
        BadSignature: It is not signed by the key that took the lease, that key is not the worker's
            (any more), or the statement is about something else.
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
    said = read_verdict(signed.statement)
    version = version_queries.version_by_id(conn, present(run.version_id))
    for what, is_right in _compare_bindings(run, version, signed, said, nonce=lease.nonce):
        if not is_right:
            raise BadSignature(f"the statement is not about this run: its {what}", fix=AGAIN)
    return SignedVerdict(said, signed.keyid, key, envelope)


def said_by_enrolled(registry: Registry, verdict_id: str) -> VerdictReport | None:
    """Give what an enrolled worker signed about a run; None where nobody did whose word counts.

    It is read from what is kept, so that nothing is believed which was only sent.
    """
    with read(registry.engine) as conn:
        kept = queries.envelope_row(conn, verdict_id)
        key = None if kept is None else queries.find_key(conn, keyid=kept.keyid)
    if kept is None or kept.key_id is None or key is None or key.revoked_at is not None:
        return None
    public = PublicKey.parse(key.public)
    signed = open_statement(kept.body, {public.keyid: public}, predicate_type=VERDICT)
    return read_verdict(signed.statement).report()


def check_key(key: KeyRow | None, principal_id: int) -> None:
    """Refuse what was signed with a key that is not a worker's own (any more).

    Raises:
        BadSignature: It is not.
    """
    if key is None or key.role != "worker" or key.principal_id != principal_id:
        raise BadSignature("the key is not enrolled for this worker", fix="deltareg worker keys")
    if not key.is_live:
        ended = "retired" if key.revoked_at is None else "revoked"
        raise BadSignature(f"the key {key.keyid[:12]} of {key.name} is {ended}", fix="deltareg worker keys")


def _digests(run: RunRow) -> dict[str, str]:
    return {key: one.digest for key, one in references_of(run.request).items() if one.digest}


def _compare_bindings(
    run: RunRow, version: VersionRow, signed: SignedStatement, said: VerdictPredicate, *, nonce: str
) -> Iterator[tuple[str, bool]]:
    yield "run", said.run == run.id
    yield "lease", said.fence == run.fence
    yield "nonce", hmac.compare_digest(said.nonce.encode(), nonce.encode())
    yield "subject", signed.statement.name == ref_of(version)
    yield "digest", f"sha256:{signed.statement.sha256}" == version.manifest_digest
    yield "suite", said.suite.name == run.suite
    yield "base", said.base.root == run.request.get("base_root", version.base_root)
    yield "comparison", said.compared_with == run.request.get("promoted_digest", "")
    yield "references", said.references == _digests(run)
    yield "worker", said.worker.name == run.lease_holder
