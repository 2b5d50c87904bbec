"""Evaluations of a version that nobody signed: added, shown, withdrawn; and all that others say.

Who brings one answers for it: it is bound to the version that they name, since it names no digest
itself. It is never changed. Whoever brought it, or administers the line, may withdraw it; what is
signed is not withdrawn, since its signer may be asked for by somebody else's policy.
"""

from hashlib import sha256

import sqlalchemy as sa

from deltareg.db.lines import evaluations as queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.evaluation_rows import EvaluationRow
from deltareg.db.lines.referrer_rows import ReferrerRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read, with_retry
from deltareg.documents.evaluation import read_evaluation
from deltareg.errors import Blocked, Conflict, Forbidden, InvalidInput, NotFound, Refused
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.clock import rfc3339
from deltareg.service.describe import line_of, ref_of
from deltareg.service.events import Action
from deltareg.service.lines.outside import SaidAbout, said_about
from deltareg.service.lines.served_refuted import tell_refuted
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_version
from deltareg.tensors.header import strict_json_object
from deltareg.wire import Page
from deltareg.wire.evidence import EvaluationAdd, EvaluationBody, EvaluationWithdraw, OutsideEvidence

MOST, OF_OTHERS = 64, 32
"""How many evaluations a version may have, and how many by all but whose version it is."""
_MOST_TOLD = 20


def list_evidence(registry: Registry, caller: Caller, ref: Ref) -> Page[OutsideEvidence]:
    """List what others say about a version, oldest first."""
    caller.require(Right.READ, on=ref.line)
    with read(registry.engine) as conn:
        version = find_version(conn, caller, ref, bare="newest")
        return Page(items=evidence_about(conn, version))


def evidence_about(conn: sa.Connection, version: VersionRow) -> list[OutsideEvidence]:
    """Describe what others say about a version, oldest first."""
    said = sorted(said_about(conn, version), key=lambda each: each.row.created_at)
    return [_describe(each) for each in said]


def add_evaluation(registry: Registry, caller: Caller, ref: Ref, request: EvaluationAdd) -> OutsideEvidence:
    """Store what another system measured of a version, as the caller's word.

    Brought again as the caller's newest, it stays as it is.

    Raises:
        InvalidInput: It is no evaluation.
        Blocked: The version is deleted.
        Conflict: The version has as many evaluations as it may.
    """
    caller.require(Right.PUSH, on=ref.line)
    body = request.body.encode()
    metrics = read_evaluation(_read_object(body))
    digest = f"sha256:{sha256(body).hexdigest()}"

    def transaction(conn: sa.Connection) -> OutsideEvidence:
        version_id = find_version(conn, caller, ref, bare="newest").id
        version_queries.lock_version(conn, version_id)
        version = version_queries.version_by_id(conn, version_id)
        if version.deleted_at is not None:
            raise Blocked(f"{ref_of(version)} is deleted", fix="name another version")
        rows = queries.evaluation_rows(conn, version.id)
        own = [row for row in rows if row.created_by == caller.principal_id and row.withdrawn is None]
        if not own or own[-1].digest != digest:
            _check_room(caller, version, len(rows))
            added = queries.add_evaluation(conn, version.id, digest=digest, body=body, created_by=caller.principal_id)
            told = dict(list(metrics.items())[:_MOST_TOLD])
            after = {"digest": digest, "reported_by": f"{caller.principal}, unsigned", "metrics": told}
            caller.record(conn, Action.EVALUATION_ADD, ref_of(version), on=line_of(version), before=None, after=after)
            tell_refuted(conn, caller, version, digest=digest)
            return _find(conn, version, added.id)
        return _find(conn, version, own[-1].id)

    return with_retry(registry.engine, transaction)


def show_evaluation(registry: Registry, caller: Caller, ref: Ref, digest: str) -> EvaluationBody:
    """Return an evaluation of a version exactly as it came; of several, the newest.

    Raises:
        NotFound: It has none with that digest.
    """
    caller.require(Right.READ, on=ref.line)
    with read(registry.engine) as conn:
        version = find_version(conn, caller, ref, bare="newest")
        row = _rows_with(conn, version, digest)[-1]
        said = _find(conn, version, row.id)
        body = queries.evaluation_body(conn, row.id).decode()
    return EvaluationBody(**dict(said), ref=ref_of(version), body=body)


