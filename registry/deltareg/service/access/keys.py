"""Enrolment: which public keys the registry accepts, since when, and what ended each.

A worker has one live key. Rotation puts another key in its place; what the old key signed still
counts. When a key is revoked, nothing that it signed counts any more, and the tokens of its worker
end too, because whoever has the key may have those as well. A retired or revoked key never comes
back.
"""

import sqlalchemy as sa

from deltareg.db.access import principals as principal_queries
from deltareg.db.session import read, with_retry
from deltareg.db.verdicts import signing as queries
from deltareg.db.verdicts.signing_rows import KeyRow, ShownKeyRow
from deltareg.errors import Conflict, NotFound
from deltareg.refs import parse_name
from deltareg.service.access.principals import check_kind
from deltareg.service.authority.grants import WORKER, Right
from deltareg.service.authority.resources import EVERYTHING, SHARED
from deltareg.service.clock import rfc3339, rfc3339_or_none
from deltareg.service.events import Action, record_event
from deltareg.service.registry import Caller, Registry
from deltareg.signing.keys import KeyText, PublicKey, parse_host
from deltareg.wire import KeyEnrol, KeyInfo, KeyRevoke, Page
from deltareg.words import KeyState

_NEW_KEY = "make a new one: deltareg-worker key --file NEW"


def list_keys(registry: Registry, caller: Caller) -> Page[KeyInfo]:
    """List every key that was ever enrolled, workers first, so that anybody can verify."""
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        rows = queries.key_rows(conn)
    return Page(items=[_show(row) for row in rows])


def enrol_worker(registry: Registry, caller: Caller, request: KeyEnrol) -> KeyInfo:
    """Enrol a worker with a key; enrolling the same key again changes nothing.

    Raises:
        Conflict: The worker has another key that this one is not meant to replace, the name belongs
            to a user, or the key was in use before.
        InvalidInput: The key, the name or the host is malformed.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    name, text = parse_name(request.name, "worker"), KeyText.parse(request.key)
    host = parse_host(request.host) if request.host else text.host
    key_text = KeyText(text.key, host)

    def transaction(conn: sa.Connection) -> KeyInfo:
        return _enrol(conn, caller, name, key_text, replaces=request.replaces)

    return with_retry(registry.engine, transaction)


def revoke_key(registry: Registry, caller: Caller, keyid: str, request: KeyRevoke) -> KeyInfo:
    """Revoke a key with everything that it signed, and the tokens of the worker that uses it now.

    Raises:
        NotFound: There is no such key.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)

    def transaction(conn: sa.Connection) -> KeyInfo:
        row = queries.find_key(conn, keyid=keyid)
        if row is None:
            raise NotFound(f"there is no key {keyid[:70]}", fix="deltareg worker keys")
        is_changed = queries.revoke_key(conn, row.id, by=caller.principal_id, reason=request.reason)
        if is_changed:
            if row.role == WORKER and row.is_live:
                principal_queries.end_tokens_of(conn, row.name)
            caller.record(
                conn,
                Action.KEY_REVOKE,
                f"key/{keyid}",
                on=EVERYTHING,
                before=_facts(row),
                after={"reason": request.reason},
            )
        return shown_key(conn, keyid)

    return with_retry(registry.engine, transaction)


def enrol_own_worker(registry: Registry, name: str, key: PublicKey, *, host: str) -> KeyInfo:
    """Enrol the worker that a server starts beside itself; only the server's process calls this.

    A key that was lost is replaced. One that was revoked stays revoked.
    """

    def transaction(conn: sa.Connection) -> KeyInfo:
        enrolled = queries.find_key(conn, public=str(key))
        if enrolled is not None:
            return shown_key(conn, enrolled.keyid)
        owner = _principal(conn, name)
        queries.retire_keys(conn, owner)
        return _add(conn, None, name, owner, KeyText(key, host), before=None)

    return with_retry(registry.engine, transaction)


def shown_key(conn: sa.Connection, keyid: str) -> KeyInfo:
    """Return a key that is known to exist."""
    return next(_show(row) for row in queries.key_rows(conn) if row.keyid == keyid)


def _enrol(conn: sa.Connection, caller: Caller, name: str, wanted: KeyText, *, replaces: bool) -> KeyInfo:
    owner = _principal(conn, name)
    before = queries.live_worker_key(conn, owner)
    enrolled = queries.find_key(conn, public=str(wanted.key))
    if enrolled is not None:
        is_same = before is not None and enrolled.id == before.id
        if is_same and wanted.host in {"", enrolled.host}:
            return shown_key(conn, enrolled.keyid)
        description = f"the {_state(enrolled)} key of {enrolled.name}, on host {enrolled.host or 'unknown'}"
        raise Conflict(f"this key is known already: it is {description}", fix=_NEW_KEY)
    if before is not None and not replaces:
        raise Conflict(
            f"{name} is enrolled with another key, {before.keyid[:12]}",
            fix=f"deltareg worker rotate {name} --key {wanted}",
        )
    queries.retire_keys(conn, owner)
    return _add(conn, caller, name, owner, wanted, before=before)


def _add(
    conn: sa.Connection, caller: Caller | None, name: str, owner: int, wanted: KeyText, *, before: KeyRow | None
) -> KeyInfo:
    keyid = wanted.key.keyid
    queries.add_key(
        conn,
        role=WORKER,
        name=name,
        principal_id=owner,
        keyid=keyid,
        public=str(wanted.key),
        host=wanted.host,
        created_by=None if caller is None else caller.principal_id,
    )
    action = Action.KEY_ENROL if before is None else Action.KEY_ROTATE
    record_event(
        conn,
        action,
        f"key/{keyid}",
        on=EVERYTHING,
        before=None if before is None else _facts(before),
        after={"role": WORKER, "name": name, "key": str(wanted.key), "host": wanted.host},
        actor="registry" if caller is None else caller.principal,
        token_id=None if caller is None else caller.token_id,
        request_id="" if caller is None else caller.request_id,
    )
    return shown_key(conn, keyid)


def _principal(conn: sa.Connection, name: str) -> int:
    """Find or create the principal of a worker, and lock it until the transaction ends."""
    principal = principal_queries.lock_principal(conn, name)
    if principal is None:
        return principal_queries.add_principal(conn, name, kind=WORKER)
    owner, kind = principal
    check_kind(name, kind, wanted=WORKER, fix="enrol it under a name of its own, and make it a token of kind wrk")
    return owner


def _facts(row: KeyRow) -> dict[str, object]:
    return {"role": row.role, "name": row.name, "keyid": row.keyid, "host": row.host}


def _state(row: KeyRow) -> KeyState:
    if row.revoked_at is not None:
        return "revoked"
    return "live" if row.retired_at is None else "retired"


def _show(row: ShownKeyRow) -> KeyInfo:
    return KeyInfo(
        keyid=row.keyid,
        role=row.role,
        name=row.name,
        key=row.public,
        host=row.host,
        state=_state(row),
        enrolled_at=rfc3339(row.created_at),
        enrolled_by=row.maker or "registry",
        retired_at=rfc3339_or_none(row.retired_at),
        revoked_at=rfc3339_or_none(row.revoked_at),
        revoked_by=row.ender,
        reason=row.reason,
    )
