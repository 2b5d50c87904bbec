"""Checking signed proofs and stored forms against the run that was leased.

A token alone cannot end a run: the report must be signed with the key that took the lease, like a
verdict, and that key must still be the worker's.
"""

import hmac
from collections.abc import Iterator

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.runs.rows import RunRow
from deltareg.db.sql.row_protocols import present
from deltareg.db.verdicts import signing as queries
from deltareg.errors import BadSignature
from deltareg.service.verdicts.signed import AGAIN, check_key
from deltareg.signing.keys import PublicKey
from deltareg.signing.signed_statements import SignedStatement, open_statement
from deltareg.wire.work import WORK, Work, WorkPredicate, read_work, said_in


def check_signed(conn: sa.Connection, run: RunRow, report: Work, *, principal_id: int) -> str:
    """Check that a worker signed its report under the lease; return the id of the key.

    Raises:
        BadSignature: The report is not signed by the key that took the lease, that key is not the
            worker's (any more), or the report differs from what was signed.
    """
    lease = queries.lease_key(conn, run.id)
    if not report.envelope or lease is None:
        raise BadSignature("the report of this run is not signed", fix=AGAIN)
    public = PublicKey.parse(lease.public)
    envelope = report.envelope.encode()
    signed = open_statement(envelope, {public.keyid: public}, predicate_type=WORK)
    check_key(queries.find_key(conn, public=str(public)), principal_id)
    predicate = read_work(signed.statement)
    for what, is_right in _compare_bindings(conn, run, report, signed, predicate, nonce=lease.nonce):
        if not is_right:
            raise BadSignature(f"the statement is not about this run: its {what}", fix=AGAIN)
    return signed.keyid


def _compare_bindings(
    conn: sa.Connection, run: RunRow, report: Work, signed: SignedStatement, said: WorkPredicate, *, nonce: str
) -> Iterator[tuple[str, bool]]:
    yield "run", said.run == run.id
    yield "lease", said.fence == run.fence == report.fence
    yield "nonce", hmac.compare_digest(said.nonce.encode(), nonce.encode())
    yield "digest", f"sha256:{signed.statement.sha256}" == _digest(conn, run)
    yield "report", said.said == said_in(report)


def _digest(conn: sa.Connection, run: RunRow) -> str:
    if run.base_id is None:
        return version_queries.version_by_id(conn, present(run.version_id)).manifest_digest
    rows = base_queries.base_rows(conn, base_id=run.base_id, limit=1, also_deleted=True)
    return rows[0].manifest_digest