def withdraw_evaluation(
    registry: Registry, caller: Caller, ref: Ref, digest: str, request: EvaluationWithdraw
) -> OutsideEvidence:
    """Let an evaluation count no more: the caller's own, or as the line's admin anybody's.

    Raises:
        NotFound: The version has none with that digest.
        Forbidden: Somebody else brought it.
    """
    caller.require(Right.PUSH, on=ref.line)

    def transaction(conn: sa.Connection) -> OutsideEvidence:
        version_id = find_version(conn, caller, ref, bare="newest").id
        version_queries.lock_version(conn, version_id)
        version = version_queries.version_by_id(conn, version_id)
        rows = _rows_with(conn, version, digest)
        may_all = caller.may(Right.ADMIN, on=line_of(version))
        own = [row for row in rows if may_all or row.created_by == caller.principal_id]
        if not own:
            by = rows[-1].sender or "the registry"
            raise Forbidden(f"{by} brought it", fix=f"ask {by}, or who administers {line_of(version)}")
        for row in (each for each in own if each.withdrawn is None):
            queries.withdraw_evaluation(conn, row.id, by=caller.principal_id, reason=request.reason)
            after = {"digest": digest, "reported_by": f"{row.sender}, unsigned", "reason": request.reason}
            caller.record(
                conn, Action.EVALUATION_WITHDRAW, ref_of(version), on=line_of(version), before=None, after=after
            )
        return _find(conn, version, own[-1].id)

    return with_retry(registry.engine, transaction)


def _read_object(body: bytes) -> dict[str, object]:
    try:
        return strict_json_object(body.strip())
    except Refused as error:
        raise InvalidInput(f"no evaluation: {error.message}", fix=error.fix or "bring it as JSON") from error


def _rows_with(conn: sa.Connection, version: VersionRow, digest: str) -> list[EvaluationRow]:
    rows = [row for row in queries.evaluation_rows(conn, version.id) if row.digest == digest]
    if not rows:
        ref = ref_of(version)
        raise NotFound(f"{ref} has no evaluation {digest[:72]}", fix=f"see what there is: deltareg attest ls {ref}")
    return rows


def _find(conn: sa.Connection, version: VersionRow, evaluation_id: int) -> OutsideEvidence:
    said = said_about(conn, version)
    (one,) = [each for each in said if isinstance(each.row, EvaluationRow) and each.row.id == evaluation_id]
    return _describe(one)


def _check_room(caller: Caller, version: VersionRow, count: int) -> None:
    """Refuse one evaluation too many; the uploader and the maintainers may add more than others."""
    is_own = version.created_by == caller.principal_id or caller.may(Right.MAINTAIN, on=line_of(version))
    if count < (MOST if is_own else OF_OTHERS):
        return
    ref = ref_of(version)
    if is_own:
        raise Conflict(f"{ref} has {count} evaluations already", fix=f"deltareg attest ls {ref}")
    message = f"{ref} has {count} evaluations already; the rest is for whose version it is"
    raise Conflict(message, fix="ask who maintains it to bring yours")


def _describe(said: SaidAbout) -> OutsideEvidence:
    fact, row = said.fact, said.row
    return OutsideEvidence(
        digest=fact.digest,
        predicate_type=fact.predicate_type,
        signed_by="" if fact.signatory is None else fact.sayer,
        outcome=fact.outcome,
        metrics=dict(fact.metrics),
        ignored=_why_ignored(said),
        size_bytes=row.size_bytes,
        created_at=rfc3339(row.created_at),
        created_by=row.sender or "registry",
    )


def _why_ignored(said: SaidAbout) -> str:
    fact, row = said.fact, said.row
    if not isinstance(row, ReferrerRow) and row.withdrawn is not None:
        return f"withdrawn: {row.withdrawn}"
    if fact.revoked:
        return f"its signer is revoked: {fact.revoked}"
    return "" if fact.is_whole else "it is about the weights alone"
