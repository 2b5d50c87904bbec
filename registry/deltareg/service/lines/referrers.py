"""Signatures and attestations of a version: add, list, return; and revoke signers.

Everything stored was verified when it came in, and is about this version. It is never changed or
removed, so that nobody can strip a version of what others signed about it.
"""

from functools import partial
from hashlib import sha256

import sqlalchemy as sa

from deltareg.db.lines import referrers as queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.referrer_rows import ReferrerRow, RevokedSignerRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import read_clock
from deltareg.errors import BadSignature, Blocked, Conflict, InvalidInput, NotFound
from deltareg.identity.manifest import Manifest
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SHARED
from deltareg.service.clock import moment_of, rfc3339
from deltareg.service.describe import describe_referrer, line_of, ref_of, signatory_of
from deltareg.service.events import Action
from deltareg.service.lines.outside import signed_content
from deltareg.service.lines.served_refuted import tell_refuted
from deltareg.service.lines.signed_files import VerifiedReferrer, take_signed
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_version
from deltareg.signing.signatories import WantedSigner
from deltareg.wire import Page, ReferrerAdd, ReferrerBody, ReferrerInfo, RevokedSigner, SignerRevoke

MOST, OF_OTHERS = 64, 32
"""How much may be signed about one version, and how much of it by all but whose version it is."""
_ACTIONS = {"signature": Action.SIGNATURE_ADD, "attestation": Action.ATTESTATION_ADD}
_LIST = {"signature": "deltareg signature ls", "attestation": "deltareg attest ls"}


def add_referrer(registry: Registry, caller: Caller, ref: Ref, request: ReferrerAdd) -> ReferrerInfo:
    """Store what somebody signed about a version; what is stored already stays as it is.

    Raises:
        BadSignature: The signature is invalid, is about something else, or its signer is revoked.
        Blocked: The version is deleted.
        Conflict: The version has as many signatures and attestations as it may.
        InvalidInput: Its public key is missing or malformed.
    """
    caller.require(Right.PUSH, on=ref.line)
    with read(registry.engine) as conn:
        version = find_version(conn, caller, ref, bare="newest")
        raw = version_queries.content(conn, version.id).manifest
        at = moment_of(read_clock(conn))
    body = request.body.encode()
    manifest = Manifest.decode(raw)
    verified = take_signed(request.form, body, request.public, manifest, at=at, trust=registry.sigstore)

    def transaction(conn: sa.Connection) -> ReferrerInfo:
        version_queries.lock_version(conn, version.id)
        now = version_queries.version_by_id(conn, version.id)
        if now.deleted_at is not None:
            raise Blocked(f"{ref_of(now)} is deleted", fix="name another version")
        return _keep(conn, caller, now, request, body, verified)

    return with_retry(registry.engine, transaction)


def list_referrers(registry: Registry, caller: Caller, ref: Ref) -> Page[ReferrerInfo]:
    """List what was signed about a version, oldest first."""
    caller.require(Right.READ, on=ref.line)
    with read(registry.engine) as conn:
        version = find_version(conn, caller, ref, bare="newest")
        rows = queries.referrer_rows(conn, [version.id])
    return Page(items=[describe_referrer(row) for row in rows])


def show_referrer(registry: Registry, caller: Caller, ref: Ref, digest: str) -> ReferrerBody:
    """Return what was signed about a version, exactly as it was received.

    Raises:
        NotFound: Nothing with that digest was signed about it.
    """
    caller.require(Right.READ, on=ref.line)
    with read(registry.engine) as conn:
        version = find_version(conn, caller, ref, bare="newest")
        row = queries.referrer_by_digest(conn, version.id, digest)
        if row is None:
            raise NotFound(f"nothing like {digest[:72]} is signed about {ref}", fix=f"deltareg show {ref}")
        signed = queries.referrer_body(conn, row.id)
    return ReferrerBody(
        **dict(describe_referrer(row)), ref=ref_of(version), body=signed.body.decode(), public=signed.public
    )


def list_revoked_signers(registry: Registry, caller: Caller) -> Page[RevokedSigner]:
    """List the keys and authorities that are revoked, newest first."""
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        rows = queries.revoked_signer_rows(conn)
    return Page(items=[_show(row) for row in rows])


