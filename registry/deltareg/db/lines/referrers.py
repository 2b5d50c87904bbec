"""Signatures and attestations of versions, and revoked signers."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from deltareg.db.lines.referrer_rows import ReferrerBodyRow, ReferrerRow, RevokedSignerRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_each, fetch_one
from deltareg.db.sql.upsert import batches, insert
from deltareg.db.tables import principals, referrers, revoked_signers
from deltareg.words import ReferrerForm

_LEFT_OUT = {"body", "public", "created_by"}


def add_referrer(
    conn: sa.Connection,
    version_id: int,
    *,
    form: ReferrerForm,
    digest: str,
    predicate_type: str,
    signer: tuple[str, str, str, str],
    public: str,
    body: bytes,
    created_by: int | None,
) -> bool:
    """Store a signature or an attestation of a version; return False if it is stored already.

    Args:
        conn: The transaction.
        version_id: The version.
        form: Whether it is a signature or an attestation.
        digest: The sha256 of the body.
        predicate_type: The type of the statement.
        signer: Who signed it: keyid, authority, issuer, identity.
        public: The public key that verifies it, if the body does not contain one.
        body: The signed bytes.
        created_by: Who uploaded it.
    """
    keyid, ca, issuer, identity = signer
    added = (
        insert(conn, referrers)
        .values(
            version_id=version_id,
            form=form,
            digest=digest,
            predicate_type=predicate_type,
            keyid=keyid,
            ca=ca,
            issuer=issuer,
            identity=identity,
            public=public,
            body=body,
            created_by=created_by,
            created_at=now_us(),
        )
        .on_conflict_do_nothing(index_elements=["version_id", "digest"])
        .returning(referrers.c.id)
    )
    return conn.execute(added).scalar() is not None


def count_referrers(conn: sa.Connection, version_id: int) -> int:
    """Count the signatures and attestations of a version."""
    query = sa.select(sa.func.count()).where(referrers.c.version_id == version_id)
    return int(conn.execute(query).scalar_one())


def referrer_rows(
    conn: sa.Connection, version_ids: Iterable[int], *, form: ReferrerForm | None = None
) -> Sequence[ReferrerRow]:
    """List the signatures and attestations of versions, oldest first, of one form or of both."""
    rows: list[ReferrerRow] = []
    for part in batches(sorted(set(version_ids))):
        query = _select().where(referrers.c.version_id.in_(part)).order_by(referrers.c.id)
        if form is not None:
            query = query.where(referrers.c.form == form)
        rows += fetch_each(conn, query, ReferrerRow)
    return rows


def referrer_by_digest(conn: sa.Connection, version_id: int, digest: str) -> ReferrerRow | None:
    """Find a signature or an attestation of a version by its digest."""
    query = _select().where(referrers.c.version_id == version_id, referrers.c.digest == digest)
    return fetch_one(conn, query, ReferrerRow)


def referrer_body(conn: sa.Connection, referrer_id: int) -> ReferrerBodyRow:
    """Return a signature or an attestation as it was received."""
    query = sa.select(referrers.c.body, referrers.c.public).where(referrers.c.id == referrer_id)
    row = conn.execute(query).one()
    return ReferrerBodyRow(row.body, row.public)


def revoke_signer(conn: sa.Connection, keyid: str, *, by: int, reason: str) -> bool:
    """Revoke a key or an authority; its signatures stop counting. False if it was before."""
    added = (
        insert(conn, revoked_signers)
        .values(keyid=keyid, reason=reason, created_by=by, created_at=now_us())
        .on_conflict_do_nothing(index_elements=["keyid"])
        .returning(revoked_signers.c.keyid)
    )
    return conn.execute(added).scalar() is not None


def revoked_signer_rows(conn: sa.Connection) -> Sequence[RevokedSignerRow]:
    """List the revoked keys and authorities, newest first."""
    query = (
        sa.select(
            revoked_signers.c.keyid,
            revoked_signers.c.reason,
            revoked_signers.c.created_at,
            principals.c.name.label("actor"),
        )
        .outerjoin(principals, principals.c.id == revoked_signers.c.created_by)
        .order_by(revoked_signers.c.created_at.desc(), revoked_signers.c.keyid)
    )
    return fetch_all(conn, query, RevokedSignerRow)


def _select() -> sa.Select[*tuple[object, ...]]:
    revoked = (
        sa.select(revoked_signers.c.reason)
        .where(revoked_signers.c.keyid.in_([referrers.c.keyid, referrers.c.ca]))
        .order_by(revoked_signers.c.created_at)
        .limit(1)
        .correlate(referrers)
    )
    columns = [column for column in referrers.c if column.name not in _LEFT_OUT]
    return (
        sa.select(
            *columns,
            sa.func.length(referrers.c.body).label("size_bytes"),
            principals.c.name.label("sender"),
            revoked.scalar_subquery().label("revoked"),
        )
        .select_from(referrers)
        .outerjoin(principals, principals.c.id == referrers.c.created_by)
    )
