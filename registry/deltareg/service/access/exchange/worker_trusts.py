"""Trusts in service accounts of clusters: an admin says once whose pods are workers."""

import re

import sqlalchemy as sa

from deltareg.db.access import worker_trusts as queries
from deltareg.db.access.worker_trusts import WorkerTrustRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.row_protocols import present
from deltareg.errors import InvalidInput, NotFound
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.clock import rfc3339
from deltareg.service.events import Action
from deltareg.service.registry import Caller, Registry
from deltareg.wire import Page, WorkerTrustAdd, WorkerTrustInfo

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_ACCOUNT = re.compile(rf"{_LABEL}/{_LABEL}(\.{_LABEL})*")


def add_worker_trust(registry: Registry, caller: Caller, request: WorkerTrustAdd) -> WorkerTrustInfo:
    """Let the pods of a service account be workers; one that is there already is given back.

    Raises:
        InvalidInput: The server does not ask that issuer, or that is no service account.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    if request.issuer not in registry.issuers.listed:
        raise InvalidInput(
            f"this server does not ask the issuer {request.issuer[:200]}",
            fix="kubectl get --raw /.well-known/openid-configuration names it; add that to DELTAREG_ISSUERS",
        )
    if _ACCOUNT.fullmatch(request.account) is None:
        raise InvalidInput(f"no service account: {request.account[:80]!r}", fix="write NAMESPACE/NAME")

    def transaction(conn: sa.Connection) -> WorkerTrustInfo:
        wanted = (request.audience, request.account)
        for row in queries.worker_trust_rows(conn, issuer=request.issuer):
            if (row.audience, row.account) == wanted:
                return describe_worker_trust(row)
        trust_id = queries.add_worker_trust(
            conn,
            issuer=request.issuer,
            audience=request.audience,
            account=request.account,
            created_by=caller.principal_id,
        )
        info = describe_worker_trust(present(queries.worker_trust_row(conn, trust_id)))
        after = info.model_dump(mode="json")
        caller.record(conn, Action.TRUST_ADD, _subject(info), on=EVERYTHING, before=None, after=after)
        return info

    return with_retry(registry.engine, transaction)


def list_worker_trusts(registry: Registry, caller: Caller) -> Page[WorkerTrustInfo]:
    """List the trusts that have not ended, for admins."""
    caller.require(Right.ADMIN, on=EVERYTHING)
    with read(registry.engine) as conn:
        rows = queries.worker_trust_rows(conn)
    return Page(items=[describe_worker_trust(row) for row in rows])


def end_worker_trust(registry: Registry, caller: Caller, trust_id: int) -> WorkerTrustInfo:
    """End a trust and the tokens of its workers; what they signed goes on counting.

    Raises:
        NotFound: There is no such trust.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)

    def transaction(conn: sa.Connection) -> WorkerTrustInfo:
        row = queries.worker_trust_row(conn, trust_id, lock=True)
        if row is None:
            raise NotFound(f"there is no worker trust {trust_id}", fix="deltareg worker trust ls")
        info = describe_worker_trust(row)
        queries.end_worker_trust(conn, row.id, prefix=prefix_of(row.id), ended_by=caller.principal_id)
        before = info.model_dump(mode="json")
        caller.record(conn, Action.TRUST_END, _subject(info), on=EVERYTHING, before=before, after=None)
        return info

    return with_retry(registry.engine, transaction)


def prefix_of(trust_id: int) -> str:
    """Return what the names of the workers of a trust begin with."""
    return f"pod-{trust_id}-"


def describe_worker_trust(row: WorkerTrustRow) -> WorkerTrustInfo:
    """Describe a trust."""
    return WorkerTrustInfo(
        id=row.id,
        issuer=row.issuer,
        audience=row.audience,
        account=row.account,
        workers=f"{prefix_of(row.id)}*",
        created_at=rfc3339(row.created_at),
        created_by=row.maker,
    )


def _subject(info: WorkerTrustInfo) -> str:
    return f"worker-trust/{info.id}"