def revoke_signer(registry: Registry, caller: Caller, keyid: str, request: SignerRevoke) -> RevokedSigner:
    """Revoke a key or an authority: nothing that it signed or will sign counts any more.

    A revocation cannot be undone. A key that nobody has seen may be revoked as well.

    Raises:
        InvalidInput: `keyid` is neither a key id nor a fingerprint.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    keyid = WantedSigner.of_fields({"key": keyid}).key

    def transaction(conn: sa.Connection) -> RevokedSigner:
        is_new = queries.revoke_signer(conn, keyid, by=caller.principal_id, reason=request.reason)
        if is_new:
            caller.record(
                conn,
                Action.SIGNER_REVOKE,
                f"signer/{keyid}",
                on=EVERYTHING,
                before=None,
                after={"reason": request.reason},
            )
        rows = queries.revoked_signer_rows(conn)
        return next(_show(row) for row in rows if row.keyid == keyid)

    return with_retry(registry.engine, transaction)


def _keep(
    conn: sa.Connection, caller: Caller, version: VersionRow, request: ReferrerAdd, body: bytes, taken: VerifiedReferrer
) -> ReferrerInfo:
    digest, who = f"sha256:{sha256(body).hexdigest()}", taken.signatory
    ref = ref_of(version)
    existing = queries.referrer_by_digest(conn, version.id, digest) or _find_same(conn, version, request, body, taken)
    if existing is not None:
        return describe_referrer(existing)
    _check_room(conn, caller, version, fix=f"{_LIST[request.form]} {ref}")
    queries.add_referrer(
        conn,
        version.id,
        form=request.form,
        digest=digest,
        predicate_type=taken.predicate_type,
        signer=(who.keyid, who.ca, who.issuer, who.identity),
        public=taken.public,
        body=body,
        created_by=caller.principal_id,
    )
    added = queries.referrer_by_digest(conn, version.id, digest)
    if added is None:
        raise InvalidInput(f"{ref} has nothing like {digest}", fix="bring it again")
    if added.revoked is not None:
        raise BadSignature(
            f"{who.description}, who signed it, is revoked: {added.revoked}", fix="have it signed by another signer"
        )
    caller.record(
        conn,
        _ACTIONS[request.form],
        ref,
        on=line_of(version),
        before=None,
        after={"digest": digest, "signed_by": who.description, "predicate_type": taken.predicate_type},
    )
    tell_refuted(conn, caller, version, digest=digest)
    return describe_referrer(added)


def _find_same(
    conn: sa.Connection, version: VersionRow, request: ReferrerAdd, body: bytes, taken: VerifiedReferrer
) -> ReferrerRow | None:
    """Return an attestation that is there already with the same signed bytes, in whatever envelope.

    A signer's newest counts, so an old one must not become the newest by another spelling.
    """
    if request.form != "attestation":
        return None
    payload = signed_content(f"sha256:{sha256(body).hexdigest()}", lambda: body).payload
    for row in queries.referrer_rows(conn, [version.id], form="attestation"):
        is_same_kind = (signatory_of(row), row.predicate_type) == (taken.signatory, taken.predicate_type)
        content = signed_content(row.digest, partial(_body_of, conn, row.id)) if is_same_kind else None
        if content is not None and content.payload == payload:
            return row
    return None


def _body_of(conn: sa.Connection, row_id: int) -> bytes:
    return queries.referrer_body(conn, row_id).body


def _check_room(conn: sa.Connection, caller: Caller, version: VersionRow, *, fix: str) -> None:
    """Refuse one referrer too many; the uploader and the maintainers may add more than others.

    Raises:
        Conflict: The version has as many as it may.
    """
    is_own = version.created_by == caller.principal_id
    is_own = is_own or caller.may(Right.MAINTAIN, on=line_of(version))
    most = MOST if is_own else OF_OTHERS
    if queries.count_referrers(conn, version.id) >= most:
        ref = ref_of(version)
        if is_own:
            raise Conflict(f"{most} things are signed about {ref} already", fix=fix)
        message = f"{most} things are signed about {ref} already; the rest is for whose version it is"
        raise Conflict(message, fix="ask who maintains it to bring yours")


def _show(row: RevokedSignerRow) -> RevokedSigner:
    return RevokedSigner(
        keyid=row.keyid, reason=row.reason, revoked_at=rfc3339(row.created_at), revoked_by=row.actor or "registry"
    )
